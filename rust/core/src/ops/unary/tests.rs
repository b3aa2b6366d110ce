use super::*;
use crate::kernels::testing::assert_close;
use crate::ops::gradcheck::{between, gradcheck};
use crate::ops::permute;

type Case = (fn(&Tensor) -> Result<Tensor>, fn(f64) -> f64);
const CASES: [Case; 18] = [
    (neg, |x| -x),
    (exp, f64::exp),
    (expm1, f64::exp_m1),
    (log, f64::ln),
    (log1p, f64::ln_1p),
    (sqrt, f64::sqrt),
    (rsqrt, |x| 1.0 / x.sqrt()),
    (square, |x| x * x),
    (reciprocal, |x| 1.0 / x),
    (abs, f64::abs),
    (sin, f64::sin),
    (cos, f64::cos),
    (erf, libm::erf),
    (sign, f64::signum),
    (floor, f64::floor),
    (ceil, f64::ceil),
    (round, f64::round_ties_even),
    (trunc, f64::trunc),
];

#[test]
fn values_and_gradients() {
    for shape in [vec![], vec![33], vec![3, 5], vec![0, 4]] {
        let x = between(0.3, 2.9, &shape, 1);
        for (op, f) in CASES {
            let expected: Vec<f64> = x.to_vec_f64().iter().map(|&x| f(x)).collect();
            assert_close(&op(&x).unwrap().to_vec_f64(), &expected, 1e-14);
            let narrow = crate::ops::cast(&x, DType::F32).unwrap();
            assert_close(&op(&narrow).unwrap().to_vec_f64(), &expected, 2e-6);
            gradcheck(|x| op(&x[0]), std::slice::from_ref(&x));
        }
    }
    for (op, f) in [CASES[0], CASES[2], CASES[7], CASES[8], CASES[9], CASES[10], CASES[11], CASES[12], CASES[13]] {
        let x = permute(&between(-2.9, -0.3, &[3, 7], 2), &[1, 0]).unwrap();
        let expected: Vec<f64> = x.to_vec_f64().iter().map(|&x| f(x)).collect();
        assert_close(&op(&x).unwrap().to_vec_f64(), &expected, 1e-14);
        gradcheck(|x| op(&x[0]), &[x]);
    }
}

#[test]
fn halves_are_rounded_to_even() {
    let x = Tensor::from_slice(&[0.5_f32, 1.5, 2.5, -0.5, -1.5], &[5]);
    assert_eq!(round(&x).unwrap().to_vec_f64(), [0.0, 2.0, 2.0, 0.0, -2.0]);
}

#[test]
fn integers_stay_integers_where_the_result_is_one() {
    let x = Tensor::from_slice(&[-3_i64, 0, 4], &[3]);
    for (op, expected) in
        [(neg as fn(&Tensor) -> _, [3, 0, -4]), (abs, [3, 0, 4]), (square, [9, 0, 16]), (sign, [-1, 0, 1])]
    {
        assert_eq!(op(&x).unwrap().view().slice::<i64>(), expected);
    }
    assert_eq!(floor(&x).unwrap().id(), x.id());
    assert_eq!(exp(&x).unwrap().dtype(), DType::F32);
    let mask = Tensor::from_slice(&[1_u8], &[1]);
    assert_eq!(neg(&mask).unwrap_err(), Error::Type("neg: expected numbers; got bool".into()));
}

#[test]
fn kinks_and_zeros() {
    let slope_at_zero = |f: fn(&Tensor) -> Result<Tensor>| {
        let x = Tensor::zeros(&[], DType::F64);
        x.set_requires_grad(true).unwrap();
        crate::tensor::tape::backward(&f(&x).unwrap(), None, false).unwrap();
        x.grad().unwrap().to_vec_f64()[0]
    };
    assert_eq!(slope_at_zero(abs), 0.0);
    assert_eq!(slope_at_zero(sqrt), f64::INFINITY);
}

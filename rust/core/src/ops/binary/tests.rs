use super::*;
use crate::ops::gradcheck::{between, gradcheck, uniform};
use crate::ops::{expand, permute};

type Case = (fn(&Tensor, &Tensor) -> Result<Tensor>, fn(f64, f64) -> f64);
const CASES: [Case; 7] = [
    (add, |a, b| a + b),
    (sub, |a, b| a - b),
    (mul, |a, b| a * b),
    (div, |a, b| a / b),
    (pow, f64::powf),
    (floor_divide, |a, b| (a / b).floor()),
    (remainder, |a, b| a - (a / b).floor() * b),
];

/// Pairs that broadcast: equal, stretched on either side, without dimensions, empty, one number of each.
const PAIRS: [(&[usize], &[usize]); 9] = [
    (&[17], &[17]),
    (&[3, 5], &[5]),
    (&[5], &[3, 5]),
    (&[3, 1], &[1, 33]),
    (&[2, 1, 4], &[3, 1]),
    (&[], &[2, 3]),
    (&[2, 3], &[]),
    (&[0, 3], &[1, 3]),
    (&[1, 1], &[1]),
];

#[test]
fn values_at_pairs_that_broadcast() {
    for (a_shape, b_shape) in PAIRS {
        let (a, b) = (between(0.5, 2.0, a_shape, 1), uniform(b_shape, 2));
        for (op, f) in CASES {
            let y = op(&a, &b).unwrap();
            let full = broadcast("test", a_shape, b_shape).unwrap();
            assert_eq!(y.shape(), full.as_slice());
            let (wide_a, wide_b) = (expand(&a, &full).unwrap(), expand(&b, &full).unwrap());
            let expected: Vec<f64> =
                wide_a.to_vec_f64().iter().zip(wide_b.to_vec_f64()).map(|(&a, b)| f(a, b)).collect();
            crate::kernels::testing::assert_close(&y.to_vec_f64(), &expected, 1e-14);
        }
    }
}

#[test]
fn values_at_permuted_operands() {
    let a = permute(&uniform(&[5, 2, 17], 1), &[2, 0, 1]).unwrap();
    let b = uniform(&[17, 5, 2], 2);
    let y = sub(&a, &b).unwrap();
    let expected: Vec<f64> = a.to_vec_f64().iter().zip(b.to_vec_f64()).map(|(a, b)| a - b).collect();
    assert_eq!(y.to_vec_f64(), expected);
    let y = sub(&a, &a).unwrap();
    assert_eq!(y.to_vec_f64(), vec![0.0; 170]);
}

#[test]
fn gradients() {
    for (a_shape, b_shape) in PAIRS {
        for (op, _) in CASES {
            gradcheck(|x| op(&x[0], &x[1]), &[between(0.5, 2.0, a_shape, 3), between(0.5, 2.0, b_shape, 4)]);
        }
    }
    gradcheck(|x| mul(&x[0], &x[0]), &[uniform(&[3], 5)]);
}

#[test]
fn power_has_no_nan_gradients_at_zero() {
    let a = Tensor::from_slice(&[0.0, 0.0, 2.0], &[3]);
    let b = Tensor::from_slice(&[0.0, 2.0, 0.0], &[3]);
    a.set_requires_grad(true).unwrap();
    b.set_requires_grad(true).unwrap();
    crate::tensor::tape::backward(&pow(&a, &b).unwrap(), Some(&Tensor::full(&[3], 1.0, DType::F64)), false).unwrap();
    assert_eq!(a.grad().unwrap().to_vec_f64(), [0.0, 0.0, 0.0]);
    assert_eq!(b.grad().unwrap().to_vec_f64(), [0.0, 0.0, std::f64::consts::LN_2]);
}

#[test]
fn dtypes_are_promoted_as_in_torch() {
    let of = |dtype, shape: &[usize]| Tensor::full(shape, 1.0, dtype);
    let (array, number): (&[usize], &[usize]) = (&[2], &[]);
    let cases = [
        (DType::F32, array, DType::F64, array, DType::F64),
        (DType::F32, array, DType::F64, number, DType::F32),
        (DType::F64, number, DType::F32, array, DType::F32),
        (DType::F32, number, DType::F64, number, DType::F64),
        (DType::I64, array, DType::F64, number, DType::F64),
        (DType::I64, array, DType::F32, array, DType::F32),
        (DType::Bool, array, DType::I64, number, DType::I64),
        (DType::I64, array, DType::Bool, number, DType::I64),
        (DType::F32, array, DType::I64, number, DType::F32),
    ];
    for (a, a_shape, b, b_shape, expected) in cases {
        let (a, b) = (of(a, a_shape), of(b, b_shape));
        assert_eq!(promote(&a, &b), expected, "{a:?} and {b:?}");
        assert_eq!(add(&a, &b).unwrap().dtype(), expected);
    }
}

#[test]
fn integers_and_masks() {
    let (a, b) = (Tensor::from_slice(&[7_i64, -7, i64::MAX], &[3]), Tensor::from_slice(&[2_i64, 2, 1], &[3]));
    assert_eq!(add(&a, &b).unwrap().view().slice::<i64>(), [9, -5, i64::MIN]);
    assert_eq!(mul(&a, &b).unwrap().view().slice::<i64>(), [14, -14, i64::MAX]);
    let y = div(&a, &b).unwrap();
    assert_eq!((y.dtype(), y.to_vec_f64()[1]), (DType::F32, -3.5));
    let (p, q) = (Tensor::from_slice(&[1_u8, 1, 0], &[3]), Tensor::from_slice(&[1_u8, 0, 0], &[3]));
    assert_eq!(add(&p, &q).unwrap().view().slice::<u8>(), [1, 1, 0]);
    assert_eq!(mul(&p, &q).unwrap().view().slice::<u8>(), [1, 0, 0]);
    assert_eq!(sub(&p, &q).unwrap_err(), Error::Type("sub: expected numbers; got bool".into()));
}

#[test]
fn divisions_of_integers_are_exact_and_none_is_by_0() {
    let values = [i64::MIN, i64::MIN + 1, -(1 << 53) - 1, -7, -1, 1, 3, (1 << 53) + 1, i64::MAX];
    for a in values {
        for b in values {
            let [x, y] = [a, b].map(|v| Tensor::from_slice(&[v], &[1]));
            let (wide_a, wide_b) = (i128::from(a), i128::from(b));
            let floor = wide_a.div_euclid(wide_b) - i128::from(wide_b < 0 && wide_a.rem_euclid(wide_b) != 0);
            let quotient = floor_divide(&x, &y).unwrap();
            assert_eq!(quotient.view().slice::<i64>(), [floor as i64], "{a} // {b}");
            let rest = remainder(&x, &y).unwrap();
            assert_eq!(rest.view().slice::<i64>(), [(wide_a - floor * wide_b) as i64], "{a} % {b}");
        }
    }
    let (x, zero) = (Tensor::from_slice(&[1_i64, 2], &[2]), Tensor::from_slice(&[3_i64, 0], &[2, 1]));
    let error = floor_divide(&x, &zero).unwrap_err();
    assert_eq!(error, Error::ZeroDivision("floor_divide: expected divisors other than 0; got 0".into()));
    assert!(remainder(&Tensor::zeros(&[0, 2], DType::I64), &Tensor::zeros(&[], DType::I64)).is_ok());
}

#[test]
fn divisions_of_floats_have_the_signs_of_python() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let cases = [
        (7.0, 2.0, 3.0, 1.0),
        (-7.0, 2.0, -4.0, 1.0),
        (7.0, -2.0, -4.0, -1.0),
        (1.0, 0.1, 9.0, 0.099_999_999_999_999_95),
        (-1.0, inf, -1.0, inf),
        (1.0, -inf, -1.0, -inf),
        (1.0, inf, 0.0, 1.0),
        (inf, 2.0, nan, nan),
        (1.0, 0.0, inf, nan),
        (-1.0, 0.0, -inf, nan),
        (0.0, 0.0, nan, nan),
        (nan, 1.0, nan, nan),
    ];
    for (a, b, quotient, rest) in cases {
        let [x, y] = [a, b].map(|v| Tensor::from_slice(&[v], &[1]));
        let found = [floor_divide(&x, &y), remainder(&x, &y)].map(|t| t.unwrap().to_vec_f64()[0]);
        let same = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan();
        assert!(same(found[0], quotient) && same(found[1], rest), "{a}, {b}: {found:?}");
    }
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let error = mul(&uniform(&[3], 1), &uniform(&[2, 4], 2)).unwrap_err();
    assert_eq!(error, Error::Value("mul: expected shapes that broadcast together; got (3,) and (2, 4)".into()));
}

use super::*;
use crate::ops::gradcheck::{between, gradcheck};
use crate::ops::permute;

type Case = (fn(&Tensor, Scalar) -> Result<Tensor>, fn(f64, f64) -> f64);
const CASES: [Case; 10] = [
    (add_scalar, |x, s| x + s),
    (sub_scalar, |x, s| x - s),
    (rsub_scalar, |x, s| s - x),
    (mul_scalar, |x, s| x * s),
    (div_scalar, |x, s| x / s),
    (rdiv_scalar, |x, s| s / x),
    (pow_scalar, f64::powf),
    (rpow_scalar, |x, s| s.powf(x)),
    (floor_divide_scalar, |x, s| (x / s).floor()),
    (remainder_scalar, |x, s| x - (x / s).floor() * s),
];

#[test]
fn values_and_gradients() {
    for shape in [vec![], vec![17], vec![3, 5], vec![0, 2]] {
        for (op, f) in CASES {
            for s in [1.7, 2.0, 3.0, 0.5] {
                let x = between(0.5, 2.0, &shape, 1);
                let expected: Vec<f64> = x.to_vec_f64().iter().map(|&x| f(x, s)).collect();
                let y = op(&x, s.into()).unwrap();
                crate::kernels::testing::assert_close(&y.to_vec_f64(), &expected, 1e-14);
                gradcheck(|x| op(&x[0], s.into()), &[x]);
            }
        }
    }
}

#[test]
fn permuted_tensors() {
    let x = permute(&between(0.5, 2.0, &[3, 7], 1), &[1, 0]).unwrap();
    for (op, f) in CASES {
        let expected: Vec<f64> = x.to_vec_f64().iter().map(|&x| f(x, 1.7)).collect();
        let y = op(&x, 1.7.into()).unwrap();
        crate::kernels::testing::assert_close(&y.to_vec_f64(), &expected, 1e-14);
    }
}

#[test]
fn the_tensor_keeps_its_dtype_unless_the_number_is_of_a_higher_kind() {
    let cases = [
        (DType::F32, Scalar::Float(2.0), DType::F32),
        (DType::F32, Scalar::Int(2), DType::F32),
        (DType::I64, Scalar::Int(2), DType::I64),
        (DType::I64, Scalar::Float(2.0), DType::F32),
        (DType::Bool, Scalar::Int(2), DType::I64),
        (DType::Bool, Scalar::Bool(true), DType::Bool),
    ];
    for (dtype, s, expected) in cases {
        assert_eq!(mul_scalar(&Tensor::full(&[2], 1.0, dtype), s).unwrap().dtype(), expected);
    }
    let x = Tensor::from_slice(&[i64::MAX - 1], &[1]);
    assert_eq!(add_scalar(&x, 1).unwrap().view().slice::<i64>(), [i64::MAX]);
    assert_eq!(div_scalar(&x, 2).unwrap().dtype(), DType::F32);
    let error = pow_scalar(&x, -1).unwrap_err();
    assert_eq!(error.message(), "pow: expected an exponent of integers of at least 0; got -1");
}

#[test]
fn powers_of_zero_and_to_zero_have_gradient_zero() {
    for (op, s, at) in [(CASES[6].0, 0.0, 0.0), (CASES[7].0, 0.0, 2.0)] {
        let x = Tensor::from_slice(&[at], &[]);
        x.set_requires_grad(true).unwrap();
        crate::tensor::tape::backward(&op(&x, s.into()).unwrap(), None, false).unwrap();
        assert_eq!(x.grad().unwrap().to_vec_f64(), [0.0]);
    }
}

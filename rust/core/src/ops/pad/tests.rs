use super::*;
use crate::element::DType;
use crate::ops::gradcheck_nn::{gradcheck, message, noise, same_bits_for_any_team};

#[test]
fn a_constant_surrounds_what_is_kept() {
    let x = Tensor::from_slice(&[1_i64, 2, 3, 4, 5, 6], &[2, 3]);
    let y = pad(&x, &[(1, -1), (-1, 2)], Scalar::Int(9)).unwrap();
    assert_eq!((y.shape(), y.view().slice::<i64>()), (&[3, 3][..], &[9, 4, 5, 9, 9, 9, 9, 9, 9][..]));
    assert_eq!(pad(&x, &[(-1, -2)], Scalar::Int(9)).unwrap().shape(), [2, 0]);
    assert_eq!(pad(&x, &[(4, -5)], Scalar::Int(9)).unwrap().to_vec_f64(), [9.0; 4]);
}

#[test]
fn gradients_are_cropped_and_bits_do_not_depend_on_the_team() {
    for padding in [&[(1, 2)][..], &[(-1, 2), (2, 0)], &[(0, -2), (1, 1), (-1, 1)]] {
        gradcheck(&[noise(&[3, 4, 5], 1)], |x| pad(&x[0], padding, Scalar::Float(0.5)));
    }
    let op = Pad { padding: smallvec![(2, 1), (-1, 2), (1, -3)] };
    same_bits_for_any_team(&op, &[noise(&[5, 4, 9], 1), Tensor::full(&[], 2.0, DType::F64)]);
}

#[test]
fn what_cannot_be_padded_is_named() {
    let x = noise(&[2, 3], 1);
    let too_many = pad(&x, &[(1, 1); 3], Scalar::Int(0));
    assert_eq!(message(too_many), "pad: expected pairs for at most 2 dimensions; got 3");
    let nothing_left = pad(&x, &[(-2, -2)], Scalar::Int(0));
    assert_eq!(message(nothing_left), "pad: expected padding that leaves at least 0 of (2, 3); got (0, 0), (-2, -2)");
    let no_integer = pad(&Tensor::from_slice(&[1_i64], &[1]), &[(1, 0)], Scalar::Float(0.5));
    assert_eq!(message(no_integer), "pad: expected a value that int64 can hold; got Float(0.5)");
}

use super::*;
use crate::ops::gradcheck::uniform;
use crate::ops::{expand, permute};

fn values(x: &Tensor) -> Vec<f64> {
    x.to_vec_f64()
}

#[test]
fn arithmetic_changes_the_tensor_and_counts() {
    let x = Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 4.0], &[2, 2]);
    let b = Tensor::from_slice(&[1.0_f32, 2.0], &[2]);
    add_(&x, &b, 2).unwrap();
    assert_eq!((values(&x), x.storage().version()), (vec![3.0, 6.0, 5.0, 8.0], 1));
    sub_(&x, &b, 1).unwrap();
    mul_(&x, &Tensor::full(&[], 2.0, DType::F64)).unwrap();
    div_(&x, &b).unwrap();
    assert_eq!(values(&x), [4.0, 4.0, 8.0, 6.0]);
    add_scalar_(&x, 1).unwrap();
    sub_scalar_(&x, 0.5).unwrap();
    mul_scalar_(&x, 2.0).unwrap();
    div_scalar_(&x, 4.0).unwrap();
    assert_eq!(values(&x), [2.25, 2.25, 4.25, 3.25]);
    clamp_(&x, Some(3.into()), Some(4.0.into())).unwrap();
    assert_eq!(values(&x), [3.0, 3.0, 4.0, 3.25]);
    zero_(&x).unwrap();
    fill_(&x, 2.5).unwrap();
    assert_eq!(values(&x), [2.5; 4]);
}

#[test]
fn views_change_what_they_see() {
    let x = Tensor::zeros(&[3, 17], DType::F64);
    let turned = permute(&x, &[1, 0]).unwrap();
    let source = uniform(&[17, 3], 1);
    copy_(&turned, &source).unwrap();
    assert_eq!(values(&turned), values(&source));
    add_(&turned, &turned, 1).unwrap();
    assert_eq!(values(&turned), values(&source).iter().map(|x| 2.0 * x).collect::<Vec<_>>());
    copy_(&x, &Tensor::from_slice(&[1_i64], &[1])).unwrap();
    assert_eq!(values(&x), [1.0; 51]);
}

#[test]
fn a_tensor_added_to_itself_turned_reads_the_old_values() {
    let x = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[2, 2]);
    add_(&x, &permute(&x, &[1, 0]).unwrap(), 1).unwrap();
    assert_eq!(values(&x), [2.0, 5.0, 5.0, 8.0]);
}

#[test]
fn what_may_not_be_changed_is_refused() {
    let x = uniform(&[2], 1);
    let wide = expand(&uniform(&[1], 1), &[3]).unwrap();
    let message = "mul_: expected a tensor whose elements have places of their own; got an expanded one of shape (3,) \
                   (use clone())";
    assert_eq!(mul_(&wide, &wide).unwrap_err(), Error::State(message.into()));
    let integers = Tensor::from_slice(&[1_i64, 2], &[2]);
    let message = "add_: expected an operand that int64 can hold; got float64";
    assert_eq!(add_(&integers, &x, 1).unwrap_err(), Error::Type(message.into()));
    assert_eq!(div_scalar_(&integers, 2).unwrap_err().message(), "div_: expected a floating-point tensor; got int64");
    let error = mul_(&x, &uniform(&[3], 1)).unwrap_err();
    assert_eq!(error, Error::Value("mul_: expected a tensor that broadcasts to (2,); got (3,)".into()));
    assert_eq!(
        add_(&x, &uniform(&[1, 2], 1), 1).unwrap_err().message(),
        "add_: expected a tensor that broadcasts to (2,); got (1, 2)"
    );
    x.set_requires_grad(true).unwrap();
    assert!(matches!(zero_(&x), Err(Error::State(_))));
    crate::tensor::tape::no_grad(|| zero_(&x)).unwrap();
}

//! Values, gradients of first and second order, and what is refused.

use crate::error::Result;
use crate::ops::gradcheck::{gradcheck, uniform};
use crate::ops::{
    self, Index, add_, alias, copy_, fill_, index_put_, mul, mul_, mul_scalar, narrow, permute, reshape, select, split,
    sum, unbind, view,
};
use crate::tensor::{Tensor, tape};

fn result(x: &Tensor) -> Result<Tensor> {
    mul_scalar(x, 2.0)
}

#[test]
fn gradients_of_changed_views_and_bases() {
    let xs = [uniform(&[3, 4], 1), uniform(&[4], 2)];
    // A view of a view is changed, and the base read.
    gradcheck(
        |x| {
            let base = result(&x[0])?;
            mul_(&select(&permute(&base, &[1, 0])?, 1, 2)?, &x[1])?;
            mul(&base, &base)
        },
        &xs,
    );
    // The base is changed, and a view from before read.
    gradcheck(
        |x| {
            let base = result(&x[0])?;
            let shown = reshape(&narrow(&base, 0, 1, 2)?, &[8])?;
            mul_(&base, &x[1])?;
            mul(&shown, &shown)
        },
        &xs,
    );
    // One view is changed, and another one read, of memory that nothing on the tape had touched.
    gradcheck(
        |x| {
            let base = Tensor::zeros(&[6], x[0].dtype());
            let shown = narrow(&base, 0, 2, 4)?;
            add_(&narrow(&base, 0, 0, 4)?, &x[0], 1.5)?;
            mul(&shown, &shown)
        },
        &xs[1..],
    );
    // Overwritten elements get no gradient.
    gradcheck(
        |x| {
            let base = result(&x[0])?;
            copy_(&select(&base, 0, 1)?, &x[1])?;
            fill_(&narrow(&base, 1, 0, 1)?, 0.5)?;
            mul(&base, &base)
        },
        &xs,
    );
}

#[test]
fn a_reshape_that_copies_is_no_view_but_one_of_a_column_major_base_is() {
    let xs = [uniform(&[4, 3], 1)];
    gradcheck(
        |x| {
            // Column-major memory of its own, as NumPy may hand it over.
            let base = ops::copy(&Tensor::zeros(&[3, 4], x[0].dtype()))?;
            let turned = base.alias(base.layout().permute(&[1, 0]));
            let flat = view(&permute(&turned, &[1, 0])?, &[12])?;
            mul_(&flat, &reshape(&x[0], &[12])?)?;
            add_(&turned, &x[0], 1)?;
            mul(&flat, &flat)
        },
        &xs,
    );
}

#[test]
fn where_positions_repeat_the_last_value_has_the_gradient() {
    let places = Index::Tensor(Tensor::from_slice(&[2_i64, 0, 2], &[3]));
    let put = |x: &[Tensor]| {
        let base = result(&x[0])?;
        index_put_(&base, std::slice::from_ref(&places), &x[1])?;
        mul(&base, &base)
    };
    gradcheck(put, &[uniform(&[4, 2], 1), uniform(&[3, 2], 2)]);
    let (x, y) = (uniform(&[4, 2], 1), uniform(&[3, 2], 2));
    y.set_requires_grad(true).unwrap();
    tape::backward(&sum(&put(&[x, y.clone()]).unwrap(), None, false).unwrap(), None, false).unwrap();
    assert_eq!(y.grad().unwrap().to_vec_f64()[..2], [0.0, 0.0]);
}

#[test]
fn what_cannot_follow_is_refused() {
    let x = uniform(&[4], 1);
    x.set_requires_grad(true).unwrap();
    let message = |result: Result<()>| result.unwrap_err().message().to_owned();
    let seen = alias(&x).unwrap();
    assert_eq!(
        message(fill_(&seen, 1)),
        "fill_: a view of a leaf tensor that requires grad is changed in place; expected this under no_grad()"
    );
    for parts in [|x: &Tensor| split(x, 2, 0), |x: &Tensor| unbind(x, 0)] {
        let base = result(&x).unwrap();
        let part = parts(&base).unwrap().swap_remove(0);
        assert!(message(fill_(&part, 1)).starts_with("fill_: one of several views that one call"));
        fill_(&base, 1).unwrap();
        let error = mul_scalar(&alias(&part.detach()).unwrap(), 1.0);
        assert!(error.is_ok(), "what is detached needs no place");
        assert!(message(mul_scalar(&part, 1.0).map(drop)).starts_with("mul: this view is one of several views"));
    }
    let base = result(&x).unwrap();
    let unrecorded = tape::no_grad(|| narrow(&base, 0, 0, 2)).unwrap();
    assert!(!unrecorded.requires_grad());
    assert!(message(mul_(&unrecorded, &narrow(&x, 0, 0, 2).unwrap())).contains("no_grad mode"));
    tape::no_grad(|| fill_(&unrecorded, 1)).unwrap();
    mul_(&base, &x).unwrap();
    assert!(message(mul_scalar(&unrecorded, 2.0).map(drop)).starts_with("mul: this view was made in no_grad mode"));
}

#[test]
fn a_long_chain_of_views_neither_recurses_nor_leaks() {
    let x = uniform(&[3], 1);
    x.set_requires_grad(true).unwrap();
    let base = result(&x).unwrap();
    let mut shown = alias(&base).unwrap();
    for _ in 0..100_000 {
        shown = alias(&shown).unwrap();
    }
    fill_(&base, 2).unwrap();
    tape::backward(&sum(&mul(&shown, &x).unwrap(), None, false).unwrap(), None, false).unwrap();
    assert_eq!(x.grad().unwrap().to_vec_f64(), [2.0; 3]);
    let (storage, changed) = (base.storage().clone(), mul(&base, &base).unwrap());
    add_(&base, &changed, 1).unwrap();
    drop((base, shown, changed));
    assert_eq!(std::sync::Arc::strong_count(&storage), 1, "a node that saved the tensor kept it alive");
}

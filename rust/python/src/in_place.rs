//! Changing a tensor in place.
//!
//! The change follows `PyTorch`: it is made in memory, and where a gradient flows it is an op on the tape as well, which
//! the views of that memory follow. Whatever an earlier op saved of it is noticed to be stale.

use fastnn_core::ops::{self, Scalar};
use fastnn_core::{Result, Tensor as Core};
use pyo3::prelude::*;

use crate::arguments::{Given, named};
use crate::convert;
use crate::error::Raise;
use crate::gil;
use crate::operators::{Operand, Pair};
use crate::tensor::Tensor;

/// An arithmetic change in place, by a tensor and by a number.
#[derive(Clone, Copy)]
pub struct Change {
    tensors: fn(&Core, &Core) -> Result<()>,
    scalar: fn(&Core, Scalar) -> Result<()>,
}

/// target ← target + other.
pub const ADD: Change = Change { tensors: |x, b| ops::add_(x, b, 1), scalar: |x, s| ops::add_scalar_(x, s) };
/// target ← target − other.
pub const SUB: Change = Change { tensors: |x, b| ops::sub_(x, b, 1), scalar: |x, s| ops::sub_scalar_(x, s) };
/// target ← target · other.
pub const MUL: Change = Change { tensors: ops::mul_, scalar: |x, s| ops::mul_scalar_(x, s) };
/// target ← target / other.
pub const DIV: Change = Change { tensors: ops::div_, scalar: |x, s| ops::div_scalar_(x, s) };
/// target ← ⌊target / other⌋.
pub const FLOOR_DIV: Change = Change { tensors: ops::floor_divide_, scalar: |x, s| ops::floor_divide_scalar_(x, s) };
/// target ← target − ⌊target / other⌋ · other.
pub const REMAINDER: Change = Change { tensors: ops::remainder_, scalar: |x, s| ops::remainder_scalar_(x, s) };

/// target ← target ∘ other.
pub fn arithmetic(slf: &Bound<'_, Tensor>, change: Change, other: &Operand) -> PyResult<()> {
    let target = slf.borrow().inner.clone();
    gil::run(slf.py(), target.numel(), || match other {
        Operand::Tensor(t) => (change.tensors)(&target, t),
        Operand::Scalar(s) => (change.scalar)(&target, *s),
    })
}

/// target ← target ∘ other, for an operation that has no kernel of its own in place.
pub fn assign(slf: &Bound<'_, Tensor>, op: &'static str, pair: Pair, other: &Operand) -> PyResult<()> {
    let target = slf.borrow().inner.clone();
    gil::run(slf.py(), target.numel(), || match other {
        Operand::Tensor(t) => ops::assign(op, &target, &[t], |x| (pair.tensors)(x, t)),
        Operand::Scalar(s) => ops::assign(op, &target, &[], |x| (pair.scalar)(x, *s)),
    })
}

/// Change the tensor, and return it.
fn change(slf: Bound<'_, Tensor>, change: impl FnOnce(&Core) -> Result<()> + Send) -> PyResult<Bound<'_, Tensor>> {
    let target = slf.borrow().inner.clone();
    gil::run(slf.py(), target.numel(), || change(&target))?;
    Ok(slf)
}

#[pymethods]
impl Tensor {
    #[pyo3(signature = (other, *, alpha=Scalar::Int(1).into()))]
    fn add_(slf: Bound<'_, Self>, other: Operand, alpha: Given<Scalar>) -> PyResult<Bound<'_, Self>> {
        named!("add_"; alpha);
        scaled(slf, ADD, other, alpha)
    }

    #[pyo3(signature = (other, *, alpha=Scalar::Int(1).into()))]
    fn sub_(slf: Bound<'_, Self>, other: Operand, alpha: Given<Scalar>) -> PyResult<Bound<'_, Self>> {
        named!("sub_"; alpha);
        scaled(slf, SUB, other, alpha)
    }

    fn mul_(slf: Bound<'_, Self>, other: Operand) -> PyResult<Bound<'_, Self>> {
        arithmetic(&slf, MUL, &other)?;
        Ok(slf)
    }

    fn div_(slf: Bound<'_, Self>, other: Operand) -> PyResult<Bound<'_, Self>> {
        arithmetic(&slf, DIV, &other)?;
        Ok(slf)
    }

    fn floor_divide_(slf: Bound<'_, Self>, other: Operand) -> PyResult<Bound<'_, Self>> {
        arithmetic(&slf, FLOOR_DIV, &other)?;
        Ok(slf)
    }

    fn remainder_(slf: Bound<'_, Self>, other: Operand) -> PyResult<Bound<'_, Self>> {
        arithmetic(&slf, REMAINDER, &other)?;
        Ok(slf)
    }

    #[pyo3(signature = (src, non_blocking=false))]
    fn copy_(slf: Bound<'_, Self>, src: convert::Arg, non_blocking: bool) -> PyResult<Bound<'_, Self>> {
        let _ = non_blocking;
        change(slf, |x| ops::copy_(x, &src.0))
    }

    fn zero_(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        change(slf, ops::zero_)
    }

    fn fill_(slf: Bound<'_, Self>, value: Given<Scalar>) -> PyResult<Bound<'_, Self>> {
        named!("fill_"; value);
        change(slf, |x| ops::fill_(x, value))
    }

    #[pyo3(signature = (min=None, max=None))]
    fn clamp_(
        slf: Bound<'_, Self>,
        min: Option<Given<Scalar>>,
        max: Option<Given<Scalar>>,
    ) -> PyResult<Bound<'_, Self>> {
        named!("clamp_"; min, max);
        change(slf, |x| ops::clamp_(x, min, max))
    }

    #[pyo3(signature = (a=0.0.into(), b=1.0.into()), text_signature = "($self, a=0.0, b=1.0)")]
    fn uniform_(slf: Bound<'_, Self>, a: Given<f64>, b: Given<f64>) -> PyResult<Bound<'_, Self>> {
        named!("uniform_"; a, b);
        change(slf, |x| ops::random::uniform_(x, a, b))
    }

    #[pyo3(signature = (mean=0.0.into(), std=1.0.into()), text_signature = "($self, mean=0.0, std=1.0)")]
    fn normal_(slf: Bound<'_, Self>, mean: Given<f64>, std: Given<f64>) -> PyResult<Bound<'_, Self>> {
        named!("normal_"; mean, std);
        change(slf, |x| ops::random::normal_(x, mean, std))
    }

    #[pyo3(signature = (p=0.5.into()), text_signature = "($self, p=0.5)")]
    fn bernoulli_(slf: Bound<'_, Self>, p: Given<f64>) -> PyResult<Bound<'_, Self>> {
        named!("bernoulli_"; p);
        change(slf, |x| ops::random::bernoulli_(x, p))
    }
}

/// target ← target ± alpha · other.
fn scaled(slf: Bound<'_, Tensor>, how: Change, other: Operand, alpha: Scalar) -> PyResult<Bound<'_, Tensor>> {
    arithmetic(&slf, how, &times(other, alpha)?)?;
    Ok(slf)
}

/// alpha · other.
pub fn times(other: Operand, alpha: Scalar) -> PyResult<Operand> {
    Ok(match (alpha.whole(), other) {
        (Some(1), other) => other,
        (_, Operand::Tensor(t)) => Operand::Tensor(ops::mul_scalar(&t, alpha).raise()?),
        (Some(a), Operand::Scalar(Scalar::Int(b))) => Operand::Scalar(Scalar::Int(a.wrapping_mul(b))),
        (Some(a), Operand::Scalar(Scalar::Bool(b))) => Operand::Scalar(Scalar::Int(a * i64::from(b))),
        (_, Operand::Scalar(s)) => Operand::Scalar(Scalar::Float(s.to_f64() * alpha.to_f64())),
    })
}

//! Changing a tensor in place.
//!
//! Under `no_grad`, or where no gradient flows, the memory is changed. A result on the tape that is no view may be
//! changed as well: the change is one more op on the tape, and whatever an earlier op saved of it is noticed to be stale.

use fastnn_core::ops::{self, Scalar};
use fastnn_core::plan::trace;
use fastnn_core::tensor::tape;
use fastnn_core::{Result, Tensor as Core};
use pyo3::prelude::*;

use crate::arguments::{Given, named};
use crate::convert::{self, Number};
use crate::error::Raise;
use crate::gil;
use crate::operators::{self, Operand, Pair};
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

/// Whether a change of `target` must be recorded.
fn on_tape(target: &Core, other: Option<&Core>) -> bool {
    tape::is_grad_enabled() && (target.requires_grad() || other.is_some_and(Core::requires_grad))
}

/// Whether a recorded change may be made: not to a leaf that requires grad, nor through a view.
fn may_record(target: &Core) -> bool {
    target.dtype().is_float() && !target.is_view() && !(target.is_leaf() && target.requires_grad())
}

/// target ← target ∘ other.
pub fn arithmetic(slf: &Bound<'_, Tensor>, pair: Pair, change: Change, other: &Operand) -> PyResult<()> {
    let py = slf.py();
    let target = slf.borrow().inner.clone();
    let tensor = match other {
        Operand::Tensor(t) => Some(t),
        Operand::Scalar(_) => None,
    };
    if !on_tape(&target, tensor) || !may_record(&target) {
        return match other {
            Operand::Tensor(t) => gil::run(py, target.numel(), || (change.tensors)(&target, t)),
            Operand::Scalar(s) => gil::run(py, target.numel(), || (change.scalar)(&target, *s)),
        };
    }
    replace(slf, &target, |old| pair.run(py, old, other))
}

/// Put `change(target)` in the place of the target, as an op on the tape.
pub fn replace(slf: &Bound<'_, Tensor>, target: &Core, change: impl FnOnce(&Core) -> PyResult<Core>) -> PyResult<()> {
    trace::obstacle("a result on the tape was changed in place");
    // Its backward may read the old value, which is about to be overwritten.
    let old = ops::copy(target).raise()?;
    let new = change(&old)?;
    write(target, &new).raise()?;
    let renewed = Core::from_storage(target.storage().clone(), target.layout().clone(), target.dtype());
    if let Some((node, index)) = new.node() {
        renewed.set_node(node, index);
    }
    slf.borrow_mut().inner = renewed;
    Ok(())
}

fn write(target: &Core, new: &Core) -> Result<()> {
    tape::no_grad(|| ops::copy_(target, new))
}

/// The change as an op on the tape where it must be, else of the memory.
fn change<'py>(
    slf: Bound<'py, Tensor>,
    other: Option<&Core>,
    recorded: impl FnOnce(&Core) -> Result<Core>,
    direct: impl FnOnce(&Core) -> Result<()> + Send,
) -> PyResult<Bound<'py, Tensor>> {
    let target = slf.borrow().inner.clone();
    if on_tape(&target, other) && may_record(&target) {
        replace(&slf, &target, |old| recorded(old).raise())?;
    } else {
        gil::run(slf.py(), target.numel(), || direct(&target))?;
    }
    Ok(slf)
}

#[pymethods]
impl Tensor {
    #[pyo3(signature = (other, *, alpha=Scalar::Int(1).into()))]
    fn add_(slf: Bound<'_, Self>, other: Operand, alpha: Number) -> PyResult<Bound<'_, Self>> {
        scaled(slf, ADD, other, alpha.0, operators::ADD)
    }

    #[pyo3(signature = (other, *, alpha=Scalar::Int(1).into()))]
    fn sub_(slf: Bound<'_, Self>, other: Operand, alpha: Number) -> PyResult<Bound<'_, Self>> {
        scaled(slf, SUB, other, alpha.0, operators::SUB)
    }

    fn mul_(slf: Bound<'_, Self>, other: Operand) -> PyResult<Bound<'_, Self>> {
        arithmetic(&slf, operators::MUL, MUL, &other)?;
        Ok(slf)
    }

    fn div_(slf: Bound<'_, Self>, other: Operand) -> PyResult<Bound<'_, Self>> {
        arithmetic(&slf, operators::DIV, DIV, &other)?;
        Ok(slf)
    }

    #[pyo3(signature = (src, non_blocking=false))]
    fn copy_(slf: Bound<'_, Self>, src: convert::Arg, non_blocking: bool) -> PyResult<Bound<'_, Self>> {
        let _ = non_blocking;
        let src = src.0;
        let dtype = slf.borrow().inner.dtype();
        change(slf, Some(&src), |old| ops::cast(&ops::broadcast_to(&src, old.shape())?, dtype), |x| ops::copy_(x, &src))
    }

    fn zero_(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        change(slf, None, |old| Ok(Core::zeros(old.shape(), old.dtype())), ops::zero_)
    }

    fn fill_(slf: Bound<'_, Self>, value: Number) -> PyResult<Bound<'_, Self>> {
        change(slf, None, |old| Ok(ops::full(old.shape(), value.0, Some(old.dtype()))), |x| ops::fill_(x, value.0))
    }

    #[pyo3(signature = (min=None, max=None))]
    fn clamp_(slf: Bound<'_, Self>, min: Option<Number>, max: Option<Number>) -> PyResult<Bound<'_, Self>> {
        let (min, max) = (min.map(|n| n.0), max.map(|n| n.0));
        change(slf, None, |old| ops::clamp(old, min, max), |x| ops::clamp_(x, min, max))
    }

    #[pyo3(signature = (a=0.0.into(), b=1.0.into()), text_signature = "($self, a=0.0, b=1.0)")]
    fn uniform_(slf: Bound<'_, Self>, a: Given<f64>, b: Given<f64>) -> PyResult<Bound<'_, Self>> {
        named!("uniform_"; a, b);
        change(slf, None, fresh(move |x| ops::random::uniform_(x, a, b)), move |x| ops::random::uniform_(x, a, b))
    }

    #[pyo3(signature = (mean=0.0.into(), std=1.0.into()), text_signature = "($self, mean=0.0, std=1.0)")]
    fn normal_(slf: Bound<'_, Self>, mean: Given<f64>, std: Given<f64>) -> PyResult<Bound<'_, Self>> {
        named!("normal_"; mean, std);
        change(slf, None, fresh(move |x| ops::random::normal_(x, mean, std)), move |x| {
            ops::random::normal_(x, mean, std)
        })
    }

    #[pyo3(signature = (p=0.5.into()), text_signature = "($self, p=0.5)")]
    fn bernoulli_(slf: Bound<'_, Self>, p: Given<f64>) -> PyResult<Bound<'_, Self>> {
        named!("bernoulli_"; p);
        change(slf, None, fresh(move |x| ops::random::bernoulli_(x, p)), move |x| ops::random::bernoulli_(x, p))
    }
}

/// A change that overwrites everything, as a new tensor.
fn fresh(fill: impl FnOnce(&Core) -> Result<()>) -> impl FnOnce(&Core) -> Result<Core> {
    |old| {
        let new = Core::empty(old.shape(), old.dtype());
        fill(&new)?;
        Ok(new)
    }
}

/// target ← target ± alpha · other.
fn scaled(
    slf: Bound<'_, Tensor>,
    how: Change,
    other: Operand,
    alpha: Scalar,
    pair: Pair,
) -> PyResult<Bound<'_, Tensor>> {
    let other = match (alpha, other) {
        (Scalar::Int(1), other) => other,
        (_, Operand::Tensor(t)) => Operand::Tensor(ops::mul_scalar(&t, alpha).raise()?),
        (Scalar::Int(a), Operand::Scalar(Scalar::Int(b))) => Operand::Scalar(Scalar::Int(a.wrapping_mul(b))),
        (_, Operand::Scalar(s)) => Operand::Scalar(Scalar::Float(s.to_f64() * alpha.to_f64())),
    };
    arithmetic(&slf, pair, how, &other)?;
    Ok(slf)
}

//! Changing a tensor in place.
//!
//! Under `no_grad`, or where no gradient flows, the memory is changed. A result on the tape that is no view may be
//! changed as well: the change is one more op on the tape, and whatever an earlier op saved of it is noticed to be stale.

use fastnn_core::ops;
use fastnn_core::plan::trace;
use fastnn_core::tensor::tape;
use fastnn_core::{Result, Tensor as Core};
use pyo3::prelude::*;

use crate::error::Raise;
use crate::gil;
use crate::operators::{Operand, Pair};
use crate::tensor::Tensor;

/// Whether a change of `target` must be recorded.
fn on_tape(target: &Core, other: Option<&Core>) -> bool {
    tape::is_grad_enabled() && (target.requires_grad() || other.is_some_and(Core::requires_grad))
}

/// Whether a recorded change may be made: not to a leaf that requires grad, nor through a view.
fn may_record(target: &Core) -> bool {
    target.dtype().is_float() && !target.is_view() && !(target.is_leaf() && target.requires_grad())
}

/// target ← target ∘ other.
pub fn arithmetic(slf: &Bound<'_, Tensor>, pair: Pair, op: ops::Arithmetic, other: &Operand) -> PyResult<()> {
    let py = slf.py();
    let target = slf.borrow().inner.clone();
    let tensor = match other {
        Operand::Tensor(t) => Some(t),
        Operand::Scalar(_) => None,
    };
    if !on_tape(&target, tensor) || !may_record(&target) {
        return match other {
            Operand::Tensor(t) => gil::run(py, target.numel(), || ops::arithmetic_(op, &target, t)),
            Operand::Scalar(s) => gil::run(py, target.numel(), || ops::arithmetic_scalar_(op, &target, *s)),
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

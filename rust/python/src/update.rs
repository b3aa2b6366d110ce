//! One pass over all parameters: each member of the team takes a range of all their elements together.

use fastnn_core::optim::{Progress, Rule, Step};
use fastnn_core::simd::Flush;
use fastnn_core::tensor::layout::show;
use fastnn_core::tensor::overlap;
use fastnn_core::threads;
use fastnn_core::{DType, Error, Float, Result, Tensor as Core, ops};
use pyo3::PyResult;
use smallvec::SmallVec;

use crate::error::value_error;

/// A step's scalars in the parameter's type.
enum Scalars {
    F32(Step<f32>),
    F64(Step<f64>),
}

/// One parameter to update. All tensors are contiguous, of one shape and dtype, and none overlaps another.
pub struct Item {
    scalars: Scalars,
    param: Core,
    grad: Core,
    state: SmallVec<[Core; 3]>,
}

/// That a parameter can be updated in place.
pub fn check_target(name: &str, i: usize, param: &Core) -> Result<()> {
    if !param.storage().writable() {
        return Err(Error::value(format!("{name}.step: expected parameter {i} to be writable; got a read-only array")));
    }
    if overlap::repeats(param.layout()) {
        let shape = show(param.shape());
        return Err(Error::value(format!(
            "{name}.step: expected parameter {i} to have a place for each element; got an expanded one of shape {shape} (use \
             clone())"
        )));
    }
    Ok(())
}

/// That no two parameters share memory.
pub fn check_apart(name: &str, params: &[Core]) -> PyResult<()> {
    overlap::first_shared(params).map_or(Ok(()), |(i, j)| {
        Err(value_error(format!("{name}: expected parameters that share no memory; parameters {i} and {j} do")))
    })
}

impl Item {
    /// The next update of a contiguous parameter with a contiguous gradient, in whose memory no update writes.
    pub fn new(rule: &Rule, progress: &Progress, param: Core, grad: Core, state: &[Core]) -> Result<Self> {
        if let Some(bad) = state.iter().find(|s| s.shape() != param.shape() || s.dtype() != param.dtype()) {
            return Err(Error::value(format!(
                "step: expected state of shape {}; got {}",
                show(param.shape()),
                show(bad.shape())
            )));
        }
        let scalars = match param.dtype() {
            DType::F64 => Scalars::F64(rule.at(progress)),
            _ => Scalars::F32(rule.at(progress)),
        };
        Ok(Self { scalars, param, grad, state: SmallVec::from(state) })
    }

    /// The parameter.
    pub fn param(&self) -> &Core {
        &self.param
    }

    /// Update elements `from..to`.
    ///
    /// # Safety
    /// Nobody else may use these elements of parameter and state meanwhile.
    unsafe fn update(&self, from: usize, to: usize) {
        match &self.scalars {
            // SAFETY: passed on.
            Scalars::F32(step) => unsafe { self.update_as(step, from, to) },
            // SAFETY: passed on.
            Scalars::F64(step) => unsafe { self.update_as(step, from, to) },
        }
    }

    /// # Safety
    /// As for [`update`](Self::update).
    unsafe fn update_as<T: Float>(&self, step: &Step<T>, from: usize, to: usize) {
        // SAFETY: contiguous tensors of at least `to` elements; unshared by this function's contract and `new`.
        let part = |t: &Core| unsafe { std::slice::from_raw_parts_mut(t.view().ptr::<T>().add(from), to - from) };
        let mut state: SmallVec<[&mut [T]; 3]> = self.state.iter().map(part).collect();
        step.update(part(&self.param), &self.grad.view().slice::<T>()[from..to], &mut state);
    }
}

/// Nanoseconds that an element takes, times 2, when it comes from memory.
const WORK: usize = 1;
/// Shares begin at multiples of this many elements: whole cache lines.
const GRANULE: usize = 64;

/// Update all.
pub fn run(items: &[Item]) {
    let total: usize = items.iter().map(|i| i.param.numel()).sum();
    let work = total * WORK / 2;
    let width = ops::team_width(work);
    if width <= 1 {
        let _flush = Flush::begin();
        for item in items {
            // SAFETY: the only one who updates.
            unsafe { item.update(0, item.param.numel()) };
        }
        return;
    }
    threads::region(width, work, &|team| {
        let _flush = Flush::begin();
        let share = team.share_aligned(total, GRANULE);
        let mut before = 0;
        for item in items {
            let n = item.param.numel();
            let (from, to) = (share.start.max(before), share.end.min(before + n));
            if from < to {
                // SAFETY: shares are disjoint, and so are the items' places among all elements.
                unsafe { item.update(from - before, to - before) };
            }
            before += n;
        }
    });
}

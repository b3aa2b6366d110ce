//! Gradients of weights, and updates: what penalties, clipping, noise, max-norm and averages do around the rule.

use std::cell::Cell;
use std::ops::Range;

use super::memory::Memory;
use super::run::{LINE, Step, share_of_rows};
use super::stages::{RowNorms, Update, Updates, Weight, WeightPenalty};
use crate::element::Float;
use crate::kernels::matmul::{self, MatRef, Product};
use crate::optim::update_options::{self, Around, UpdateOptions};
use crate::tensor::Storage;
use crate::threads::Team;
use crate::with_float;

/// A weight's gradient, and the update that joined it.
pub fn run_weight<T: Float>(stage: &Weight, memory: &Memory<'_>, team: &Team, step: &Step<'_>) {
    let share = share_of_rows(team, stage.rows);
    let cols = stage.cols;
    // Gradient of a penalty, added to these rows.
    let penalize = |grad: &mut [T], rows: Range<usize>| {
        let Some(WeightPenalty { penalty, weight, sums }) = &stage.penalty else { return };
        for (row, grad) in rows.zip(grad.chunks_exact_mut(cols)) {
            // SAFETY: this row is this member's, and nobody writes it before the update.
            let sum = penalty.add_gradient(unsafe { memory.slice(*weight, row * cols, cols) }, grad);
            if let Some(sums) = sums {
                // SAFETY: as above.
                unsafe { memory.slice_mut(*sums, row, 1)[0] = sum };
            }
        }
    };
    let Some(update) = &stage.update else {
        let mut finish = |rows: Range<usize>| {
            let range = rows.start * cols..rows.end * cols;
            // SAFETY: these rows are this member's.
            let grad = unsafe { memory.slice_mut::<T>(stage.grad, range.start, range.len()) };
            penalize(grad, rows.clone());
            if let Some(norms) = stage.norms {
                // SAFETY: as above.
                let norms = unsafe { memory.slice_mut::<f64>(norms, rows.start, rows.len()) };
                for (norm, row) in norms.iter_mut().zip(grad.chunks(cols)) {
                    *norm = update_options::squared_norm(step.update_options.clip_value, row);
                }
            }
        };
        // SAFETY: members write disjoint rows.
        return unsafe { weight_product::<T>(stage, memory, memory.ptr_mut(stage.grad), false, share, &mut finish) };
    };
    // Used up as soon as it is made, the gradient needs no more memory than a block of rows.
    with_scratch(matmul::ROW_BLOCK.min(stage.rows) * cols, |scratch: *mut T| {
        let applied = Applied::new(update, step, None);
        let mut finish = |rows: Range<usize>| {
            let range = rows.start * cols..rows.end * cols;
            // SAFETY: the scratch holds these rows' gradient, and is this member's.
            let grad = unsafe { std::slice::from_raw_parts_mut(scratch, range.len()) };
            penalize(grad, rows);
            // SAFETY: these rows are this member's.
            unsafe { applied.update(memory, grad, range) };
        };
        // SAFETY: members have scratch of their own.
        unsafe { weight_product::<T>(stage, memory, scratch, true, share, &mut finish) };
    });
}

/// The rows `share` of a weight's gradient.
///
/// # Safety
/// `grad` has room, and nobody else uses these rows of it.
unsafe fn weight_product<T: Float>(
    stage: &Weight,
    memory: &Memory<'_>,
    grad: *mut T,
    one_block: bool,
    share: Range<usize>,
    finish: &mut dyn FnMut(Range<usize>),
) {
    // SAFETY: the operand begins inside its buffer.
    let x = unsafe { memory.ptr::<T>(stage.x.buffer).add(stage.x.layout.offset) };
    let product = Product {
        m: stage.rows,
        n: stage.cols,
        k: stage.samples,
        a: MatRef { ptr: memory.ptr::<T>(stage.g.buffer), row_stride: stage.g.ld as isize, col_stride: 1 },
        b: MatRef { ptr: x, row_stride: stage.cols as isize, col_stride: 1 },
        c: grad,
        ldc: stage.cols,
        accumulate: false,
        one_block,
    };
    // SAFETY: operands have the sizes they were lowered for.
    unsafe { matmul::block(&product, share, 0..stage.cols, finish) };
}

thread_local! {
    /// Kept from step to step, so that only the first one allocates.
    static SCRATCH: Cell<Option<Storage>> = const { Cell::new(None) };
}

/// Call `f` with room for `len` elements, this thread's own.
fn with_scratch<T: Float>(len: usize, f: impl FnOnce(*mut T)) {
    let bytes = len * T::DTYPE.size();
    let storage = SCRATCH.take().filter(|s| s.bytes() >= bytes).unwrap_or_else(|| Storage::alloc(bytes));
    f(storage.ptr().cast());
    SCRATCH.set(Some(storage));
}

/// Most memories an update rule keeps for a parameter.
const MAX_STATE: usize = 4;

/// An update with the scalars of one step.
struct Applied<'a, T: Float> {
    update: &'a Update,
    rule: crate::optim::Step<T>,
    around: Around<T>,
}

impl<'a, T: Float> Applied<'a, T> {
    /// `norm` is that of all gradients, if it is limited.
    fn new(update: &'a Update, step: &Step<'_>, norm: Option<f64>) -> Self {
        let rule = step.rules[update.param].0.at(&step.progress[update.param]);
        Self { update, rule, around: step.update_options.at(step.ahead, step.noise, norm) }
    }

    /// Update `range` of a parameter with that part of its gradient, which is used up; whole rows, if their norm is limited.
    ///
    /// # Safety
    /// Nobody else uses these elements.
    unsafe fn update(&self, memory: &Memory<'_>, grad: &mut [T], range: Range<usize>) {
        self.around.gradient(grad, self.update.position + range.start);
        // SAFETY: by this function's contract.
        unsafe { self.update_plain(memory, grad, range) };
    }

    /// As [`update`](Self::update), with a gradient that needs no change.
    ///
    /// # Safety
    /// As there.
    unsafe fn update_plain(&self, memory: &Memory<'_>, grad: &[T], range: Range<usize>) {
        let update = self.update;
        // SAFETY: by this function's contract.
        let part = |buffer: usize| unsafe { memory.slice_mut::<T>(buffer, range.start, range.len()) };
        let param = part(update.value);
        let mut state: smallvec::SmallVec<[&mut [T]; MAX_STATE]> = update.state.iter().map(|&s| part(s)).collect();
        self.rule.update(param, grad, &mut state);
        if let Some(max_norm) = update.max_norm {
            update_options::limit_rows(param, update.cols, max_norm);
        }
        if let Some(average) = update.average {
            self.around.average(param, part(average));
        }
    }
}

/// Elements of a gradient that are copied before they are changed: others may hold the gradient too.
const CHANGED_AT_ONCE: usize = 4096;

/// All updates that no product does.
pub fn run_updates(updates: &Updates, memory: &Memory<'_>, team: &Team, step: &Step<'_>) {
    // Every member finds the norm for itself: it is a sum over rows, which are at hand.
    // SAFETY: all were complete before the last barrier.
    let norms = updates.norms.iter().map(|&(norms, rows)| unsafe { memory.slice::<f64>(norms, 0, rows) });
    let norm = (!updates.norms.is_empty()).then(|| update_options::total_norm(norms));
    for (update, grad) in &updates.items {
        let rows = if update.max_norm.is_some() { update.cols.max(1) } else { 1 };
        // Small ones are not worth sharing, and land on different members.
        let range = if update.len < SMALL_UPDATE {
            if update.param % team.size() != team.rank() {
                continue;
            }
            0..update.len
        } else if rows > 1 {
            let share = team.share(update.len / rows);
            share.start * rows..share.end * rows
        } else {
            team.share_aligned(update.len, LINE)
        };
        with_float!(update.dtype, T => {
            let applied = Applied::<T>::new(update, step, norm);
            // SAFETY: nobody writes a finished gradient.
            let grad = |range: &Range<usize>| unsafe { memory.slice::<T>(*grad, range.start, range.len()) };
            if !applied.around.changes_gradients() {
                // SAFETY: shares are disjoint.
                unsafe { applied.update_plain(memory, grad(&range), range) };
                continue;
            }
            let most = (CHANGED_AT_ONCE / rows).max(1) * rows;
            with_scratch(most, |scratch: *mut T| {
                for start in range.clone().step_by(most) {
                    let part = start..range.end.min(start + most);
                    // SAFETY: the scratch is this member's; shares are disjoint.
                    unsafe {
                        let changed = std::slice::from_raw_parts_mut(scratch, part.len());
                        changed.copy_from_slice(grad(&part));
                        applied.update(memory, changed, part);
                    }
                }
            });
        });
    }
}

/// The squared norms of the rows of gradients.
pub fn run_norms(all: &[RowNorms], memory: &Memory<'_>, team: &Team, settings: &UpdateOptions) {
    for (i, RowNorms { grad, dtype, rows, cols, norms }) in all.iter().enumerate() {
        let share = if rows * cols < SMALL_UPDATE {
            if i % team.size() != team.rank() {
                continue;
            }
            0..*rows
        } else {
            team.share(*rows)
        };
        // SAFETY: shares are disjoint; nobody writes a finished gradient.
        with_float!(*dtype, T => unsafe {
            let norms = memory.slice_mut::<f64>(*norms, share.start, share.len());
            for (norm, row) in norms.iter_mut().zip(share) {
                *norm = update_options::squared_norm(settings.clip_value, memory.slice::<T>(*grad, row * cols, *cols));
            }
        });
    }
}

/// Parameters below this size are updated by one member.
const SMALL_UPDATE: usize = 4096;

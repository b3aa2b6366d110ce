//! Running a program: every member of the team walks all stages and does its share of each.

use std::cell::Cell;
use std::ops::Range;

use super::memory::Memory;
use super::program::{CrossEntropyStage, Program, RowNorms, Rows, Stage, Update, Updates, Weight};
use super::rows;
use crate::element::Float;
use crate::error::Result;
use crate::kernels::matmul::{self, MatRef, Product};
use crate::kernels::{loss as losses, transpose};
use crate::ops::{Run, cross_entropy, penalty};
use crate::optim::Rule;
use crate::optim::treatment::{self, Around, Treatment};
use crate::rng::Draw;
use crate::tensor::{Storage, View};
use crate::threads::Team;
use crate::with_float;

/// What changes from step to step besides the batch.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The update rule of each parameter, and the number of this update, the first being 1.
    pub rules: &'a [(Rule, u64)],
    /// Added to the number of updates, for steps after the first of one call.
    pub ahead: u64,
    /// Added to the call number of every draw.
    pub replay: u64,
    /// What is done to gradients and parameters besides.
    pub treatment: &'a Treatment,
    /// The draw of the noise on gradients, if there is any.
    pub noise: Option<Draw>,
    /// Whether a loss that is NaN or infinite leaves the parameters as they are.
    pub stop: bool,
}

/// Rows that one member takes at a time: dropout draws for 8 features at once.
const ROW_GRANULE: usize = 8;
/// Narrow matrices are shared row by row.
const NARROW: usize = 2 * ROW_GRANULE;

/// Run one step. The caller meets the team before and after. An error is that of an op which looks at values, such as
/// labels computed in the step; all members see the same one at the same stage, and no parameter was changed.
pub fn step(program: &Program, memory: &Memory<'_>, team: &Team, step: &Step<'_>) -> Result<()> {
    let Some(dtype) = program.dtype else {
        return stages::<f32>(program, memory, team, step);
    };
    with_float!(dtype, T => stages::<T>(program, memory, team, step))
}

fn stages<T: Float>(program: &Program, memory: &Memory<'_>, team: &Team, step: &Step<'_>) -> Result<()> {
    for (barrier, stage) in &program.stages {
        if *barrier {
            team.barrier();
        }
        // All members see the same loss: it was complete before the last barrier.
        if step.stop && stage.updates() && !loss(program, memory).is_finite() {
            continue;
        }
        match stage {
            Stage::Op { op, inputs, outputs } => {
                let inputs: smallvec::SmallVec<[View<'_>; 4]> = inputs.iter().map(|o| memory.view(o)).collect();
                let outputs: smallvec::SmallVec<[View<'_>; 4]> = outputs.iter().map(|o| memory.view(o)).collect();
                op.check(&inputs)?;
                op.run(&Run { team, replay: step.replay }, &inputs, &outputs);
            }
            Stage::ToFeatures { from, to, samples, features } => {
                let share = team.share_aligned(*features, LINE);
                // SAFETY: shares of features are disjoint rows of `to`.
                unsafe {
                    let x = memory.view(from).ptr::<T>();
                    let y = memory.ptr::<T>(to.buffer).add(share.start * to.ld);
                    turn(x.add(share.start), *features, *samples, share.len(), y, to.ld);
                }
            }
            Stage::ToRows { from, to, samples, features } => {
                let share = team.share_aligned(*samples, LINE);
                // SAFETY: shares of samples are disjoint rows of `to`.
                unsafe {
                    let x = memory.ptr::<T>(from.buffer).add(share.start);
                    let y = memory.ptr::<T>(*to).add(share.start * features);
                    turn(x, from.ld, *features, share.len(), y, *features);
                }
            }
            Stage::Rows(rows) => run_rows::<T>(rows, memory, team, step.replay),
            Stage::Weight(weight) => run_weight::<T>(weight, memory, team, step),
            Stage::CrossEntropy(stage) => {
                if !stage.labels_checked {
                    let labels = memory.view(&stage.labels);
                    cross_entropy::check_labels("cross_entropy", labels.slice(), stage.classes, stage.ignore_index)?;
                }
                run_cross_entropy::<T>(stage, memory, team);
            }
            Stage::Loss(stage) => run_loss::<T>(stage, memory, team),
            Stage::Penalty { rows, to, dtype } => {
                if team.rank() == 0 {
                    // SAFETY: one member; the rows were complete before the last barrier.
                    with_float!(*dtype, T => unsafe {
                        let rows = rows.iter().map(|&(sums, n)| memory.slice::<T>(sums, 0, n));
                        memory.slice_mut::<T>(*to, 0, 1)[0] = penalty::total(rows);
                    });
                }
            }
            Stage::Norms(norms) => run_norms(norms, memory, team, step.treatment),
            Stage::Update(updates) => run_updates(updates, memory, team, step),
        }
    }
    Ok(())
}

/// The loss, once it is complete.
#[must_use]
pub fn loss(program: &Program, memory: &Memory<'_>) -> f64 {
    let (buffer, offset, dtype) = program.loss;
    with_float!(dtype, T => {
        // SAFETY: one element, complete.
        let loss = unsafe { memory.slice::<T>(buffer, offset, 1)[0] };
        loss.to_f64()
    })
}

/// `dst[c · ld_dst + r] = src[r · ld_src + c]`
///
/// # Safety
/// These elements exist, and nobody else uses those of `dst`; what lies between its rows may be others'.
unsafe fn turn<T: Float>(src: *const T, ld_src: usize, rows: usize, cols: usize, dst: *mut T, ld_dst: usize) {
    if rows == 0 || cols == 0 {
        return;
    }
    // SAFETY: from the first to the last element of each.
    unsafe {
        let src = std::slice::from_raw_parts(src, (rows - 1) * ld_src + cols);
        let dst = std::slice::from_raw_parts_mut(dst, (cols - 1) * ld_dst + rows);
        transpose::transpose(src, transpose::Matrix { rows, cols, stride: ld_src }, dst, ld_dst);
    }
}

/// Elements of a cache line, at which transposes are shared.
const LINE: usize = 16;

fn share_of_rows(team: &Team, rows: usize) -> Range<usize> {
    if rows < NARROW { team.share(rows) } else { team.share_aligned(rows, ROW_GRANULE) }
}

fn run_rows<T: Float>(stage: &Rows, memory: &Memory<'_>, team: &Team, replay: u64) {
    let share = share_of_rows(team, stage.features);
    let mut finish = |done: Range<usize>| rows::run::<T>(stage, memory, done, replay);
    match &stage.product {
        Some(p) => {
            let product = Product {
                m: stage.features,
                n: stage.samples,
                k: p.inner,
                a: MatRef {
                    // SAFETY: the weight begins inside its buffer.
                    ptr: unsafe { memory.ptr::<T>(p.weight).add(p.weight_offset) },
                    row_stride: p.strides.0 as isize,
                    col_stride: p.strides.1 as isize,
                },
                b: MatRef { ptr: memory.ptr::<T>(p.x.buffer), row_stride: p.x.ld as isize, col_stride: 1 },
                c: memory.ptr::<T>(p.y.buffer),
                ldc: p.y.ld,
                accumulate: false,
                one_block: false,
            };
            // SAFETY: operands have the sizes they were lowered for; members write disjoint rows.
            unsafe { matmul::block(&product, share.clone(), 0..stage.samples, &mut finish) };
        }
        None => {
            for start in share.clone().step_by(ROW_GRANULE) {
                finish(start..(start + ROW_GRANULE).min(share.end));
            }
        }
    }
    for (from, to) in &stage.copies {
        // SAFETY: shares of features are disjoint columns of `to`.
        unsafe {
            let x = memory.ptr::<T>(from.buffer).add(share.start * from.ld);
            let y = memory.ptr::<T>(*to).add(share.start);
            turn(x, from.ld, share.len(), stage.samples, y, stage.features);
        }
    }
}

fn run_weight<T: Float>(stage: &Weight, memory: &Memory<'_>, team: &Team, step: &Step<'_>) {
    let share = share_of_rows(team, stage.rows);
    let cols = stage.cols;
    // What a penalty adds to these rows of the gradient.
    let penalise = |grad: &mut [T], range: Range<usize>| {
        if let Some((penalty, weight)) = &stage.penalty {
            // SAFETY: these rows are this member's, and nobody writes them before the update.
            penalty.add_gradient(T::ONE, unsafe { memory.slice(*weight, range.start, range.len()) }, grad);
        }
    };
    let Some(update) = &stage.update else {
        let mut finish = |rows: Range<usize>| {
            let range = rows.start * cols..rows.end * cols;
            // SAFETY: these rows are this member's.
            let grad = unsafe { memory.slice_mut::<T>(stage.grad, range.start, range.len()) };
            penalise(grad, range);
            if let Some(norms) = stage.norms {
                // SAFETY: as above.
                let norms = unsafe { memory.slice_mut::<f64>(norms, rows.start, rows.len()) };
                for (norm, row) in norms.iter_mut().zip(grad.chunks(cols)) {
                    *norm = treatment::squared_norm(step.treatment.clip_value, row);
                }
            }
        };
        // SAFETY: members write disjoint rows.
        return unsafe { weight_product::<T>(stage, memory, memory.ptr(stage.grad), false, share, &mut finish) };
    };
    // Used up as soon as it is made, the gradient needs no more memory than a block of rows.
    with_scratch(matmul::ROW_BLOCK.min(stage.rows) * cols, |scratch: *mut T| {
        let applied = Applied::new(update, step, None);
        let mut finish = |rows: Range<usize>| {
            let range = rows.start * cols..rows.end * cols;
            // SAFETY: the scratch holds these rows' gradient, and is this member's.
            let grad = unsafe { std::slice::from_raw_parts_mut(scratch, range.len()) };
            penalise(grad, range.clone());
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
        let (rule, t) = &step.rules[update.param];
        let around = step.treatment.at(step.ahead, step.noise, norm);
        Self { update, rule: rule.at::<T>(t + step.ahead), around }
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
            treatment::limit_rows(param, update.cols, max_norm);
        }
        if let Some(average) = update.average {
            self.around.average(param, part(average));
        }
    }
}

/// Elements of a gradient that are copied before they are changed: others may hold the gradient too.
const CHANGED_AT_ONCE: usize = 4096;

fn run_updates(updates: &Updates, memory: &Memory<'_>, team: &Team, step: &Step<'_>) {
    // Every member finds the norm for itself: it is a sum over rows, which are at hand.
    // SAFETY: all were complete before the last barrier.
    let norms = updates.norms.iter().map(|&(norms, rows)| unsafe { memory.slice::<f64>(norms, 0, rows) });
    let norm = (!updates.norms.is_empty()).then(|| treatment::total_norm(norms));
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

fn run_norms(all: &[RowNorms], memory: &Memory<'_>, team: &Team, settings: &Treatment) {
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
                *norm = treatment::squared_norm(settings.clip_value, memory.slice::<T>(*grad, row * cols, *cols));
            }
        });
    }
}

/// Parameters below this size are updated by one member.
const SMALL_UPDATE: usize = 4096;

fn run_cross_entropy<T: Float>(stage: &CrossEntropyStage, memory: &Memory<'_>, team: &Team) {
    let share = team.share_aligned(stage.samples, LINE);
    if share.is_empty() {
        return;
    }
    let (start, len, stride) = (share.start, share.len(), stage.logits.ld);
    let span = (stage.classes - 1) * stride + len;
    // SAFETY: shares of samples are disjoint columns of the logits, their gradient, and the vectors over samples. The
    // gradient's columns of members interleave, so its slice spans others' elements, which the kernel does not touch.
    unsafe {
        let rule = cross_entropy_of::<T>(stage, memory);
        let logits = memory.slice::<T>(stage.logits.buffer, start, span);
        let labels = memory.slice::<i64>(stage.labels.buffer, stage.labels.layout.offset + start, len);
        let mut samples = losses::SampleLosses {
            loss: memory.slice_mut(stage.losses, start, len),
            max: memory.slice_mut(stage.max, start, len),
            sum: memory.slice_mut(stage.sum, start, len),
        };
        losses::cross_entropy_columns(rule, logits, stride, labels, &mut samples);
        let Some(grad) = stage.grad else { return };
        // Every member finds the divisor for itself: it is a sum over labels, which are at hand.
        let all = memory.slice::<i64>(stage.labels.buffer, stage.labels.layout.offset, stage.samples);
        let scale = if stage.mean {
            T::ONE / cross_entropy::label_weight(rule.weight, stage.ignore_index, all)
        } else {
            T::ONE
        };
        let scales = memory.slice_mut::<T>(stage.scale, start, len);
        scales.fill(scale);
        let samples = losses::SampleScales { scale: scales, max: samples.max, sum: samples.sum };
        let out = memory.slice_mut::<T>(grad.buffer, start, span);
        losses::cross_entropy_columns_backward(rule, logits, stride, labels, samples, out);
    }
}

fn run_loss<T: Float>(stage: &CrossEntropyStage, memory: &Memory<'_>, team: &Team) {
    if team.rank() != 0 {
        return;
    }
    // SAFETY: one member; the losses were complete before the last barrier.
    unsafe {
        let labels = memory.slice::<i64>(stage.labels.buffer, stage.labels.layout.offset, stage.samples);
        let sum = crate::kernels::reduce::sum_flat(memory.slice::<T>(stage.losses, 0, stage.samples));
        let weight = cross_entropy_of::<T>(stage, memory).weight;
        let divisor = if stage.mean { cross_entropy::label_weight(weight, stage.ignore_index, labels) } else { T::ONE };
        let loss = sum / divisor;
        memory.slice_mut::<T>(stage.loss, 0, 1)[0] = loss;
    }
}

/// # Safety
/// Nobody writes the class weights meanwhile.
unsafe fn cross_entropy_of<'a, T: Float>(
    stage: &CrossEntropyStage,
    memory: &Memory<'a>,
) -> losses::CrossEntropy<'a, T> {
    losses::CrossEntropy {
        classes: stage.classes,
        // SAFETY: by this function's contract.
        weight: stage.weight.map_or(&[], |w| unsafe { memory.slice(w, 0, stage.classes) }),
        smoothing: stage.label_smoothing,
        ignore_index: stage.ignore_index,
    }
}

//! Running a program: every member of the team walks all stages and does its share of each.

use std::cell::Cell;
use std::ops::Range;

use super::memory::Memory;
use super::program::{CrossEntropyStage, Program, Rows, Stage, Update, Weight};
use super::rows;
use crate::element::Float;
use crate::error::Result;
use crate::kernels::matmul::{self, MatRef, Product};
use crate::kernels::{loss as losses, transpose};
use crate::ops::{Run, cross_entropy};
use crate::optim::{Progress, Rule};
use crate::tensor::{Storage, View};
use crate::threads::Team;
use crate::with_float;

/// What changes from step to step besides the batch.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The update rule of each parameter, and how far it had come before the call.
    pub rules: &'a [(Rule, Progress)],
    /// How far each parameter has come now.
    pub progress: &'a [Progress],
    /// Added to the call number of every draw.
    pub replay: u64,
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
    let Some(update) = &stage.update else {
        // SAFETY: members write disjoint rows.
        return unsafe { weight_product::<T>(stage, memory, memory.ptr(stage.grad), false, share, &mut |_| ()) };
    };
    // Used up as soon as it is made, the gradient needs no more memory than a block of rows.
    with_scratch(matmul::ROW_BLOCK.min(stage.rows) * stage.cols, |scratch: *mut T| {
        let rule = rule_at::<T>(update, step);
        let mut finish = |rows: Range<usize>| {
            let range = rows.start * stage.cols..rows.end * stage.cols;
            // SAFETY: these rows are this member's, and the scratch holds their gradient.
            unsafe { apply_update(update, &rule, memory, std::slice::from_raw_parts(scratch, range.len()), range) };
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

fn rule_at<T: Float>(update: &Update, step: &Step<'_>) -> crate::optim::Step<T> {
    step.rules[update.param].0.at(&step.progress[update.param])
}

/// Most memories an update rule keeps for a parameter.
const MAX_STATE: usize = 4;

/// Update `range` of a parameter with that part of its gradient.
///
/// # Safety
/// Nobody else uses these elements.
unsafe fn apply_update<T: Float>(
    update: &Update,
    rule: &crate::optim::Step<T>,
    memory: &Memory<'_>,
    grad: &[T],
    range: Range<usize>,
) {
    // SAFETY: by this function's contract.
    unsafe {
        let param = memory.slice_mut::<T>(update.value, range.start, range.len());
        let mut state: smallvec::SmallVec<[&mut [T]; MAX_STATE]> =
            update.state.iter().map(|&s| memory.slice_mut::<T>(s, range.start, range.len())).collect();
        rule.update(param, grad, &mut state);
    }
}

fn run_updates(updates: &[(Update, usize)], memory: &Memory<'_>, team: &Team, step: &Step<'_>) {
    for (update, grad) in updates {
        // Small ones are not worth sharing, and land on different members.
        let range = if update.len < SMALL_UPDATE {
            if update.param % team.size() != team.rank() {
                continue;
            }
            0..update.len
        } else {
            team.share_aligned(update.len, LINE)
        };
        with_float!(update.dtype, T => {
            let rule = rule_at::<T>(update, step);
            // SAFETY: shares are disjoint.
            unsafe {
                let grad = memory.slice::<T>(*grad, range.start, range.len());
                apply_update(update, &rule, memory, grad, range);
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

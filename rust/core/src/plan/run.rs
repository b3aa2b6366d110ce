//! Running a program: every member of the team walks all stages and does its share of each.

use std::ops::Range;

use super::halt::Exit;
use super::memory::Memory;
use super::program::{CrossEntropyStage, Home, Penalties, Program, Rows, Stage};
use super::rows;
use super::update::{run_norms, run_updates, run_weight};
use crate::element::Float;
use crate::error::Result;
use crate::kernels::matmul::{self, MatRef, Product};
use crate::kernels::{loss as losses, transpose};
use crate::ops::{Run, cross_entropy, penalty};
use crate::optim::update_options::UpdateOptions;
use crate::optim::{Progress, Rule};
use crate::rng::Draw;
use crate::tensor::View;
use crate::threads::Team;
use crate::with_float;

/// Inputs of a step besides the batch.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The update rule of each parameter, and how far it had come before the call.
    pub rules: &'a [(Rule, Progress)],
    /// Progress of each parameter.
    pub progress: &'a [Progress],
    /// Steps of this call that were taken before.
    pub ahead: u64,
    /// Added to the call number of every draw.
    pub replay: u64,
    /// Changes of gradients and parameters around the update.
    pub update_options: &'a UpdateOptions,
    /// The draw of the noise on gradients, if there is any.
    pub noise: Option<Draw>,
    /// True if a loss that is NaN or infinite leaves the parameters as they are.
    pub stop: bool,
}

/// Rows that one member takes at a time: dropout draws for 8 features at once.
const ROW_GRANULE: usize = 8;
/// Narrow matrices are shared row by row.
const NARROW: usize = 2 * ROW_GRANULE;

/// Run one step. The caller meets the team before and after. An error is that of an op which looks at values, such as
/// labels computed in the step; all members see the same one at the same stage, and no parameter was changed.
pub fn step(program: &Program, memory: &Memory<'_>, team: &Team, step: &Step<'_>, exit: &Exit<'_>) -> Result<()> {
    let Some(dtype) = program.dtype else {
        return stages::<f32>(program, memory, team, step, exit);
    };
    with_float!(dtype, T => stages::<T>(program, memory, team, step, exit))
}

fn stages<T: Float>(
    program: &Program,
    memory: &Memory<'_>,
    team: &Team,
    step: &Step<'_>,
    exit: &Exit<'_>,
) -> Result<()> {
    for (i, (barrier, stage)) in program.stages.iter().enumerate() {
        // A stage has two places at which to end: its barrier, and a check behind it.
        let [before, at] = [2 * (exit.first + i), 2 * (exit.first + i) + 1];
        if *barrier {
            let may_end = i <= exit.undoable;
            if let (true, Some(watch)) = (may_end, exit.watch) {
                exit.halt.decide(before, watch.look());
            }
            team.barrier();
            if may_end {
                exit.halt.decided(before)?;
            }
        }
        // All members see the same loss: it was complete before the last barrier.
        if step.stop && stage.updates() && !loss(program, memory).is_finite() {
            continue;
        }
        match stage {
            Stage::Op { op, inputs: operands, outputs, .. } => {
                let inputs: smallvec::SmallVec<[View<'_>; 4]> = operands.iter().map(|o| memory.view(o)).collect();
                let outputs: smallvec::SmallVec<[View<'_>; 4]> = outputs.iter().map(|o| memory.view(o)).collect();
                if op.checks() {
                    // Others may change it, and members that disagree would wait for each other for ever.
                    let shared = operands.iter().any(|o| !matches!(program.buffers[o.buffer].home, Home::Arena(_)));
                    if shared { exit.halt.agree(at, team, || op.check(&inputs))? } else { op.check(&inputs)? }
                }
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
                    let check = || {
                        let labels = memory.view(&stage.labels);
                        cross_entropy::check_labels("cross_entropy", labels.slice(), stage.classes, stage.ignore_index)
                    };
                    match program.buffers[stage.labels.buffer].home {
                        Home::Arena(_) => check()?,
                        _ => exit.halt.agree(at, team, check)?,
                    }
                }
                run_cross_entropy::<T>(stage, memory, team);
            }
            Stage::Loss(stage) => run_loss::<T>(stage, memory, team),
            Stage::Penalty(penalties) => {
                if team.rank() == 0 {
                    with_float!(penalties.dtype, T => run_penalties::<T>(penalties, memory));
                }
            }
            Stage::Norms(norms) => run_norms(norms, memory, team, step.update_options),
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
pub const LINE: usize = 16;

/// A member's rows.
pub fn share_of_rows(team: &Team, rows: usize) -> Range<usize> {
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

fn run_penalties<T: Float>(penalties: &Penalties, memory: &Memory<'_>) {
    // SAFETY: one member; all was complete before the last barrier.
    unsafe {
        let rows = penalties.rows.iter().map(|&(sums, n)| memory.slice::<T>(sums, 0, n));
        memory.slice_mut::<T>(penalties.to, 0, 1)[0] = penalty::total(rows);
        for &[a, b, c] in &penalties.sums {
            let sum = memory.slice::<T>(a, 0, 1)[0] + memory.slice::<T>(b, 0, 1)[0];
            memory.slice_mut::<T>(c, 0, 1)[0] = sum;
        }
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

//! The planned step: one eager step is traced, fused, placed in one arena, and from then on run in one call.
//!
//! ```text
//! trace    what ran, op by op, forward and backward            tensor/trace.rs
//!   ↓      values instead of tensors, unneeded ops dropped      graph.rs, rewrite.rs
//! graph
//!   ↓      dense layers become rows of features                 fuse.rs, fuse/patterns.rs
//! program  stages over buffers                                  program.rs
//!   ↓      barriers where stages meet, a place for every buffer program/touches.rs, place.rs
//! run      every member of the team walks all stages            call.rs, run.rs, rows.rs, update.rs
//! ```

mod batches;
mod call;
mod fuse;
mod graph;
mod halt;
mod memory;
pub(crate) mod pace;
mod place;
mod program;
mod repeat;
mod rewrite;
mod room;
mod rows;
mod run;
mod stages;
mod statistics;
mod update;
mod written;

use std::sync::Arc;

use crate::tensor::trace::Trace;
pub use batches::batch_of;
use batches::{Batches, Pointers, Rows};
use fuse::Trained;
use graph::Graph;
use pace::Pace;
use program::Program;
pub use repeat::Fingerprint;
pub use room::SharedRoom;
use smallvec::SmallVec;
use statistics::Statistics;
use written::Written;

use crate::data::augment::Pipeline;
use crate::error::{Error, Result};
use crate::kernels::position::read_ref;
use crate::ops::{copy, random};
use crate::optim::update_options::UpdateOptions;
use crate::optim::{Progress, Rule};
use crate::tensor::{Meta, Tensor, tape};

/// A parameter to be trained: its value, the optimizer's state for it, and the gradient that the trace made.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The parameter.
    pub value: Tensor,
    /// The optimizer's state for it.
    pub state: Vec<Tensor>,
    /// Its gradient in the trace.
    pub grad: Tensor,
    /// The place of its first element among those of all parameters.
    pub position: usize,
    /// The greatest norm of a row.
    pub max_norm: Option<f64>,
    /// Its average, if one is kept.
    pub average: Option<Tensor>,
}

/// A planned step.
#[derive(Debug)]
pub struct Plan {
    program: Program,
    room: SharedRoom,
    /// Shape and dtype of each tensor of the batch.
    batch: Vec<Meta>,
    pace: Pace,
    params: Vec<Tensor>,
    written: Written,
    statistics: Statistics,
    /// The generator's seed and call number before the traced step, and how many calls a step makes.
    drawn_from: (u64, u64),
    draws: u64,
    update_options: Arc<UpdateOptions>,
}

impl Plan {
    /// Plan what `trace` did with `batch` to get `loss` and the gradients of `params`. `drawn_from` is the generator's
    /// state before the trace; what was drawn since is what a step draws. `update_options` is done to all gradients and
    /// parameters, and counts the updates.
    pub fn new(
        trace: &Trace,
        batch: &[Tensor],
        loss: &Tensor,
        params: &[Parameter],
        drawn_from: (u64, u64),
        update_options: Arc<UpdateOptions>,
    ) -> Result<Self> {
        if let Some(reason) = &trace.obstacle {
            return Err(Error::state(reason.clone()));
        }
        let draws_end = random::state();
        if let Some(reason) = repeat::foreign_draws(trace, drawn_from, draws_end) {
            return Err(Error::state(reason));
        }
        let wanted: Vec<Tensor> = std::iter::once(loss).chain(params.iter().map(|p| &p.grad)).cloned().collect();
        let (graph, values) = Graph::new(trace, batch, &wanted)?;
        let trained: Vec<Trained> = params
            .iter()
            .zip(&values[1..])
            .map(|(p, &grad)| Trained {
                value: p.value.clone(),
                state: p.state.clone(),
                grad,
                position: p.position,
                max_norm: p.max_norm,
                average: p.average.clone(),
            })
            .collect();
        if let Some(p) = params.iter().find(|p| !p.value.layout().is_contiguous() || p.value.layout().offset != 0) {
            return Err(Error::state(format!("a parameter of shape {:?} is a view", p.value.shape())));
        }
        let mut program = fuse::lower(&graph, values[0], &trained, update_options.clip_norm.is_some());
        program.set_barriers();
        place::place(&mut program);
        let written = Written::of(&program)?;
        let statistics = Statistics::of(&program);
        Ok(Self {
            program,
            room: SharedRoom::default(),
            batch: batch.iter().map(Tensor::meta).collect(),
            pace: Pace::default(),
            params: params.iter().map(|p| p.value.clone()).collect(),
            written,
            statistics,
            drawn_from,
            draws: draws_end.1.wrapping_sub(drawn_from.1),
            update_options,
        })
    }

    /// The same plan, which from now on works in a room that it shares with others.
    #[must_use]
    pub fn within(self, room: &SharedRoom) -> Self {
        Self { room: room.clone(), ..self }
    }

    /// The stages, a line each: what fused with what.
    #[must_use]
    pub fn describe(&self) -> String {
        self.program.describe()
    }

    /// Roughly how many nanoseconds of one thread a step takes.
    #[must_use]
    pub fn work(&self) -> usize {
        self.program.work
    }

    /// One step on `batch`; returns the loss. `rules` has each parameter's update rule and how far it has come. With `stop`,
    /// a loss that is NaN or infinite leaves parameters and running statistics as they are, and so does an error.
    pub fn step(&mut self, batch: &[Tensor], rules: &[(Rule, Progress)], stop: bool) -> Result<f64> {
        // An eager step is done with its batch before it writes anything.
        let copied = |t: &Tensor| if self.written.meets(t) { tape::no_grad(|| copy(t)) } else { Ok(t.clone()) };
        let batch = batch.iter().map(copied).collect::<Result<SmallVec<[Tensor; 4]>>>()?;
        self.check_batch(&batch)?;
        let pointers: Pointers = batch.iter().map(|t| t.view().address()).collect();
        let mut loss = [0.0];
        self.run(&Batches::Given(&pointers), rules, stop, &mut loss)?;
        Ok(loss[0])
    }

    /// `losses.len()` steps, each on `samples` rows of `data` (the batch's tensors, whole) in the order of `order`, which nobody
    /// changes meanwhile and which
    /// holds as many row numbers for each step, and changed by `augment`; the losses are written. `rules` has each parameter's update rule and how far it
    /// has come before this call: once for all steps, or once for each, step after step. With `stop`, the first
    /// loss that is NaN or infinite is the last. Returns how many steps were taken: fewer also where the next one meets an
    /// error, which it raises if it is the first.
    pub fn run_batches(
        &mut self,
        data: &[Tensor],
        order: &[i64],
        augment: Option<&Pipeline>,
        rules: &[(Rule, Progress)],
        stop: bool,
        losses: &mut [f64],
    ) -> Result<usize> {
        let (given, params, steps) = (rules.len(), self.params.len(), losses.len());
        if given != params && given != params * steps {
            return Err(Error::value(format!(
                "plan: expected {params} rules, or {params} for each of {steps} steps; got {given}"
            )));
        }
        let apart = !data.iter().any(|t| self.written.meets(t));
        let rows = Rows::new(&self.batch, data, order, steps, augment)?.apart(apart);
        self.check_labels(data, &rows)?;
        self.run(&Batches::Rows(&rows), rules, stop, losses)
    }

    /// Bytes of the arena.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        self.program.arena
    }

    fn check_batch(&self, batch: &[Tensor]) -> Result<()> {
        for (tensor, meta) in batch.iter().zip(&self.batch) {
            if tensor.shape() != meta.shape.as_slice()
                || tensor.dtype() != meta.dtype
                || !tensor.layout().is_contiguous()
            {
                return Err(Error::value(format!("plan: expected a contiguous batch like {meta:?}; got {tensor:?}")));
            }
        }
        for limits in stages::labels(&self.program) {
            let labels = batch[limits.batch_tensor].view();
            labels.slice::<i64>().iter().map(read_ref).enumerate().try_for_each(|(i, label)| limits.check(label, i))?;
        }
        Ok(())
    }

    fn check_labels(&self, data: &[Tensor], rows: &Rows<'_>) -> Result<()> {
        for limits in stages::labels(&self.program) {
            let labels = data[limits.batch_tensor].view().slice::<i64>();
            for &row in rows.order() {
                limits.check(read_ref(&labels[row as usize]), row as usize)?;
            }
        }
        Ok(())
    }
}

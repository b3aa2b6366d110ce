//! The planned step: one eager step is traced, fused, placed in one arena, and from then on run in one call.
//!
//! ```text
//! trace    what ran, op by op, forward and backward            trace.rs
//!   ↓      values instead of tensors, unneeded ops dropped      graph.rs, rewrite.rs
//! graph
//!   ↓      dense layers become rows of features                 fuse.rs, fuse/patterns.rs
//! program  stages over buffers                                  program.rs
//!   ↓      barriers where stages meet, a place for every buffer program/touches.rs, place.rs
//! run      every member of the team walks all stages            run.rs, rows.rs, update.rs
//! ```

mod batches;
mod fuse;
mod graph;
mod memory;
pub(crate) mod pace;
mod place;
mod program;
mod repeat;
mod rewrite;
mod rows;
mod run;
mod statistics;
pub mod trace;
mod update;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

pub use batches::batch_of;
use batches::{Batches, Pointers, Rows};
use fuse::Trained;
use graph::Graph;
use memory::Memory;
use pace::Pace;
use program::Program;
pub use repeat::Fingerprint;
use smallvec::SmallVec;
use statistics::Statistics;
use trace::Trace;

use crate::data::augment::Pipeline;
use crate::error::{Error, Result};
use crate::ops::random;
use crate::optim::treatment::Treatment;
use crate::optim::{Progress, Rule};
use crate::simd::Flush;
use crate::tensor::{Meta, Storage, Tensor};
use crate::threads;

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
    arena: Storage,
    /// What each tensor of the batch must be.
    batch: Vec<Meta>,
    /// Memory for a gathered batch, made at the first gather.
    gathered: Vec<Storage>,
    pace: Pace,
    params: Vec<Tensor>,
    /// Everything that a step writes besides: states, running statistics.
    also_written: Vec<Tensor>,
    statistics: Statistics,
    /// The generator's seed and call number before the traced step, and how many calls a step makes.
    drawn_from: (u64, u64),
    draws: u64,
    treatment: Arc<Treatment>,
}

/// Nanoseconds of work that are worth a thread inside a step, where threads are awake.
const WORK_PER_THREAD: usize = 10_000;

impl Plan {
    /// Plan what `trace` did with `batch` to get `loss` and the gradients of `params`. `drawn_from` is the generator's
    /// state before the trace; what was drawn since is what a step draws. `treatment` is done to all gradients and
    /// parameters, and counts the updates.
    pub fn new(
        trace: &Trace,
        batch: &[Tensor],
        loss: &Tensor,
        params: &[Parameter],
        drawn_from: (u64, u64),
        treatment: Arc<Treatment>,
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
        let mut program = fuse::lower(&graph, values[0], &trained, treatment.clip_norm.is_some());
        program.set_barriers();
        place::place(&mut program);
        let arena = Storage::alloc(program.arena);
        // Rows are padded to whole vectors; what is never written is at least never a signalling pattern.
        // SAFETY: fresh memory of that size.
        unsafe { std::ptr::write_bytes(arena.ptr(), 0, arena.bytes()) };
        let statistics = Statistics::of(&program);
        Ok(Self {
            program,
            arena,
            batch: batch.iter().map(Tensor::meta).collect(),
            gathered: Vec::new(),
            pace: Pace::default(),
            params: params.iter().map(|p| p.value.clone()).collect(),
            also_written: params
                .iter()
                .flat_map(|p| p.state.iter().chain(&p.average).cloned())
                .chain(statistics.tensors.clone())
                .collect(),
            statistics,
            drawn_from,
            draws: draws_end.1.wrapping_sub(drawn_from.1),
            treatment,
        })
    }

    /// The stages, a line each: what fused with what.
    #[must_use]
    pub fn describe(&self) -> String {
        program::describe(&self.program)
    }

    /// Roughly how many nanoseconds of one thread a step takes.
    #[must_use]
    pub fn work(&self) -> usize {
        self.program.work
    }

    /// One step on `batch`; returns the loss. `rules` has each parameter's update rule and how far it has come. With `stop`,
    /// a loss that is NaN or infinite leaves parameters and running statistics as they are, and so does an error.
    pub fn step(&mut self, batch: &[Tensor], rules: &[(Rule, Progress)], stop: bool) -> Result<f64> {
        self.check_batch(batch)?;
        let pointers: Pointers = batch.iter().map(|t| t.view().address()).collect();
        let mut loss = [0.0];
        self.run(&Batches::Given(&pointers), rules, stop, &mut loss)?;
        Ok(loss[0])
    }

    /// `losses.len()` steps, each on `samples` rows of `data` (the batch's tensors, whole) in the order of `order`, which
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
        let rows = Rows::new(&self.batch, data, order, steps, augment)?;
        self.check_labels(data, &rows)?;
        // One more for images that are yet to be mixed.
        let needed = self.batch.len() + usize::from(rows.mixes());
        for meta in self.batch.iter().chain(&self.batch[..1]).take(needed).skip(self.gathered.len()) {
            self.gathered.push(Storage::alloc(meta.numel() * meta.dtype.size()));
        }
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
        for limits in program::labels(&self.program) {
            let labels = batch[limits.batch_tensor].view();
            labels.slice::<i64>().iter().enumerate().try_for_each(|(i, &label)| limits.check(label, i))?;
        }
        Ok(())
    }

    fn check_labels(&self, data: &[Tensor], rows: &Rows<'_>) -> Result<()> {
        for limits in program::labels(&self.program) {
            let labels = data[limits.batch_tensor].view().slice::<i64>();
            for &row in rows.order() {
                limits.check(labels[row as usize], row as usize)?;
            }
        }
        Ok(())
    }

    fn run(
        &mut self,
        batches: &Batches<'_>,
        rules: &[(Rule, Progress)],
        stop: bool,
        losses: &mut [f64],
    ) -> Result<usize> {
        let _training = Training::begin(&self.params)?;
        let (seed, call) = random::state();
        debug_assert_eq!(seed, self.drawn_from.0, "a plan is made anew for another seed");
        let (steps, done) = (losses.len(), AtomicUsize::new(losses.len()));
        let written = Losses(losses.as_mut_ptr());
        let (program, gathered, arena, draws) = (&self.program, &self.gathered, self.arena.ptr() as usize, self.draws);
        let (treatment, before) = (&*self.treatment, batches.draws());
        let per_step = before + draws + treatment.draws();
        let base = call.wrapping_sub(self.drawn_from.1).wrapping_add(before);
        let params = self.params.len();
        let each_step = if rules.len() == params { 0 } else { params };
        let most = (program.work / WORK_PER_THREAD).clamp(1, threads::num_threads());
        let width = if most == 1 { 1 } else { self.pace.width(most) };
        let begun = (most > 1).then(Instant::now);
        let (statistics, failed) = (&self.statistics, Mutex::new(None));
        statistics.keep();
        threads::region(width, &|team| {
            let _flush = Flush::begin();
            let written = &written;
            let (mut pointers, mut desk) = (Pointers::new(), batches::Desk::default());
            let mut progress: SmallVec<[Progress; 8]> = rules[..params].iter().map(|(_, progress)| *progress).collect();
            for i in 0..steps {
                let first = call.wrapping_add(i as u64 * per_step);
                batches.fetch(i, (seed, first), gathered, team, &mut desk, &mut pointers);
                // SAFETY: the arena is this plan's, borrowed mutably; the batch was checked.
                let memory = unsafe { Memory::new(&program.buffers, arena as *mut u8, &pointers) };
                let replay = base.wrapping_add(i as u64 * per_step);
                // An eager step draws it after all others.
                let noise = random::gradient_draw((seed, first.wrapping_add(before + draws)));
                let noise = treatment.noise.map(|_| noise);
                let rules = &rules[i * each_step..][..params];
                let at = run::Step { rules, progress: &progress, ahead: i as u64, replay, treatment, noise, stop };
                let result = run::step(program, &memory, team, &at);
                // Loss and statistics were complete before the last barrier.
                if team.rank() == 0 && i + 1 < steps && result.is_ok() && run::loss(program, &memory).is_finite() {
                    statistics.keep();
                }
                team.barrier();
                if let Err(error) = result {
                    if team.rank() == 0 {
                        statistics.restore();
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        done.store(i, Ordering::Relaxed);
                    }
                    break;
                }
                let loss = run::loss(program, &memory);
                if team.rank() == 0 {
                    // SAFETY: one member writes, inside the slice.
                    unsafe { *written.0.add(i) = loss };
                }
                if stop && !loss.is_finite() {
                    if team.rank() == 0 {
                        statistics.restore();
                    }
                    done.store(i + 1, Ordering::Relaxed);
                    break;
                }
                for ((rule, _), progress) in rules.iter().zip(&mut progress) {
                    rule.advance(progress);
                }
            }
        });
        let done = done.into_inner();
        if let (0, Some(error)) = (done, failed.into_inner().unwrap_or_else(PoisonError::into_inner)) {
            return Err(error);
        }
        if let Some(begun) = begun {
            self.pace.took(begun, Instant::now(), done as u32);
        }
        let updated = updated(stop, &losses[..done]);
        treatment.set_done(treatment.done() + updated);
        let drawn = (before + draws) * done as u64 + treatment.draws() * updated;
        random::advance(drawn);
        for tensor in self.params.iter().chain(&self.also_written) {
            tensor.storage().bump();
        }
        Ok(done)
    }
}

/// How many of these steps changed the parameters.
fn updated(stop: bool, losses: &[f64]) -> u64 {
    let stopped = stop && losses.last().is_some_and(|l| !l.is_finite());
    (losses.len() - usize::from(stopped)) as u64
}

struct Losses(*mut f64);
// SAFETY: only member 0 writes through it.
unsafe impl Sync for Losses {}

/// Marks parameters as being trained, so that a second thread that would train the same ones is told.
struct Training<'a>(&'a [Tensor]);

impl<'a> Training<'a> {
    fn begin(params: &'a [Tensor]) -> Result<Self> {
        for (i, param) in params.iter().enumerate() {
            if !param.storage().try_claim() {
                drop(Self(&params[..i]));
                return Err(Error::state("step: the model's parameters are being trained by another thread"));
            }
        }
        Ok(Self(params))
    }
}

impl Drop for Training<'_> {
    fn drop(&mut self) {
        for param in self.0 {
            param.storage().release();
        }
    }
}

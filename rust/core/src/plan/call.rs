//! A call of a plan: all its steps in one region of the team.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use smallvec::SmallVec;

use super::batches::{self, Batches, Pointers};
use super::halt::{Exit, Halt};
use super::memory::Memory;
use super::{Plan, run};
use crate::error::{Error, Result};
use crate::interrupt::Watch;
use crate::ops::random;
use crate::optim::{Progress, Rule};
use crate::simd::Flush;
use crate::tensor::Tensor;
use crate::threads;

/// Nanoseconds of work that are worth a thread inside a step, where threads are awake.
const WORK_PER_THREAD: usize = 10_000;
/// Nanoseconds of work from which on the host may interrupt a step: shorter ones end soon enough.
const LONG: usize = 5_000_000;

impl Plan {
    /// Run the steps, and note what they changed. Returns how many were taken.
    pub(super) fn run(
        &mut self,
        batches: &Batches<'_>,
        rules: &[(Rule, Progress)],
        stop: bool,
        losses: &mut [f64],
    ) -> Result<usize> {
        self.written.check_writable()?;
        let shared = self.room.clone();
        let mut room = shared.enter()?;
        room.reserve(self.program.arena, batches.room(&self.batch));
        let _training = Training::begin(&self.params)?;
        let (seed, call) = random::state();
        debug_assert_eq!(seed, self.drawn_from.0, "a plan is made anew for another seed");
        let (steps, done) = (losses.len(), AtomicUsize::new(losses.len()));
        let written = Losses(losses.as_mut_ptr());
        let (program, gathered, arena, draws) = (&self.program, room.gathered(), room.arena() as usize, self.draws);
        let (update_options, before) = (&*self.update_options, batches.draws());
        let per_step = before + draws + update_options.draws();
        let base = call.wrapping_sub(self.drawn_from.1).wrapping_add(before);
        let params = self.params.len();
        let each_step = if rules.len() == params { 0 } else { params };
        let most = (program.work / WORK_PER_THREAD).clamp(1, threads::num_threads());
        let begun = (most > 1).then(Instant::now);
        let width = begun.map_or(1, |begun| self.pace.width(most, begun));
        let (statistics, failed, halt) = (&self.statistics, Mutex::new(None), Halt::new());
        let undoable = statistics.undoable;
        statistics.keep();
        let size = threads::region(width, program.work.saturating_mul(steps), &|team| {
            let _flush = Flush::begin();
            let written = &written;
            let (mut pointers, mut desk) = (Pointers::new(), batches::Desk::default());
            let watch = (team.rank() == 0 && program.work >= LONG).then(Watch::begin);
            let mut progress: SmallVec<[Progress; 8]> = rules[..params].iter().map(|(_, progress)| *progress).collect();
            for i in 0..steps {
                let first = call.wrapping_add(i as u64 * per_step);
                batches.fetch(i, (seed, first), gathered, team, &mut desk, &mut pointers);
                // SAFETY: the arena is in the room, which nobody else has entered; the batch was checked.
                let memory = unsafe { Memory::new(&program.buffers, arena as *mut u8, &pointers) };
                let replay = base.wrapping_add(i as u64 * per_step);
                // An eager step draws it after all others.
                let noise = random::gradient_draw((seed, first.wrapping_add(before + draws)));
                let noise = update_options.noise.map(|_| noise);
                let rules = &rules[i * each_step..][..params];
                let at = run::Step { rules, progress: &progress, ahead: i as u64, replay, update_options, noise, stop };
                let first = i * program.stages.len();
                let exit = Exit { halt: &halt, watch: watch.as_ref(), first, undoable };
                let result = run::step(program, &memory, team, &at, &exit);
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
            self.pace.took(begun, Instant::now(), done as u32, size);
        }
        let updated = updated(stop, &losses[..done]);
        update_options.set_done(update_options.done() + updated);
        let drawn = (before + draws) * done as u64 + update_options.draws() * updated;
        random::advance(drawn);
        self.written.bump();
        Ok(done)
    }
}

/// Number of these steps that changed the parameters.
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

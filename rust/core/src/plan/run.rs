//! Running a program: every member of the team walks all stages and does its share of each.

use std::ops::Range;

use super::halt::Exit;
use super::memory::Memory;
use super::program::Program;
use super::stages::At;
use crate::element::Float;
use crate::error::Result;
use crate::optim::update_options::UpdateOptions;
use crate::optim::{Progress, Rule};
use crate::rng::Draw;
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
pub const ROW_GRANULE: usize = 8;
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
        #[cfg(debug_assertions)]
        let touches = stage.touches();
        #[cfg(debug_assertions)]
        let memory = &memory.only(&touches);
        stage.run::<T>(&At { program, memory, team, step, exit, place: at })?;
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

/// Elements of a cache line, at which transposes are shared.
pub const LINE: usize = 16;

/// A member's rows.
pub fn share_of_rows(team: &Team, rows: usize) -> Range<usize> {
    if rows < NARROW { team.share(rows) } else { team.share_aligned(rows, ROW_GRANULE) }
}

//! Ends of steps at one place for all members of a team: member 0 decides before a barrier, and all see it after that.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::interrupt::Watch;
use crate::threads::Team;

/// Place and reason of the early end of a step.
#[derive(Debug)]
pub struct Halt {
    /// The number of the place. Places have numbers of their own, over all steps of a call: a member that is late must not take
    /// a later decision for that at which it looks.
    at: AtomicUsize,
    error: Mutex<Option<Error>>,
}

impl Halt {
    /// Go on, for now.
    pub fn new() -> Self {
        Self { at: AtomicUsize::new(usize::MAX), error: Mutex::new(None) }
    }

    /// Member 0: whether to end at place `at`. A barrier follows.
    pub fn decide(&self, at: usize, result: Result<()>) {
        if let Err(error) = result {
            *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            self.at.store(at, Ordering::Relaxed);
        }
    }

    /// True if it ends at place `at`, as was decided before the last barrier.
    pub fn decided(&self, at: usize) -> Result<()> {
        if self.at.load(Ordering::Relaxed) != at {
            return Ok(());
        }
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        Err(error.clone().unwrap_or_else(|| Error::state("step: it was ended")))
    }

    /// A check of memory that others may change meanwhile: one member does it for all.
    pub fn agree(&self, at: usize, team: &Team, check: impl FnOnce() -> Result<()>) -> Result<()> {
        if team.rank() == 0 {
            self.decide(at, check());
        }
        team.barrier();
        self.decided(at)
    }
}

/// Handle by which a member leaves a step together with the others.
#[derive(Clone, Copy, Debug)]
pub struct Exit<'a> {
    /// The end of the step.
    pub halt: &'a Halt,
    /// Of member 0, if steps are so long that the host is asked within them.
    pub watch: Option<&'a Watch>,
    /// The number of the step's first stage, counted over all steps of the call.
    pub first: usize,
    /// Number of stages that change nothing that cannot be undone.
    pub undoable: usize,
}

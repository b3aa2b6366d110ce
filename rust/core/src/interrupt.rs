//! Interruptions: how the host, such as Python's interpreter, ends long work before it changes anything.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::error::Result;

static LOOK: OnceLock<fn() -> Result<()>> = OnceLock::new();

/// Milliseconds of work between two questions to the host.
static EVERY: AtomicU64 = AtomicU64::new(20);

/// Have `look` asked from now on whether work goes on: its error ends it. Only the first call counts.
pub fn look_with(look: fn() -> Result<()>) {
    // Another caller has been faster, with the same function.
    let _ = LOOK.set(look);
}

/// Let work go on for `milliseconds` before the host is asked again; 20 unless set.
pub fn look_every(milliseconds: u64) {
    EVERY.store(milliseconds, Ordering::Relaxed);
}

/// A piece of work that the host may interrupt, as the thread that was called sees it.
#[derive(Debug)]
pub struct Watch(Cell<Instant>);

impl Watch {
    /// Begin now.
    #[must_use]
    pub fn begin() -> Self {
        Self(Cell::new(Instant::now()))
    }

    /// Ask the host, if it was not asked lately. Its error is for the caller of the work.
    pub fn look(&self) -> Result<()> {
        let Some(look) = LOOK.get() else { return Ok(()) };
        if self.0.get().elapsed().as_millis() < u128::from(EVERY.load(Ordering::Relaxed)) {
            return Ok(());
        }
        let result = look();
        self.0.set(Instant::now());
        result
    }
}

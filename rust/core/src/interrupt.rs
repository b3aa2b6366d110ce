//! Interruptions: how the host, such as Python's interpreter, ends long work before it changes anything.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::error::Result;

static LOOK: OnceLock<fn() -> Result<()>> = OnceLock::new();

/// How long work goes on before the host is asked again.
const EVERY: Duration = Duration::from_millis(20);

/// Have `look` asked from now on whether work goes on: its error ends it. Only the first call counts.
pub fn look_with(look: fn() -> Result<()>) {
    // Another caller has been faster, with the same function.
    let _ = LOOK.set(look);
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
        if self.0.get().elapsed() < EVERY {
            return Ok(());
        }
        let result = look();
        self.0.set(Instant::now());
        result
    }
}

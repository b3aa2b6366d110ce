//! When to let other Python threads run; and what a call of the core that ran out of memory becomes.

use fastnn_core::{Result, reserve, threads};
use pyo3::prelude::*;

use crate::error::{Raise, carry};

/// Elements from which on the work is worth giving up the GIL: below, giving it up and taking it back costs more.
pub const LARGE: usize = 1 << 14;

/// Run the handlers of signals that have come, in the main thread; in others, nothing. What a handler raises ends the work.
pub fn look() -> Result<()> {
    #[allow(clippy::redundant_closure_for_method_calls)] // the method is not general over lifetimes
    Python::attach(|py| py.check_signals()).map_err(carry)
}

/// Run `work` on this many elements, without the GIL if they are many.
#[inline]
pub fn run<T: Send>(py: Python<'_>, numel: usize, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    if numel >= LARGE { detached(py, work) } else { held(work) }
}

/// Run `work` without the GIL.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    // Before the GIL is given up: whoever changes the environment holds it.
    threads::look_around();
    py.detach(|| reserve::guard("", work)).raise()
}

/// Run `work` with the GIL.
#[inline]
pub fn held<T>(work: impl FnOnce() -> Result<T>) -> PyResult<T> {
    reserve::guard("", work).raise()
}

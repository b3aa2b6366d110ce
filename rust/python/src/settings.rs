//! Threads, the instruction set, and the counter by which a planned step notices that a model was changed.

use std::sync::atomic::{AtomicU64, Ordering};

use fastnn_core::{simd, threads};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};

use crate::arguments::{Given, named};
use crate::error::{Raise, value_error};

static CONFIG: AtomicU64 = AtomicU64::new(0);

/// Note that a module was changed in a way that a planned step must not overlook.
#[pyfunction]
pub fn bump_config() {
    CONFIG.fetch_add(1, Ordering::Relaxed);
}

/// Number of such changes.
#[pyfunction]
pub fn config_version() -> u64 {
    CONFIG.load(Ordering::Relaxed)
}

/// Let ops and steps use at most `n` threads.
#[pyfunction]
#[pyo3(signature = (n, /))]
pub fn set_num_threads(n: Given<i64>) -> PyResult<()> {
    named!("set_num_threads"; n);
    let Ok(n) = usize::try_from(n) else {
        return Err(value_error(format!("set_num_threads: expected at least 1; got {n}")));
    };
    threads::set_num_threads(n).raise()
}

/// The number that `set_num_threads` was told, 0 if it was not called.
#[pyfunction]
pub fn get_requested_threads() -> usize {
    threads::requested()
}

/// Go back to what `get_requested_threads` returned.
#[pyfunction]
#[pyo3(signature = (n, /))]
pub fn set_requested_threads(n: Given<usize>) -> PyResult<()> {
    named!("set_requested_threads"; n);
    if n == 0 {
        threads::set_requested(0);
        return Ok(());
    }
    threads::set_num_threads(n).raise()
}

/// Form teams of exactly as many threads as asked for, on however few cores: for tests.
#[pyfunction]
#[pyo3(signature = (whole, /))]
pub fn set_whole_teams(whole: bool) {
    threads::set_whole_teams(whole);
}

/// Number of cores that this process may use now: those of its affinity, as far as a quota lets it.
#[pyfunction]
pub fn get_num_cores() -> usize {
    threads::read();
    threads::cores()
}

/// Counts of the teams so far, as a dict; None while another thread has the workers.
#[pyfunction]
pub fn team_counts(py: Python<'_>) -> PyResult<Option<Bound<'_, PyDict>>> {
    let Some(counts) = threads::counts() else { return Ok(None) };
    let named = [
        ("teams", counts.teams),
        ("alone_resting", counts.rested),
        ("alone_unanswered", counts.unanswered),
        ("rests", counts.rests),
        ("resting", counts.resting as u64),
        ("workers", counts.workers as u64),
    ];
    named.into_py_dict(py).map(Some)
}

/// Number of threads that ops and steps may use.
#[pyfunction]
pub fn get_num_threads() -> usize {
    threads::read();
    threads::num_threads()
}

/// The instruction set in use, chosen at import or forced by `FASTNN_ISA`.
#[pyfunction]
pub fn isa() -> &'static str {
    match simd::level() {
        simd::Level::Portable => "portable",
        simd::Level::Avx2 => "avx2",
        simd::Level::Avx512 => "avx512",
    }
}

/// Features that an x86 processor lacks of AVX2's level: kernels are several times slower without.
#[pyfunction]
pub fn lacking_instructions() -> Vec<&'static str> {
    simd::lacking()
}

/// For threadpoolctl, which calls a library's plain C functions.
mod plain {
    use fastnn_core::threads;

    /// Number of threads that ops and steps may use.
    // SAFETY: no other library has a symbol of this name.
    #[unsafe(no_mangle)]
    pub extern "C" fn fastnn_get_num_threads() -> i32 {
        i32::try_from(threads::num_threads()).unwrap_or(i32::MAX)
    }

    /// Let ops and steps use at most `n` threads, at least 1 and at most 1024.
    // SAFETY: no other library has a symbol of this name.
    #[unsafe(no_mangle)]
    pub extern "C" fn fastnn_set_num_threads(n: i32) {
        threads::set_requested(n.clamp(1, 1024) as usize);
    }
}

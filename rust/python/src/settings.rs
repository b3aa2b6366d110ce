//! Threads, the instruction set, and the counter by which a planned step notices that a model was changed.

use std::sync::atomic::{AtomicU64, Ordering};

use fastnn_core::{simd, threads};
use pyo3::prelude::*;

use crate::arguments::{Given, named};
use crate::error::{Raise, value_error};

static CONFIG: AtomicU64 = AtomicU64::new(0);

/// Note that a module was changed in a way that a planned step must not overlook.
#[pyfunction]
pub fn bump_config() {
    CONFIG.fetch_add(1, Ordering::Relaxed);
}

/// How many such changes there were.
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

/// How many threads ops and steps may use.
#[pyfunction]
pub fn get_num_threads() -> usize {
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

/// What an x86 processor lacks of AVX2's level: kernels are several times slower without.
#[pyfunction]
pub fn lacking_instructions() -> Vec<&'static str> {
    simd::lacking()
}

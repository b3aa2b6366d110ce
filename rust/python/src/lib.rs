//! `fastnn._core`: borrow, release the GIL, call, raise.

use pyo3::prelude::*;

#[pymodule(name = "_core")]
mod core_module {}

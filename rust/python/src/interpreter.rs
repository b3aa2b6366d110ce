//! One interpreter a process: objects of Python that are kept in `static`s belong to the interpreter that made them.

use std::sync::atomic::{AtomicI64, Ordering};

use pyo3::exceptions::PyImportError;
use pyo3::{PyErr, PyResult, Python, ffi};

const NONE: i64 = -1;
/// The interpreter that has imported the module; it keeps it even after its end.
static OWNER: AtomicI64 = AtomicI64::new(NONE);

/// Claim the module for the interpreter that imports it.
///
/// `CPython` itself refuses in an interpreter with a GIL of its own, before this is called.
///
/// # Errors
/// `ImportError` if another interpreter of the process has imported it.
pub fn claim(py: Python<'_>) -> PyResult<()> {
    // SAFETY: this thread is attached to an interpreter, as `py` proves, so there is a current one.
    let own = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    if own == NONE {
        return Err(PyErr::fetch(py));
    }
    match OWNER.compare_exchange(NONE, own, Ordering::AcqRel, Ordering::Acquire) {
        Err(owner) if owner != own => Err(PyImportError::new_err(format!(
            "fastnn: expected one interpreter of the process to import it; got interpreter {own} after interpreter \
             {owner}. Sub-interpreters cannot share it: use threads or processes"
        ))),
        _ => Ok(()),
    }
}

//! From the core's errors to Python's.

use std::cell::RefCell;

use fastnn_core::Error;
use pyo3::exceptions::{PyIndexError, PyMemoryError, PyRuntimeError, PyTypeError, PyValueError, PyZeroDivisionError};
use pyo3::prelude::*;

/// The message of a core error that stands for a Python exception set aside by [`carry`].
const CARRIED: &str = "an exception raised in Python";

thread_local! {
    static RAISED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// Set a Python exception aside and give the core an error in its place, from which [`to_py`] finds it again.
pub fn carry(error: PyErr) -> Error {
    RAISED.set(Some(error));
    Error::state(CARRIED)
}

/// The exception that was set aside, where the core's error did not come back.
pub fn carried() -> Option<PyErr> {
    RAISED.take()
}

/// The exception for an error of the core.
#[cold]
pub fn to_py(error: Error) -> PyErr {
    match error {
        Error::State(m) if m == CARRIED => RAISED.take().unwrap_or_else(|| PyRuntimeError::new_err(m)),
        Error::Value(m) => PyValueError::new_err(m),
        Error::Type(m) => PyTypeError::new_err(m),
        Error::State(m) => PyRuntimeError::new_err(m),
        Error::Index(m) => PyIndexError::new_err(m),
        Error::ZeroDivision(m) => PyZeroDivisionError::new_err(m),
        Error::Memory(m) => PyMemoryError::new_err(m),
    }
}

/// `.raise()?` at the end of a call of the core.
pub trait Raise<T> {
    /// The error as a Python exception.
    fn raise(self) -> PyResult<T>;
}

impl<T> Raise<T> for fastnn_core::Result<T> {
    #[inline]
    fn raise(self) -> PyResult<T> {
        self.map_err(to_py)
    }
}

/// A `ValueError`.
pub fn value_error(message: impl Into<String>) -> PyErr {
    PyValueError::new_err(message.into())
}

/// A `TypeError`.
pub fn type_error(message: impl Into<String>) -> PyErr {
    PyTypeError::new_err(message.into())
}

/// Python's name of the type of an object.
pub fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "object".into(), |name| name.to_string())
}

//! Arguments that are numbers, or sequences of numbers.
//!
//! Extraction knows neither the function nor the argument's name. A [`Given`] therefore keeps an error until
//! [`Named::named`] raises it with both: `ValueError` for a number out of range, `TypeError` for anything else.

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyUnicodeError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PySequence, PyTuple};

use crate::error::{type_error, type_name, value_error};

/// Characters of an object that a message shows.
const SHOWN: usize = 80;

/// Target type of a number or a sequence of numbers. An `OverflowError` stands for a number out of range.
pub trait Read: Sized {
    /// The expected argument, in errors.
    const EXPECTED: &'static str;

    /// The value of an object.
    fn read(object: &Bound<'_, PyAny>) -> PyResult<Self>;
}

/// A number that sequences may hold.
pub trait Element: Read {
    /// The expected sequence, in errors.
    const SEQUENCE: &'static str;
}

impl Read for i64 {
    const EXPECTED: &'static str = "an int in [-9223372036854775808, 9223372036854775807]";

    #[inline]
    fn read(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        object.extract()
    }
}

impl Element for i64 {
    const SEQUENCE: &'static str = "ints in [-9223372036854775808, 9223372036854775807]";
}

impl Read for usize {
    const EXPECTED: &'static str = "an int in [0, 9223372036854775807]";

    #[inline]
    fn read(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::try_from(object.extract::<i64>()?).map_err(|_| PyOverflowError::new_err("negative"))
    }
}

impl Element for usize {
    const SEQUENCE: &'static str = "ints in [0, 9223372036854775807]";
}

impl Read for f64 {
    const EXPECTED: &'static str = "a number that float64 can hold";

    #[inline]
    fn read(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        object.extract()
    }
}

impl Element for f64 {
    const SEQUENCE: &'static str = "numbers that float64 can hold";
}

impl Element for (i64, i64) {
    const SEQUENCE: &'static str = "pairs of ints in [-9223372036854775808, 9223372036854775807]";
}

impl Element for (usize, usize) {
    const SEQUENCE: &'static str = "pairs of ints in [0, 9223372036854775807]";
}

fn sequence<T: Element>(object: &Bound<'_, PyAny>) -> PyResult<Vec<T>> {
    if object.is_instance_of::<pyo3::types::PyString>() {
        return Err(PyTypeError::new_err("text"));
    }
    object.cast::<PySequence>()?.try_iter()?.map(|item| T::read(&item?)).collect()
}

fn fixed<T: Element, const N: usize>(object: &Bound<'_, PyAny>) -> PyResult<[T; N]> {
    <[T; N]>::try_from(sequence(object)?).map_err(|_| PyTypeError::new_err("another number of items"))
}

impl<T: Element> Read for Vec<T> {
    const EXPECTED: &'static str = T::SEQUENCE;

    fn read(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        sequence(object)
    }
}

impl<T: Element> Read for (T, T) {
    const EXPECTED: &'static str = T::SEQUENCE;

    fn read(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        fixed(object).map(|[first, second]| (first, second))
    }
}

impl<T: Element, const N: usize> Read for [T; N] {
    const EXPECTED: &'static str = T::SEQUENCE;

    fn read(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        fixed(object)
    }
}

/// One dimension or several.
pub struct Dims(pub Vec<i64>);

impl Read for Dims {
    const EXPECTED: &'static str = "an int or ints in [-9223372036854775808, 9223372036854775807]";

    fn read(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyTuple>() || object.is_instance_of::<PyList>() {
            return sequence(object).map(Self);
        }
        i64::read(object).map(|dim| Self(vec![dim]))
    }
}

/// An argument of type `T`, or why it is none.
pub struct Given<T>(Result<T, Box<Refused>>);

struct Refused {
    error: PyErr,
    got: Py<PyAny>,
}

impl<T> From<T> for Given<T> {
    fn from(value: T) -> Self {
        Self(Ok(value))
    }
}

impl<'py, T: Read> FromPyObject<'_, 'py> for Given<T> {
    type Error = PyErr;

    #[inline]
    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let refused = |error| Box::new(Refused { error, got: object.to_owned().unbind() });
        Ok(Self(T::read(&object).map_err(refused)))
    }
}

/// A word as an argument, or why it is none.
pub struct Word<'a>(Result<&'a str, Box<Refused>>);

impl<'a, 'py> FromPyObject<'a, 'py> for Word<'a> {
    type Error = PyErr;

    #[inline]
    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let refused = |error| Box::new(Refused { error, got: object.to_owned().unbind() });
        Ok(Self(object.extract::<&'a str>().map_err(refused)))
    }
}

impl<'a> Named for Word<'a> {
    type Value = &'a str;

    #[inline]
    fn named(self, op: &str, name: &str) -> PyResult<&'a str> {
        self.0.map_err(|refused| Python::attach(|py| explain(refused.error, op, name, "text", refused.got.bind(py))))
    }
}

/// An argument whose name is known.
pub trait Named {
    /// Type of the value.
    type Value;

    /// The value, or an error that names the function and the argument.
    fn named(self, op: &str, name: &str) -> PyResult<Self::Value>;
}

impl<T: Read> Named for Given<T> {
    type Value = T;

    #[inline]
    fn named(self, op: &str, name: &str) -> PyResult<T> {
        self.0
            .map_err(|refused| Python::attach(|py| explain(refused.error, op, name, T::EXPECTED, refused.got.bind(py))))
    }
}

impl<T: Read> Named for Option<Given<T>> {
    type Value = Option<T>;

    #[inline]
    fn named(self, op: &str, name: &str) -> PyResult<Option<T>> {
        self.map(|given| given.named(op, name)).transpose()
    }
}

/// Take arguments out of what was given: `named!("conv": stride, groups)`.
macro_rules! named {
    ($op:expr; $($arg:ident),+) => {
        $(let $arg = $crate::arguments::Named::named($arg, $op, stringify!($arg))?;)+
    };
}
pub(crate) use named;

/// The value of an object, or an error that names the function and the argument.
pub fn read<T: Read>(object: &Bound<'_, PyAny>, op: &str, name: &str) -> PyResult<T> {
    T::read(object).map_err(|error| explain(error, op, name, T::EXPECTED, object))
}

/// The error for an argument that could not be read; what its own methods raise is left as it is.
#[cold]
pub fn explain(error: PyErr, op: &str, name: &str, expected: &str, got: &Bound<'_, PyAny>) -> PyErr {
    let py = got.py();
    // Half of a surrogate pair is text that has no UTF-8.
    if error.is_instance_of::<PyOverflowError>(py) || error.is_instance_of::<PyUnicodeError>(py) {
        value_error(format!("{op}: expected {name} to be {expected}; got {}", show(got)))
    } else if error.is_instance_of::<PyTypeError>(py) {
        type_error(format!("{op}: expected {name} to be {expected}; got {}", show_kind(got)))
    } else {
        error
    }
}

/// The object as Python writes it, shortened.
pub fn show(object: &Bound<'_, PyAny>) -> String {
    // Python refuses to write integers of thousands of digits.
    let Ok(text) = object.repr() else { return format!("{} too long to show", type_name(object)) };
    let text = text.to_string_lossy();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// Sequences and text as Python writes them; of other objects the type.
fn show_kind(object: &Bound<'_, PyAny>) -> String {
    let written = object.is_none()
        || object.is_instance_of::<PyTuple>()
        || object.is_instance_of::<PyList>()
        || object.is_instance_of::<pyo3::types::PyString>();
    if written { show(object) } else { type_name(object) }
}

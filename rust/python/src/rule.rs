//! A parameter group's settings as the core's rule.

use fastnn_core::optim::{Kind, Rule, Source};
use pyo3::exceptions::{PyKeyError, PyOverflowError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{Borrowed, FromPyObject};

use crate::arguments::show;
use crate::error::{type_error, value_error};

/// Reads the rule of one kind from the dicts of parameter groups.
pub struct Reader {
    /// The optimizer.
    pub kind: Kind,
    /// The names of its settings. Made once: a lookup then costs no hashing.
    names: Vec<Py<PyString>>,
}

impl Reader {
    /// By its class' name.
    pub fn named(py: Python<'_>, name: &str) -> PyResult<Self> {
        let kind =
            Kind::named(name).ok_or_else(|| value_error(format!("expected the name of an optimizer; got '{name}'")))?;
        let names = kind.settings().iter().map(|name| PyString::intern(py, name).unbind()).collect();
        Ok(Self { kind, names })
    }

    /// The rule with the settings that a group has now.
    pub fn rule(&self, group: &Bound<'_, PyDict>) -> PyResult<Rule> {
        self.kind.read(&Group { names: &self.names, group })
    }
}

struct Group<'a, 'py> {
    names: &'a [Py<PyString>],
    group: &'a Bound<'py, PyDict>,
}

impl<'py> Group<'_, 'py> {
    fn get<T>(&self, index: usize, expected: &str) -> PyResult<T>
    where
        T: for<'a> FromPyObject<'a, 'py, Error = PyErr>,
    {
        let name = self.names[index].bind(self.group.py());
        let value = self.group.get_item(name)?.ok_or_else(|| PyKeyError::new_err(name.to_string()))?;
        T::extract(Borrowed::from(&value)).map_err(|error| {
            let message = format!("expected {name} to be {expected}; got {}", show(&value));
            if error.is_instance_of::<PyOverflowError>(value.py()) { value_error(message) } else { type_error(message) }
        })
    }
}

impl Source for Group<'_, '_> {
    type Error = PyErr;

    fn number(&self, index: usize) -> PyResult<f64> {
        self.get(index, "a number")
    }

    fn pair(&self, index: usize) -> PyResult<(f64, f64)> {
        match self.get(index, "a pair of numbers") {
            Ok(pair) => Ok(pair),
            // A list too, as in PyTorch.
            Err(_) => self.get::<[f64; 2]>(index, "a pair of numbers").map(|[first, second]| (first, second)),
        }
    }

    fn flag(&self, index: usize) -> PyResult<bool> {
        self.get(index, "True or False")
    }
}

//! Switches as context managers: whether gradients are recorded, and whether NaN is looked for.
//!
//! Entering and leaving are one call each, so that Ctrl-C finds either the old state or the new one with its way back.

use std::thread::{self, ThreadId};

use fastnn_core::tensor::{anomaly, tape};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::settings::bump_config;

/// Records gradients, or does not, within a block or a call. It may be entered again, and in several threads.
#[pyclass(subclass, module = "fastnn._core")]
pub struct GradMode {
    mode: bool,
    /// The mode before this object was made, if it took effect then.
    outside: Option<bool>,
    entered: Vec<(ThreadId, bool)>,
}

#[pymethods]
impl GradMode {
    /// `at_once`: take effect now, and go back at the end of a block to what was before.
    #[new]
    #[pyo3(signature = (mode, at_once=false, /))]
    fn new(mode: bool, at_once: bool) -> Self {
        let outside = at_once.then(|| tape::set_grad_enabled(mode));
        Self { mode, outside, entered: Vec::new() }
    }

    /// True if gradients are recorded.
    #[getter]
    fn mode(&self) -> bool {
        self.mode
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        let mut this = slf.borrow_mut();
        let previous = tape::set_grad_enabled(this.mode);
        if this.outside.is_none() {
            this.entered.push((thread::current().id(), previous));
        }
        drop(this);
        slf
    }

    #[pyo3(signature = (*exc_info))]
    fn __exit__(&mut self, exc_info: &Bound<'_, PyTuple>) {
        let _ = exc_info;
        let me = thread::current().id();
        let last = self.entered.iter().rposition(|(thread, _)| *thread == me);
        if let Some(previous) = last.map(|i| self.entered.remove(i).1).or(self.outside) {
            tape::set_grad_enabled(previous);
        }
    }

    /// Undo what making this object has done.
    fn leave(&self) {
        if let Some(previous) = self.outside {
            tape::set_grad_enabled(previous);
        }
    }

    /// Call a function in this mode.
    #[pyo3(signature = (function, /, *args, **kwargs))]
    fn run<'py>(
        slf: &Bound<'py, Self>,
        function: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mode = slf.borrow().mode;
        let previous = tape::set_grad_enabled(mode);
        let result = function.call(args, kwargs);
        tape::set_grad_enabled(previous);
        result
    }
}

/// Looks for NaN in every backward, or does not, within a block.
#[pyclass(subclass, module = "fastnn._core")]
pub struct AnomalyMode {
    mode: bool,
    /// The class whose attribute `_hooked` has every module's call note which layer runs.
    module: Py<PyAny>,
    /// The mode before this object was made, if it took effect then.
    outside: Option<bool>,
    entered: Vec<bool>,
}

impl AnomalyMode {
    fn set(&self, py: Python<'_>, mode: bool) -> PyResult<bool> {
        let previous = anomaly::set_enabled(mode);
        self.module.setattr(py, "_hooked", mode)?;
        bump_config();
        Ok(previous)
    }
}

#[pymethods]
impl AnomalyMode {
    /// `at_once`: take effect now, and go back at the end of a block to what was before.
    #[new]
    #[pyo3(signature = (module, mode, at_once, /))]
    fn new(py: Python<'_>, module: Py<PyAny>, mode: bool, at_once: bool) -> PyResult<Self> {
        let mut made = Self { mode, module, outside: None, entered: Vec::new() };
        if at_once {
            made.outside = Some(made.set(py, mode)?);
        }
        Ok(made)
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        let mut this = slf.borrow_mut();
        let previous = this.set(slf.py(), this.mode)?;
        if this.outside.is_none() {
            this.entered.push(previous);
        }
        drop(this);
        Ok(slf)
    }

    #[pyo3(signature = (*exc_info))]
    fn __exit__(&mut self, exc_info: &Bound<'_, PyTuple>) -> PyResult<()> {
        match self.entered.pop().or(self.outside) {
            Some(previous) => self.set(exc_info.py(), previous).map(drop),
            None => Ok(()),
        }
    }
}

/// Call a function while ops note this layer as the one that runs.
#[pyfunction]
#[pyo3(signature = (scope, function, args, kwargs, /))]
pub fn call_in_anomaly_scope<'py>(
    scope: &str,
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let previous = anomaly::set_scope(Some(scope.into()));
    let result = function.call(args, kwargs);
    drop(anomaly::set_scope(previous));
    result
}

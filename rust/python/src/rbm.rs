//! Restricted Boltzmann machines: chunks of batches, and Gibbs sampling.

use std::sync::{Mutex, MutexGuard, TryLockError};

use fastnn_core::rbm::{Rbm, Settings, State, Visible};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arguments::{Given, explain, named};
use crate::error::value_error;
use crate::gil;
use crate::tensor::Tensor;

const BUSY: &str = "RBM: expected one thread at a time; it is running in another";

/// The room that one RBM works in.
#[pyclass(name = "Rbm", module = "fastnn._core", frozen)]
#[derive(Default)]
pub struct PyRbm {
    inner: Mutex<Rbm>,
}

impl PyRbm {
    fn lock(&self) -> PyResult<MutexGuard<'_, Rbm>> {
        match self.inner.try_lock() {
            Ok(inner) => Ok(inner),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(PyRuntimeError::new_err(BUSY)),
        }
    }
}

/// The tensors of a machine, by name.
fn state(tensors: &Bound<'_, PyDict>) -> PyResult<State> {
    let get = |name: &str| match tensors.get_item(name)? {
        Some(tensor) => Ok(tensor.cast::<Tensor>()?.borrow().inner.detach()),
        None => Err(value_error(format!("RBM: expected a tensor {name}; got none"))),
    };
    Ok(State {
        weight: get("weight")?,
        visible_bias: get("visible_bias")?,
        hidden_bias: get("hidden_bias")?,
        weight_step: get("weight_step")?,
        visible_step: get("visible_step")?,
        hidden_step: get("hidden_step")?,
        activity: get("activity")?,
        chains: get("chains")?,
    })
}

fn visible(name: &str) -> PyResult<Visible> {
    match name {
        "bernoulli" => Ok(Visible::Bernoulli),
        "gaussian" => Ok(Visible::Gaussian),
        _ => Err(value_error(format!("RBM: expected visible to be 'bernoulli' or 'gaussian'; got '{name}'"))),
    }
}

fn setting<'py, T: for<'a> FromPyObject<'a, 'py, Error = PyErr>>(
    given: &Bound<'py, PyDict>,
    name: &str,
) -> PyResult<T> {
    match given.get_item(name)? {
        Some(value) => value.extract().map_err(|error| explain(error, "RBM", name, "a setting of its type", &value)),
        None => Err(value_error(format!("RBM: expected a setting {name}; got none"))),
    }
}

fn settings(given: &Bound<'_, PyDict>) -> PyResult<Settings> {
    Ok(Settings {
        visible: visible(&setting::<String>(given, "visible")?)?,
        k: setting(given, "k")?,
        persistent: setting(given, "persistent")?,
        sample_visible: setting(given, "sample_visible")?,
        lr: setting(given, "lr")?,
        momentum: setting(given, "momentum")?,
        weight_decay: setting(given, "weight_decay")?,
        sparsity_target: setting(given, "sparsity_target")?,
        sparsity_cost: setting(given, "sparsity_cost")?,
        sparsity_decay: setting(given, "sparsity_decay")?,
    })
}

#[pymethods]
impl PyRbm {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// A copy of a machine needs room of its own, and nothing in this one's.
    fn __deepcopy__(&self, _memo: &Bound<'_, PyAny>) -> Self {
        Self::default()
    }

    /// Learn from rows of `x`, `samples` a batch in the order of `order`; the reconstruction error of each batch. One that
    /// is not finite is the last, and its batch changes nothing.
    #[pyo3(signature = (tensors, settings, x, order, samples, /))]
    fn train<'py>(
        &self,
        py: Python<'py>,
        tensors: &Bound<'_, PyDict>,
        settings: &Bound<'_, PyDict>,
        x: &Tensor,
        order: PyReadonlyArray1<'_, i64>,
        samples: Given<usize>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        named!("RBM"; samples);
        let (state, settings, x) = (state(tensors)?, self::settings(settings)?, x.inner.detach());
        let order = order.as_slice()?;
        let mut inner = self.lock()?;
        let rbm = &mut *inner;
        let mut errors = vec![0.0; order.len().div_ceil(samples.max(1))];
        let done = gil::detached(py, || rbm.train(&state, &settings, &x, order, samples, &mut errors))?;
        errors.truncate(done);
        Ok(PyArray1::from_vec(py, errors))
    }

    /// Take steps of Gibbs sampling from `v`, which is changed; `mean` takes what the last one was drawn from.
    #[pyo3(signature = (tensors, kind, v, steps, mean, /))]
    fn sample(
        &self,
        py: Python<'_>,
        tensors: &Bound<'_, PyDict>,
        kind: &str,
        v: &Tensor,
        steps: Given<usize>,
        mean: &Tensor,
    ) -> PyResult<()> {
        named!("RBM"; steps);
        let (state, visible) = (state(tensors)?, visible(kind)?);
        let (v, mean) = (v.inner.detach(), mean.inner.detach());
        let mut inner = self.lock()?;
        let rbm = &mut *inner;
        gil::detached(py, || rbm.sample(&state, visible, &v, steps, &mean))
    }
}

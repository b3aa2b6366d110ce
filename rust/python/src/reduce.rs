//! Methods that reduce dimensions.

use fastnn_core::ops;
use fastnn_core::{Result, Tensor as Core};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::arguments::{self, Dims, Given, named};
use crate::convert::{self, scalar};
use crate::dtype;
use crate::error::{Raise, type_error, type_name, value_error};
use crate::gil;
use crate::operators::{self, Operand};
use crate::tensor::Tensor;

/// An extreme of all elements, along a dimension, and of two tensors.
type Extreme = (fn(&Core) -> Result<Core>, fn(&Core, i64, bool) -> Result<(Core, Core)>, operators::Pair);
type Reduction = fn(&Core, Option<&[i64]>, bool) -> Result<Core>;

fn reduce(py: Python<'_>, x: &Core, dim: Option<Dims>, keepdim: bool, op: Reduction) -> PyResult<Tensor> {
    // An empty list of dimensions is all of them, as in PyTorch.
    let dims = dim.as_ref().map(|d| d.0.as_slice()).filter(|d| !d.is_empty());
    gil::run(py, x.numel(), || op(x, dims, keepdim)).map(Tensor::from)
}

fn converted(x: &Core, dtype: Option<dtype::Arg>) -> PyResult<Core> {
    dtype.map_or_else(|| Ok(x.clone()), |d| ops::cast(x, d.0).raise())
}

/// `(values, indices)` with these names.
fn named_pair<'py>(py: Python<'py>, name: &str, (values, indices): (Core, Core)) -> PyResult<Bound<'py, PyAny>> {
    static TYPES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let types = TYPES.get_or_try_init(py, || {
        let make = py.import("collections")?.getattr("namedtuple")?;
        let both = pyo3::types::PyDict::new(py);
        for name in ["max", "min", "sort", "topk"] {
            both.set_item(name, make.call1((name, ("values", "indices")))?)?;
        }
        Ok::<_, PyErr>(both.into_any().unbind())
    })?;
    types.bind(py).get_item(name)?.call1((Tensor::from(values), Tensor::from(indices)))
}

/// `max()`, `max(dim)` and `max(other)`.
fn extreme<'py>(
    slf: &Bound<'py, Tensor>,
    name: &str,
    dim: Option<&Bound<'py, PyAny>>,
    keepdim: bool,
    (all, along, pair): Extreme,
) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    let x = &slf.borrow().inner;
    let Some(dim) = dim else {
        return Ok(Bound::new(py, Tensor::from(gil::run(py, x.numel(), || all(x))?))?.into_any());
    };
    if dim.is_instance_of::<Tensor>() {
        let other = Operand::argument(name, dim)?;
        return Ok(Bound::new(py, Tensor::from(pair.run(py, x, &other)?))?.into_any());
    }
    let dim = arguments::read(dim, name, "dim")?;
    named_pair(py, name, gil::run(py, x.numel(), || along(x, dim, keepdim))?)
}

fn correction(unbiased: Option<bool>, correction: Option<f64>) -> f64 {
    correction.unwrap_or(if unbiased == Some(false) { 0.0 } else { 1.0 })
}

/// The order of a norm: a number, or 2 for None and "fro".
fn order(p: Option<&Bound<'_, PyAny>>) -> PyResult<f64> {
    let Some(p) = p else { return Ok(2.0) };
    if let Ok(name) = p.extract::<&str>() {
        return match name {
            "fro" => Ok(2.0),
            _ => Err(value_error(format!("norm: expected p to be a number, 'fro' or None; got {}", p.repr()?))),
        };
    }
    match scalar(p)? {
        Some(p) => Ok(p.to_f64()),
        None => Err(type_error(format!("norm: expected p to be a number, 'fro' or None; got {}", type_name(p)))),
    }
}

#[pymethods]
impl Tensor {
    #[pyo3(signature = (dim=None, keepdim=false, *, dtype=None))]
    fn sum(
        &self,
        py: Python<'_>,
        dim: Option<Given<Dims>>,
        keepdim: bool,
        dtype: Option<dtype::Arg>,
    ) -> PyResult<Self> {
        named!("sum"; dim);
        if dtype.is_none() {
            return reduce(py, &self.inner, dim, keepdim, ops::sum);
        }
        reduce(py, &converted(&self.inner, dtype)?, dim, keepdim, ops::sum)
    }

    #[pyo3(signature = (dim=None, keepdim=false, *, dtype=None))]
    fn mean(
        &self,
        py: Python<'_>,
        dim: Option<Given<Dims>>,
        keepdim: bool,
        dtype: Option<dtype::Arg>,
    ) -> PyResult<Self> {
        named!("mean"; dim);
        let x = converted(&self.inner, dtype)?;
        if !x.dtype().is_float() {
            return Err(type_error(format!("mean: expected a floating-point tensor; got {}", x.dtype())));
        }
        reduce(py, &x, dim, keepdim, ops::mean)
    }

    #[pyo3(signature = (dim=None, keepdim=false, *, dtype=None))]
    fn prod(
        &self,
        py: Python<'_>,
        dim: Option<Given<Dims>>,
        keepdim: bool,
        dtype: Option<dtype::Arg>,
    ) -> PyResult<Self> {
        named!("prod"; dim);
        reduce(py, &converted(&self.inner, dtype)?, dim, keepdim, ops::prod)
    }

    #[pyo3(signature = (dim=None, keepdim=false))]
    fn amax(&self, py: Python<'_>, dim: Option<Given<Dims>>, keepdim: bool) -> PyResult<Self> {
        named!("amax"; dim);
        reduce(py, &self.inner, dim, keepdim, ops::amax)
    }

    #[pyo3(signature = (dim=None, keepdim=false))]
    fn amin(&self, py: Python<'_>, dim: Option<Given<Dims>>, keepdim: bool) -> PyResult<Self> {
        named!("amin"; dim);
        reduce(py, &self.inner, dim, keepdim, ops::amin)
    }

    #[pyo3(signature = (dim=None, keepdim=false))]
    fn any(&self, py: Python<'_>, dim: Option<Given<Dims>>, keepdim: bool) -> PyResult<Self> {
        named!("any"; dim);
        reduce(py, &self.inner, dim, keepdim, ops::any)
    }

    #[pyo3(signature = (dim=None, keepdim=false))]
    fn all(&self, py: Python<'_>, dim: Option<Given<Dims>>, keepdim: bool) -> PyResult<Self> {
        named!("all"; dim);
        reduce(py, &self.inner, dim, keepdim, ops::all)
    }

    #[pyo3(signature = (dim=None, keepdim=false))]
    fn max<'py>(slf: &Bound<'py, Self>, dim: Option<&Bound<'py, PyAny>>, keepdim: bool) -> PyResult<Bound<'py, PyAny>> {
        extreme(slf, "max", dim, keepdim, (ops::max, ops::max_along, operators::MAXIMUM))
    }

    #[pyo3(signature = (dim=None, keepdim=false))]
    fn min<'py>(slf: &Bound<'py, Self>, dim: Option<&Bound<'py, PyAny>>, keepdim: bool) -> PyResult<Bound<'py, PyAny>> {
        extreme(slf, "min", dim, keepdim, (ops::min, ops::min_along, operators::MINIMUM))
    }

    #[pyo3(signature = (dim=None, keepdim=false))]
    fn argmax(&self, py: Python<'_>, dim: Option<Given<i64>>, keepdim: bool) -> PyResult<Self> {
        named!("argmax"; dim);
        gil::run(py, self.inner.numel(), || ops::argmax(&self.inner, dim, keepdim)).map(Self::from)
    }

    #[pyo3(signature = (dim=None, keepdim=false))]
    fn argmin(&self, py: Python<'_>, dim: Option<Given<i64>>, keepdim: bool) -> PyResult<Self> {
        named!("argmin"; dim);
        gil::run(py, self.inner.numel(), || ops::argmin(&self.inner, dim, keepdim)).map(Self::from)
    }

    #[pyo3(signature = (dim=None, unbiased=None, keepdim=false, *, correction=None))]
    fn var(
        &self,
        py: Python<'_>,
        dim: Option<Given<Dims>>,
        unbiased: Option<bool>,
        keepdim: bool,
        correction: Option<Given<f64>>,
    ) -> PyResult<Self> {
        named!("var"; dim, correction);
        let (dims, minus) = (dim.as_ref().map(|d| d.0.as_slice()), self::correction(unbiased, correction));
        gil::run(py, self.inner.numel(), || ops::var(&self.inner, dims, minus, keepdim)).map(Self::from)
    }

    #[pyo3(signature = (dim=None, unbiased=None, keepdim=false, *, correction=None))]
    fn std(
        &self,
        py: Python<'_>,
        dim: Option<Given<Dims>>,
        unbiased: Option<bool>,
        keepdim: bool,
        correction: Option<Given<f64>>,
    ) -> PyResult<Self> {
        named!("std"; dim, correction);
        let (dims, minus) = (dim.as_ref().map(|d| d.0.as_slice()), self::correction(unbiased, correction));
        gil::run(py, self.inner.numel(), || ops::std(&self.inner, dims, minus, keepdim)).map(Self::from)
    }

    #[pyo3(signature = (dim, keepdim=false))]
    fn logsumexp(&self, py: Python<'_>, dim: Given<i64>, keepdim: bool) -> PyResult<Self> {
        named!("logsumexp"; dim);
        gil::run(py, self.inner.numel(), || ops::softmax::logsumexp(&self.inner, dim, keepdim)).map(Self::from)
    }

    #[pyo3(signature = (dim, dtype=None))]
    fn softmax(&self, py: Python<'_>, dim: Given<i64>, dtype: Option<dtype::Arg>) -> PyResult<Self> {
        named!("softmax"; dim);
        let x = converted(&self.inner, dtype)?;
        gil::run(py, x.numel(), || ops::softmax::softmax(&x, dim)).map(Self::from)
    }

    #[pyo3(signature = (dim, dtype=None))]
    fn log_softmax(&self, py: Python<'_>, dim: Given<i64>, dtype: Option<dtype::Arg>) -> PyResult<Self> {
        named!("log_softmax"; dim);
        let x = converted(&self.inner, dtype)?;
        gil::run(py, x.numel(), || ops::softmax::log_softmax(&x, dim)).map(Self::from)
    }

    /// The p-norm over the given dimensions, or of all elements.
    #[pyo3(signature = (p=None, dim=None, keepdim=false, dtype=None))]
    fn norm(
        &self,
        py: Python<'_>,
        p: Option<&Bound<'_, PyAny>>,
        dim: Option<Given<Dims>>,
        keepdim: bool,
        dtype: Option<dtype::Arg>,
    ) -> PyResult<Self> {
        named!("norm"; dim);
        let p = order(p)?;
        let x = ops::cast(&self.inner, ops::norm_dtype(&self.inner, dtype.map(|d| d.0)).raise()?).raise()?;
        let dims = dim.as_ref().map(|d| d.0.as_slice()).filter(|d| !d.is_empty());
        gil::run(py, x.numel(), || ops::norm(&x, p, dims, keepdim)).map(Self::from)
    }
}

/// True if all elements of two tensors are equal, and their shapes.
#[pyfunction]
#[pyo3(signature = (input, other, /))]
pub fn equal(input: convert::Arg, other: convert::Arg) -> PyResult<bool> {
    if input.0.shape() != other.0.shape() {
        return Ok(false);
    }
    let same = ops::all(&ops::eq(&input.0, &other.0).raise()?, None, false).raise()?;
    Ok(ops::item(&same).raise()?.to_f64() != 0.0)
}

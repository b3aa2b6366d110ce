//! `x[...]` and `x[...] = y`, and the methods that select.

use fastnn_core::ops::{self, Index};
use fastnn_core::tensor::trace;
use fastnn_core::{DType, Tensor as Core};
use pyo3::exceptions::{PyIndexError, PyOverflowError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyEllipsis, PyInt, PyList, PySlice, PyTuple};

use crate::arguments::{self, Given, named, show};
use crate::convert;
use crate::error::{Raise, type_error, type_name, value_error};
use crate::gil;
use crate::operators::Operand;
use crate::tensor::Tensor;

/// A bound of a slice; beyond 64 bits it is as good as the greatest, as for Python's lists.
fn bound(value: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    if value.is_none() {
        return Ok(None);
    }
    match value.extract() {
        Ok(bound) => Ok(Some(bound)),
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => {
            Ok(Some(if value.lt(0)? { i64::MIN } else { i64::MAX }))
        }
        Err(error) => Err(error),
    }
}

fn item(object: &Bound<'_, PyAny>) -> PyResult<Index> {
    if object.is_none() {
        return Ok(Index::NewAxis);
    }
    if object.is_instance_of::<PyInt>() && !object.is_instance_of::<PyBool>() {
        return object
            .extract()
            .map(Index::At)
            .map_err(|_| PyIndexError::new_err(format!("index {} is out of bounds of any dimension", show(object))));
    }
    if object.is_instance_of::<PySlice>() {
        let (start, stop) = (bound(&object.getattr("start")?)?, bound(&object.getattr("stop")?)?);
        let step = bound(&object.getattr("step")?)?.unwrap_or(1);
        if step <= 0 {
            return Err(value_error(format!("slice: expected a step of at least 1; got {step}")));
        }
        return Ok(Index::Slice { start, stop, step });
    }
    if object.is_instance_of::<PyEllipsis>() {
        return Ok(Index::Ellipsis);
    }
    let tensor = convert::any(object).map_err(|_| {
        type_error(format!(
            "only integers, slices (`:`), ellipsis (`...`), None and int64 or bool tensors are valid indices; got {}",
            type_name(object)
        ))
    })?;
    // An empty list has no dtype of its own.
    let tensor =
        if tensor.numel() == 0 && tensor.dtype().is_float() { Core::empty(tensor.shape(), DType::I64) } else { tensor };
    if tensor.dtype().is_float() {
        return Err(PyIndexError::new_err(format!(
            "tensors used as indices must be int64 or bool tensors; got {}",
            tensor.dtype()
        )));
    }
    if tensor.dtype() == DType::I64 && tensor.ndim() == 0 && !object.is_instance_of::<PyList>() {
        return match ops::item(&tensor).raise()? {
            ops::Scalar::Int(i) => Ok(Index::At(i)),
            _ => Err(type_error("an index is an integer")),
        };
    }
    if tensor.dtype() == DType::Bool {
        // The number of selected elements depends on values, so a plan cannot hold their shape.
        trace::read("indexing with a mask");
    }
    Ok(Index::Tensor(tensor))
}

fn items(index: &Bound<'_, PyAny>) -> PyResult<Vec<Index>> {
    match index.cast::<PyTuple>() {
        Ok(tuple) => tuple.iter().map(|i| item(&i)).collect(),
        Err(_) => Ok(vec![item(index)?]),
    }
}

#[pymethods]
impl Tensor {
    fn __getitem__(&self, py: Python<'_>, index: &Bound<'_, PyAny>) -> PyResult<Self> {
        let items = items(index)?;
        if self.inner.ndim() == 0 && items.iter().any(|i| matches!(i, Index::At(_) | Index::Slice { .. })) {
            return Err(PyIndexError::new_err(
                "invalid index of a 0-dim tensor. Use `tensor.item()` to get its number.",
            ));
        }
        gil::run(py, self.inner.numel(), || ops::index(&self.inner, &items)).map(Self::from)
    }

    fn __setitem__(&self, index: &Bound<'_, PyAny>, value: Operand) -> PyResult<()> {
        let items = items(index)?;
        let value = match value {
            Operand::Tensor(t) => t,
            Operand::Scalar(s) => s.exact(),
        };
        gil::held(|| ops::index_put_(&self.inner, &items, &value))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if self.inner.ndim() == 0 {
            return Err(type_error("iteration over a 0-d tensor"));
        }
        Ok(tuple(py, ops::unbind(&self.inner, 0).raise()?)?.try_iter()?.into_any())
    }

    fn __contains__(&self, py: Python<'_>, value: Operand) -> PyResult<bool> {
        let found = crate::operators::EQ.run(py, &self.inner, &value)?;
        Ok(ops::item(&ops::any(&found, None, false).raise()?).raise()?.to_f64() != 0.0)
    }

    fn gather(&self, py: Python<'_>, dim: Given<i64>, index: convert::Arg) -> PyResult<Self> {
        named!("gather"; dim);
        gil::run(py, index.0.numel(), || ops::gather(&self.inner, dim, &index.0)).map(Self::from)
    }

    fn scatter_add(&self, py: Python<'_>, dim: Given<i64>, index: convert::Arg, src: convert::Arg) -> PyResult<Self> {
        named!("scatter_add"; dim);
        gil::run(py, self.inner.numel(), || ops::scatter_add(&self.inner, dim, &index.0, &src.0)).map(Self::from)
    }

    fn index_select(&self, py: Python<'_>, dim: Given<i64>, index: convert::Arg) -> PyResult<Self> {
        named!("index_select"; dim);
        gil::run(py, self.inner.numel(), || ops::index_select(&self.inner, dim, &index.0)).map(Self::from)
    }

    fn select(&self, dim: Given<i64>, index: Given<i64>) -> PyResult<Self> {
        named!("select"; dim, index);
        ops::select(&self.inner, dim, index).raise().map(Self::from)
    }

    fn narrow(&self, dim: Given<i64>, start: Given<i64>, length: Given<usize>) -> PyResult<Self> {
        named!("narrow"; dim, start, length);
        ops::narrow(&self.inner, dim, start, length).raise().map(Self::from)
    }

    #[pyo3(signature = (*, as_tuple=false))]
    fn nonzero<'py>(&self, py: Python<'py>, as_tuple: bool) -> PyResult<Bound<'py, PyAny>> {
        trace::read("nonzero()");
        let found = gil::held(|| ops::nonzero(&self.inner))?;
        if as_tuple {
            let found = found.into_iter().map(|t| Py::new(py, Self::from(t))).collect::<PyResult<Vec<_>>>()?;
            return Ok(PyTuple::new(py, found)?.into_any());
        }
        let columns: Vec<&Core> = found.iter().collect();
        let rows =
            if columns.is_empty() { Core::empty(&[0, 0], DType::I64) } else { ops::stack(&columns, 1).raise()? };
        Ok(Bound::new(py, Self::from(rows))?.into_any())
    }

    #[pyo3(signature = (split_size, dim=0.into()), text_signature = "($self, split_size, dim=0)")]
    fn split<'py>(
        &self,
        py: Python<'py>,
        split_size: &Bound<'py, PyAny>,
        dim: Given<i64>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        named!("split"; dim);
        let parts = if split_size.is_instance_of::<PyTuple>() || split_size.is_instance_of::<PyList>() {
            ops::split_sizes(&self.inner, &arguments::read::<Vec<usize>>(split_size, "split", "split_size")?, dim)
        } else {
            ops::split(&self.inner, arguments::read(split_size, "split", "split_size")?, dim)
        };
        tuple(py, parts.raise()?)
    }

    #[pyo3(signature = (chunks, dim=0.into()), text_signature = "($self, chunks, dim=0)")]
    fn chunk<'py>(&self, py: Python<'py>, chunks: Given<usize>, dim: Given<i64>) -> PyResult<Bound<'py, PyTuple>> {
        named!("chunk"; chunks, dim);
        tuple(py, ops::chunk(&self.inner, chunks, dim).raise()?)
    }

    #[pyo3(signature = (dim=0.into()), text_signature = "($self, dim=0)")]
    fn unbind<'py>(&self, py: Python<'py>, dim: Given<i64>) -> PyResult<Bound<'py, PyTuple>> {
        named!("unbind"; dim);
        tuple(py, ops::unbind(&self.inner, dim).raise()?)
    }
}

fn tuple(py: Python<'_>, tensors: Vec<Core>) -> PyResult<Bound<'_, PyTuple>> {
    let tensors = tensors.into_iter().map(|t| Py::new(py, Tensor::from(t))).collect::<PyResult<Vec<_>>>()?;
    PyTuple::new(py, tensors)
}

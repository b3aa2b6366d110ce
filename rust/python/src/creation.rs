//! New tensors: from data, filled, drawn.

use fastnn_core::{Tensor as Core, ops};
use numpy::PyUntypedArray;
use pyo3::prelude::*;

use crate::convert::{self, check_device};
use crate::dtype;
use crate::error::{Raise, type_error, type_name};
use crate::tensor::Tensor;

/// The tensor, asking for its gradient if that is wanted.
fn leaf(tensor: Core, requires_grad: bool) -> PyResult<Tensor> {
    if requires_grad {
        tensor.set_requires_grad(true).raise()?;
    }
    Ok(tensor.into())
}

/// A new tensor with a copy of the data: numbers, nested lists, an array, a tensor.
#[pyfunction]
#[pyo3(signature = (data, *, dtype=None, device=None, requires_grad=false))]
pub fn tensor(
    data: &Bound<'_, PyAny>,
    dtype: Option<dtype::Arg>,
    device: Option<&Bound<'_, PyAny>>,
    requires_grad: bool,
) -> PyResult<Tensor> {
    check_device(device)?;
    let source = convert::any(data)?.detach();
    let wanted = dtype.map_or(source.dtype(), |d| d.0);
    leaf(if wanted == source.dtype() { ops::copy(&source) } else { ops::cast(&source, wanted) }.raise()?, requires_grad)
}

/// A tensor of the data, sharing its memory where that is possible.
#[pyfunction]
#[pyo3(signature = (data, dtype=None, device=None))]
pub fn as_tensor<'py>(
    data: &Bound<'py, PyAny>,
    dtype: Option<dtype::Arg>,
    device: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    check_device(device)?;
    let wanted = dtype.map(|d| d.0);
    if let Ok(tensor) = data.cast::<Tensor>()
        && wanted.is_none_or(|d| d == tensor.borrow().inner.dtype())
    {
        return Ok(data.clone());
    }
    let source = convert::any(data)?;
    let tensor = ops::cast(&source, wanted.unwrap_or(source.dtype())).raise()?;
    Ok(Bound::new(data.py(), Tensor::from(tensor))?.into_any())
}

/// A tensor on the memory of an array.
#[pyfunction]
#[pyo3(signature = (array, /))]
pub fn from_numpy(array: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    match array.cast::<PyUntypedArray>() {
        Ok(array) => Ok(convert::from_array(array)?.into()),
        Err(_) => Err(type_error(format!("from_numpy: expected a NumPy array; got {}", type_name(array)))),
    }
}

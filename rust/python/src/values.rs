//! The values of a tensor in Python: numbers, lists, arrays, text. A trace is told of all that is read.

use fastnn_core::tensor::trace;
use fastnn_core::{DType, Tensor as Core, with_element};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyBool;
use pyo3::{IntoPyObjectExt, intern};

use crate::convert;
use crate::error::{type_error, value_error};
use crate::tensor::Tensor;

/// Refuse to show the values of a tensor that requires grad as an array.
fn check_detached(tensor: &Core) -> PyResult<()> {
    if tensor.requires_grad() {
        return Err(PyRuntimeError::new_err(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.",
        ));
    }
    Ok(())
}

/// The value at a place, as Python's number.
fn element<'py>(py: Python<'py>, tensor: &Core, offset: isize) -> PyResult<Bound<'py, PyAny>> {
    with_element!(tensor.dtype(), T => {
        // SAFETY: the callers' offsets are the layout's, which lie in the storage.
        let value = unsafe { *tensor.view().ptr::<T>().offset(offset) };
        if tensor.dtype() == DType::Bool {
            #[allow(clippy::cast_lossless, clippy::unnecessary_cast)]
            return Ok(PyBool::new(py, value != (0 as T)).to_owned().into_any());
        }
        value.into_bound_py_any(py)
    })
}

impl Tensor {
    /// The only value, read in a way that a trace takes note of.
    fn only<'py>(&self, py: Python<'py>, how: &str) -> PyResult<Bound<'py, PyAny>> {
        let value = self.peek(py)?;
        trace::read(how);
        Ok(value)
    }
}

#[pymethods]
impl Tensor {
    /// The only value, for a check that no result depends on: steps in which it is read can be planned.
    #[pyo3(name = "_peek")]
    fn peek<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if self.inner.numel() != 1 {
            return Err(PyRuntimeError::new_err(format!(
                "a Tensor with {} elements cannot be converted to Scalar",
                self.inner.numel()
            )));
        }
        element(py, &self.inner, 0)
    }

    fn item<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.only(py, "item()")
    }

    fn tolist<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        trace::read("tolist()");
        // By NumPy, whose lists are made fast, and fail where there is no memory for them.
        convert::to_array(py, &self.inner)?.call_method0(intern!(py, "tolist"))
    }

    /// An array on the same memory.
    #[pyo3(signature = (*, force=false))]
    fn numpy<'py>(&self, py: Python<'py>, force: bool) -> PyResult<Bound<'py, PyAny>> {
        if !force {
            check_detached(&self.inner)?;
        }
        trace::read("numpy()");
        convert::to_array(py, &self.inner)
    }

    #[pyo3(signature = (dtype=None, copy=None))]
    fn __array__<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        check_detached(&self.inner)?;
        trace::read("__array__()");
        let array = convert::to_array(py, &self.inner)?;
        let array = if let Some(dtype) = dtype
            && !array.getattr(intern!(py, "dtype"))?.eq(&dtype)?
        {
            if copy == Some(false) {
                return Err(value_error(format!(
                    "expected an array of {dtype} without a copy; got {}",
                    self.inner.dtype()
                )));
            }
            return array.call_method1(intern!(py, "astype"), (dtype,));
        } else {
            array
        };
        if copy == Some(true) { array.call_method0(intern!(py, "copy")) } else { Ok(array) }
    }

    #[pyo3(signature = (**kwargs))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        kwargs: Option<&Bound<'py, pyo3::types::PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        check_detached(&self.inner)?;
        trace::read("__dlpack__()");
        convert::to_array(py, &self.inner)?.call_method(intern!(py, "__dlpack__"), (), kwargs)
    }

    fn __dlpack_device__(&self) -> (i32, i32) {
        (1, 0)
    }

    fn __len__(&self) -> PyResult<usize> {
        self.inner.shape().first().copied().ok_or_else(|| type_error("len() of a 0-d tensor"))
    }

    fn __bool__(&self, py: Python<'_>) -> PyResult<bool> {
        if self.inner.numel() != 1 {
            return Err(PyRuntimeError::new_err(if self.inner.numel() == 0 {
                "Boolean value of Tensor with no values is ambiguous"
            } else {
                "Boolean value of Tensor with more than one value is ambiguous"
            }));
        }
        self.only(py, "bool()")?.is_truthy()
    }

    fn __float__(&self, py: Python<'_>) -> PyResult<f64> {
        self.only(py, "float()")?.extract()
    }

    fn __int__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.only(py, "int()")?.call_method0(intern!(py, "__int__"))
    }

    fn __index__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if self.inner.dtype().is_float() || self.inner.numel() != 1 {
            return Err(type_error("only integer tensors of a single element can be converted to an index"));
        }
        self.__int__(py)
    }

    fn __format__<'py>(slf: &Bound<'py, Self>, spec: &str) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if slf.borrow().inner.ndim() == 0 && !spec.is_empty() {
            return slf.borrow().only(py, "format()")?.call_method1(intern!(py, "__format__"), (spec,));
        }
        slf.str()?.call_method1(intern!(py, "__format__"), (spec,))
    }

    /// Identity: equal hashes are of the same tensor.
    fn __hash__(&self) -> u64 {
        self.hash
    }

    fn __repr__(&self) -> String {
        trace::read("repr()");
        crate::show::tensor(&self.inner)
    }
}

//! `fastnn.float32` and its like.

use fastnn_core::DType;
use numpy::{PyArrayDescr, PyArrayDescrMethods};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};

use crate::error::{type_error, type_name};

/// The element type of a tensor. There is one object of each, so that `is` works.
#[pyclass(name = "dtype", module = "fastnn", frozen)]
pub struct PyDType(DType);

static ALL: PyOnceLock<[Py<PyDType>; 4]> = PyOnceLock::new();

/// The one object of a dtype.
pub fn object(py: Python<'_>, dtype: DType) -> PyResult<Bound<'_, PyDType>> {
    let all = ALL.get_or_try_init(py, || {
        let new = |dtype| Py::new(py, PyDType(dtype));
        Ok::<_, PyErr>([new(DType::F32)?, new(DType::F64)?, new(DType::I64)?, new(DType::Bool)?])
    })?;
    let index = match dtype {
        DType::F32 => 0,
        DType::F64 => 1,
        DType::I64 => 2,
        DType::Bool => 3,
    };
    Ok(all[index].bind(py).clone())
}

/// The dtype that is NumPy's, if any; byte order aside.
pub fn from_descr(descr: &Bound<'_, PyArrayDescr>) -> Option<DType> {
    match (descr.kind(), descr.itemsize()) {
        (b'f', 4) => Some(DType::F32),
        (b'f', 8) => Some(DType::F64),
        (b'i', 8) => Some(DType::I64),
        (b'b', 1) => Some(DType::Bool),
        _ => None,
    }
}

/// The dtype that an object names: ours, NumPy's, a type such as `float`, or a name.
pub fn lookup(object: &Bound<'_, PyAny>) -> Option<DType> {
    if let Ok(ours) = object.cast::<PyDType>() {
        return Some(ours.get().0);
    }
    if let Ok(name) = object.cast::<PyString>() {
        let name = name.to_cow().ok()?;
        return match name.strip_prefix("fastnn.").unwrap_or(&name) {
            "float32" | "float" => Some(DType::F32),
            "float64" | "double" => Some(DType::F64),
            "int64" | "long" => Some(DType::I64),
            "bool" => Some(DType::Bool),
            _ => None,
        };
    }
    if let Ok(descr) = object.cast::<PyArrayDescr>() {
        return from_descr(descr);
    }
    if let Ok(class) = object.cast::<PyType>() {
        let module = class.module().ok()?;
        return match (module.to_cow().ok()?.as_ref(), class.name().ok()?.to_cow().ok()?.as_ref()) {
            // Python's `float` is our default, as in PyTorch.
            ("builtins", "float") | ("numpy", "float32") => Some(DType::F32),
            ("numpy", "float64") => Some(DType::F64),
            ("builtins", "int") | ("numpy", "int64") => Some(DType::I64),
            ("builtins", "bool") | ("numpy", "bool" | "bool_") => Some(DType::Bool),
            _ => None,
        };
    }
    None
}

/// A dtype argument.
#[derive(Clone, Copy)]
pub struct Arg(pub DType);

impl<'py> FromPyObject<'_, 'py> for Arg {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Some(dtype) = lookup(&object) {
            return Ok(Self(dtype));
        }
        let got = object.str().map_or_else(|_| type_name(&object), |s| s.to_string());
        Err(type_error(format!("expected dtype float32, float64, int64 or bool; got {got}")))
    }
}

#[pymethods]
impl PyDType {
    fn __repr__(&self) -> String {
        format!("fastnn.{}", self.0.name())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        lookup(other) == Some(self.0)
    }

    fn __ne__(&self, other: &Bound<'_, PyAny>) -> bool {
        !self.__eq__(other)
    }

    /// That of its name, which it equals.
    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        PyString::intern(py, self.0.name()).hash()
    }

    fn __reduce__(&self) -> String {
        self.0.name().to_owned()
    }

    /// Bytes an element takes.
    #[getter]
    fn itemsize(&self) -> usize {
        self.0.size()
    }

    /// True if this is a floating-point type.
    #[getter]
    fn is_floating_point(&self) -> bool {
        self.0.is_float()
    }
}

//! NumPy arrays, numbers and lists as tensors, and tensors as NumPy arrays.
//!
//! An aligned array in native byte order shares its memory with the tensor, whatever its strides, as long as they are
//! multiples of its element size; it is writable through the tensor only where it is writable itself.

use std::ffi::c_int;
use std::sync::Arc;

use fastnn_core::ops::Scalar;
use fastnn_core::tensor::trace;
use fastnn_core::tensor::{Keeper, Layout, Storage, room};
use fastnn_core::{DType, Tensor as Core, ops};
use numpy::npyffi::{self, NPY_ARRAY_ALIGNED, NPY_ARRAY_WRITEABLE, NpyTypes, PY_ARRAY_API};
use numpy::{PyArrayDescr, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::conversion::FromPyObjectOwned;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyList, PyString, PyTuple};
use pyo3::{ffi, intern};

use crate::arguments::{self, Read, show};
use crate::dtype;
use crate::error::{Raise, type_error, type_name, value_error};
use crate::tensor::Tensor;

/// Keeps a tensor's memory alive for an array that looks at it.
#[pyclass(name = "_Memory", module = "fastnn", frozen)]
struct Memory(#[allow(dead_code)] Arc<Storage>);

/// A NumPy array whose memory a tensor shares. What its flags say may change at any time.
struct Array {
    _object: Py<PyAny>,
    flags: *const c_int,
}

// SAFETY: the flags are only read, and live as long as the object.
unsafe impl Send for Array {}
// SAFETY: as above.
unsafe impl Sync for Array {}

impl Keeper for Array {
    fn writable(&self) -> bool {
        // SAFETY: a field of the object that is held; it is one word, whole whoever writes it.
        let flags = unsafe { self.flags.read_volatile() };
        flags & NPY_ARRAY_WRITEABLE != 0
    }
}

/// Memory of a NumPy array that no one may free while the tensor lives.
fn adopt(array: &Bound<'_, PyUntypedArray>, dtype: DType) -> Option<Core> {
    // SAFETY: `array` is a NumPy array, so its object has these fields.
    let fields = unsafe { &(*array.as_array_ptr()).fields };
    let (flags, data) = (fields.flags, fields.data.cast::<u8>());
    let size = dtype.size() as isize;
    let (shape, strides) = (array.shape(), array.strides());
    if flags & NPY_ARRAY_ALIGNED == 0 || !data.addr().is_multiple_of(dtype.size()) {
        return None;
    }
    if shape.contains(&0) {
        return Some(Core::empty(shape, dtype));
    }
    // The lowest and the highest element, in elements from `data`.
    let (mut low, mut high) = (0, 0);
    for (&n, &stride) in shape.iter().zip(strides) {
        if n > 1 && stride % size != 0 {
            return None;
        }
        let reach = stride / size * (n as isize - 1);
        if reach < 0 { low += reach } else { high += reach }
    }
    let strides = shape.iter().zip(strides).map(|(&n, &s)| if n > 1 { s / size } else { 1 }).collect();
    let layout = Layout { shape: shape.into(), strides, offset: low.unsigned_abs() };
    let bytes = (high - low + 1) as usize * dtype.size();
    // SAFETY: a field of the object, which the keeper holds.
    let flags = unsafe { &raw const (*array.as_array_ptr()).fields.flags };
    let keep = Box::new(Array { _object: array.clone().into_any().unbind(), flags });
    // SAFETY: from the lowest to the highest element the memory is the array's, which `keep` holds; the alignment was
    // checked above.
    let storage = unsafe { Storage::foreign(data.offset(low * size), bytes, keep) };
    Some(Core::from_storage(Arc::new(storage), layout, dtype))
}

/// A tensor on the memory of a float array, if it can be shared.
pub fn share(array: &Bound<'_, PyUntypedArray>) -> Option<Core> {
    let descr = array.dtype();
    let dtype = dtype::from_descr(&descr).filter(|d| d.is_float())?;
    if descr.is_native_byteorder() == Some(false) { None } else { adopt(array, dtype) }
}

/// A tensor of an array, sharing its memory where that is possible.
pub fn from_array(array: &Bound<'_, PyUntypedArray>) -> PyResult<Core> {
    trace::obstacle("a tensor was made of values in Python");
    let descr = array.dtype();
    let native = descr.is_native_byteorder() != Some(false);
    if native
        && let Some(dtype) = dtype::from_descr(&descr)
        && let Some(tensor) = adopt(array, dtype)
    {
        return Ok(tensor);
    }
    let name = match (dtype::from_descr(&descr), descr.kind()) {
        (Some(dtype), _) => dtype.name(),
        (None, b'i' | b'u') => "int64",
        _ => {
            return Err(type_error(format!(
                "expected an array of float32, float64, bool or integers; got {}",
                descr.str()?
            )));
        }
    };
    let py = array.py();
    if descr.kind() == b'u' && descr.itemsize() == 8 && array.len() > 0 {
        let largest = array.call_method0(intern!(py, "max"))?.extract::<u64>()?;
        if i64::try_from(largest).is_err() {
            return Err(value_error(format!("expected integers that int64 can hold; got {largest}")));
        }
    }
    let copy = array.call_method1(intern!(py, "astype"), (name, "C"))?;
    let copy = copy.cast::<PyUntypedArray>()?;
    adopt(copy, dtype::from_descr(&copy.dtype()).unwrap_or(DType::F32))
        .ok_or_else(|| value_error("expected an array that can be copied"))
}

/// The error for an integer outside of int64.
fn too_large(integer: &Bound<'_, PyAny>) -> PyErr {
    value_error(format!("expected integers that int64 can hold; got {}", show(integer)))
}

/// A Python or NumPy number, if the object is one. An integer outside of int64 is an error, as in PyTorch.
pub fn scalar(object: &Bound<'_, PyAny>) -> PyResult<Option<Scalar>> {
    number(object).map_err(|_| too_large(object))
}

/// A Python or NumPy number, if the object is one; an `OverflowError` for an integer outside of int64.
fn number(object: &Bound<'_, PyAny>) -> PyResult<Option<Scalar>> {
    if let Ok(x) = object.cast::<PyFloat>() {
        return Ok(Some(Scalar::Float(x.value())));
    }
    if let Ok(x) = object.cast::<PyBool>() {
        return Ok(Some(Scalar::Bool(x.is_true())));
    }
    if object.is_instance_of::<PyInt>() {
        return object.extract().map(|x| Some(Scalar::Int(x)));
    }
    if is_numpy_scalar(object) {
        let kind: Option<String> = object.getattr("dtype").and_then(|d| d.getattr("kind")?.extract()).ok();
        return Ok(match kind.as_deref() {
            Some("f") => object.extract().ok().map(Scalar::Float),
            Some("i" | "u") => Some(Scalar::Int(object.extract()?)),
            Some("b") => object.is_truthy().ok().map(Scalar::Bool),
            _ => None,
        });
    }
    Ok(None)
}

/// The first number of nested lists that int64 cannot hold, if all of them are integers.
fn first_too_large<'py>(object: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    fn search<'py>(object: &Bound<'py, PyAny>, found: &mut Option<Bound<'py, PyAny>>) -> bool {
        if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
            return object
                .try_iter()
                .is_ok_and(|mut items| items.all(|item| item.is_ok_and(|item| search(&item, found))));
        }
        if found.is_none() && object.extract::<i64>().is_err() {
            *found = Some(object.clone());
        }
        // NumPy's integers, too.
        object.hasattr(intern!(object.py(), "__index__")).unwrap_or(false)
    }
    let mut found = None;
    if search(object, &mut found) { found } else { None }
}

impl Read for Scalar {
    const EXPECTED: &'static str = "a float or an int in [-9223372036854775808, 9223372036854775807]";

    fn read(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Some(number) = number(object)? {
            return Ok(number);
        }
        match object.cast::<Tensor>() {
            Ok(tensor) if tensor.borrow().inner.numel() == 1 => ops::item(&tensor.borrow().inner).raise(),
            _ => Err(type_error("no number")),
        }
    }
}

fn is_numpy_scalar(object: &Bound<'_, PyAny>) -> bool {
    let class = object.get_type();
    class.module().is_ok_and(|m| m.to_cow().is_ok_and(|m| m == "numpy")) && object.hasattr("dtype").unwrap_or(false)
}

/// Dimensions that an array can have.
const MOST_DIMS: usize = 64;

/// True if the numbers in (nested) lists come with a dtype of their own.
fn has_dtype(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let mut leaf = object.clone();
    // Deeper ones, such as a list in itself, make no array.
    for _ in 0..MOST_DIMS {
        if !leaf.is_instance_of::<PyList>() && !leaf.is_instance_of::<PyTuple>() {
            break;
        }
        if leaf.len()? == 0 {
            return Ok(false);
        }
        leaf = leaf.get_item(0)?;
    }
    leaf.hasattr("dtype")
}

/// A tensor of anything that can be one: a tensor itself, an array (shared), a number, nested lists.
pub fn any(object: &Bound<'_, PyAny>) -> PyResult<Core> {
    any_as(object, None)
}

/// [`any`], in which numbers that have no dtype of their own are of the wanted one, with all their digits.
pub fn any_as(object: &Bound<'_, PyAny>, wanted: Option<DType>) -> PyResult<Core> {
    if let Ok(tensor) = object.cast::<Tensor>() {
        return Ok(tensor.borrow().inner.clone());
    }
    if let Ok(array) = object.cast::<PyUntypedArray>() {
        return from_array(array);
    }
    if let Ok(x) = object.cast::<PyFloat>()
        && !is_numpy_scalar(object)
    {
        return Ok(Scalar::Float(x.value()).tensor(wanted.unwrap_or(DType::F32)));
    }
    let py = object.py();
    let own_dtype = has_dtype(object)?;
    let array = py.import(intern!(py, "numpy"))?.call_method1(intern!(py, "asarray"), (object,)).map_err(|error| {
        if error.is_instance_of::<pyo3::exceptions::PyValueError>(py) {
            value_error(format!("expected nested lists of equal lengths; got {}", error.value(py)))
        } else {
            error
        }
    })?;
    let array = array.cast::<PyUntypedArray>()?;
    if array.dtype().kind() == b'O' {
        if let Some(integer) = first_too_large(object) {
            return Err(too_large(&integer));
        }
        return Err(type_error(format!("expected a tensor, an array or numbers; got {}", type_name(object))));
    }
    let tensor = from_array(array)?;
    // If no integer type holds all of them, NumPy takes floats.
    if tensor.dtype() == DType::F64
        && tensor.to_vec_f64().iter().any(|x| x.abs() >= i64::MAX as f64)
        && let Some(integer) = first_too_large(object)
    {
        return Err(too_large(&integer));
    }
    if !own_dtype && tensor.dtype() == DType::F64 {
        return ops::cast(&tensor, wanted.unwrap_or(DType::F32)).raise();
    }
    Ok(tensor)
}

/// An argument that may be a tensor, or anything that can be one.
pub struct Arg(pub Core);

impl<'py> FromPyObject<'_, 'py> for Arg {
    type Error = PyErr;

    #[inline]
    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        any(&object).map(Self)
    }
}

/// The items of a sequence: as many as come, whatever it says that its length is.
pub struct Items<T>(pub Vec<T>);

impl<'py, T: FromPyObjectOwned<'py>> FromPyObject<'_, 'py> for Items<T> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        // SAFETY: asks whether the object's type has the slots of a sequence.
        if object.is_instance_of::<PyString>() || unsafe { ffi::PySequence_Check(object.as_ptr()) } == 0 {
            return Err(type_error(format!("expected a sequence; got {}", type_name(&object))));
        }
        object.try_iter()?.map(|item| item?.extract().map_err(Into::into)).collect::<PyResult<_>>().map(Self)
    }
}

fn descr(py: Python<'_>, dtype: DType) -> Bound<'_, PyArrayDescr> {
    match dtype {
        DType::F32 => numpy::dtype::<f32>(py),
        DType::F64 => numpy::dtype::<f64>(py),
        DType::I64 => numpy::dtype::<i64>(py),
        DType::Bool => numpy::dtype::<bool>(py),
    }
}

/// An array that shares the tensor's memory.
pub fn to_array<'py>(py: Python<'py>, tensor: &Core) -> PyResult<Bound<'py, PyAny>> {
    let dtype = tensor.dtype();
    let base = Py::new(py, Memory(Arc::clone(tensor.storage())))?;
    let layout = tensor.layout();
    let mut dims: Vec<npyffi::npy_intp> = layout.shape.iter().map(|&n| n as npyffi::npy_intp).collect();
    let mut strides: Vec<npyffi::npy_intp> =
        layout.strides.iter().map(|&s| s as npyffi::npy_intp * dtype.size() as npyffi::npy_intp).collect();
    let flags = if tensor.storage().writable() { NPY_ARRAY_WRITEABLE } else { 0 };
    // SAFETY: data, sizes and strides describe elements of the tensor's storage, which the base object keeps alive;
    // the API takes over the reference to the dtype, and to the base.
    unsafe {
        let data = tensor.storage().ptr().add(layout.offset * dtype.size());
        let array = PY_ARRAY_API.PyArray_NewFromDescr(
            py,
            npyffi::get_type_object(py, NpyTypes::PyArray_Type),
            descr(py, dtype).into_ptr().cast(),
            dims.len() as c_int,
            dims.as_mut_ptr(),
            strides.as_mut_ptr(),
            data.cast(),
            flags,
            std::ptr::null_mut(),
        );
        let array = Bound::from_owned_ptr_or_err(py, array)?;
        if PY_ARRAY_API.PyArray_SetBaseObject(py, array.as_ptr().cast(), base.into_ptr()) != 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(array)
    }
}

/// A device argument: nothing, or the CPU.
pub fn check_device(device: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let Some(device) = device else { return Ok(()) };
    let name = device.str()?.to_string();
    if name.split(':').next() == Some("cpu") {
        Ok(())
    } else {
        Err(value_error(format!("expected device 'cpu', the only one fastnn has; got {}", device.repr()?)))
    }
}

/// A shape given as one sequence or as separate integers: `zeros(2, 3)`, `zeros((2, 3))`.
pub fn dims(op: &str, name: &str, args: &Bound<'_, PyTuple>) -> PyResult<Vec<i64>> {
    if args.len() == 1 {
        let only = args.get_item(0)?;
        if only.is_instance_of::<PyTuple>() || only.is_instance_of::<PyList>() {
            return arguments::read(&only, op, name);
        }
    }
    arguments::read(args, op, name)
}

/// A shape without negative sizes, whose elements can be counted.
pub fn shape(op: &str, args: &Bound<'_, PyTuple>) -> PyResult<Vec<usize>> {
    let sizes = dims(op, "size", args)?;
    let numel = sizes.iter().try_fold(8usize, |n, &size| usize::try_from(size).ok().and_then(|s| n.checked_mul(s)));
    if numel.is_none_or(|n| n > isize::MAX as usize) {
        return Err(value_error(format!("{op}: expected sizes of at least 0 that fit in memory; got {sizes:?}")));
    }
    let sizes: Vec<usize> = sizes.into_iter().map(|n| n as usize).collect();
    room::check(op, &sizes, DType::F32).raise()?;
    Ok(sizes)
}

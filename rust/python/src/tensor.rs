//! `fastnn.Tensor`: what it is, and its values in Python.

use fastnn_core::tensor::overlap::Pieces;
use fastnn_core::tensor::tape::{self, Keep};
use fastnn_core::{Tensor as Core, ops};
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::arguments::{Given, named};
use crate::convert;
use crate::dtype::{self, PyDType};
use crate::error::{Raise, type_error, type_name, value_error};
use crate::function;
use crate::gil;

/// An n-dimensional array that remembers how it was made.
#[pyclass(subclass, module = "fastnn", weakref)]
pub struct Tensor {
    /// The core's tensor. Another takes its place when `data` is assigned.
    pub inner: Core,
    /// The id of the first core tensor: a hash that outlives an assignment to `data`.
    pub hash: u64,
}

impl From<Core> for Tensor {
    #[inline]
    fn from(inner: Core) -> Self {
        Self { hash: inner.id(), inner }
    }
}

/// The op that made a tensor.
#[pyclass(name = "_Node", module = "fastnn", frozen)]
pub struct GradFn(std::sync::Arc<tape::Node>);

/// Put another core tensor in the place of the present one.
fn replace(slf: &Bound<'_, Tensor>, new: Core) -> PyResult<()> {
    // Another thread's op may be reading it just now.
    for _ in 0..1_000_000 {
        if let Ok(mut this) = slf.try_borrow_mut() {
            let old = std::mem::replace(&mut this.inner, new);
            // Dropping it may run Python code that looks at this tensor.
            drop(this);
            drop(old);
            return Ok(());
        }
        slf.py().detach(std::thread::yield_now);
    }
    Err(PyRuntimeError::new_err("data: expected a tensor that no op is reading; got one that is"))
}

#[pymethods]
impl GradFn {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        function::visit_node(&self.0, &visit)
    }

    fn __repr__(&self) -> String {
        format!("<{}>", self.name())
    }

    fn name(&self) -> String {
        crate::show::grad_fn(self.0.name())
    }
}

/// The tensor, off the tape; a copy if its memory is also that of one of the others, which are about to be written.
#[pyfunction]
#[pyo3(signature = (tensor, written, /))]
#[allow(clippy::needless_pass_by_value)] // from Python
pub fn apart(tensor: convert::Arg, written: Vec<PyRef<'_, Tensor>>) -> PyResult<Tensor> {
    let tensor = tensor.0.detach();
    if Pieces::of(written.iter().map(|t| &t.inner)).meet(&tensor) {
        return tape::no_grad(|| ops::copy(&tensor)).raise().map(Tensor::from);
    }
    Ok(Tensor::from(tensor))
}

/// True if the tensor's memory may be changed: not that of an array that is read-only now.
#[pyfunction]
#[pyo3(signature = (tensor, /))]
pub fn is_writable(tensor: PyRef<'_, Tensor>) -> bool {
    tensor.inner.storage().writable()
}

#[pymethods]
impl Tensor {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        function::visit_tensor(&self.inner, &visit)
    }

    fn __clear__(&mut self) {
        let nothing = Core::empty(&[0], self.inner.dtype());
        let old = std::mem::replace(&mut self.inner, nothing);
        drop(old);
    }

    #[classattr]
    #[allow(non_upper_case_globals)]
    const __array_priority__: f64 = 1000.0;

    /// A leaf on the same memory as a tensor or array; of lists, a float32 tensor.
    #[new]
    fn new(data: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(convert::any(data)?.detach().into())
    }

    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.inner.shape())
    }

    #[pyo3(signature = (dim=None))]
    fn size<'py>(&self, py: Python<'py>, dim: Option<Given<i64>>) -> PyResult<Bound<'py, PyAny>> {
        named!("size"; dim);
        let Some(dim) = dim else { return Ok(self.shape(py)?.into_any()) };
        let d = fastnn_core::tensor::layout::dim_index("size", dim, self.inner.ndim()).raise()?;
        self.shape(py)?.get_item(d)
    }

    #[getter]
    fn dtype<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDType>> {
        dtype::object(py, self.inner.dtype())
    }

    #[getter]
    fn ndim(&self) -> usize {
        self.inner.ndim()
    }

    fn dim(&self) -> usize {
        self.inner.ndim()
    }

    fn numel(&self) -> usize {
        self.inner.numel()
    }

    fn nelement(&self) -> usize {
        self.inner.numel()
    }

    fn element_size(&self) -> usize {
        self.inner.dtype().size()
    }

    fn stride<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.inner.layout().strides.as_slice())
    }

    fn is_contiguous(&self) -> bool {
        self.inner.layout().is_contiguous()
    }

    fn is_floating_point(&self) -> bool {
        self.inner.dtype().is_float()
    }

    fn data_ptr(&self) -> usize {
        self.inner.storage().ptr().addr() + self.inner.layout().offset * self.inner.dtype().size()
    }

    #[getter]
    fn _version(&self) -> u64 {
        self.inner.storage().version()
    }

    #[getter]
    fn itemsize(&self) -> usize {
        self.inner.dtype().size()
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.inner.dtype().size() * self.inner.numel()
    }

    #[getter]
    fn device(&self) -> &'static str {
        "cpu"
    }

    #[getter]
    fn is_leaf(&self) -> bool {
        self.inner.is_leaf()
    }

    #[getter]
    fn grad_fn(&self) -> Option<GradFn> {
        self.inner.node().map(|(node, _)| GradFn(node))
    }

    #[getter]
    fn get_requires_grad(&self) -> bool {
        self.inner.requires_grad()
    }

    #[setter]
    fn set_requires_grad(&self, value: bool) -> PyResult<()> {
        crate::settings::bump_config();
        self.inner.set_requires_grad(value).raise()
    }

    #[pyo3(signature = (requires_grad=true))]
    fn requires_grad_(slf: Bound<'_, Self>, requires_grad: bool) -> PyResult<Bound<'_, Self>> {
        crate::settings::bump_config();
        slf.borrow().inner.set_requires_grad(requires_grad).raise()?;
        Ok(slf)
    }

    #[getter]
    fn get_grad(&self) -> Option<Self> {
        self.inner.grad().map(Self::from)
    }

    #[setter]
    fn set_grad(&self, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let Some(value) = value else {
            self.inner.set_grad(None);
            return Ok(());
        };
        let Ok(grad) = value.cast::<Self>() else {
            return Err(type_error(format!(
                "assigned grad expected to be a Tensor or None but got {}",
                type_name(value)
            )));
        };
        if grad.borrow().inner.id() == self.inner.id() {
            return Err(type_error("grad: can't assign Variable as its own grad"));
        }
        let grad = grad.borrow().inner.clone();
        if grad.shape() != self.inner.shape() {
            return Err(value_error(format!(
                "grad: expected a gradient of shape {}; got {}",
                fastnn_core::tensor::layout::show(self.inner.shape()),
                fastnn_core::tensor::layout::show(grad.shape())
            )));
        }
        if grad.dtype() != self.inner.dtype() {
            return Err(type_error(format!(
                "grad: expected a gradient of dtype {}; got {}",
                self.inner.dtype(),
                grad.dtype()
            )));
        }
        // Two tensors that are each other's gradients would never be freed.
        let mut next = grad.grad();
        while let Some(of) = next {
            if of.id() == self.inner.id() {
                let alone = grad.detach();
                alone.set_requires_grad(grad.requires_grad()).raise()?;
                self.inner.set_grad(Some(alone));
                return Ok(());
            }
            next = of.grad();
        }
        self.inner.set_grad(Some(grad));
        Ok(())
    }

    /// The same memory, cut from the tape. Assigning it gives this tensor other memory, shape and dtype.
    #[getter]
    fn get_data(&self) -> Self {
        self.inner.detach().into()
    }

    #[setter]
    fn set_data(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        crate::settings::bump_config();
        let data = convert::any(value)?;
        let heir = slf.borrow().inner.with_data(&data).raise()?;
        replace(slf, heir)
    }

    fn detach(&self) -> Self {
        self.inner.detach().into()
    }

    fn detach_(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        let detached = slf.borrow().inner.detach();
        replace(&slf, detached)?;
        Ok(slf)
    }

    /// Add the gradient with respect to every leaf to that leaf's `grad`. With `create_graph` those can be differentiated;
    /// they then hold the graph, which holds the leaves, and memory is only freed once `grad` is `None` again.
    #[pyo3(signature = (gradient=None, retain_graph=None, create_graph=false))]
    fn backward(
        slf: &Bound<'_, Self>,
        gradient: Option<convert::Arg>,
        retain_graph: Option<bool>,
        create_graph: bool,
    ) -> PyResult<()> {
        let (inner, gradient) = (slf.borrow().inner.clone(), gradient.map(|g| g.0));
        let keep = Keep { retain: retain_graph.unwrap_or(create_graph), create: create_graph };
        gil::detached(slf.py(), || tape::backward(&inner, gradient.as_ref(), keep))
    }

    /// A copy on the tape.
    fn clone(&self, py: Python<'_>) -> PyResult<Self> {
        crate::gil::run(py, self.inner.numel(), || ops::copy(&self.inner)).map(Self::from)
    }

    fn __deepcopy__<'py>(
        slf: &Bound<'py, Self>,
        memo: &Bound<'py, pyo3::types::PyDict>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let key = slf.as_ptr().addr();
        if let Some(done) = memo.get_item(key)? {
            return Ok(done);
        }
        let this = slf.borrow();
        if !this.inner.is_leaf() {
            return Err(PyRuntimeError::new_err(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.",
            ));
        }
        let copy = tape::no_grad(|| ops::copy(&this.inner)).raise()?;
        copy.set_requires_grad(this.inner.requires_grad()).raise()?;
        if let Some(grad) = this.inner.grad() {
            copy.set_grad(Some(tape::no_grad(|| ops::copy(&grad)).raise()?));
        }
        let copy = Bound::new(py, Self::from(copy))?.into_any();
        memo.set_item(key, &copy)?;
        Ok(copy)
    }
}

//! `autograd.Function`: an op whose forward and backward are written in Python.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use fastnn_core::ops::{self, Grads, Op, Outputs, Run};
use fastnn_core::tensor::layout::show;
use fastnn_core::tensor::tape::{self, Backward, Node};
use fastnn_core::tensor::trace;
use fastnn_core::tensor::{Meta, View};
use fastnn_core::{Error, Tensor as Core};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::error::{carry, type_name};
use crate::tensor::Tensor;

/// A tensor that backward reads, and how often it had been changed by then.
struct Kept {
    tensor: Option<Core>,
    version: u64,
    /// Number of the function's output that it is, if it is one.
    output: Option<usize>,
}

/// Context of forward and backward: the `ctx` of both. Other attributes may be put on it.
#[pyclass(name = "FunctionCtx", module = "fastnn.autograd", dict, frozen)]
pub struct Context {
    saved: Mutex<Vec<Kept>>,
    needs: Vec<bool>,
    /// The function's place on the tape.
    node: Mutex<Weak<Node>>,
    /// True if missing gradients come as zeros.
    materialize: Mutex<bool>,
}

impl Context {
    fn saved(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A saved tensor as backward reads it: an output is on the tape again where that is recorded.
    fn on_tape(&self, saved: &Core, output: Option<usize>) -> Core {
        let node = self.node.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        match (output, node) {
            (Some(i), Some(node)) if tape::is_grad_enabled() && saved.dtype().is_float() => {
                let output = saved.detach();
                output.set_node(node, i);
                output
            }
            _ => saved.clone(),
        }
    }
}

#[pymethods]
impl Context {
    /// Keep tensors for backward.
    #[pyo3(signature = (*tensors))]
    fn save_for_backward(&self, tensors: &Bound<'_, PyTuple>) -> PyResult<()> {
        let mut kept = Vec::with_capacity(tensors.len());
        for object in tensors {
            let tensor = if object.is_none() {
                None
            } else if let Ok(tensor) = object.cast::<Tensor>() {
                Some(tensor.borrow().inner.clone())
            } else {
                return Err(PyTypeError::new_err(format!(
                    "save_for_backward can only save variables, but argument {} is of type {}",
                    kept.len(),
                    type_name(&object)
                )));
            };
            let version = tensor.as_ref().map_or(0, |t| t.storage().version());
            kept.push(Kept { tensor, version, output: None });
        }
        let old = std::mem::replace(&mut *self.saved(), kept);
        drop(old);
        Ok(())
    }

    /// The tensors that were saved.
    #[getter]
    fn saved_tensors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let mut tensors = Vec::new();
        for kept in self.saved().iter() {
            if let Some(tensor) = &kept.tensor
                && tensor.storage().version() != kept.version
            {
                return Err(PyRuntimeError::new_err(format!(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: a \
                     saved tensor of shape {} is at version {}; expected version {} instead",
                    show(tensor.shape()),
                    tensor.storage().version(),
                    kept.version
                )));
            }
            tensors.push(kept.tensor.as_ref().map(|tensor| Tensor::from(self.on_tape(tensor, kept.output))));
        }
        PyTuple::new(
            py,
            tensors.into_iter().map(|t| t.map(|t| Py::new(py, t)).transpose()).collect::<PyResult<Vec<_>>>()?,
        )
    }

    /// Arguments of forward that want a gradient.
    #[getter]
    fn needs_input_grad<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.needs)
    }

    /// True if gradients that did not arrive come as zeros (the default) or as None.
    fn set_materialize_grads(&self, value: bool) {
        *self.materialize.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(saved) = self.saved.try_lock() else { return Ok(()) };
        saved.iter().filter_map(|kept| kept.tensor.as_ref()).try_for_each(|tensor| visit_tensor(tensor, &visit))
    }

    fn __clear__(&self) {
        let old = std::mem::take(&mut *self.saved());
        drop(old);
    }

    /// Accepted for PyTorch's sake: an output through which no gradient flows.
    #[pyo3(signature = (*args))]
    fn mark_non_differentiable(&self, args: &Bound<'_, PyTuple>) {
        let _ = args;
    }
}

/// True if a Python op was ever put on the tape: only then can a graph hold Python objects.
static RECORDED: AtomicBool = AtomicBool::new(false);

/// Show the garbage collector the Python objects that a tensor alone keeps alive.
pub fn visit_tensor(tensor: &Core, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    visit_ops(visit, |f| tensor.for_each_owned_op(f))
}

/// Show the garbage collector the Python objects that a node alone keeps alive.
pub fn visit_node(node: &Arc<Node>, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    visit_ops(visit, |f| tape::for_each_owned_op(node, f))
}

fn visit_ops(visit: &PyVisit<'_>, walk: impl FnOnce(&mut dyn FnMut(&dyn Op))) -> Result<(), PyTraverseError> {
    let mut answer = Ok(());
    if RECORDED.load(Ordering::Relaxed) {
        walk(&mut |op| {
            if let Some(op) = (op as &dyn Any).downcast_ref::<PythonOp>()
                && answer.is_ok()
            {
                answer = visit.call(&op.class).and_then(|()| visit.call(&op.context));
            }
        });
    }
    answer
}

/// The op on the tape.
struct PythonOp {
    class: Py<PyAny>,
    name: String,
    context: Py<Context>,
    /// For every argument of forward, which tensor input it is.
    places: Vec<Option<usize>>,
}

impl fmt::Debug for PythonOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Op for PythonOp {
    fn name(&self) -> &'static str {
        "python_function"
    }

    fn infer(&self, _inputs: &[Meta]) -> fastnn_core::Result<Outputs> {
        Err(Error::state(format!("{}: runs in Python only", self.name)))
    }

    fn run(&self, _run: &Run<'_>, _inputs: &[View<'_>], _outputs: &[View<'_>]) {
        unreachable!("`infer` refuses");
    }

    fn backward(&self, cx: &Backward<'_>) -> fastnn_core::Result<Grads> {
        trace::obstacle(&format!("autograd.Function {} is defined in Python", self.name));
        Python::attach(|py| self.call_backward(py, cx))
    }
}

impl PythonOp {
    fn call_backward(&self, py: Python<'_>, cx: &Backward<'_>) -> fastnn_core::Result<Grads> {
        let context = self.context.get();
        let zeros = *context.materialize.lock().unwrap_or_else(PoisonError::into_inner);
        let mut args = vec![self.context.clone_ref(py).into_any()];
        for (i, meta) in cx.output_meta.iter().enumerate() {
            let grad = cx.grad_of(i).cloned().or_else(|| zeros.then(|| Core::zeros(&meta.shape, meta.dtype)));
            args.push(match grad {
                Some(grad) => Py::new(py, Tensor::from(grad)).map_err(carry)?.into_any(),
                None => py.None(),
            });
        }
        let args = PyTuple::new(py, args).map_err(carry)?;
        let answer = self.class.bind(py).call_method1(intern!(py, "backward"), args).map_err(carry)?;
        let answers: Vec<Bound<'_, PyAny>> = match answer.cast::<PyTuple>() {
            Ok(tuple) => tuple.iter().collect(),
            Err(_) => vec![answer],
        };
        let extra_are_none = answers.iter().skip(self.places.len()).all(PyAnyMethods::is_none);
        if answers.len() < self.places.len() || !extra_are_none {
            return Err(Error::state(format!(
                "function {}Backward returned an incorrect number of gradients (expected {}, got {})",
                self.name,
                self.places.len(),
                answers.len()
            )));
        }
        let mut grads: Grads = cx.input_meta.iter().map(|_| None).collect();
        for (place, answer) in self.places.iter().zip(&answers) {
            let Some(input) = *place else { continue };
            if answer.is_none() || !cx.needs(input) {
                continue;
            }
            let Ok(grad) = answer.cast::<Tensor>() else {
                return Err(Error::dtype(format!(
                    "{}.backward: expected a Tensor or None; got {}",
                    self.name,
                    type_name(answer)
                )));
            };
            let grad = grad.borrow().inner.clone();
            let meta = &cx.input_meta[input];
            if grad.shape() != meta.shape.as_slice() {
                return Err(Error::state(format!(
                    "Function {}Backward returned an invalid gradient at index {input} - got {} but expected shape \
                     compatible with {}",
                    self.name,
                    show(grad.shape()),
                    show(&meta.shape)
                )));
            }
            let grad = if tape::is_grad_enabled() { grad } else { grad.detach() };
            grads[input] = Some(ops::cast(&grad, meta.dtype)?);
        }
        Ok(grads)
    }
}

/// Run a `Function`: its forward without recording, then one op on the tape.
#[pyfunction]
#[pyo3(signature = (function, /, *args, **kwargs))]
pub fn apply_function<'py>(
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = function.py();
    let name = function.getattr(intern!(py, "__name__"))?.to_string();
    trace::obstacle(&format!("autograd.Function {name} is defined in Python"));
    let mut inputs: Vec<Core> = Vec::new();
    let mut places = Vec::with_capacity(args.len());
    for arg in args {
        places.push(arg.cast::<Tensor>().ok().map(|tensor| {
            inputs.push(tensor.borrow().inner.clone());
            inputs.len() - 1
        }));
    }
    let recording = tape::is_grad_enabled() && inputs.iter().any(Core::requires_grad);
    let needs = places.iter().map(|p| p.is_some_and(|i| inputs[i].requires_grad())).collect();
    let context = Context { saved: Mutex::default(), needs, node: Mutex::default(), materialize: Mutex::new(true) };
    let context = Py::new(py, context)?;
    let mut with_context = vec![context.bind(py).clone().into_any()];
    with_context.extend(args.iter());
    let with_context = PyTuple::new(py, with_context)?;
    let answer = tape::no_grad(|| function.call_method(intern!(py, "forward"), with_context, kwargs))?;

    let several = answer.cast::<PyTuple>().ok().cloned();
    let answers: Vec<Bound<'_, PyAny>> = several.as_ref().map_or_else(|| vec![answer.clone()], |t| t.iter().collect());
    // Each output is a tensor of its own, so that an input handed back is not put on the tape twice.
    let mut outputs: Vec<Core> = Vec::new();
    let mut wrapped: Vec<Bound<'_, PyAny>> = Vec::new();
    for answer in &answers {
        let Ok(tensor) = answer.cast::<Tensor>() else {
            if several.is_none() {
                return Err(PyTypeError::new_err(format!(
                    "{name}.forward: expected a Tensor or a tuple of Tensors; got {}",
                    type_name(answer)
                )));
            }
            wrapped.push(answer.clone());
            continue;
        };
        let original = tensor.borrow().inner.clone();
        let output = if recording || original.requires_grad() {
            Core::from_storage(original.storage().clone(), original.layout().clone(), original.dtype())
        } else {
            original.clone()
        };
        // A saved output is kept without its place on the tape, or the op would keep itself alive.
        for kept in context.get().saved().iter_mut() {
            if kept.tensor.as_ref().is_some_and(|t| t.id() == original.id())
                && !inputs.iter().any(|i| i.id() == original.id())
            {
                kept.tensor = Some(original.detach());
                kept.output = Some(outputs.len());
            }
        }
        wrapped.push(Bound::new(py, Tensor::from(output.clone()))?.into_any());
        outputs.push(output);
    }
    if recording {
        RECORDED.store(true, Ordering::Relaxed);
        let kept_in = context.clone_ref(py);
        let op = PythonOp { class: function.clone().unbind(), name, context, places };
        let borrowed: Vec<&Core> = inputs.iter().collect();
        let input_meta = inputs.iter().map(Core::meta).collect();
        let output_meta = outputs.iter().map(Core::meta).collect();
        let node = Node::record(Arc::new(op), &borrowed, &outputs, input_meta, output_meta);
        *kept_in.get().node.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&node);
        for (i, output) in outputs.iter().enumerate().filter(|(_, o)| o.dtype().is_float()) {
            output.set_node(Arc::clone(&node), i);
        }
    }
    if several.is_some() { Ok(PyTuple::new(py, wrapped)?.into_any()) } else { Ok(wrapped.swap_remove(0)) }
}

//! Grad mode, and gradients without `backward`.

use fastnn_core::tensor::anomaly;
use fastnn_core::tensor::tape::{self, Keep};
use pyo3::prelude::*;

use crate::convert::Items;
use crate::error::value_error;
use crate::gil;
use crate::tensor::Tensor;

/// Switch the recording of gradients on or off in this thread; returns what it was.
#[pyfunction]
#[pyo3(signature = (mode, /))]
pub fn set_grad_enabled(mode: bool) -> bool {
    tape::set_grad_enabled(mode)
}

/// True if this thread records gradients.
#[pyfunction]
pub fn is_grad_enabled() -> bool {
    tape::is_grad_enabled()
}

/// Look for NaN in every backward from now on, or no longer; returns what it was.
#[pyfunction]
#[pyo3(signature = (mode, /))]
pub fn set_detect_anomaly(mode: bool) -> bool {
    anomaly::set_enabled(mode)
}

/// True if NaN is looked for.
#[pyfunction]
pub fn is_anomaly_enabled() -> bool {
    anomaly::is_enabled()
}

/// Name the layer that runs in this thread from now on; returns which one did.
#[pyfunction]
#[pyo3(signature = (scope, /))]
pub fn set_anomaly_scope(scope: Option<&str>) -> Option<String> {
    anomaly::set_scope(scope.map(Into::into)).map(|previous| previous.as_ref().to_owned())
}

fn inner(tensors: &[PyRef<'_, Tensor>]) -> Vec<fastnn_core::Tensor> {
    tensors.iter().map(|t| t.inner.clone()).collect()
}

/// Gradients of `outputs` with respect to `inputs`, as `torch.autograd.grad`; the leaves' own stay as they are.
#[pyfunction]
#[pyo3(signature = (outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused, /))]
pub fn grad(
    py: Python<'_>,
    outputs: Items<PyRef<'_, Tensor>>,
    inputs: Items<PyRef<'_, Tensor>>,
    grad_outputs: Items<Option<PyRef<'_, Tensor>>>,
    retain_graph: bool,
    create_graph: bool,
    allow_unused: bool,
) -> PyResult<Vec<Option<Tensor>>> {
    let (outputs, inputs, grad_outputs) = (inner(&outputs.0), inner(&inputs.0), grad_outputs.0);
    if grad_outputs.len() != outputs.len() {
        return Err(value_error(format!(
            "grad: expected a gradient for each output; got {} for {}",
            grad_outputs.len(),
            outputs.len()
        )));
    }
    if inputs.iter().any(|t| !t.requires_grad()) {
        return Err(pyo3::exceptions::PyRuntimeError::new_err(
            "One of the differentiated Tensors does not require grad",
        ));
    }
    let grads: Vec<_> = grad_outputs.iter().map(|g| g.as_ref().map(|g| g.inner.clone())).collect();
    let keep = Keep { retain: retain_graph, create: create_graph };
    let found = gil::detached(py, || tape::grad(&outputs, &grads, &inputs, keep))?;
    if !allow_unused && found.iter().any(Option::is_none) {
        return Err(pyo3::exceptions::PyRuntimeError::new_err(
            "One of the differentiated Tensors appears to not have been used in the graph. Set allow_unused=True if this \
             is the desired behavior.",
        ));
    }
    Ok(found.into_iter().map(|g| g.map(Tensor::from)).collect())
}

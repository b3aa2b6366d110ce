//! Changes of several tensors: all are checked, then all are changed.

use fastnn_core::tensor::layout::show;
use fastnn_core::tensor::tape;
use fastnn_core::{Tensor as Core, ops};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::Arg;
use crate::error::value_error;
use crate::gil;
use crate::tensor::Tensor;

fn inner(tensors: &[PyRef<'_, Tensor>]) -> Vec<Core> {
    tensors.iter().map(|tensor| tensor.inner.clone()).collect()
}

fn check_lengths(what: &str, names: &[String], others: [usize; 2]) -> PyResult<()> {
    if others.iter().all(|&n| n == names.len()) {
        return Ok(());
    }
    let [first, second] = others;
    Err(value_error(format!("{what}: expected {} tensors, one a name; got {first} and {second}", names.len())))
}

/// Refuse tensors on read-only memory.
fn check_all(what: &str, names: &[String], tensors: &[Core]) -> PyResult<()> {
    match tensors.iter().zip(names).find(|(tensor, _)| !tensor.storage().writable()) {
        Some((_, name)) => Err(value_error(format!("{what}: expected {name} to be writable; got a read-only array"))),
        None => Ok(()),
    }
}

/// Refuse tensors on read-only memory, by their names.
#[pyfunction]
#[pyo3(signature = (what, names, tensors, /))]
pub fn check_writable(what: &str, names: Vec<String>, tensors: Vec<PyRef<'_, Tensor>>) -> PyResult<()> {
    check_lengths(what, &names, [tensors.len(); 2])?;
    check_all(what, &names, &inner(&tensors))
}

/// A dict, and a key and value to set in it.
type Item<'py> = (Bound<'py, PyDict>, Bound<'py, PyAny>, Bound<'py, PyAny>);

/// Copy each source into its target, whatever requires grad; or, if one cannot be, none. Then set items of dicts, each
/// given as (dict, key, value).
#[pyfunction]
#[pyo3(signature = (what, names, targets, sources, items=None, /))]
pub fn assign(
    py: Python<'_>,
    what: &str,
    names: Vec<String>,
    targets: Vec<PyRef<'_, Tensor>>,
    sources: Vec<Arg>,
    items: Option<Vec<Item<'_>>>,
) -> PyResult<()> {
    check_lengths(what, &names, [targets.len(), sources.len()])?;
    let targets = inner(&targets);
    for ((target, source), name) in targets.iter().zip(&sources).zip(&names) {
        if target.shape() != source.0.shape() {
            return Err(value_error(format!(
                "{what}: expected {name} of shape {}; got {}",
                show(target.shape()),
                show(source.0.shape())
            )));
        }
    }
    check_all(what, &names, &targets)?;
    let numel = targets.iter().map(Core::numel).sum();
    gil::run(py, numel, || {
        tape::no_grad(|| {
            let mut pairs = Vec::with_capacity(targets.len());
            for (target, source) in targets.iter().zip(&sources) {
                let source = source.0.detach();
                // All memory is allocated before the first change.
                let source =
                    if source.dtype() == target.dtype() { source } else { ops::cast(&source, target.dtype())? };
                pairs.push((target.detach(), source));
            }
            pairs.iter().try_for_each(|(target, source)| ops::copy_(target, source))
        })
    })?;
    items.iter().flatten().try_for_each(|(dict, key, value)| dict.set_item(key, value))
}

/// Multiply all tensors by a number in place; or, if one is read-only, none.
#[pyfunction]
#[pyo3(signature = (what, names, tensors, factor, /))]
pub fn scale_all(
    py: Python<'_>,
    what: &str,
    names: Vec<String>,
    tensors: Vec<PyRef<'_, Tensor>>,
    factor: f64,
) -> PyResult<()> {
    check_lengths(what, &names, [tensors.len(); 2])?;
    let tensors = inner(&tensors);
    check_all(what, &names, &tensors)?;
    let numel = tensors.iter().map(Core::numel).sum();
    gil::run(py, numel, || {
        tape::no_grad(|| tensors.iter().try_for_each(|tensor| ops::mul_scalar_(&tensor.detach(), factor)))
    })
}

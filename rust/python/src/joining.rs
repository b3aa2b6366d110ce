//! Functions of several tensors, and those of one that PyTorch has as functions too.

use fastnn_core::{ops, tensor::Tensor as Core};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::arguments::{Given, named};
use crate::convert::{self, Arg, Items};
use crate::error::value_error;
use crate::gil;
use crate::methods::{elements, inners};
use crate::operators::Operand;
use crate::tensor::Tensor;

fn join(
    py: Python<'_>,
    op: &str,
    tensors: &[Arg],
    dim: i64,
    run: fn(&[&Core], i64) -> fastnn_core::Result<Core>,
) -> PyResult<Tensor> {
    if tensors.is_empty() {
        return Err(value_error(format!("{op}: expected a non-empty list of Tensors")));
    }
    let tensors = inners(tensors);
    gil::run(py, elements(tensors.iter().copied()), || run(&tensors, dim)).map(Tensor::from)
}

/// The tensors one after another along a dimension that they have.
#[pyfunction]
#[pyo3(signature = (tensors, dim=0.into()), text_signature = "(tensors, dim=0)")]
pub fn cat(py: Python<'_>, tensors: Items<Arg>, dim: Given<i64>) -> PyResult<Tensor> {
    named!("cat"; dim);
    join(py, "cat", &tensors.0, dim, ops::cat)
}

/// The tensors one after another along a new dimension.
#[pyfunction]
#[pyo3(signature = (tensors, dim=0.into()), text_signature = "(tensors, dim=0)")]
pub fn stack(py: Python<'_>, tensors: Items<Arg>, dim: Given<i64>) -> PyResult<Tensor> {
    named!("stack"; dim);
    join(py, "stack", &tensors.0, dim, ops::stack)
}

/// `input` where the condition holds, else `other`; of the condition alone, where it holds.
#[pyfunction]
#[pyo3(name = "where", signature = (condition, input=None, other=None, /))]
pub fn where_(
    py: Python<'_>,
    condition: Arg,
    input: Option<Operand>,
    other: Option<Operand>,
) -> PyResult<Bound<'_, PyAny>> {
    let (input, other) = match (input, other) {
        (None, None) => {
            let condition = Bound::new(py, Tensor::from(condition.0))?;
            let kwargs = PyDict::new(py);
            kwargs.set_item("as_tuple", true)?;
            return condition.call_method("nonzero", (), Some(&kwargs));
        }
        (Some(input), Some(other)) => (input, other),
        _ => return Err(crate::error::type_error("where: expected both input and other, or neither")),
    };
    let (a, b) = match (input, other) {
        (Operand::Tensor(a), Operand::Tensor(b)) => (a, b),
        (Operand::Tensor(a), Operand::Scalar(s)) => {
            let b = s.tensor(s.promote(a.dtype()));
            (a, b)
        }
        (Operand::Scalar(s), Operand::Tensor(b)) => (s.tensor(s.promote(b.dtype())), b),
        (Operand::Scalar(a), Operand::Scalar(b)) => (a.tensor(a.dtype()), b.tensor(b.dtype())),
    };
    let chosen = gil::run(py, condition.0.numel(), || ops::where_(&condition.0, &a, &b))?;
    Ok(Bound::new(py, Tensor::from(chosen))?.into_any())
}

/// The matrix product.
#[pyfunction]
#[pyo3(signature = (input, other, /))]
pub fn matmul(py: Python<'_>, input: Arg, other: Arg) -> PyResult<Tensor> {
    crate::operators::product(py, &input.0, &other.0).map(Tensor::from)
}

/// The mask whose row i is 1 at `labels[i]`, as int64.
#[pyfunction]
#[pyo3(signature = (tensor, num_classes=(-1).into()), text_signature = "(tensor, num_classes=-1)")]
pub fn one_hot(tensor: Arg, num_classes: Given<i64>) -> PyResult<Tensor> {
    named!("one_hot"; num_classes);
    if num_classes < -1 {
        return Err(value_error(format!("one_hot: expected num_classes of at least 0, or -1; got {num_classes}")));
    }
    gil::held(|| ops::one_hot(&tensor.0, usize::try_from(num_classes).ok())).map(Tensor::from)
}

macro_rules! of_methods {
    ($($name:ident),+ $(,)?) => {$(
        #[doc = concat!("`Tensor.", stringify!($name), "`")]
        #[pyfunction]
        #[pyo3(signature = (input, /, *args, **kwargs))]
        pub fn $name<'py>(
            input: &Bound<'py, PyAny>,
            args: &Bound<'py, PyTuple>,
            kwargs: Option<&Bound<'py, PyDict>>,
        ) -> PyResult<Bound<'py, PyAny>> {
            let tensor = if input.is_instance_of::<Tensor>() {
                input.clone()
            } else {
                Bound::new(input.py(), Tensor::from(convert::any(input)?))?.into_any()
            };
            tensor.call_method(stringify!($name), args, kwargs)
        }
    )+};
}
of_methods! {
    add, sub, sum, mean, prod, amax, amin, any, all, max, min, argmax, argmin, var, std, logsumexp, norm, clamp, reshape,
    flatten, squeeze, unsqueeze, permute, transpose, gather, scatter_add, index_select, nonzero, split, chunk, unbind,
    narrow, masked_fill, mm, clone,
}

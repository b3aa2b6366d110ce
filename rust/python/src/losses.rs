//! The losses of `nn.functional`, by position.

use fastnn_core::ops::{cross_entropy as cross, cross_entropy::Reduction, nll_loss as nll, point_loss as point};
use fastnn_core::tensor::tape;
use fastnn_core::{Result, Tensor as Core};
use pyo3::prelude::*;

use crate::arguments::{Given, Word, named};
use crate::convert::Arg;
use crate::error::value_error;
use crate::gil;
use crate::tensor::Tensor;

/// Reduction of the losses of single elements.
fn reduction(op: &str, name: &str) -> PyResult<Reduction> {
    match name {
        "mean" => Ok(Reduction::Mean),
        "sum" => Ok(Reduction::Sum),
        "none" => Ok(Reduction::None),
        _ => Err(value_error(format!("{op}: expected reduction 'mean', 'sum' or 'none'; got '{name}'"))),
    }
}

fn compute(py: Python<'_>, x: &Core, loss: impl FnOnce() -> Result<Core> + Send) -> PyResult<Tensor> {
    gil::run(py, x.numel(), loss).map(Tensor::from)
}

/// A weight, which must want no gradient: it would get none.
fn constant<'a>(op: &str, name: &str, arg: Option<&'a Arg>) -> PyResult<Option<&'a Core>> {
    match arg {
        Some(Arg(weight)) if weight.requires_grad() && tape::is_grad_enabled() => Err(value_error(format!(
            "{op}: expected {name} that requires no gradient, for it has none; got one that does: detach it"
        ))),
        _ => Ok(arg.map(|a| &a.0)),
    }
}

/// The cross entropy of logits, with labels or probabilities.
#[pyfunction]
#[pyo3(signature = (input, target, weight, ignore_index, reduction, label_smoothing, /))]
pub fn cross_entropy(
    py: Python<'_>,
    input: Arg,
    target: Arg,
    weight: Option<Arg>,
    ignore_index: Given<i64>,
    reduction: Word<'_>,
    label_smoothing: Given<f64>,
) -> PyResult<Tensor> {
    named!("cross_entropy"; ignore_index, reduction, label_smoothing);
    let how = self::reduction("cross_entropy", reduction)?;
    let weight = constant("cross_entropy", "weight", weight.as_ref())?;
    compute(py, &input.0, || cross::cross_entropy(&input.0, &target.0, weight, how, ignore_index, label_smoothing))
}

/// −weight · x at the label.
#[pyfunction]
#[pyo3(signature = (input, target, weight, ignore_index, reduction, /))]
pub fn nll_loss(
    py: Python<'_>,
    input: Arg,
    target: Arg,
    weight: Option<Arg>,
    ignore_index: Given<i64>,
    reduction: Word<'_>,
) -> PyResult<Tensor> {
    named!("nll_loss"; ignore_index, reduction);
    let how = self::reduction("nll_loss", reduction)?;
    let weight = constant("nll_loss", "weight", weight.as_ref())?;
    compute(py, &input.0, || nll::nll_loss(&input.0, &target.0, weight, how, ignore_index))
}

macro_rules! of_two {
    ($($name:ident($($setting:ident: f64)?): $text:literal;)+) => {$(
        #[doc = $text]
        #[pyfunction]
        #[pyo3(signature = (input, target, reduction, $($setting,)? /))]
        pub fn $name(
            py: Python<'_>,
            input: Arg,
            target: Arg,
            reduction: Word<'_>
            $(, $setting: Given<f64>)?
        ) -> PyResult<Tensor> {
            named!(stringify!($name); reduction $(, $setting)?);
            let how = self::reduction(stringify!($name), reduction)?;
            compute(py, &input.0, || point::$name(&input.0, &target.0, $($setting,)? how))
        }
    )+};
}
of_two! {
    mse_loss(): "(x − y)²";
    l1_loss(): "|x − y|";
    smooth_l1_loss(beta: f64): "Quadratic below beta, linear above.";
    huber_loss(delta: f64): "Quadratic up to delta, linear above.";
}

/// The cross entropy of probabilities of two classes.
#[pyfunction]
#[pyo3(signature = (input, target, weight, reduction, /))]
pub fn binary_cross_entropy(
    py: Python<'_>,
    input: Arg,
    target: Arg,
    weight: Option<Arg>,
    reduction: Word<'_>,
) -> PyResult<Tensor> {
    named!("binary_cross_entropy"; reduction);
    let how = self::reduction("binary_cross_entropy", reduction)?;
    let weight = constant("binary_cross_entropy", "weight", weight.as_ref())?;
    compute(py, &input.0, || point::binary_cross_entropy(&input.0, &target.0, weight, how))
}

/// The cross entropy of logits of two classes.
#[pyfunction]
#[pyo3(signature = (input, target, weight, reduction, pos_weight, /))]
pub fn binary_cross_entropy_with_logits(
    py: Python<'_>,
    input: Arg,
    target: Arg,
    weight: Option<Arg>,
    reduction: Word<'_>,
    pos_weight: Option<Arg>,
) -> PyResult<Tensor> {
    named!("binary_cross_entropy_with_logits"; reduction);
    let op = "binary_cross_entropy_with_logits";
    let how = self::reduction(op, reduction)?;
    let weight = constant(op, "weight", weight.as_ref())?;
    let pos_weight = constant(op, "pos_weight", pos_weight.as_ref())?;
    compute(py, &input.0, || point::binary_cross_entropy_with_logits(&input.0, &target.0, weight, pos_weight, how))
}

/// The Kullback–Leibler divergence.
#[pyfunction]
#[pyo3(signature = (input, target, reduction, log_target, /))]
pub fn kl_div(py: Python<'_>, input: Arg, target: Arg, reduction: Word<'_>, log_target: bool) -> PyResult<Tensor> {
    named!("kl_div"; reduction);
    if reduction == "batchmean" {
        return compute(py, &input.0, || point::kl_div_batchmean(&input.0, &target.0, log_target));
    }
    let how = self::reduction("kl_div", reduction)?;
    compute(py, &input.0, || point::kl_div(&input.0, &target.0, log_target, how))
}

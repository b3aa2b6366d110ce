//! Functions behind `nn.functional`, with positional arguments.

use fastnn_core::ops::{self, activation, batch_norm as norm, group_norm as groups, linear as dense, softmax as soft};
use fastnn_core::{Result, Tensor as Core};
use pyo3::prelude::*;

use crate::arguments::{Given, Word, named};
use crate::convert::Arg;
use crate::error::value_error;
use crate::gil;
use crate::tensor::Tensor;

fn unary(py: Python<'_>, x: &Core, op: impl FnOnce(&Core) -> Result<Core> + Send) -> PyResult<Tensor> {
    gil::run(py, x.numel(), || op(x)).map(Tensor::from)
}

/// A binding for each row of the table of activations that names a function, and their list.
macro_rules! bind {
    ($(
        $variant:ident $({ $($setting:ident),+ })? $name:literal $(fn $function:ident)?, $cost:literal
        $(, require $low:ident <= $high:ident)?
        => $([$condition:expr => $first:ident $first_fields:tt])? $kernel:ident $({ $($field:ident: $value:expr),+ })?;
    )+) => {
        $(bind!(@one { $($($setting),+)? } $name ($($function)?));)+

        /// Add the bindings of all activations to the module.
        pub fn add_activations(module: &Bound<'_, PyModule>) -> PyResult<()> {
            $($(module.add_function(wrap_pyfunction!($function, module)?)?;)?)+
            Ok(())
        }
    };
    (@one $settings:tt $name:literal ()) => {};
    (@one { $($setting:ident),* } $name:literal ($function:ident)) => {
        #[doc = concat!("See `fastnn.nn.functional.", $name, "`.")]
        #[pyfunction]
        #[pyo3(signature = (input, $($setting,)* /))]
        pub fn $function(py: Python<'_>, input: Arg, $($setting: Given<f64>),*) -> PyResult<Tensor> {
            $(named!(stringify!($function); $setting);)*
            unary(py, &input.0, |x| activation::$function(x, $($setting),*))
        }
    };
}
fastnn_core::activations!(bind);

#[pymethods]
impl Tensor {
    fn relu(&self, py: Python<'_>) -> PyResult<Self> {
        unary(py, &self.inner, activation::relu)
    }
    fn sigmoid(&self, py: Python<'_>) -> PyResult<Self> {
        unary(py, &self.inner, activation::sigmoid)
    }
    fn tanh(&self, py: Python<'_>) -> PyResult<Self> {
        unary(py, &self.inner, activation::tanh)
    }
}

/// x · Φ(x), exactly or by way of tanh.
#[pyfunction]
#[pyo3(signature = (input, approximate, /))]
pub fn gelu(py: Python<'_>, input: Arg, approximate: Word<'_>) -> PyResult<Tensor> {
    named!("gelu"; approximate);
    let tanh = match approximate {
        "none" => false,
        "tanh" => true,
        other => return Err(value_error(format!("gelu: expected approximate 'none' or 'tanh'; got '{other}'"))),
    };
    unary(py, &input.0, |x| activation::gelu(x, tanh))
}

/// x, or weight · x below 0.
#[pyfunction]
#[pyo3(signature = (input, weight, /))]
pub fn prelu(py: Python<'_>, input: Arg, weight: Arg) -> PyResult<Tensor> {
    unary(py, &input.0, |x| activation::prelu(x, &weight.0))
}

/// eˣ / Σ eˣ along a dimension.
#[pyfunction]
#[pyo3(signature = (input, dim, /))]
pub fn softmax(py: Python<'_>, input: Arg, dim: Given<i64>) -> PyResult<Tensor> {
    named!("softmax"; dim);
    unary(py, &input.0, |x| soft::softmax(x, dim))
}

/// The logarithm of softmax.
#[pyfunction]
#[pyo3(signature = (input, dim, /))]
pub fn log_softmax(py: Python<'_>, input: Arg, dim: Given<i64>) -> PyResult<Tensor> {
    named!("log_softmax"; dim);
    unary(py, &input.0, |x| soft::log_softmax(x, dim))
}

/// x · Wᵀ + b
#[pyfunction]
#[pyo3(signature = (input, weight, bias=None, /))]
pub fn linear(py: Python<'_>, input: Arg, weight: Arg, bias: Option<Arg>) -> PyResult<Tensor> {
    let work = input.0.numel().saturating_mul(weight.0.shape().first().copied().unwrap_or(1)) / 8;
    let bias = bias.as_ref().map(|b| &b.0);
    gil::run(py, work, || dense::linear(&input.0, &weight.0, bias)).map(Tensor::from)
}

/// Both running statistics, or neither.
fn running_statistics(
    op: &str,
    mean: Option<PyRef<'_, Tensor>>,
    var: Option<PyRef<'_, Tensor>>,
) -> PyResult<Option<(Core, Core)>> {
    match (mean, var) {
        (Some(mean), Some(var)) => Ok(Some((mean.inner.clone(), var.inner.clone()))),
        (None, None) => Ok(None),
        _ => Err(value_error(format!("{op}: expected both running_mean and running_var, or neither"))),
    }
}

/// Normalize each channel.
#[pyfunction]
#[pyo3(signature = (input, running_mean, running_var, weight, bias, training, momentum, eps, /))]
#[allow(clippy::too_many_arguments)]
pub fn batch_norm(
    py: Python<'_>,
    input: Arg,
    running_mean: Option<PyRef<'_, Tensor>>,
    running_var: Option<PyRef<'_, Tensor>>,
    weight: Option<Arg>,
    bias: Option<Arg>,
    training: bool,
    momentum: Given<f64>,
    eps: Given<f64>,
) -> PyResult<Tensor> {
    named!("batch_norm"; momentum, eps);
    let running = running_statistics("batch_norm", running_mean, running_var)?;
    let running = running.as_ref().map(|(mean, var)| (mean, var));
    let (weight, bias) = (weight.as_ref().map(|w| &w.0), bias.as_ref().map(|b| &b.0));
    let settings = norm::Settings { training, momentum, eps };
    unary(py, &input.0, |x| norm::batch_norm(x, running, weight, bias, settings))
}

/// Normalize over the last dimensions.
#[pyfunction]
#[pyo3(signature = (input, normalized_shape, weight, bias, eps, /))]
pub fn layer_norm(
    py: Python<'_>,
    input: Arg,
    normalized_shape: Given<Vec<usize>>,
    weight: Option<Arg>,
    bias: Option<Arg>,
    eps: Given<f64>,
) -> PyResult<Tensor> {
    named!("layer_norm"; normalized_shape, eps);
    let (weight, bias) = (weight.as_ref().map(|w| &w.0), bias.as_ref().map(|b| &b.0));
    unary(py, &input.0, |x| groups::layer_norm(x, &normalized_shape, weight, bias, eps))
}

/// Divide by the root mean square over the last dimensions.
#[pyfunction]
#[pyo3(signature = (input, normalized_shape, weight, eps, /))]
pub fn rms_norm(
    py: Python<'_>,
    input: Arg,
    normalized_shape: Given<Vec<usize>>,
    weight: Option<Arg>,
    eps: Option<Given<f64>>,
) -> PyResult<Tensor> {
    named!("rms_norm"; normalized_shape, eps);
    let weight = weight.as_ref().map(|w| &w.0);
    unary(py, &input.0, |x| groups::rms_norm(x, &normalized_shape, weight, eps))
}

/// Normalize groups of channels.
#[pyfunction]
#[pyo3(signature = (input, num_groups, weight, bias, eps, /))]
pub fn group_norm(
    py: Python<'_>,
    input: Arg,
    num_groups: Given<usize>,
    weight: Option<Arg>,
    bias: Option<Arg>,
    eps: Given<f64>,
) -> PyResult<Tensor> {
    named!("group_norm"; num_groups, eps);
    let (weight, bias) = (weight.as_ref().map(|w| &w.0), bias.as_ref().map(|b| &b.0));
    unary(py, &input.0, |x| groups::group_norm(x, num_groups, weight, bias, eps))
}

/// Normalize each channel of each sample.
#[pyfunction]
#[pyo3(signature = (input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps, /))]
#[allow(clippy::too_many_arguments)]
pub fn instance_norm(
    py: Python<'_>,
    input: Arg,
    running_mean: Option<PyRef<'_, Tensor>>,
    running_var: Option<PyRef<'_, Tensor>>,
    weight: Option<Arg>,
    bias: Option<Arg>,
    use_input_stats: bool,
    momentum: Given<f64>,
    eps: Given<f64>,
) -> PyResult<Tensor> {
    named!("instance_norm"; momentum, eps);
    let running = running_statistics("instance_norm", running_mean, running_var)?;
    let running = running.as_ref().map(|(mean, var)| (mean, var));
    let (weight, bias) = (weight.as_ref().map(|w| &w.0), bias.as_ref().map(|b| &b.0));
    let settings = norm::Settings { training: use_input_stats, momentum, eps };
    unary(py, &input.0, |x| groups::instance_norm(x, running, weight, bias, settings))
}

/// `y_k = x₁ᵀ · W_k · x₂ + b_k`
#[pyfunction]
#[pyo3(signature = (input1, input2, weight, bias=None, /))]
pub fn bilinear(py: Python<'_>, input1: Arg, input2: Arg, weight: Arg, bias: Option<Arg>) -> PyResult<Tensor> {
    let bias = bias.as_ref().map(|b| &b.0);
    gil::run(py, weight.0.numel(), || ops::bilinear::bilinear(&input1.0, &input2.0, &weight.0, bias)).map(Tensor::from)
}

/// Zero elements with probability p, and scale the others up if `rescale`.
#[pyfunction]
#[pyo3(signature = (input, p, training, rescale=true, /))]
pub fn dropout(py: Python<'_>, input: Arg, p: Given<f64>, training: bool, rescale: bool) -> PyResult<Tensor> {
    named!("dropout"; p);
    let drop = if rescale { ops::dropout::dropout } else { ops::dropout::mask };
    unary(py, &input.0, |x| drop(x, p, training))
}

/// `x + std · z`, z being new standard normal numbers.
#[pyfunction]
#[pyo3(signature = (input, std, /))]
pub fn gaussian_noise(py: Python<'_>, input: Arg, std: Given<f64>) -> PyResult<Tensor> {
    named!("gaussian_noise"; std);
    unary(py, &input.0, |x| ops::noise::gaussian_noise(x, std))
}

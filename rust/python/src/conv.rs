//! Convolutions.

use fastnn_core::ops::conv::{Settings, conv as convolve, conv_transpose as spread};
use pyo3::prelude::*;

use crate::arguments::{Given, named};
use crate::convert::Arg;
use crate::gil;
use crate::tensor::Tensor;

/// Settings over (h, w); what has one dimension has 1 row.
fn settings(stride: &[usize], padding: &[(usize, usize)], dilation: &[usize], groups: usize) -> Settings {
    let two = |values: &[usize]| [if values.len() == 2 { values[0] } else { 1 }, values[values.len() - 1]];
    let rows = if padding.len() == 2 { padding[0] } else { (0, 0) };
    let padding = [rows, padding[padding.len() - 1]];
    Settings { stride: two(stride), padding, dilation: two(dilation), groups }
}

/// Roughly how much work there is.
fn work(input: &Arg, weight: &Arg) -> usize {
    input.0.numel().saturating_mul(weight.0.shape().iter().skip(1).product())
}

/// Convolve with as many dimensions as there are strides; a padding is a pair of before and after.
#[pyfunction]
#[pyo3(signature = (input, weight, bias, stride, padding, dilation, groups, /))]
#[allow(clippy::too_many_arguments)]
pub fn conv(
    py: Python<'_>,
    input: Arg,
    weight: Arg,
    bias: Option<Arg>,
    stride: Given<Vec<usize>>,
    padding: Given<Vec<(usize, usize)>>,
    dilation: Given<Vec<usize>>,
    groups: Given<usize>,
) -> PyResult<Tensor> {
    named!("conv"; stride, padding, dilation, groups);
    let (settings, bias) = (settings(&stride, &padding, &dilation, groups), bias.as_ref().map(|b| &b.0));
    let run = || convolve(&input.0, &weight.0, bias, stride.len(), settings);
    gil::run(py, work(&input, &weight), run).map(Tensor::from)
}

/// The transposed convolution.
#[pyfunction]
#[pyo3(signature = (input, weight, bias, stride, padding, output_padding, groups, dilation, /))]
#[allow(clippy::too_many_arguments)]
pub fn conv_transpose(
    py: Python<'_>,
    input: Arg,
    weight: Arg,
    bias: Option<Arg>,
    stride: Given<Vec<usize>>,
    padding: Given<Vec<usize>>,
    output_padding: Given<Vec<usize>>,
    groups: Given<usize>,
    dilation: Given<Vec<usize>>,
) -> PyResult<Tensor> {
    named!("conv_transpose"; stride, padding, output_padding, groups, dilation);
    let both: Vec<(usize, usize)> = padding.iter().map(|&p| (p, p)).collect();
    let (settings, bias) = (settings(&stride, &both, &dilation, groups), bias.as_ref().map(|b| &b.0));
    let more =
        [if output_padding.len() == 2 { output_padding[0] } else { 0 }, output_padding[output_padding.len() - 1]];
    let run = || spread(&input.0, &weight.0, bias, stride.len(), settings, more);
    gil::run(py, work(&input, &weight), run).map(Tensor::from)
}

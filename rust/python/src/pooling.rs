//! Pooling, padding and interpolation, by position. Settings are lists, a number for each dimension that is pooled.

use fastnn_core::ops::pooling::Pooling;
use fastnn_core::ops::separable::{self, Divisor, Interpolation, Outside};
use fastnn_core::ops::{Scalar, max_pool as greatest};
use fastnn_core::{Result, Tensor as Core, ops};
use pyo3::prelude::*;

use crate::arguments::{Given, Word, named};
use crate::convert::Arg;
use crate::error::value_error;
use crate::gil;
use crate::tensor::Tensor;

/// A setting for rows and columns, of which a series has only columns.
fn pair<T: Copy>(setting: &[T], rows: T) -> PyResult<[T; 2]> {
    match *setting {
        [columns] => Ok([rows, columns]),
        [rows, columns] => Ok([rows, columns]),
        _ => Err(value_error(format!("expected 1 or 2 settings; got {}", setting.len()))),
    }
}

fn both(py: Python<'_>, x: &Core, op: impl FnOnce() -> Result<(Core, Core)> + Send) -> PyResult<(Tensor, Tensor)> {
    gil::run(py, x.numel(), op).map(|(y, at)| (Tensor::from(y), Tensor::from(at)))
}

fn max_pooling(
    kernel_size: &[usize],
    stride: &[usize],
    padding: &[usize],
    dilation: &[usize],
    ceil_mode: bool,
) -> PyResult<Pooling> {
    let dims = kernel_size.len();
    Ok(Pooling {
        name: if dims == 1 { "max_pool1d" } else { "max_pool2d" },
        dims,
        kernel: pair(kernel_size, 1)?,
        stride: pair(stride, 1)?,
        padding: pair(padding, 0)?,
        dilation: pair(dilation, 1)?,
        ceil_mode,
    })
}

/// The greatest of each window.
#[pyfunction]
#[pyo3(signature = (input, kernel_size, stride, padding, dilation, ceil_mode, /))]
pub fn max_pool(
    py: Python<'_>,
    input: Arg,
    kernel_size: Given<Vec<usize>>,
    stride: Given<Vec<usize>>,
    padding: Given<Vec<usize>>,
    dilation: Given<Vec<usize>>,
    ceil_mode: bool,
) -> PyResult<Tensor> {
    named!("max_pool"; kernel_size, stride, padding, dilation);
    let pooling = max_pooling(&kernel_size, &stride, &padding, &dilation, ceil_mode)?;
    gil::run(py, input.0.numel(), || greatest::max_pool(&input.0, &pooling)).map(Tensor::from)
}

/// The greatest of each window, and where it is.
#[pyfunction]
#[pyo3(signature = (input, kernel_size, stride, padding, dilation, ceil_mode, /))]
pub fn max_pool_with_indices(
    py: Python<'_>,
    input: Arg,
    kernel_size: Given<Vec<usize>>,
    stride: Given<Vec<usize>>,
    padding: Given<Vec<usize>>,
    dilation: Given<Vec<usize>>,
    ceil_mode: bool,
) -> PyResult<(Tensor, Tensor)> {
    named!("max_pool"; kernel_size, stride, padding, dilation);
    let pooling = max_pooling(&kernel_size, &stride, &padding, &dilation, ceil_mode)?;
    both(py, &input.0, || greatest::max_pool_with_indices(&input.0, &pooling))
}

/// The greatest of as many windows as asked for, and where it is.
#[pyfunction]
#[pyo3(signature = (input, output_size, /))]
pub fn adaptive_max_pool(py: Python<'_>, input: Arg, output_size: Given<Vec<usize>>) -> PyResult<(Tensor, Tensor)> {
    named!("adaptive_max_pool"; output_size);
    let dims = output_size.len();
    let name = if dims == 1 { "adaptive_max_pool1d" } else { "adaptive_max_pool2d" };
    let output = pair(&output_size, 1)?;
    both(py, &input.0, || greatest::adaptive_max_pool(&input.0, name, dims, output))
}

/// The greatest of each window of a random division, and where it is.
#[pyfunction]
#[pyo3(signature = (input, kernel_size, output_size, samples, /))]
pub fn fractional_max_pool2d(
    py: Python<'_>,
    input: Arg,
    kernel_size: Given<[usize; 2]>,
    output_size: Given<[usize; 2]>,
    samples: Arg,
) -> PyResult<(Tensor, Tensor)> {
    named!("fractional_max_pool2d"; kernel_size, output_size);
    both(py, &input.0, || greatest::fractional_max_pool(&input.0, kernel_size, output_size, &samples.0))
}

/// The mean of each window.
#[pyfunction]
#[pyo3(signature = (input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, /))]
#[allow(clippy::too_many_arguments)]
pub fn avg_pool(
    py: Python<'_>,
    input: Arg,
    kernel_size: Given<Vec<usize>>,
    stride: Given<Vec<usize>>,
    padding: Given<Vec<usize>>,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: Option<Given<i64>>,
) -> PyResult<Tensor> {
    named!("avg_pool"; kernel_size, stride, padding, divisor_override);
    let ones = vec![1; kernel_size.len()];
    let name = if kernel_size.len() == 1 { "avg_pool1d" } else { "avg_pool2d" };
    let pooling = Pooling { name, ..max_pooling(&kernel_size, &stride, &padding, &ones, ceil_mode)? };
    let divisor = Divisor { count_include_pad, fixed: divisor_override };
    gil::run(py, input.0.numel(), || separable::avg_pool(&input.0, &pooling, divisor)).map(Tensor::from)
}

/// The mean of as many windows as asked for.
#[pyfunction]
#[pyo3(signature = (input, output_size, /))]
pub fn adaptive_avg_pool(py: Python<'_>, input: Arg, output_size: Given<Vec<usize>>) -> PyResult<Tensor> {
    named!("adaptive_avg_pool"; output_size);
    let dims = output_size.len();
    let name = if dims == 1 { "adaptive_avg_pool1d" } else { "adaptive_avg_pool2d" };
    let output = pair(&output_size, 1)?;
    gil::run(py, input.0.numel(), || separable::adaptive_avg_pool(&input.0, name, dims, output)).map(Tensor::from)
}

/// Another size; `scales` are what the user multiplies the size with, where places are computed from that.
#[pyfunction]
#[pyo3(signature = (input, output_size, scales, mode, align_corners, /))]
pub fn interpolate(
    py: Python<'_>,
    input: Arg,
    output_size: Given<Vec<usize>>,
    scales: Option<Given<Vec<f64>>>,
    mode: Word<'_>,
    align_corners: bool,
) -> PyResult<Tensor> {
    named!("interpolate"; output_size, scales, mode);
    let mode = match mode {
        "nearest" => Interpolation::Nearest,
        "nearest-exact" => Interpolation::NearestExact,
        _ => Interpolation::Linear { align_corners },
    };
    let output = pair(&output_size, 1)?;
    let scales = scales.map_or(Ok([None; 2]), |s| pair(&s.into_iter().map(Some).collect::<Vec<_>>(), None))?;
    gil::run(py, input.0.numel().max(output[0].saturating_mul(output[1])), || {
        separable::upsample(&input.0, "interpolate", output, scales, mode)
    })
    .map(Tensor::from)
}

/// More elements around a tensor, or fewer; `pad` has (before, after) for each dimension, the last one first.
#[pyfunction]
#[pyo3(signature = (input, pad, mode, value, /))]
pub fn pad(
    py: Python<'_>,
    input: Arg,
    pad: Given<Vec<(i64, i64)>>,
    mode: Word<'_>,
    value: Given<Scalar>,
) -> PyResult<Tensor> {
    named!("pad"; pad, mode, value);
    let outside = match mode {
        "reflect" => Outside::Reflect,
        "replicate" => Outside::Replicate,
        "circular" => Outside::Circular,
        _ => return gil::run(py, input.0.numel(), || ops::pad::pad(&input.0, &pad, value)).map(Tensor::from),
    };
    let rows_first: Vec<(i64, i64)> = pad.iter().rev().copied().collect();
    let padding = pair(&rows_first, (0, 0))?;
    gil::run(py, input.0.numel(), || separable::pad_from_inside(&input.0, pad.len(), padding, outside))
        .map(Tensor::from)
}

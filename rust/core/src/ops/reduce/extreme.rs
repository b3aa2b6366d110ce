//! The greatest and the smallest along a dimension, and where they are.

use super::dims::{axis_of, not_empty, result_shapes};
use super::share;

use smallvec::{SmallVec, smallvec};

use crate::element::{DType, Float};
use crate::error::Result;
use crate::kernels::elementwise::Number;
use crate::kernels::integer;
use crate::kernels::reduce::{self, Axis};
use crate::ops::index::scatter_into_zeros;
use crate::ops::shape::reshape_to;
use crate::ops::{Grads, Op, Outputs, Run, Saves, apply, apply_many};
use crate::tensor::layout::dim_index;
use crate::tensor::tape::Backward;
use crate::tensor::{Dims, Meta, Tensor, View};
use crate::with_element;

/// The position of the greatest or smallest along an axis; with its value, which then is the first output.
#[derive(Clone, Debug)]
struct Extreme {
    greater: bool,
    with_value: bool,
    dim: usize,
    axis: Axis,
    kept: Dims,
    out: Dims,
}

impl Extreme {
    fn positions<T: Number>(&self, x: &[T], axis: Axis, out: &mut [i64]) {
        if self.greater {
            integer::arg_axis(x, axis, |a, b| a > b, out);
        } else {
            integer::arg_axis(x, axis, |a, b| a < b, out);
        }
    }

    fn float_positions<T: Float>(&self, x: &[T], axis: Axis, out: &mut [i64]) {
        if self.greater { reduce::argmax_axis(x, axis, out) } else { reduce::argmin_axis(x, axis, out) }
    }
}

impl Op for Extreme {
    fn name(&self) -> &'static str {
        match (self.with_value, self.greater) {
            (true, true) => "max",
            (true, false) => "min",
            (false, true) => "argmax",
            (false, false) => "argmin",
        }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let indices = Meta { shape: self.out.clone(), dtype: DType::I64 };
        if !self.with_value {
            return Ok(smallvec![indices]);
        }
        let values = Meta { shape: self.out.clone(), dtype: inputs[0].dtype };
        Ok([values, indices].into_iter().collect())
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let x = &inputs[0];
        let indices = &outputs[outputs.len() - 1];
        share(run.team, self.axis, |start, axis, results| {
            // SAFETY: shares of a team do not overlap.
            let at = unsafe { indices.part::<i64>(results.clone()) };
            match x.dtype() {
                DType::F32 => self.float_positions(&x.slice::<f32>()[start..], axis, at),
                DType::F64 => self.float_positions(&x.slice::<f64>()[start..], axis, at),
                DType::I64 => self.positions(&x.slice::<i64>()[start..], axis, at),
                DType::Bool => self.positions(&x.slice::<u8>()[start..], axis, at),
            }
            if self.with_value {
                with_element!(x.dtype(), T => {
                    let x = &x.slice::<T>()[start..];
                    // SAFETY: as above.
                    let values = unsafe { outputs[0].part::<T>(results) };
                    for (n, (value, &i)) in values.iter_mut().zip(&*at).enumerate() {
                        *value = x[n / axis.inner * axis.block() + n % axis.inner + i as usize * axis.stride];
                    }
                });
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves::outputs(0b10)
    }

    fn differentiable(&self) -> bool {
        self.with_value
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let (g, indices) = (reshape_to(cx.grad(), &self.kept)?, reshape_to(cx.output(1), &self.kept)?);
        Ok(smallvec![Some(scatter_into_zeros(&cx.input_meta[0].shape, self.dim, &indices, &g)?)])
    }
}

fn extreme_along(greater: bool, x: &Tensor, dim: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
    let name = if greater { "max" } else { "min" };
    let dim = dim_index(name, dim, x.ndim())?;
    if x.ndim() == 0 {
        let (values, indices) = extreme_along(greater, &reshape_to(x, &[1])?, 0, false)?;
        return Ok((values, indices));
    }
    let op = extreme_op(name, greater, true, x, dim, keepdim)?;
    let mut outputs = apply_many(std::sync::Arc::new(op), &[x])?;
    let indices = outputs.swap_remove(1);
    Ok((outputs.swap_remove(0), indices))
}

fn extreme_op(name: &str, greater: bool, with_value: bool, x: &Tensor, dim: usize, keepdim: bool) -> Result<Extreme> {
    let axis = axis_of(x.shape(), (dim, dim + 1));
    if axis.results() > 0 {
        not_empty(name, x, axis.len)?;
    }
    let flags: SmallVec<[bool; 4]> = (0..x.ndim()).map(|d| d == dim).collect();
    let (kept, out) = result_shapes(x.shape(), &flags, keepdim);
    Ok(Extreme { greater, with_value, dim, axis, kept, out })
}

/// The greatest along `dim` and its position. The gradient goes to that position.
pub fn max_along(x: &Tensor, dim: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
    extreme_along(true, x, dim, keepdim)
}

/// The smallest along `dim` and its position. The gradient goes to that position.
pub fn min_along(x: &Tensor, dim: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
    extreme_along(false, x, dim, keepdim)
}

fn position(greater: bool, x: &Tensor, dim: Option<i64>, keepdim: bool) -> Result<Tensor> {
    let name = if greater { "argmax" } else { "argmin" };
    let Some(dim) = dim.filter(|_| x.ndim() > 0) else {
        dim.map_or(Ok(0), |d| dim_index(name, d, 0))?;
        let flat = reshape_to(x, &[x.numel()])?;
        let at = apply(extreme_op(name, greater, false, &flat, 0, false)?, &[&flat])?;
        return if keepdim { reshape_to(&at, &vec![1; x.ndim()]) } else { Ok(at) };
    };
    let dim = dim_index(name, dim, x.ndim())?;
    apply(extreme_op(name, greater, false, x, dim, keepdim)?, &[x])
}

/// The position of the greatest along `dim`; in row-major order of all elements if None.
pub fn argmax(x: &Tensor, dim: Option<i64>, keepdim: bool) -> Result<Tensor> {
    position(true, x, dim, keepdim)
}

/// The position of the smallest along `dim`; in row-major order of all elements if None.
pub fn argmin(x: &Tensor, dim: Option<i64>, keepdim: bool) -> Result<Tensor> {
    position(false, x, dim, keepdim)
}

//! Reductions: of all elements, or along dimensions.
//!
//! ```text
//! sum        y = Σ x                          grad_x = g
//! mean       y = Σ x / n                      grad_x = g / n
//! prod       y = Π x                          grad_x = g · Π of the others, right at zeros too
//! amax       y = the greatest                 grad_x = g / k at each of the k greatest, else 0
//! max_along  y = the greatest, its position   grad_x = g at the position, else 0
//! var        y = Σ (x − mean)² / (n − c)      grad_x = g · 2 · (x − mean) / (n − c), c being the correction
//! std        y = √var                         grad_x = g · (x − mean) / ((n − c) · y), 0 where y is 0
//! ```
//! and the same for `min`; `argmax`, `argmin`, `any` and `all` have no gradient. A NaN is the greatest and the smallest; of
//! equal elements the first is found. Integers and masks are summed and multiplied as int64.
//!
//! The order of a sum is fixed by the shape ([`crate::kernels::reduce`]): 16 lanes along a dimension, in blocks of 512; chunks of
//! 4096, which the team shares, where one number comes of all elements.

mod dims;
mod extreme;
mod norm;
#[cfg(test)]
mod tests;
mod variance;

pub use extreme::{argmax, argmin, max_along, min_along};
pub use norm::{norm, norm_dtype};
pub use variance::{std, var};

use std::ops::Range;

use smallvec::{SmallVec, smallvec};

use dims::{axis_of, not_empty, one_run, reduced, result_shapes, runs};

use super::shape::reshape_to;
use super::{
    Grads, Op, Outputs, Run, Saves, Scalar, apply, apply_many, cast, div, div_scalar, expand, float_dtype, second,
    where_,
};
use crate::element::{DType, Float};
use crate::error::{Error, Result};
use crate::kernels::elementwise::Number;
use crate::kernels::integer;
use crate::kernels::reduce::{self, Axis, CHUNK, Fold, Max, Min, Sum};
use crate::tensor::layout::show;
use crate::tensor::tape::{Backward, through};
use crate::tensor::{Dims, Meta, Tensor, View};
use crate::threads::Team;
use crate::with_float;

/// Kind of a reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sum,
    Mean,
    Prod,
    Max,
    Min,
    Any,
    All,
}

/// Π x
#[derive(Clone, Copy, Debug)]
struct Product;

impl<T: Float> Fold<T> for Product {
    #[inline(always)]
    fn start(self) -> T {
        T::ONE
    }
    #[inline(always)]
    fn step(self, acc: T, x: T) -> T {
        acc * x
    }
    #[inline(always)]
    fn merge(self, a: T, b: T) -> T {
        a * b
    }
}

/// One run of neighboring dimensions, reduced.
#[derive(Clone, Debug)]
struct Reduce {
    kind: Kind,
    axis: Axis,
    /// Divisor of a mean: also the lengths that were reduced before.
    count: usize,
    /// The input's shape with the reduced dimensions as 1.
    kept: Dims,
    /// The output's shape.
    out: Dims,
}

/// This member's share of an axis: `f(elements from here, their axis, range of results)`, once or for every block.
fn share(team: &Team, axis: Axis, mut f: impl FnMut(usize, Axis, Range<usize>)) {
    if axis.outer >= team.size() || axis.inner == 1 {
        let blocks = team.share(axis.outer);
        if !blocks.is_empty() {
            let results = blocks.start * axis.inner..blocks.end * axis.inner;
            f(blocks.start * axis.block(), Axis { outer: blocks.len(), ..axis }, results);
        }
        return;
    }
    let columns = team.share(axis.inner);
    if columns.is_empty() {
        return;
    }
    for block in 0..axis.outer {
        let results = block * axis.inner + columns.start..block * axis.inner + columns.end;
        f(block * axis.block() + columns.start, Axis { outer: 1, inner: columns.len(), ..axis }, results);
    }
}

fn fold_axis<T: Float>(fold: impl Fold<T>, x: &[T], axis: Axis, out: &mut [T]) {
    if axis.is_contiguous() {
        return reduce::fold_rows(fold, x, axis.len, out);
    }
    for i in 0..axis.outer {
        let out = &mut out[i * axis.inner..][..axis.inner];
        reduce::fold_columns(fold, &x[i * axis.block()..], axis.len, axis.inner, axis.stride, out);
    }
}

impl Reduce {
    fn is_chunked(&self, dtype: DType) -> bool {
        self.axis.results() == 1 && self.axis.len > CHUNK && dtype.is_float()
    }

    fn run_float<T: Float>(&self, run: &Run<'_>, fold: impl Fold<T>, x: &View<'_>, outputs: &[View<'_>]) {
        let y = &outputs[0];
        let finish = |out: &mut [T]| {
            if self.kind == Kind::Mean {
                let count = T::from_f64(self.count as f64);
                for y in out {
                    *y = *y / count;
                }
            }
        };
        let Some(partials) = outputs.get(1) else {
            share(run.team, self.axis, |start, axis, results| {
                // SAFETY: shares of a team do not overlap.
                let out = unsafe { y.part::<T>(results) };
                fold_axis(fold, x.slice::<T>().get(start..).unwrap_or_default(), axis, out);
                finish(out);
            });
            return;
        };
        let chunks = run.team.share(partials.numel());
        if !chunks.is_empty() {
            let from = &x.slice::<T>()[chunks.start * CHUNK..(chunks.end * CHUNK).min(self.axis.len)];
            // SAFETY: shares of a team do not overlap.
            let sums = unsafe { partials.part::<T>(chunks) };
            for (sum, chunk) in sums.iter_mut().zip(from.chunks(CHUNK)) {
                *sum = reduce::fold(fold, chunk);
            }
        }
        run.team.barrier();
        if run.team.rank() == 0 {
            // SAFETY: the others are done writing.
            let out = unsafe { y.part::<T>(0..1) };
            let partials = partials.slice::<T>();
            out[0] = if matches!(self.kind, Kind::Sum | Kind::Mean) {
                reduce::sum_flat(partials)
            } else {
                reduce::fold(fold, partials)
            };
            finish(out);
        }
    }

    fn run_integer<T: Number>(&self, run: &Run<'_>, start: T, step: impl Fn(T, T) -> T, x: &View<'_>, y: &View<'_>) {
        share(run.team, self.axis, |first, axis, results| {
            // SAFETY: shares of a team do not overlap.
            let out = unsafe { y.part::<T>(results) };
            integer::fold_axis(x.slice::<T>().get(first..).unwrap_or_default(), axis, start, &step, out);
        });
    }
}

impl Op for Reduce {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sum => "sum",
            Kind::Mean => "mean",
            Kind::Prod => "prod",
            Kind::Max => "amax",
            Kind::Min => "amin",
            Kind::Any => "any",
            Kind::All => "all",
        }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = inputs[0].dtype;
        let mut outputs: Outputs = smallvec![Meta { shape: self.out.clone(), dtype }];
        if self.is_chunked(dtype) {
            // Partial results of the team.
            outputs.push(Meta::new(&[self.axis.len.div_ceil(CHUNK)], dtype));
        }
        Ok(outputs)
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let (x, y) = (&inputs[0], &outputs[0]);
        match x.dtype() {
            DType::F32 | DType::F64 => with_float!(x.dtype(), T => match self.kind {
                Kind::Sum | Kind::Mean => self.run_float::<T>(run, Sum, x, outputs),
                Kind::Prod => self.run_float::<T>(run, Product, x, outputs),
                Kind::Max => self.run_float::<T>(run, Max, x, outputs),
                Kind::Min => self.run_float::<T>(run, Min, x, outputs),
                Kind::Any | Kind::All => unreachable!("any and all are of masks"),
            }),
            DType::I64 => match self.kind {
                Kind::Sum | Kind::Mean => self.run_integer::<i64>(run, 0, i64::wrapping_add, x, y),
                Kind::Prod => self.run_integer::<i64>(run, 1, i64::wrapping_mul, x, y),
                Kind::Max | Kind::Any => self.run_integer::<i64>(run, i64::MIN, Ord::max, x, y),
                Kind::Min | Kind::All => self.run_integer::<i64>(run, i64::MAX, Ord::min, x, y),
            },
            DType::Bool => match self.kind {
                Kind::Sum | Kind::Max | Kind::Any => self.run_integer::<u8>(run, 0, |a, b| a | b, x, y),
                Kind::Mean | Kind::Prod | Kind::Min | Kind::All => self.run_integer::<u8>(run, 1, |a, b| a & b, x, y),
            },
        }
    }

    fn saves(&self) -> Saves {
        match self.kind {
            Kind::Max | Kind::Min => Saves { inputs: 1, outputs: 1 },
            Kind::Prod => Saves::inputs(1),
            _ => Saves::NONE,
        }
    }

    fn differentiable(&self) -> bool {
        !matches!(self.kind, Kind::Any | Kind::All)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let g = reshape_to(cx.grad(), &self.kept)?;
        let shape = &cx.input_meta[0].shape;
        let grad = match self.kind {
            Kind::Mean => expand(&div_scalar(&g, self.count as f64)?, shape)?,
            Kind::Prod => apply(ProdGrad(self.axis), &[&g, cx.input(0)])?,
            Kind::Max | Kind::Min => {
                let ties = super::compare::same(cx.input(0), &reshape_to(cx.output(0), &self.kept)?)?;
                let count = Self { kind: Kind::Sum, out: self.kept.clone(), ..self.clone() };
                let count = apply(count, &[&cast(&ties, g.dtype())?])?;
                where_(&ties, &div(&g, &count)?, &Tensor::zeros(&[], g.dtype()))?
            }
            Kind::Sum | Kind::Any | Kind::All => expand(&g, shape)?,
        };
        Ok(smallvec![Some(grad)])
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel() / 4
    }
}

/// g · Π of the other elements of the axis; inputs g and x.
#[derive(Clone, Copy, Debug)]
struct ProdGrad(Axis);

impl Op for ProdGrad {
    fn name(&self) -> &'static str {
        "prod_backward"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![inputs[1].clone()])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let axis = self.0;
        with_float!(outputs[0].dtype(), T => {
            let (g, x, out) = (inputs[0].slice::<T>(), inputs[1].slice::<T>(), outputs[0].ptr::<T>());
            for line in run.team.share(axis.results()) {
                let place = |i: usize| line / axis.inner * axis.block() + line % axis.inner + i * axis.stride;
                let mut before = T::ONE;
                for i in 0..axis.len {
                    // SAFETY: a place of the output's, in this member's own lines.
                    unsafe { *out.add(place(i)) = before };
                    before *= x[place(i)];
                }
                let mut after = g[line];
                for i in (0..axis.len).rev() {
                    // SAFETY: as above.
                    unsafe { *out.add(place(i)) = *out.add(place(i)) * after };
                    after *= x[place(i)];
                }
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        through(cx, |t| second::prod(self.0, t))
    }
}

/// Run a reduction that may need a place for partial results.
fn apply_reduce(op: Reduce, x: &Tensor) -> Result<Tensor> {
    Ok(apply_many(std::sync::Arc::new(op), &[x])?.swap_remove(0))
}

/// Sum or mean: run by run, the last first, since no copy is needed so.
fn add_up(kind: Kind, name: &str, x: &Tensor, dims: Option<&[i64]>, keepdim: bool) -> Result<Tensor> {
    let flags = reduced(name, x, dims)?;
    let (kept, out) = result_shapes(x.shape(), &flags, keepdim);
    let count = x.shape().iter().zip(&flags).filter(|(_, gone)| **gone).map(|(n, _)| n).product();
    let found = runs(x.shape(), &flags);
    if found.len() <= 1 {
        let axis = found.first().map_or(Axis::new(x.numel(), 1, 1), |&run| axis_of(x.shape(), run));
        return apply_reduce(Reduce { kind, axis, count, kept, out }, x);
    }
    let mut y = x.clone();
    for (left, &run) in found.iter().enumerate().rev() {
        let axis = axis_of(y.shape(), run);
        let kept: Dims =
            y.shape().iter().enumerate().map(|(d, &n)| if (run.0..run.1).contains(&d) { 1 } else { n }).collect();
        let (kind, out) = if left == 0 { (kind, out.clone()) } else { (Kind::Sum, kept.clone()) };
        y = apply_reduce(Reduce { kind, axis, count, kept, out }, &y)?;
    }
    Ok(y)
}

/// A reduction that is one step however many dimensions it spans.
fn reduce_at_once(kind: Kind, name: &str, x: &Tensor, dims: Option<&[i64]>, keepdim: bool) -> Result<Tensor> {
    let flags = reduced(name, x, dims)?;
    let (mut kept, out) = result_shapes(x.shape(), &flags, keepdim);
    let (turned, axis) = one_run(x, &flags)?;
    if matches!(kind, Kind::Max | Kind::Min) {
        not_empty(name, x, axis.len)?;
    }
    if runs(x.shape(), &flags).len() > 1 {
        let gone = flags.iter().filter(|gone| **gone).count();
        kept = turned.shape().iter().enumerate().map(|(d, &n)| if d < x.ndim() - gone { n } else { 1 }).collect();
    }
    apply_reduce(Reduce { kind, axis, count: axis.len, kept, out }, &turned)
}

/// Σ x over the dimensions `dims`, all if None; integers and masks as int64.
pub fn sum(x: &Tensor, dims: Option<&[i64]>, keepdim: bool) -> Result<Tensor> {
    if x.dtype() == DType::Bool {
        return sum(&cast(x, DType::I64)?, dims, keepdim);
    }
    add_up(Kind::Sum, "sum", x, dims, keepdim)
}

/// Σ x / n over the dimensions `dims`, all if None; NaN if there is no element.
pub fn mean(x: &Tensor, dims: Option<&[i64]>, keepdim: bool) -> Result<Tensor> {
    float_dtype("mean", &[x.meta()])?;
    add_up(Kind::Mean, "mean", x, dims, keepdim)
}

/// Π x over the dimensions `dims`, all if None; integers and masks as int64.
pub fn prod(x: &Tensor, dims: Option<&[i64]>, keepdim: bool) -> Result<Tensor> {
    if x.dtype() == DType::Bool {
        return prod(&cast(x, DType::I64)?, dims, keepdim);
    }
    reduce_at_once(Kind::Prod, "prod", x, dims, keepdim)
}

/// The greatest over the dimensions `dims`, all if None. Ties share the gradient evenly.
pub fn amax(x: &Tensor, dims: Option<&[i64]>, keepdim: bool) -> Result<Tensor> {
    reduce_at_once(Kind::Max, "amax", x, dims, keepdim)
}

/// The smallest over the dimensions `dims`, all if None. Ties share the gradient evenly.
pub fn amin(x: &Tensor, dims: Option<&[i64]>, keepdim: bool) -> Result<Tensor> {
    reduce_at_once(Kind::Min, "amin", x, dims, keepdim)
}

/// The greatest of all elements. Ties share the gradient evenly.
pub fn max(x: &Tensor) -> Result<Tensor> {
    reduce_at_once(Kind::Max, "max", x, None, false)
}

/// The smallest of all elements. Ties share the gradient evenly.
pub fn min(x: &Tensor) -> Result<Tensor> {
    reduce_at_once(Kind::Min, "min", x, None, false)
}

/// True if any is neither 0 nor false, over the dimensions `dims`, all if None.
pub fn any(x: &Tensor, dims: Option<&[i64]>, keepdim: bool) -> Result<Tensor> {
    reduce_at_once(Kind::Any, "any", &cast(x, DType::Bool)?, dims, keepdim)
}

/// True if all are neither 0 nor false, over the dimensions `dims`, all if None.
pub fn all(x: &Tensor, dims: Option<&[i64]>, keepdim: bool) -> Result<Tensor> {
    reduce_at_once(Kind::All, "all", &cast(x, DType::Bool)?, dims, keepdim)
}

/// Sum `x` down to `shape`, from which it was broadcast.
pub fn sum_to(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    if x.shape() == shape {
        return Ok(x.clone());
    }
    let new = x.ndim() - shape.len();
    let stretched = |d: usize| d < new || (shape[d - new] == 1 && x.shape()[d] != 1);
    let dims: SmallVec<[i64; 4]> = (0..x.ndim()).filter(|&d| stretched(d)).map(|d| d as i64).collect();
    reshape_to(&sum(x, Some(&dims), true)?, shape)
}

/// The only element, as Python reads it.
pub fn item(x: &Tensor) -> Result<Scalar> {
    if x.numel() != 1 {
        return Err(Error::value(format!("item: expected a tensor of one element; got {}", show(x.shape()))));
    }
    crate::tensor::trace::read("item()");
    let view = x.view();
    // SAFETY: the tensor's one element.
    Ok(unsafe {
        match x.dtype() {
            DType::F32 => Scalar::Float((*view.ptr::<f32>()).into()),
            DType::F64 => Scalar::Float(*view.ptr::<f64>()),
            DType::I64 => Scalar::Int(*view.ptr::<i64>()),
            DType::Bool => Scalar::Bool(*view.ptr::<u8>() != 0),
        }
    })
}

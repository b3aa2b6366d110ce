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
//! The order of a sum is fixed by the shape ([`reduce`](crate::kernels::reduce)): 16 lanes along a dimension; chunks of
//! 4096, which the team shares, where one number comes of all elements.

use std::ops::Range;

use smallvec::{SmallVec, smallvec};

use super::index::scatter_into_zeros;
use super::shape::reshape_to;
use super::{
    Grads, Op, Outputs, Run, Saves, Scalar, apply, apply_many, cast, div, div_scalar, expand, float_dtype, permute,
    where_,
};
use crate::element::{DType, Float};
use crate::error::{Error, Result};
use crate::kernels::elementwise::Number;
use crate::kernels::integer;
use crate::kernels::reduce::{self, Axis, CHUNK, Fold, Max, Min, Sum};
use crate::tensor::layout::{dim_index, show};
use crate::tensor::tape::Backward;
use crate::tensor::{Dims, Meta, Tensor, View};
use crate::threads::Team;
use crate::{with_element, with_float};

/// What a reduction makes of its elements.
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

/// One run of neighbouring dimensions, reduced.
#[derive(Clone, Debug)]
struct Reduce {
    kind: Kind,
    axis: Axis,
    /// What a mean divides by: also the lengths that were reduced before.
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
            // Where the team's partial results meet.
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

    fn differentiable(&self) -> bool {
        false
    }
}

/// Which dimensions are reduced; all if none is named.
fn reduced(op: &str, x: &Tensor, dims: Option<&[i64]>) -> Result<SmallVec<[bool; 4]>> {
    let Some(dims) = dims.filter(|dims| !dims.is_empty()) else {
        return Ok(SmallVec::from_elem(true, x.ndim()));
    };
    let mut flags = SmallVec::from_elem(false, x.ndim().max(1));
    for &d in dims {
        let place = dim_index(op, d, x.ndim())?;
        if std::mem::replace(&mut flags[place], true) {
            return Err(Error::value(format!("{op}: expected each dimension once; got dim {d} twice")));
        }
    }
    flags.truncate(x.ndim());
    Ok(flags)
}

/// The shape with reduced dimensions as 1, or without them.
fn result_shapes(shape: &[usize], flags: &[bool], keepdim: bool) -> (Dims, Dims) {
    let kept: Dims = shape.iter().zip(flags).map(|(&n, &gone)| if gone { 1 } else { n }).collect();
    let out = if keepdim {
        kept.clone()
    } else {
        shape.iter().zip(flags).filter(|(_, gone)| !**gone).map(|(&n, _)| n).collect()
    };
    (kept, out)
}

/// The reduced dimensions in runs of neighbours, first run first: each `(first, end)`. Sizes of 1 part none.
fn runs(shape: &[usize], flags: &[bool]) -> SmallVec<[(usize, usize); 2]> {
    let mut runs: SmallVec<[(usize, usize); 2]> = SmallVec::new();
    let mut open = false;
    for d in (0..shape.len()).filter(|&d| shape[d] != 1) {
        match (flags[d], open) {
            (true, true) => runs.last_mut().expect("a run is open").1 = d + 1,
            (true, false) => runs.push((d, d + 1)),
            (false, _) => {}
        }
        open = flags[d];
    }
    runs
}

fn axis_of(shape: &[usize], (first, end): (usize, usize)) -> Axis {
    let size = |range: Range<usize>| shape[range].iter().product();
    Axis::new(size(0..first), size(first..end), size(end..shape.len()))
}

/// `x` with the reduced dimensions last, as the axis of one reduction, and that axis.
fn one_run(x: &Tensor, flags: &[bool]) -> Result<(Tensor, Axis)> {
    let found = runs(x.shape(), flags);
    match found.as_slice() {
        [] => Ok((x.clone(), Axis::new(x.numel(), 1, 1))),
        [run] => Ok((x.clone(), axis_of(x.shape(), *run))),
        _ => {
            let stay = (0..x.ndim()).filter(|&d| !flags[d]);
            let order: SmallVec<[i64; 4]> = stay.chain((0..x.ndim()).filter(|&d| flags[d])).map(|d| d as i64).collect();
            let turned = permute(x, &order)?;
            let len = x.shape().iter().zip(flags).filter(|(_, gone)| **gone).map(|(n, _)| n).product();
            let outer = x.shape().iter().zip(flags).filter(|(_, gone)| !**gone).map(|(n, _)| n).product();
            let axis = Axis::new(outer, len, 1);
            Ok((turned, axis))
        }
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

fn not_empty(op: &str, x: &Tensor, len: usize) -> Result<()> {
    if len > 0 {
        return Ok(());
    }
    Err(super::shape_error(op, "at least one element to choose from", x.shape()))
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

/// Whether any is neither 0 nor false, over the dimensions `dims`, all if None.
pub fn any(x: &Tensor, dims: Option<&[i64]>, keepdim: bool) -> Result<Tensor> {
    reduce_at_once(Kind::Any, "any", &cast(x, DType::Bool)?, dims, keepdim)
}

/// Whether all are neither 0 nor false, over the dimensions `dims`, all if None.
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

/// Variance, or standard deviation, of every row of a matrix; the means are the second output.
#[derive(Clone, Copy, Debug)]
struct Variance {
    rows: usize,
    len: usize,
    correction: f64,
    root: bool,
}

/// Σ (x − mean)²
#[derive(Clone, Copy, Debug)]
struct Deviations<T>(T);

impl<T: Float> Fold<T> for Deviations<T> {
    #[inline(always)]
    fn start(self) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn step(self, acc: T, x: T) -> T {
        (x - self.0).mul_add(x - self.0, acc)
    }
    #[inline(always)]
    fn merge(self, a: T, b: T) -> T {
        a + b
    }
}

impl Op for Variance {
    fn name(&self) -> &'static str {
        if self.root { "std" } else { "var" }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let meta = Meta::new(&[self.rows], inputs[0].dtype);
        Ok([meta.clone(), meta].into_iter().collect())
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let rows = run.team.share(self.rows);
        with_float!(inputs[0].dtype(), T => {
            let x = inputs[0].slice::<T>();
            // SAFETY: shares of a team do not overlap.
            let (vars, means) = unsafe { (outputs[0].part::<T>(rows.clone()), outputs[1].part::<T>(rows.clone())) };
            let freedom = (self.len as f64 - self.correction).max(0.0);
            for ((row, var), mean) in rows.zip(vars).zip(means) {
                let x = &x[row * self.len..][..self.len];
                *mean = reduce::sum_flat(x) / T::from_f64(self.len as f64);
                *var = reduce::fold(Deviations(*mean), x) / T::from_f64(freedom);
                if self.root {
                    *var = var.sqrt();
                }
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: 1, outputs: 0b11 }
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let grad = apply(VarianceGrad(*self), &[cx.grad(), cx.input(0), cx.output(0), cx.output(1)])?;
        Ok(smallvec![Some(grad)])
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel() / 2
    }
}

/// The gradient of [`Variance`]; inputs g, x, y and the means.
#[derive(Clone, Copy, Debug)]
struct VarianceGrad(Variance);

impl Op for VarianceGrad {
    fn name(&self) -> &'static str {
        "var_backward"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![inputs[1].clone()])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let Variance { rows, len, correction, root } = self.0;
        with_float!(outputs[0].dtype(), T => {
            let [g, x, y, means] = [0, 1, 2, 3].map(|i: usize| inputs[i].slice::<T>());
            for row in run.team.share(rows) {
                let freedom = T::from_f64(len as f64 - correction);
                let scale = match root {
                    false => g[row] * T::from_f64(2.0) / freedom,
                    true if y[row] == T::ZERO => T::ZERO,
                    true => g[row] / (freedom * y[row]),
                };
                // SAFETY: shares of a team do not overlap.
                let out = unsafe { outputs[0].part::<T>(row * len..(row + 1) * len) };
                for (out, &x) in out.iter_mut().zip(&x[row * len..]) {
                    *out = scale * (x - means[row]);
                }
            }
        });
    }

    fn differentiable(&self) -> bool {
        false
    }
}

fn spread(root: bool, x: &Tensor, dims: Option<&[i64]>, correction: f64, keepdim: bool) -> Result<Tensor> {
    let name = if root { "std" } else { "var" };
    float_dtype(name, &[x.meta()])?;
    let flags = reduced(name, x, dims)?;
    let (_, out) = result_shapes(x.shape(), &flags, keepdim);
    let rows = out.iter().product();
    let len = x.shape().iter().zip(&flags).filter(|(_, gone)| **gone).map(|(n, _)| n).product();
    let stay = (0..x.ndim()).filter(|&d| !flags[d]);
    let order: SmallVec<[i64; 4]> = stay.chain((0..x.ndim()).filter(|&d| flags[d])).map(|d| d as i64).collect();
    let last = order.iter().enumerate().all(|(i, &d)| i as i64 == d);
    let turned = if last { x.clone() } else { permute(x, &order)? };
    let matrix = reshape_to(&turned, &[rows, len])?;
    reshape_to(&apply(Variance { rows, len, correction, root }, &[&matrix])?, &out)
}

/// Σ (x − mean)² / (n − correction) over the dimensions `dims`, all if None; NaN if n is not above the correction.
/// Correction 1, the default in Python, is the unbiased estimate.
pub fn var(x: &Tensor, dims: Option<&[i64]>, correction: f64, keepdim: bool) -> Result<Tensor> {
    spread(false, x, dims, correction, keepdim)
}

/// The root of [`var`]; its gradient is 0 where it is 0.
pub fn std(x: &Tensor, dims: Option<&[i64]>, correction: f64, keepdim: bool) -> Result<Tensor> {
    spread(true, x, dims, correction, keepdim)
}

/// The only element, as Python reads it.
pub fn item(x: &Tensor) -> Result<Scalar> {
    if x.numel() != 1 {
        return Err(Error::value(format!("item: expected a tensor of one element; got {}", show(x.shape()))));
    }
    crate::plan::trace::read("item()");
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

#[cfg(test)]
mod tests;

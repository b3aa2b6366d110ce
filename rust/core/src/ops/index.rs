//! Picking elements: by slices (views), by positions (copies), by masks.
//!
//! ```text
//! slice, select, narrow   a view                                   grad_x: g at the slice, 0 elsewhere
//! gather                  y[i][j] = x[index[i][j]][j] for dim 0    grad_x: g summed at the positions
//! scatter_add             y = x, y[index[i][j]][j] += src[i][j]    grad_x = g, grad_src = gather(g)
//! index_select            the entries of a dimension, in any order grad_x: g summed at the entries
//! index                   everything that x[...] takes in Python
//! ```
//! Positions outside are found before anything is changed. Only [`index`] and [`select`] count negative ones from the end.

use smallvec::{SmallVec, smallvec};

use super::in_place::copy_;
use super::shape::reshape_to;
use super::walk::{Walk, map};
use super::{Grads, Op, Outputs, Run, Saves, apply, apply_in_place, cast, expand, permute, unsqueeze};
use crate::element::DType;
use crate::error::{Error, Result};
use crate::kernels::elementwise::{Number, To};
use crate::plan::trace;
use crate::tensor::layout::{broadcast, dim_index, show};
use crate::tensor::tape::Backward;
use crate::tensor::{Dims, Layout, Meta, Strides, Tensor, View};
use crate::with_element;

/// `len` entries of a dimension, `step` apart; or one, without its dimension.
#[derive(Clone, Copy, Debug)]
struct Slice {
    dim: usize,
    start: usize,
    step: usize,
    len: usize,
    drop: bool,
}

impl Slice {
    fn apply_to(self, layout: &Layout) -> Layout {
        let mut new = layout.clone();
        new.shape[self.dim] = self.len;
        if self.len > 0 {
            new.offset = (new.offset as isize + self.start as isize * new.strides[self.dim]) as usize;
        }
        new.strides[self.dim] *= self.step as isize;
        if self.drop {
            new.shape.remove(self.dim);
            new.strides.remove(self.dim);
        }
        new
    }
}

impl Op for Slice {
    fn name(&self) -> &'static str {
        if self.drop { "select" } else { "slice" }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let shape = self.apply_to(&Layout::contiguous(&inputs[0].shape)).shape;
        Ok(smallvec![Meta { shape, dtype: inputs[0].dtype }])
    }

    fn view(&self, input: &Layout) -> Option<Layout> {
        Some(self.apply_to(input))
    }

    fn run(&self, _run: &Run<'_>, _inputs: &[View<'_>], _outputs: &[View<'_>]) {
        unreachable!("a slice is always a view")
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let grad = apply(SliceGrad { slice: *self, shape: cx.input_meta[0].shape.clone() }, &[cx.grad()])?;
        Ok(smallvec![Some(grad)])
    }
}

/// Zeros but for a slice.
#[derive(Clone, Debug)]
struct SliceGrad {
    slice: Slice,
    shape: Dims,
}

impl Op for SliceGrad {
    fn name(&self) -> &'static str {
        "slice_backward"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![Meta { shape: self.shape.clone(), dtype: inputs[0].dtype }])
    }

    fn strided(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let (g, y) = (&inputs[0], &outputs[0]);
        with_element!(y.dtype(), T => {
            // SAFETY: shares of a team do not overlap.
            unsafe { y.part::<T>(run.team.share(y.numel())) }.fill(T::default());
            run.team.barrier();
            let layout = self.slice.apply_to(&Layout::contiguous(&self.shape));
            // SAFETY: places inside the output.
            let target = unsafe { View::new(y.ptr::<T>().add(layout.offset).cast(), &layout, y.dtype()) };
            map::<T, _>(run.team, To(T::default()), g, &target);
        });
    }

    fn differentiable(&self) -> bool {
        false
    }
}

/// `x[start:stop:step]` along `dim`, as Python: a bound may be missing, count from the end, or lie outside. `step` is at
/// least 1.
pub fn slice(x: &Tensor, dim: i64, start: Option<i64>, stop: Option<i64>, step: i64) -> Result<Tensor> {
    let dim = dimension("slice", x, dim)?;
    if step < 1 {
        return Err(Error::value(format!("slice: expected a step of at least 1; got {step}")));
    }
    let size = x.shape()[dim] as i64;
    let bound = |b: i64| (if b < 0 { b.saturating_add(size) } else { b }).clamp(0, size);
    let (start, stop) = (start.map_or(0, bound), stop.map_or(size, bound));
    let len = ((stop - start).max(0) as usize).div_ceil(step as usize);
    if start == 0 && step == 1 && len == size as usize {
        return apply(Slice { dim, start: 0, step: 1, len, drop: false }, &[x]);
    }
    // One element has no step: that of a huge one would overflow the stride.
    let step = if len <= 1 { 1 } else { step as usize };
    apply(Slice { dim, start: start as usize, step, len, drop: false }, &[x])
}

/// Entry `index` of dimension `dim`, without that dimension.
pub fn select(x: &Tensor, dim: i64, index: i64) -> Result<Tensor> {
    let dim = dimension("select", x, dim)?;
    let size = x.shape()[dim] as i64;
    if index < -size || index >= size {
        return Err(outside("select", index, -size, size, dim));
    }
    let start = (if index < 0 { index + size } else { index }) as usize;
    apply(Slice { dim, start, step: 1, len: 1, drop: true }, &[x])
}

/// `length` entries of dimension `dim` from `start`, which may count from the end.
pub fn narrow(x: &Tensor, dim: i64, start: i64, length: usize) -> Result<Tensor> {
    let dim = dimension("narrow", x, dim)?;
    let size = x.shape()[dim] as i64;
    if start < -size || start > size {
        return Err(outside("narrow", start, -size, size + 1, dim));
    }
    let start = (if start < 0 { start + size } else { start }) as usize;
    if start + length > size as usize {
        return Err(Error::value(format!(
            "narrow: expected start + length of at most {size}, the size of dimension {dim}; got {start} + {length}"
        )));
    }
    apply(Slice { dim, start, step: 1, len: length, drop: false }, &[x])
}

/// A dimension of a tensor that has some.
fn dimension(op: &str, x: &Tensor, dim: i64) -> Result<usize> {
    if x.ndim() == 0 {
        return Err(Error::index(format!("{op}: expected a tensor of at least 1 dimension; got one of shape ()")));
    }
    dim_index(op, dim, x.ndim())
}

fn outside(op: &str, index: i64, low: i64, end: i64, dim: usize) -> Error {
    if end <= low {
        return Error::index(format!("{op}: expected no index for dimension {dim} of size 0; got {index}"));
    }
    Error::index(format!("{op}: expected index in [{low}, {}] for dimension {dim}; got {index}", end - 1))
}

/// That all of `index` lies in `low..end`.
fn check_range(op: &str, index: &View<'_>, low: i64, end: i64, dim: usize) -> Result<()> {
    let p = index.ptr::<i64>();
    let mut wrong = None;
    Walk::new(index.shape(), [index.strides()]).run(&crate::threads::Team::SOLO, |at, n, step| {
        for i in 0..n as isize {
            // SAFETY: offsets of the layout.
            let value = unsafe { *p.offset(at[0] + i * step[0]) };
            if !(low..end).contains(&value) && wrong.is_none() {
                wrong = Some(value);
            }
        }
    });
    wrong.map_or(Ok(()), |value| Err(outside(op, value, low, end, dim)))
}

fn index_dtype(op: &str, dtype: DType) -> Result<()> {
    if dtype == DType::I64 {
        Ok(())
    } else {
        Err(Error::dtype(format!("{op}: expected an index of dtype int64; got {dtype}")))
    }
}

/// That `index` has as many dimensions as x and is nowhere larger, but along `dim`.
fn check_gather_shape(op: &str, x: &[usize], dim: usize, index: &[usize]) -> Result<()> {
    let fits = x.len() == index.len() && (0..x.len()).all(|d| d == dim || index[d] <= x[d]);
    if fits || index.contains(&0) {
        return Ok(());
    }
    let (x, index) = (show(x), show(index));
    Err(Error::value(format!("{op}: expected an index no larger than {x} but along dim {dim}; got {index}")))
}

/// `layout` over the shape of an index, standing still along `dim`; and the step of that dimension.
fn without_dim(layout: &Layout, dim: usize) -> (Strides, isize) {
    let mut strides = layout.strides.clone();
    let step = std::mem::replace(&mut strides[dim], 0);
    (strides, step)
}

#[derive(Clone, Copy, Debug)]
struct Gather {
    dim: usize,
}

impl Op for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        index_dtype("gather", inputs[1].dtype)?;
        check_gather_shape("gather", &inputs[0].shape, self.dim, &inputs[1].shape)?;
        Ok(smallvec![Meta { shape: inputs[1].shape.clone(), dtype: inputs[0].dtype }])
    }

    fn check(&self, inputs: &[View<'_>]) -> Result<()> {
        check_range("gather", &inputs[1], 0, inputs[0].shape()[self.dim] as i64, self.dim)
    }

    fn strided(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let (x, index, y) = (&inputs[0], &inputs[1], &outputs[0]);
        if y.numel() == 0 {
            return;
        }
        let (strides, along) = without_dim(x.layout(), self.dim);
        let walk = Walk::new(y.shape(), [&strides, index.strides(), y.strides()]);
        with_element!(y.dtype(), T => {
            let (px, pi, py) = (x.ptr::<T>(), index.ptr::<i64>(), y.ptr::<T>());
            walk.run(run.team, |at, n, step| {
                for i in 0..n as isize {
                    // SAFETY: offsets of the layouts, the index being checked; members of the team write different
                    // elements of y.
                    unsafe {
                        let place = *pi.offset(at[1] + i * step[1]) as isize;
                        *py.offset(at[2] + i * step[2]) = *px.offset(at[0] + i * step[0] + place * along);
                    }
                }
            });
        });
    }

    fn saves(&self) -> Saves {
        Saves::inputs(0b10)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let grad = scatter_into_zeros(&cx.input_meta[0].shape, self.dim, cx.input(1), cx.grad())?;
        Ok(smallvec![Some(grad), None])
    }
}

/// `y[i][j] = x[index[i][j]][j]` for dim 0, and so on: y has the shape of `index`, which has as many dimensions as x and is
/// not larger but along `dim`.
pub fn gather(x: &Tensor, dim: i64, index: &Tensor) -> Result<Tensor> {
    if x.ndim() == 0 {
        let y = gather(&reshape_to(x, &[1])?, dim, &reshape_to(index, &[index.numel()])?)?;
        return reshape_to(&y, index.shape());
    }
    apply(Gather { dim: dim_index("gather", dim, x.ndim())? }, &[x, index])
}

/// Inputs x, index, src; without x where zeros take its place.
#[derive(Clone, Debug)]
struct ScatterAdd {
    dim: usize,
    zeros: Option<Dims>,
}

impl Op for ScatterAdd {
    fn name(&self) -> &'static str {
        "scatter_add"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let [.., index, src] = inputs else { unreachable!("an index and a source") };
        let shape = self.zeros.clone().unwrap_or_else(|| inputs[0].shape.clone());
        index_dtype("scatter_add", index.dtype)?;
        check_gather_shape("scatter_add", &shape, self.dim, &index.shape)?;
        if index.shape.len() != src.shape.len() || index.shape.iter().zip(&src.shape).any(|(i, s)| i > s) {
            let expected = format!("a source of at least the index's shape {}", show(&index.shape));
            return Err(super::shape_error("scatter_add", &expected, &src.shape));
        }
        if self.zeros.is_none() && inputs[0].dtype != src.dtype {
            let (x, src) = (inputs[0].dtype, src.dtype);
            return Err(Error::dtype(format!("scatter_add: expected a source of dtype {x}; got {src}")));
        }
        Ok(smallvec![Meta { shape, dtype: src.dtype }])
    }

    fn check(&self, inputs: &[View<'_>]) -> Result<()> {
        let shape = self.zeros.as_deref().unwrap_or_else(|| inputs[0].shape());
        check_range("scatter_add", &inputs[inputs.len() - 2], 0, shape[self.dim] as i64, self.dim)
    }

    fn strided(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let [.., index, src] = inputs else { unreachable!("an index and a source") };
        let y = &outputs[0];
        with_element!(y.dtype(), T => {
            if self.zeros.is_some() {
                // SAFETY: shares of a team do not overlap.
                unsafe { y.part::<T>(run.team.share(y.numel())) }.fill(T::default());
            } else {
                map::<T, _>(run.team, To(T::default()), &inputs[0], y);
            }
            run.team.barrier();
            if index.numel() == 0 {
                return;
            }
            // Lines along `dim` meet in no element, so members share lines; along a line the order is that of the index.
            let (lines, count) = (without(index.shape(), self.dim), index.shape()[self.dim]);
            let strides = [index, src, y].map(|v| without(v.strides(), self.dim));
            let along = [index, src, y].map(|v| v.strides()[self.dim]);
            let (pi, ps, py) = (index.ptr::<i64>(), src.ptr::<T>(), y.ptr::<T>());
            Walk::new(&lines, [&strides[0], &strides[1], &strides[2]]).run(run.team, |at, n, step| {
                for i in 0..count as isize {
                    for line in 0..n as isize {
                        // SAFETY: offsets of the layouts, the index being checked; lines are of one member each.
                        unsafe {
                            let place = *pi.offset(at[0] + line * step[0] + i * along[0]) as isize;
                            let value = *ps.offset(at[1] + line * step[1] + i * along[1]);
                            let target = py.offset(at[2] + line * step[2] + place * along[2]);
                            *target = (*target).plus(value);
                        }
                    }
                }
            });
        });
    }

    fn saves(&self) -> Saves {
        if self.zeros.is_some() { Saves::inputs(1) } else { Saves::inputs(0b10) }
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let g = cx.grad();
        let src = 1 + usize::from(self.zeros.is_none());
        let grad_src = || {
            let index = cx.input(src - 1);
            let picked = gather(g, self.dim as i64, index)?;
            if index.shape() == cx.input_meta[src].shape.as_slice() {
                return Ok(picked);
            }
            let mut whole = Tensor::zeros(&cx.input_meta[src].shape, g.dtype());
            let mut part = whole.clone();
            for (d, &n) in index.shape().iter().enumerate() {
                part = narrow(&part, d as i64, 0, n)?;
            }
            copy_(&part, &picked)?;
            whole = whole.detach();
            Ok(whole)
        };
        let grad_src = cx.needs(src).then(grad_src).transpose()?;
        Ok(if self.zeros.is_some() { smallvec![None, grad_src] } else { smallvec![Some(g.clone()), None, grad_src] })
    }
}

fn without<T: Copy>(x: &[T], dim: usize) -> SmallVec<[T; 4]> {
    x.iter().enumerate().filter(|&(d, _)| d != dim).map(|(_, &x)| x).collect()
}

/// x with `src[i][j]` added at `[index[i][j]][j]` for dim 0, and so on. Where several meet, they are added in the order of
/// the index.
pub fn scatter_add(x: &Tensor, dim: i64, index: &Tensor, src: &Tensor) -> Result<Tensor> {
    if x.ndim() == 0 {
        let [index, src] = [index, src].map(|t| reshape_to(t, &[t.numel()]));
        return reshape_to(&scatter_add(&reshape_to(x, &[1])?, dim, &index?, &src?)?, &[]);
    }
    apply(ScatterAdd { dim: dim_index("scatter_add", dim, x.ndim())?, zeros: None }, &[x, index, src])
}

/// [`scatter_add`] to zeros.
pub(super) fn scatter_into_zeros(shape: &[usize], dim: usize, index: &Tensor, src: &Tensor) -> Result<Tensor> {
    apply(ScatterAdd { dim, zeros: Some(Dims::from_slice(shape)) }, &[index, src])
}

/// Sizes before, along and after a dimension.
fn around(shape: &[usize], dim: usize) -> (usize, usize, usize) {
    (shape[..dim].iter().product(), shape[dim], shape[dim + 1..].iter().product())
}

fn index_vector(op: &str, meta: &Meta) -> Result<usize> {
    index_dtype(op, meta.dtype)?;
    match *meta.shape.as_slice() {
        [] => Ok(1),
        [n] => Ok(n),
        _ => Err(super::shape_error(op, "an index of one dimension", &meta.shape)),
    }
}

#[derive(Clone, Copy, Debug)]
struct IndexSelect {
    dim: usize,
}

impl Op for IndexSelect {
    fn name(&self) -> &'static str {
        "index_select"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let mut shape = inputs[0].shape.clone();
        shape[self.dim] = index_vector("index_select", &inputs[1])?;
        Ok(smallvec![Meta { shape, dtype: inputs[0].dtype }])
    }

    fn check(&self, inputs: &[View<'_>]) -> Result<()> {
        check_range("index_select", &inputs[1], 0, inputs[0].shape()[self.dim] as i64, self.dim)
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let (outer, size, inner) = around(inputs[0].shape(), self.dim);
        let index = inputs[1].slice::<i64>();
        with_element!(outputs[0].dtype(), T => {
            let x = inputs[0].slice::<T>();
            let runs = run.team.share(outer * index.len());
            // SAFETY: shares of a team do not overlap.
            let y = unsafe { outputs[0].part::<T>(runs.start * inner..runs.end * inner) };
            if inner == 1 {
                for (run, y) in runs.zip(y) {
                    *y = x[run / index.len() * size + index[run % index.len()] as usize];
                }
            } else if inner > 1 {
                for (run, y) in runs.zip(y.chunks_exact_mut(inner)) {
                    let from = run / index.len() * size + index[run % index.len()] as usize;
                    y.copy_from_slice(&x[from * inner..][..inner]);
                }
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves::inputs(0b10)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let op = IndexAdd { dim: self.dim, zeros: Some(cx.input_meta[0].shape.clone()) };
        Ok(smallvec![Some(apply(op, &[cx.input(1), cx.grad()])?), None])
    }
}

/// The entries `index`, a vector, of dimension `dim`.
pub fn index_select(x: &Tensor, dim: i64, index: &Tensor) -> Result<Tensor> {
    if x.ndim() == 0 {
        return reshape_to(&index_select(&reshape_to(x, &[1])?, dim, index)?, &[]);
    }
    apply(IndexSelect { dim: dim_index("index_select", dim, x.ndim())? }, &[x, index])
}

/// Inputs x, index, src; without x where zeros take its place.
#[derive(Clone, Debug)]
struct IndexAdd {
    dim: usize,
    zeros: Option<Dims>,
}

impl Op for IndexAdd {
    fn name(&self) -> &'static str {
        "index_add"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let [.., index, src] = inputs else { unreachable!("an index and a source") };
        let shape = self.zeros.clone().unwrap_or_else(|| inputs[0].shape.clone());
        let mut expected = shape.clone();
        expected[self.dim] = index_vector("index_add", index)?;
        if expected != src.shape {
            return Err(super::shape_error("index_add", &format!("a source of shape {}", show(&expected)), &src.shape));
        }
        if self.zeros.is_none() && inputs[0].dtype != src.dtype {
            let (x, src) = (inputs[0].dtype, src.dtype);
            return Err(Error::dtype(format!("index_add: expected a source of dtype {x}; got {src}")));
        }
        Ok(smallvec![Meta { shape, dtype: src.dtype }])
    }

    fn check(&self, inputs: &[View<'_>]) -> Result<()> {
        let shape = self.zeros.as_deref().unwrap_or_else(|| inputs[0].shape());
        check_range("index_add", &inputs[inputs.len() - 2], 0, shape[self.dim] as i64, self.dim)
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let [.., index, src] = inputs else { unreachable!("an index and a source") };
        let y = &outputs[0];
        let (outer, size, inner) = around(y.shape(), self.dim);
        let index = index.slice::<i64>();
        with_element!(y.dtype(), T => {
            let src = src.slice::<T>();
            // Each member has some of the entries and adds to them in the order of the index.
            let mine = run.team.share(outer * size);
            // SAFETY: shares of a team do not overlap.
            let part = unsafe { y.part::<T>(mine.start * inner..mine.end * inner) };
            match &self.zeros {
                Some(_) => part.fill(T::default()),
                None => part.copy_from_slice(&inputs[0].slice::<T>()[mine.start * inner..mine.end * inner]),
            }
            for o in 0..outer {
                for (i, &entry) in index.iter().enumerate() {
                    let entry = o * size + entry as usize;
                    if mine.contains(&entry) {
                        let to = &mut part[(entry - mine.start) * inner..][..inner];
                        for (to, &from) in to.iter_mut().zip(&src[(o * index.len() + i) * inner..]) {
                            *to = to.plus(from);
                        }
                    }
                }
            }
        });
    }

    fn saves(&self) -> Saves {
        if self.zeros.is_some() { Saves::inputs(1) } else { Saves::inputs(0b10) }
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let g = cx.grad();
        let src = 1 + usize::from(self.zeros.is_none());
        let grad_src = cx.needs(src).then(|| index_select(g, self.dim as i64, cx.input(src - 1))).transpose()?;
        Ok(if self.zeros.is_some() { smallvec![None, grad_src] } else { smallvec![Some(g.clone()), None, grad_src] })
    }
}

/// x with entry i of `src` added to entry `index[i]` of dimension `dim`, in the order of the index.
pub fn index_add(x: &Tensor, dim: i64, index: &Tensor, src: &Tensor) -> Result<Tensor> {
    let dim = dimension("index_add", x, dim)?;
    apply(IndexAdd { dim, zeros: None }, &[x, index, src])
}

/// Where a mask is true: for each of its dimensions the positions, in row-major order. As many as the values say, so that
/// no plan can hold it.
pub fn nonzero(x: &Tensor) -> Result<Vec<Tensor>> {
    trace::obstacle("the shape of nonzero() depends on values");
    let mask = cast(x, DType::Bool)?;
    let flat: Vec<usize> = mask.to_vec_f64().iter().enumerate().filter(|(_, x)| **x != 0.0).map(|(i, _)| i).collect();
    let mut step = x.numel();
    Ok(x.shape()
        .iter()
        .map(|&size| {
            step /= size.max(1);
            let column: Vec<i64> = flat.iter().map(|&i| (i / step.max(1) % size) as i64).collect();
            Tensor::from_slice(&column, &[column.len()])
        })
        .collect())
}

/// One item of `x[...]`.
#[derive(Clone, Debug)]
pub enum Index {
    /// An `int`: the dimension goes.
    At(i64),
    /// `start:stop:step`.
    Slice {
        /// The first entry.
        start: Option<i64>,
        /// The entry before which it ends.
        stop: Option<i64>,
        /// At least 1.
        step: i64,
    },
    /// `...`: all dimensions that no other item names.
    Ellipsis,
    /// `None`: a new dimension of size 1.
    NewAxis,
    /// Positions (int64) of one dimension, or a mask of as many dimensions as it has.
    Tensor(Tensor),
}

impl Index {
    fn dims(&self) -> usize {
        match self {
            Self::Ellipsis | Self::NewAxis => 0,
            Self::Tensor(t) if t.dtype() == DType::Bool => t.ndim(),
            _ => 1,
        }
    }
}

/// Positions in the flattened dimensions of these sizes; negative ones count from the end.
#[derive(Clone, Debug)]
struct Flatten {
    sizes: Dims,
    first_dim: SmallVec<[usize; 4]>,
}

impl Op for Flatten {
    fn name(&self) -> &'static str {
        "index"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let mut shape = Dims::new();
        for meta in inputs {
            index_dtype("index", meta.dtype)?;
            shape = broadcast("index", &shape, &meta.shape)?;
        }
        Ok(smallvec![Meta { shape, dtype: DType::I64 }])
    }

    fn check(&self, inputs: &[View<'_>]) -> Result<()> {
        for ((index, &size), &dim) in inputs.iter().zip(&self.sizes).zip(&self.first_dim) {
            check_range("index", index, -(size as i64), size as i64, dim)?;
        }
        Ok(())
    }

    fn strided(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let y = &outputs[0];
        let py = y.ptr::<i64>();
        for (k, (index, &size)) in inputs.iter().zip(&self.sizes).enumerate() {
            let (size, p) = (size as i64, index.ptr::<i64>());
            let stretched = index.layout().expand(y.shape());
            Walk::new(y.shape(), [&stretched.strides, y.strides()]).run(run.team, |at, n, step| {
                for i in 0..n as isize {
                    // SAFETY: offsets of the layouts; members of the team write different elements of y.
                    unsafe {
                        let (place, y) = (*p.offset(at[0] + i * step[0]), py.offset(at[1] + i * step[1]));
                        let place = if place < 0 { place + size } else { place };
                        *y = if k == 0 { place } else { *y * size + place };
                    }
                }
            });
            // The shares of the next index are others.
            run.team.barrier();
        }
    }

    fn differentiable(&self) -> bool {
        false
    }
}

/// `x[items]`, as Python writes it: views for numbers and slices; for tensors of positions and masks, copies.
///
/// Several tensors of positions broadcast together. Their shape takes the place of their dimensions if these are
/// neighbours, else it comes first.
pub fn index(x: &Tensor, items: &[Index]) -> Result<Tensor> {
    let named: usize = items.iter().map(Index::dims).sum();
    if named > x.ndim() || items.iter().filter(|i| matches!(i, Index::Ellipsis)).count() > 1 {
        return Err(Error::index(format!(
            "index: expected at most {} indices and one ellipsis for a tensor of shape {}; got {named}",
            x.ndim(),
            show(x.shape())
        )));
    }
    let (mut y, mut dim) = (x.clone(), 0);
    let mut source_dim = 0;
    let mut picked: Vec<(usize, usize, Tensor)> = Vec::new();
    for item in items {
        match item {
            Index::At(i) => {
                let size = y.shape()[dim] as i64;
                if *i < -size || *i >= size {
                    return Err(outside("index", *i, -size, size, source_dim));
                }
                y = select(&y, dim as i64, *i)?;
            }
            Index::Slice { start, stop, step } => {
                y = slice(&y, dim as i64, *start, *stop, *step)?;
                dim += 1;
            }
            Index::Ellipsis => {
                dim += x.ndim() - named;
                source_dim += x.ndim() - named;
            }
            Index::NewAxis => {
                y = unsqueeze(&y, dim as i64)?;
                dim += 1;
            }
            Index::Tensor(t) if t.dtype() == DType::Bool => {
                let covered = &y.shape()[dim..dim + t.ndim()];
                if covered != t.shape() {
                    return Err(Error::index(format!(
                        "index: expected a mask of shape {} for dimension {source_dim} on; got {}",
                        show(covered),
                        show(t.shape())
                    )));
                }
                if t.ndim() == 0 {
                    return Err(Error::index("index: expected a mask of at least 1 dimension; got one of shape ()"));
                }
                for (k, column) in nonzero(t)?.into_iter().enumerate() {
                    picked.push((dim + k, source_dim + k, column));
                }
                dim += t.ndim();
            }
            Index::Tensor(t) => {
                index_dtype("index", t.dtype())?;
                picked.push((dim, source_dim, t.clone()));
                dim += 1;
            }
        }
        source_dim += item.dims();
    }
    if picked.is_empty() { Ok(y) } else { pick(&y, &picked) }
}

/// The elements at tensors of positions: `(dimension, dimension as the user counts it, positions)`.
fn pick(x: &Tensor, picked: &[(usize, usize, Tensor)]) -> Result<Tensor> {
    let adjacent = picked.windows(2).all(|w| w[0].0 + 1 == w[1].0);
    let first = if adjacent { picked[0].0 } else { 0 };
    let x = if adjacent {
        x.clone()
    } else {
        let rest = (0..x.ndim()).filter(|d| picked.iter().all(|p| p.0 != *d));
        let order: Vec<i64> = picked.iter().map(|p| p.0).chain(rest).map(|d| d as i64).collect();
        permute(x, &order)?
    };
    let end = first + picked.len();
    let sizes = Dims::from_slice(&x.shape()[first..end]);
    let tensors: SmallVec<[&Tensor; 3]> = picked.iter().map(|p| &p.2).collect();
    let places = apply(Flatten { sizes: sizes.clone(), first_dim: picked.iter().map(|p| p.1).collect() }, &tensors)?;

    let (before, after) = (&x.shape()[..first], &x.shape()[end..]);
    let joined: Dims = before.iter().copied().chain([sizes.iter().product()]).chain(after.iter().copied()).collect();
    let shape: Dims = before.iter().chain(places.shape()).chain(after).copied().collect();
    let y = index_select(&reshape_to(&x, &joined)?, first as i64, &reshape_to(&places, &[places.numel()])?)?;
    reshape_to(&y, &shape)
}

/// Inputs x, positions in its row-major order, values.
#[derive(Clone, Copy, Debug)]
struct Put;

impl Op for Put {
    fn name(&self) -> &'static str {
        "index_put_"
    }

    fn infer(&self, _inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![])
    }

    fn in_place(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], _outputs: &[View<'_>]) {
        if run.team.rank() != 0 {
            return;
        }
        let (x, places, values) = (&inputs[0], inputs[1].slice::<i64>(), &inputs[2]);
        with_element!(x.dtype(), T => {
            let p = x.ptr::<T>();
            for (&place, &value) in places.iter().zip(values.slice::<T>()) {
                let (mut rest, mut offset) = (place as usize, 0);
                for (&size, &stride) in x.shape().iter().zip(x.strides()).rev() {
                    offset += (rest % size) as isize * stride;
                    rest /= size;
                }
                // SAFETY: the place of an element; the only member that writes.
                unsafe { *p.offset(offset) = value };
            }
        });
    }
}

/// `x[items] = value`, where the value is converted to x's dtype and broadcasts to the shape of `x[items]`. Where positions
/// repeat, the last value stays.
pub fn index_put_(x: &Tensor, items: &[Index], value: &Tensor) -> Result<()> {
    if !items.iter().any(|i| matches!(i, Index::Tensor(_))) {
        return copy_(&index(x, items)?, value);
    }
    let all: Vec<i64> = (0..x.numel() as i64).collect();
    let places = index(&Tensor::from_slice(&all, x.shape()), items)?;
    if broadcast("index_put_", value.shape(), places.shape())?.as_slice() != places.shape() {
        let expected = format!("a value that broadcasts to {}", show(places.shape()));
        return Err(super::shape_error("index_put_", &expected, value.shape()));
    }
    let values = super::copy(&expand(&cast(value, x.dtype())?, places.shape())?)?;
    apply_in_place(Put, x, &[&places, &values])
}

#[cfg(test)]
mod tests;

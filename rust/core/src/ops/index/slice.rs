//! Slices: views of a tensor.

use super::{dimension, outside};
use smallvec::smallvec;

use crate::error::{Error, Result};
use crate::kernels::elementwise::To;
use crate::ops::walk::map;
use crate::ops::{Grads, Op, Outputs, Run, apply};
use crate::tensor::tape::Backward;
use crate::tensor::{Dims, Layout, Meta, Tensor, View};
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

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        Ok(smallvec![Some(apply(self.slice, &[cx.grad()])?)])
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
    if length > size as usize - start {
        return Err(Error::value(format!(
            "narrow: expected start + length of at most {size}, the size of dimension {dim}; got {start} + {length}"
        )));
    }
    apply(Slice { dim, start, step: 1, len: length, drop: false }, &[x])
}

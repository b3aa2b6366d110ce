//! Linear maps of images, by rows and by columns: average pooling, interpolation, padding with what is in the image.
//!
//! ```text
//! y = R · x · Cᵀ        grad_x = Rᵀ · g · C, the same op with both axes transposed
//! ```
//! for every plane. Of the sums' order see [`crate::kernels::separable`].

use smallvec::smallvec;

use super::pooling::{Pooling, adaptive, check_image, check_output, check_room, plane, with_plane};
use super::{Grads, Op, Outputs, Run, apply, shape_error};
use crate::element::DType;
use crate::error::{Error, Result};
use crate::kernels::separable::{self, Axis, Map, Stretch};
use crate::kernels::vector::Lanes;
use crate::reserve;
use crate::tensor::layout::show;
use crate::tensor::tape::Backward;
use crate::tensor::{Meta, Tensor, View, room};
use crate::with_float;

/// Outputs from which on a stretch is worth its loops.
const WORTHWHILE: usize = 4;

/// The inputs of each output along an axis.
#[derive(Clone, Debug, PartialEq)]
struct Taps {
    inputs: usize,
    starts: Vec<u32>,
    at: Vec<u32>,
    weights: Vec<f64>,
}

impl Taps {
    /// Room for `outputs` outputs of `taps` taps in all, whose names and places are numbers of 32 bits.
    fn with_room(op: &str, inputs: usize, outputs: usize, taps: usize) -> Result<Self> {
        if inputs.max(outputs).max(taps) >= u32::MAX as usize {
            return Err(reserve::refused(op, taps.saturating_mul(size_of::<(u32, f64)>())));
        }
        reserve::guard(op, || {
            let (mut starts, at, weights) =
                (reserve::with_capacity(outputs + 1), reserve::with_capacity(taps), reserve::with_capacity(taps));
            starts.push(0);
            Ok(Self { inputs, starts, at, weights })
        })
    }

    /// Add an output, made of these `(input, weight)`.
    fn push(&mut self, output: impl IntoIterator<Item = (usize, f64)>) {
        for (i, w) in output {
            self.at.push(i as u32);
            self.weights.push(w);
        }
        self.starts.push(self.at.len() as u32);
    }

    /// One input for each output, as it is.
    fn copies(op: &str, inputs: usize, outputs: impl ExactSizeIterator<Item = usize>) -> Result<Self> {
        let mut taps = Self::with_room(op, inputs, outputs.len(), outputs.len())?;
        outputs.for_each(|i| taps.push([(i, 1.0)]));
        Ok(taps)
    }

    /// The mean of a range of inputs for each output, or a multiple of their sum.
    fn means(op: &str, inputs: usize, outputs: usize, range: impl Fn(usize) -> (usize, usize, f64)) -> Result<Self> {
        let count = (0..outputs).map(&range).map(|(first, end, _)| end - first).fold(0, usize::saturating_add);
        let mut taps = Self::with_room(op, inputs, outputs, count)?;
        for (first, end, w) in (0..outputs).map(range) {
            taps.push((first..end).map(|i| (i, w)));
        }
        Ok(taps)
    }

    fn outputs(&self) -> usize {
        self.starts.len() - 1
    }

    /// The taps of an output.
    fn of(&self, i: usize) -> (&[u32], &[f64]) {
        let range = self.starts[i] as usize..self.starts[i + 1] as usize;
        (&self.at[range.clone()], &self.weights[range])
    }

    /// True if the taps of output `i` are those of output `like`, `ahead` inputs further on, as far as these are inputs.
    fn is_like(&self, i: usize, like: usize, ahead: isize) -> bool {
        let ((at, weights), (like_at, like_weights)) = (self.of(i), self.of(like));
        let places = like_at.iter().map(|&at| at as isize + ahead);
        let inside = |at: isize| usize::try_from(at).is_ok_and(|at| at < self.inputs);
        let mut expected = places.zip(like_weights).filter(|(at, _)| inside(*at));
        at.iter().map(|&at| at as isize).zip(weights).all(|tap| expected.next() == Some(tap))
            && expected.next().is_none()
    }

    /// The outputs around `like` that are like it, or those of its period like them.
    fn stretch(&self, like: usize, period: usize, step: usize) -> Stretch {
        let ahead = |i: usize| (i / period * step) as isize - (like / period * step) as isize;
        let fits = |&i: &usize| self.is_like(i, like + i % period, ahead(i));
        let from = (like - (0..like).rev().take_while(fits).count()).next_multiple_of(period);
        let to = like + (like..self.outputs()).take_while(fits).count();
        let (mut before, mut after) = (0, 0);
        for &at in (like..like + period).flat_map(|i| self.of(i).0) {
            before = before.max(-(at as isize + ahead(from)));
            after = after.max(at as isize + ahead(to - 1) + 1 - self.inputs as isize);
        }
        Stretch { from, to, period, step, like, before: before as usize, after: after as usize }
    }

    /// The longest stretch, if one is worth it.
    fn find_stretch(&self) -> Stretch {
        let mut best = Stretch::default();
        for (period, step) in [(1, 1), (1, 2), (2, 1), (1, 0)] {
            let mut like = 0;
            while like + period <= self.outputs() {
                let found = self.stretch(like, period, step);
                if found.to - found.from > best.to - best.from {
                    best = found;
                }
                like = found.to.next_multiple_of(period);
            }
        }
        if best.to - best.from < WORTHWHILE { Stretch::default() } else { best }
    }

    /// Outputs that differ from the one before; and the number of outputs.
    fn runs(&self) -> Vec<u32> {
        let n = self.outputs();
        let begins = || (0..n).filter(|&i| i == 0 || self.of(i) != self.of(i - 1));
        let mut runs = reserve::with_capacity(begins().count() + 1);
        runs.extend(begins().chain([n]).map(|i| i as u32));
        runs
    }

    fn axis<'a, T>(&'a self, weights: &'a [T]) -> Axis<'a, T> {
        Axis { inputs: self.inputs, starts: &self.starts, at: &self.at, weights }
    }

    /// The outputs of each input: the taps in the order of their outputs.
    fn transposed(&self, op: &str) -> Result<Self> {
        let mut taps = Self::with_room(op, self.outputs(), self.inputs, self.at.len())?;
        taps.starts.resize(self.inputs + 1, 0);
        for &i in &self.at {
            taps.starts[i as usize + 1] += 1;
        }
        for i in 0..self.inputs {
            taps.starts[i + 1] += taps.starts[i];
        }
        taps.at.resize(self.at.len(), 0);
        taps.weights.resize(self.at.len(), 0.0);
        // Until its taps are placed, an input's start is where the next of them goes: at last, where the following begins.
        for (o, range) in self.starts.windows(2).enumerate() {
            for k in range[0] as usize..range[1] as usize {
                let next = &mut taps.starts[self.at[k] as usize];
                (taps.at[*next as usize], taps.weights[*next as usize]) = (o as u32, self.weights[k]);
                *next += 1;
            }
        }
        taps.starts.rotate_right(1);
        taps.starts[0] = 0;
        Ok(taps)
    }
}

/// Input x.
#[derive(Clone, Debug)]
struct Separable {
    name: &'static str,
    dims: usize,
    rows: Taps,
    runs: Vec<u32>,
    cols: Taps,
    stretch: Stretch,
}

impl Separable {
    fn new(name: &'static str, dims: usize, [rows, cols]: [Taps; 2]) -> Self {
        Self { name, dims, runs: rows.runs(), rows, stretch: cols.find_stretch(), cols }
    }

    fn run<T: Lanes>(&self, run: &Run<'_>, x: &View<'_>, y: &View<'_>) {
        let (rows, cols) = (&self.rows, &self.cols);
        let (size, out) = (rows.inputs * cols.inputs, rows.outputs() * cols.outputs());
        let planes = run.team.share(x.numel() / size);
        // SAFETY: members have different planes.
        let y = unsafe { y.part::<T>(planes.start * out..planes.end * out) };
        let x = &x.slice::<T>()[planes.start * size..planes.end * size];
        let [row_weights, col_weights] =
            [rows, cols].map(|taps| reserve::collected(taps.weights.iter().map(|&w| T::from_f64(w))));
        let map = Map {
            rows: rows.axis(&row_weights),
            runs: &self.runs,
            cols: cols.axis(&col_weights),
            stretch: self.stretch,
        };
        separable::planes(x, &map, &mut reserve::filled(map.room(), T::ZERO), y);
    }
}

impl Op for Separable {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let shape = with_plane(&inputs[0].shape, self.dims, [self.rows.outputs(), self.cols.outputs()]);
        Ok(smallvec![Meta { shape, dtype: inputs[0].dtype }])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        if inputs[0].numel() > 0 && outputs[0].numel() > 0 {
            with_float!(inputs[0].dtype(), T => self.run::<T>(run, &inputs[0], &outputs[0]));
        }
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let taps = [self.rows.transposed(self.name)?, self.cols.transposed(self.name)?];
        Ok(smallvec![Some(by_axes(cx.grad(), self.name, self.dims, taps)?)])
    }

    fn work(&self, inputs: &[Meta], outputs: &[Meta]) -> usize {
        usize::midpoint(inputs[0].numel(), outputs[0].numel())
    }
}

fn by_axes(x: &Tensor, name: &'static str, dims: usize, taps: [Taps; 2]) -> Result<Tensor> {
    apply(reserve::guard(name, || Ok(Separable::new(name, dims, taps)))?, &[x])
}

/// Elements that a mean counts beside those of its window.
#[derive(Clone, Copy, Debug)]
pub struct Divisor {
    /// True if padding counts.
    pub count_include_pad: bool,
    /// The divisor, if it is fixed.
    pub fixed: Option<i64>,
}

/// The mean of each window.
pub fn avg_pool(x: &Tensor, pooling: &Pooling, divisor: Divisor) -> Result<Tensor> {
    let output = pooling.output(&x.meta())?;
    if divisor.fixed == Some(0) {
        return Err(Error::value(format!("{}: expected divisor_override other than 0; got 0", pooling.name)));
    }
    let input = plane(x.shape(), pooling.dims);
    let taps = |axis: usize| {
        let (n, padding) = (input[axis], pooling.padding[axis]);
        let range = |i: usize| {
            let start = i * pooling.stride[axis];
            let end = (start + pooling.kernel[axis]).min(n + 2 * padding);
            let (first, last) = (start.max(padding) - padding, end.clamp(padding, n + padding) - padding);
            let counted = if divisor.count_include_pad { end - start } else { last.saturating_sub(first) };
            let weight = match divisor.fixed {
                Some(fixed) if axis == 1 => 1.0 / fixed as f64,
                Some(_) => 1.0,
                None => 1.0 / counted as f64,
            };
            (first, last.max(first), weight)
        };
        Taps::means(pooling.name, n, output[axis], range)
    };
    by_axes(x, pooling.name, pooling.dims, [taps(0)?, taps(1)?])
}

/// The mean of each of as many windows as asked for, as even as they can be.
pub fn adaptive_avg_pool(x: &Tensor, name: &'static str, dims: usize, output: [usize; 2]) -> Result<Tensor> {
    check_image(name, &x.meta(), dims)?;
    check_output(name, &x.meta(), output, dims)?;
    let input = plane(x.shape(), dims);
    let taps = |axis: usize| {
        let range = |i| {
            let (first, end) = adaptive(i, input[axis], output[axis]);
            (first, end, 1.0 / (end - first) as f64)
        };
        Taps::means(name, input[axis], output[axis], range)
    };
    by_axes(x, name, dims, [taps(0)?, taps(1)?])
}

/// Interpolation of [`upsample`] between elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// Input ⌊i · scale⌋.
    Nearest,
    /// Input ⌊(i + ½) · scale⌋.
    NearestExact,
    /// The line between the two neighbors of i · (n − 1) / (out − 1), if the corners are aligned, or of
    /// (i + ½) · scale − ½, but not below 0.
    Linear {
        /// True if the corners' centers stay where they are.
        align_corners: bool,
    },
}

/// Arithmetic in the precision of a dtype: a double holds products and sums of floats so exactly that rounding them once
/// more gives what a float would.
fn rounded(dtype: DType, x: f64) -> f64 {
    if dtype == DType::F32 { f64::from(x as f32) } else { x }
}

fn interpolated(
    op: &str,
    (n, out): (usize, usize),
    scale: Option<f64>,
    mode: Interpolation,
    dtype: DType,
) -> Result<Taps> {
    // As in PyTorch, places are computed in the precision of the image, and those of the nearest always in float32.
    let linear = matches!(mode, Interpolation::Linear { .. });
    let r = |x: f64| rounded(if linear { dtype } else { DType::F32 }, x);
    let scale = scale.map_or_else(|| r(n as f64 / out as f64), |s| r(1.0 / s));
    match mode {
        Interpolation::Nearest | Interpolation::Linear { .. } if out == n => Taps::copies(op, n, 0..out),
        Interpolation::Nearest if out == 2 * n => Taps::copies(op, n, (0..out).map(|i| i / 2)),
        Interpolation::Nearest => Taps::copies(op, n, (0..out).map(|i| (r(i as f64 * scale) as usize).min(n - 1))),
        Interpolation::NearestExact => {
            Taps::copies(op, n, (0..out).map(|i| (r((i as f64 + 0.5) * scale) as usize).min(n - 1)))
        }
        Interpolation::Linear { align_corners } => {
            let between = |i: usize| {
                let place = if align_corners {
                    let scale = if out > 1 { r((n - 1) as f64 / (out - 1) as f64) } else { 0.0 };
                    r(scale * i as f64)
                } else {
                    r(r(scale * (i as f64 + 0.5)) - 0.5).max(0.0)
                };
                let first = (place as usize).min(n - 1);
                let second = (first + 1).min(n - 1);
                let share = r(place - first as f64).clamp(0.0, 1.0);
                [(first, r(1.0 - share)), (second, share)]
            };
            let mut taps = Taps::with_room(op, n, out, out.saturating_mul(2))?;
            (0..out).map(between).for_each(|output| taps.push(output));
            Ok(taps)
        }
    }
}

/// That a size can be made.
fn check_upsampled(op: &str, x: &Tensor, dims: usize, output: [usize; 2]) -> Result<()> {
    let got = || show(&output[2 - dims..]);
    if output.contains(&0) {
        return Err(Error::value(format!("{op}: expected an output size of at least 1; got {}", got())));
    }
    room::settings(op, "an output size", &output, 1, got)?;
    check_room(op, &x.meta(), dims, output)
}

/// x in another size. `scales` are what the user multiplies the size with, where that is what places are computed from.
pub fn upsample(
    x: &Tensor,
    name: &'static str,
    output: [usize; 2],
    scales: [Option<f64>; 2],
    mode: Interpolation,
) -> Result<Tensor> {
    let dims = if x.ndim() == 4 { 2 } else { 1 };
    if x.ndim() != 3 && x.ndim() != 4 {
        return Err(shape_error(name, "input of shape (n, c, l) or (n, c, h, w)", x.shape()));
    }
    check_image(name, &x.meta(), dims)?;
    check_upsampled(name, x, dims, output)?;
    let input = plane(x.shape(), dims);
    if let Some(scale) = scales.iter().flatten().find(|s| !(**s > 0.0 && s.is_finite())) {
        return Err(Error::value(format!("{name}: expected scale_factor above 0; got {scale}")));
    }
    let taps = |axis: usize| interpolated(name, (input[axis], output[axis]), scales[axis], mode, x.dtype());
    by_axes(x, name, dims, [taps(0)?, taps(1)?])
}

/// Values in place of elements outside an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// The image mirrored at its outermost element.
    Reflect,
    /// The outermost element.
    Replicate,
    /// The other end of the image.
    Circular,
}

/// x with `(before, after)` more rows and columns, or fewer where that is negative, of what is in it.
pub fn pad_from_inside(x: &Tensor, dims: usize, padding: [(i64, i64); 2], mode: Outside) -> Result<Tensor> {
    check_image("pad", &x.meta(), dims)?;
    let input = plane(x.shape(), dims);
    let output = |axis: usize| {
        let (before, after) = padding[axis];
        let size = (input[axis] as i64).checked_add(before).and_then(|n| n.checked_add(after));
        size.and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
    };
    let taps = |axis: usize| {
        let (n, (before, after)) = (input[axis] as i64, padding[axis]);
        let (limit, reason) = match mode {
            Outside::Reflect => (n - 1, "less than the input"),
            Outside::Replicate => (i64::MAX, ""),
            Outside::Circular => (n, "at most the input"),
        };
        if before.max(after) > limit {
            let got = before.max(after);
            let shape = show(x.shape());
            return Err(Error::value(format!("pad: expected padding of {reason}, which is {shape}; got {got}")));
        }
        let out = output(axis);
        if out < 1 {
            let shape = show(x.shape());
            let got = format!("({before}, {after})");
            return Err(Error::value(format!("pad: expected padding that leaves something of {shape}; got {got}")));
        }
        check_room("pad", &x.meta(), dims, [output(0), output(1)])?;
        let inside = |i: usize| {
            let at = i as i64 - before;
            let place = match mode {
                Outside::Replicate => at.clamp(0, n - 1),
                Outside::Circular => at.rem_euclid(n),
                Outside::Reflect if at < 0 => -at,
                Outside::Reflect if at >= n => 2 * (n - 1) - at,
                Outside::Reflect => at,
            };
            place as usize
        };
        Taps::copies("pad", n as usize, (0..out).map(inside))
    };
    by_axes(x, "pad", dims, [taps(0)?, taps(1)?])
}

#[cfg(test)]
mod tests;

//! Linear maps of images, by rows and by columns: average pooling, interpolation, padding with what is in the image.
//!
//! ```text
//! y = R · x · Cᵀ        grad_x = Rᵀ · g · C, the same op with both axes transposed
//! ```
//! for every plane. Of the sums' order see [`crate::kernels::separable`].

use smallvec::smallvec;

use super::pooling::{Pooling, adaptive, check_image, check_output, plane, with_plane};
use super::{Grads, Op, Outputs, Run, apply, shape_error};
use crate::element::DType;
use crate::error::{Error, Result};
use crate::kernels::separable::{self, Axis, Map, Stretch};
use crate::kernels::vector::Lanes;
use crate::tensor::layout::show;
use crate::tensor::tape::Backward;
use crate::tensor::{Meta, Tensor, View};
use crate::with_float;

/// Outputs from which on a stretch is worth its loops.
const WORTHWHILE: usize = 4;

/// What each output along an axis is made of.
#[derive(Clone, Debug, PartialEq)]
struct Taps {
    inputs: usize,
    starts: Vec<u32>,
    at: Vec<u32>,
    weights: Vec<f64>,
}

impl Taps {
    /// From the `(input, weight)` of each output.
    fn new<I: IntoIterator<Item = (usize, f64)>>(inputs: usize, outputs: impl Iterator<Item = I>) -> Self {
        let (mut starts, mut at, mut weights) = (vec![0], Vec::new(), Vec::new());
        for output in outputs {
            for (i, w) in output {
                at.push(i as u32);
                weights.push(w);
            }
            starts.push(at.len() as u32);
        }
        Self { inputs, starts, at, weights }
    }

    /// One input for each output, as it is.
    fn copies(inputs: usize, outputs: impl Iterator<Item = usize>) -> Self {
        Self::new(inputs, outputs.map(|i| [(i, 1.0)]))
    }

    /// The mean of a range of inputs for each output, or a multiple of their sum.
    fn means(inputs: usize, ranges: impl Iterator<Item = (usize, usize, f64)>) -> Self {
        Self::new(inputs, ranges.map(|(first, end, w)| (first..end).map(move |i| (i, w))))
    }

    fn outputs(&self) -> usize {
        self.starts.len() - 1
    }

    /// The taps of an output.
    fn of(&self, i: usize) -> (&[u32], &[f64]) {
        let range = self.starts[i] as usize..self.starts[i + 1] as usize;
        (&self.at[range.clone()], &self.weights[range])
    }

    /// Whether the taps of output `i` are those of output `like`, `ahead` inputs further on, as far as these are inputs.
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

    /// Where outputs begin that are not the same as the one before; and how many outputs there are.
    fn runs(&self) -> Vec<u32> {
        let n = self.outputs();
        let begins = (0..n).filter(|&i| i == 0 || self.of(i) != self.of(i - 1));
        begins.chain([n]).map(|i| i as u32).collect()
    }

    fn axis<'a, T>(&'a self, weights: &'a [T]) -> Axis<'a, T> {
        Axis { inputs: self.inputs, starts: &self.starts, at: &self.at, weights }
    }

    fn transposed(&self) -> Self {
        let mut outputs = vec![Vec::new(); self.inputs];
        for (o, range) in self.starts.windows(2).enumerate() {
            for k in range[0] as usize..range[1] as usize {
                outputs[self.at[k] as usize].push((o, self.weights[k]));
            }
        }
        Self::new(self.outputs(), outputs.into_iter())
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
            [rows, cols].map(|taps| taps.weights.iter().map(|&w| T::from_f64(w)).collect::<Vec<_>>());
        let map = Map {
            rows: rows.axis(&row_weights),
            runs: &self.runs,
            cols: cols.axis(&col_weights),
            stretch: self.stretch,
        };
        separable::planes(x, &map, &mut vec![T::ZERO; map.room()], y);
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
        let taps = [self.rows.transposed(), self.cols.transposed()];
        Ok(smallvec![Some(apply(Self::new(self.name, self.dims, taps), &[cx.grad()])?)])
    }

    fn work(&self, inputs: &[Meta], outputs: &[Meta]) -> usize {
        usize::midpoint(inputs[0].numel(), outputs[0].numel())
    }
}

fn by_axes(x: &Tensor, name: &'static str, dims: usize, taps: [Taps; 2]) -> Result<Tensor> {
    apply(Separable::new(name, dims, taps), &[x])
}

/// What a mean counts, beside the elements of its window.
#[derive(Clone, Copy, Debug)]
pub struct Divisor {
    /// Whether padding counts.
    pub count_include_pad: bool,
    /// What to divide by in any case.
    pub fixed: Option<i64>,
}

/// The mean of each window.
pub fn avg_pool(x: &Tensor, pooling: &Pooling, divisor: Divisor) -> Result<Tensor> {
    let output = pooling.output(&x.meta())?;
    if divisor.fixed == Some(0) {
        return Err(Error::value(format!("{}: expected divisor_override other than 0; got 0", pooling.name)));
    }
    let input = plane(x.shape(), pooling.dims);
    let taps = [0, 1].map(|axis| {
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
        Taps::means(n, (0..output[axis]).map(range))
    });
    by_axes(x, pooling.name, pooling.dims, taps)
}

/// The mean of each of as many windows as asked for, as even as they can be.
pub fn adaptive_avg_pool(x: &Tensor, name: &'static str, dims: usize, output: [usize; 2]) -> Result<Tensor> {
    check_image(name, &x.meta(), dims)?;
    check_output(name, output, dims)?;
    let input = plane(x.shape(), dims);
    let taps = [0, 1].map(|axis| {
        let range = |i| {
            let (first, end) = adaptive(i, input[axis], output[axis]);
            (first, end, 1.0 / (end - first) as f64)
        };
        Taps::means(input[axis], (0..output[axis]).map(range))
    });
    by_axes(x, name, dims, taps)
}

/// How [`upsample`] finds what lies between elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// Input ⌊i · scale⌋.
    Nearest,
    /// Input ⌊(i + ½) · scale⌋.
    NearestExact,
    /// The line between the two neighbours of i · (n − 1) / (out − 1), if the corners are aligned, or of
    /// (i + ½) · scale − ½, but not below 0.
    Linear {
        /// Whether the corners' centres stay where they are.
        align_corners: bool,
    },
}

/// Arithmetic in the precision of a dtype: a double holds products and sums of floats so exactly that rounding them once
/// more gives what a float would.
fn rounded(dtype: DType, x: f64) -> f64 {
    if dtype == DType::F32 { f64::from(x as f32) } else { x }
}

fn interpolated(n: usize, out: usize, scale: Option<f64>, mode: Interpolation, dtype: DType) -> Taps {
    // As in PyTorch, places are computed in the precision of the image, and those of the nearest always in float32.
    let linear = matches!(mode, Interpolation::Linear { .. });
    let r = |x: f64| rounded(if linear { dtype } else { DType::F32 }, x);
    let scale = scale.map_or_else(|| r(n as f64 / out as f64), |s| r(1.0 / s));
    match mode {
        Interpolation::Nearest | Interpolation::Linear { .. } if out == n => Taps::copies(n, 0..out),
        Interpolation::Nearest if out == 2 * n => Taps::copies(n, (0..out).map(|i| i / 2)),
        Interpolation::Nearest => Taps::copies(n, (0..out).map(|i| (r(i as f64 * scale) as usize).min(n - 1))),
        Interpolation::NearestExact => {
            Taps::copies(n, (0..out).map(|i| (r((i as f64 + 0.5) * scale) as usize).min(n - 1)))
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
            Taps::new(n, (0..out).map(between))
        }
    }
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
    if output.contains(&0) {
        let got = show(&output[2 - dims..]);
        return Err(Error::value(format!("{name}: expected an output size of at least 1; got {got}")));
    }
    let input = plane(x.shape(), dims);
    if let Some(scale) = scales.iter().flatten().find(|s| !(**s > 0.0 && s.is_finite())) {
        return Err(Error::value(format!("{name}: expected scale_factor above 0; got {scale}")));
    }
    let taps = [0, 1].map(|axis| interpolated(input[axis], output[axis], scales[axis], mode, x.dtype()));
    by_axes(x, name, dims, taps)
}

/// What takes the place of elements outside of an image.
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
    let mut taps = Vec::with_capacity(2);
    for (&n, (before, after)) in input.iter().zip(padding) {
        let n = n as i64;
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
        let out = n.checked_add(before).and_then(|m| m.checked_add(after)).unwrap_or(0);
        if out < 1 {
            let shape = show(x.shape());
            let got = format!("({before}, {after})");
            return Err(Error::value(format!("pad: expected padding that leaves something of {shape}; got {got}")));
        }
        let inside = |i: i64| {
            let at = i - before;
            let place = match mode {
                Outside::Replicate => at.clamp(0, n - 1),
                Outside::Circular => at.rem_euclid(n),
                Outside::Reflect if at < 0 => -at,
                Outside::Reflect if at >= n => 2 * (n - 1) - at,
                Outside::Reflect => at,
            };
            place as usize
        };
        taps.push(Taps::copies(n as usize, (0..out).map(inside)));
    }
    let taps: [Taps; 2] = taps.try_into().expect("an axis each");
    by_axes(x, "pad", dims, taps)
}

#[cfg(test)]
mod tests;

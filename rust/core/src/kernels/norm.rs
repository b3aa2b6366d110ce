//! Batch normalization of one feature, of the columns of a matrix, of the channels of `(n, c, l)`.
//!
//! With μ and σ² the mean and the biased variance of a feature over its n samples, x̂ = (x − μ) / √(σ² + ε):
//!
//! ```text
//! y  = weight · x̂ + bias
//! dx = weight · inv_std / n · (n · dy − Σ dy − x̂ · Σ dy·x̂)      inv_std = 1 / √(σ² + ε)
//! ```
//!
//! The variance is the mean of (x − μ)², taken after the mean: E[x²] − μ² cancels. Σ is in the order of [`super::reduce`] over
//! the samples of a feature, so that every layout gives the same bits.
//!
//! Source: Ioffe & Szegedy 2015, <https://arxiv.org/abs/1502.03167>, Algorithm 1.

use super::reduce::{Sum, WIDE, by_columns, fold_block, fold_pairs, tree, tree_columns, window, window_mut};
use crate::element::{Float, LANES};
use crate::simd;

/// What a feature was like over a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments<T> {
    /// μ.
    pub mean: T,
    /// 1 / √(σ² + ε), of the biased variance.
    pub inv_std: T,
    /// Σ (x − μ)² / (n − 1), for running statistics; 0 for a single sample.
    pub var_unbiased: T,
}

/// The moments of all features, one an element.
#[derive(Debug)]
pub struct MomentsMut<'a, T> {
    /// As [`Moments::mean`].
    pub mean: &'a mut [T],
    /// As [`Moments::inv_std`].
    pub inv_std: &'a mut [T],
    /// As [`Moments::var_unbiased`].
    pub var_unbiased: &'a mut [T],
}

/// How features are put onto a common scale and from there onto their own, one element a feature.
#[derive(Clone, Copy, Debug)]
pub struct Scaling<'a, T> {
    /// μ.
    pub mean: &'a [T],
    /// 1 / √(σ² + ε).
    pub inv_std: &'a [T],
    /// The weight; empty for 1.
    pub weight: &'a [T],
}

/// The weight and bias of all features; empty for 1 and 0.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a, T> {
    /// One weight a feature.
    pub weight: &'a [T],
    /// One bias a feature.
    pub bias: &'a [T],
}

/// The gradients with respect to weight and bias, one element a feature.
#[derive(Debug)]
pub struct AffineGrad<'a, T> {
    /// Σ dy·x̂.
    pub weight: &'a mut [T],
    /// Σ dy.
    pub bias: &'a mut [T],
}

/// A row-major matrix: rows of `cols` features, `stride` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Samples.
    pub rows: usize,
    /// Features.
    pub cols: usize,
    /// Distance from one row to the next.
    pub stride: usize,
}

/// A packed array of `(n, c, l)`, whose features are its `c` channels, of n·l samples each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// Batch size.
    pub n: usize,
    /// Features.
    pub c: usize,
    /// Length.
    pub l: usize,
}

/// The samples of one feature: `count` runs of `len`, `stride` apart.
#[derive(Clone, Copy)]
struct Samples {
    count: usize,
    len: usize,
    stride: usize,
}

impl Samples {
    #[inline(always)]
    const fn contiguous(n: usize) -> Self {
        Self { count: 1, len: n, stride: n }
    }

    #[inline(always)]
    const fn n(self) -> usize {
        self.count * self.len
    }

    #[inline(always)]
    fn run<T>(self, x: &[T], i: usize) -> &[T] {
        &x[i * self.stride..][..self.len]
    }

    #[inline(always)]
    fn run_mut<T>(self, x: &mut [T], i: usize) -> &mut [T] {
        &mut x[i * self.stride..][..self.len]
    }
}

/// `N` sums over the samples of pairs of `x` and `y`.
#[inline(always)]
fn sum_samples<T: Float, const N: usize>(
    x: &[T],
    y: &[T],
    samples: Samples,
    step: impl Fn([T; N], T, T) -> [T; N] + Copy,
) -> [T; N] {
    let mut acc = [[T::ZERO; LANES]; N];
    let mut lane = 0;
    for i in 0..samples.count {
        let (x, y) = (samples.run(x, i), samples.run(y, i));
        // Up to the next sample of lane 0.
        let head = ((LANES - lane) % LANES).min(x.len());
        for k in 0..head {
            let sums = step(std::array::from_fn(|n| acc[n][lane + k]), x[k], y[k]);
            for n in 0..N {
                acc[n][lane + k] = sums[n];
            }
        }
        fold_pairs(&x[head..], &y[head..], &mut acc, step);
        lane = (lane + samples.len) % LANES;
    }
    acc.map(|lanes| tree(lanes, |a, b| a + b))
}

#[inline(always)]
fn count<T: Float>(n: usize) -> T {
    T::from_f64(n as f64)
}

/// The moments from Σ (x − μ)².
#[inline(always)]
fn moments<T: Float>(mean: T, squares: T, n: usize, eps: T) -> Moments<T> {
    Moments {
        mean,
        inv_std: T::ONE / (squares / count(n) + eps).sqrt(),
        var_unbiased: squares / count(n.saturating_sub(1).max(1)),
    }
}

#[inline(always)]
fn feature_moments<T: Float>(x: &[T], samples: Samples, eps: T) -> Moments<T> {
    let mean = sum_samples(x, x, samples, |[acc], x, _| [acc + x])[0] / count(samples.n());
    let [squares] = sum_samples(x, x, samples, |[acc], x, _| [(x - mean).mul_add(x - mean, acc)]);
    moments(mean, squares, samples.n(), eps)
}

/// x → (x − shift) · scale + bias.
#[derive(Clone, Copy)]
struct Line<T> {
    shift: T,
    scale: T,
    bias: T,
}

impl<T: Float> Line<T> {
    #[inline(always)]
    fn new(mean: T, inv_std: T, weight: T, bias: T) -> Self {
        Self { shift: mean, scale: inv_std * weight, bias }
    }

    #[inline(always)]
    fn at(self, x: T) -> T {
        (x - self.shift).mul_add(self.scale, self.bias)
    }
}

/// (dy, x) → dx, from Σ dy and Σ dy·(x − μ).
#[derive(Clone, Copy)]
struct Slope<T> {
    mean: T,
    /// weight · `inv_std`.
    scale: T,
    /// Σ dy / n.
    grad_mean: T,
    /// `inv_std` · Σ dy·x̂ / n.
    tilt: T,
}

impl<T: Float> Slope<T> {
    /// The slope, and the gradients of weight and bias. Statistics that are `fixed` do not move with x.
    #[inline(always)]
    fn new(sums: [T; 2], n: usize, [mean, inv_std, weight]: [T; 3], fixed: bool) -> (Self, [T; 2]) {
        let [grad_bias, grad_weight] = [sums[0], sums[1] * inv_std];
        let share = if fixed { T::ZERO } else { T::ONE / count(n) };
        let slope = Self {
            mean,
            scale: weight * inv_std,
            grad_mean: grad_bias * share,
            tilt: -(inv_std * (grad_weight * share)),
        };
        (slope, [grad_weight, grad_bias])
    }

    #[inline(always)]
    fn at(self, dy: T, x: T) -> T {
        self.scale * (x - self.mean).mul_add(self.tilt, dy - self.grad_mean)
    }
}

/// Σ dy and Σ dy·(x − μ).
#[inline(always)]
fn feature_sums<T: Float>(dy: &[T], x: &[T], samples: Samples, mean: T) -> [T; 2] {
    sum_samples(dy, x, samples, |[plain, tilted], dy, x| [plain + dy, dy.mul_add(x - mean, tilted)])
}

#[inline(always)]
fn apply_line<T: Float>(line: Line<T>, x: &[T], y: &mut [T]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = line.at(x);
    }
}

#[inline(always)]
fn apply_slope<T: Float>(slope: Slope<T>, dy: &[T], x: &[T], dx: &mut [T]) {
    for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x) {
        *dx = slope.at(dy, x);
    }
}

simd! {
    /// Normalize one feature, whose samples are `x`.
    pub fn forward_feature<T: Float>(x: &[T], weight: T, bias: T, eps: T, y: &mut [T]) -> Moments<T> {
        let moments = feature_moments(x, Samples::contiguous(x.len()), eps);
        apply_line(Line::new(moments.mean, moments.inv_std, weight, bias), x, y);
        moments
    }

    /// [`forward_feature`] that overwrites its input.
    pub fn forward_feature_in_place<T: Float>(x: &mut [T], weight: T, bias: T, eps: T) -> Moments<T> {
        let moments = feature_moments(x, Samples::contiguous(x.len()), eps);
        let line = Line::new(moments.mean, moments.inv_std, weight, bias);
        for x in x {
            *x = line.at(*x);
        }
        moments
    }

    /// The gradient of [`forward_feature`] with respect to `x`; returns those with respect to weight and bias.
    pub fn backward_feature<T: Float>(dy: &[T], x: &[T], mean: T, inv_std: T, weight: T, dx: &mut [T]) -> (T, T) {
        let sums = feature_sums(dy, x, Samples::contiguous(x.len()), mean);
        let (slope, [grad_weight, grad_bias]) = Slope::new(sums, x.len(), [mean, inv_std, weight], false);
        apply_slope(slope, dy, x, dx);
        (grad_weight, grad_bias)
    }

    /// [`backward_feature`] that overwrites the gradient it is given.
    pub fn backward_feature_in_place<T: Float>(grad: &mut [T], x: &[T], mean: T, inv_std: T, weight: T) -> (T, T) {
        let sums = feature_sums(grad, x, Samples::contiguous(x.len()), mean);
        let (slope, [grad_weight, grad_bias]) = Slope::new(sums, x.len(), [mean, inv_std, weight], false);
        for (grad, &x) in grad.iter_mut().zip(x) {
            *grad = slope.at(*grad, x);
        }
        (grad_weight, grad_bias)
    }

    /// Normalize one feature by given statistics.
    pub fn apply_feature<T: Float>(x: &[T], mean: T, inv_std: T, weight: T, bias: T, y: &mut [T]) {
        apply_line(Line::new(mean, inv_std, weight, bias), x, y);
    }

    /// The gradient of [`apply_feature`] with respect to `x`; returns those with respect to weight and bias.
    pub fn apply_feature_backward<T: Float>(dy: &[T], x: &[T], mean: T, inv_std: T, weight: T, dx: &mut [T]) -> (T, T) {
        let sums = feature_sums(dy, x, Samples::contiguous(x.len()), mean);
        let (slope, [grad_weight, grad_bias]) = Slope::new(sums, x.len(), [mean, inv_std, weight], true);
        apply_slope(slope, dy, x, dx);
        (grad_weight, grad_bias)
    }

    fn forward_runs<T: Float>(
        x: &[T], shape: Channels, affine: Affine<'_, T>, eps: T, y: &mut [T], out: &mut MomentsMut<'_, T>,
    ) {
        let samples = shape.samples();
        for j in 0..shape.c {
            let x = &x[j * shape.l..];
            let moments = feature_moments(x, samples, eps);
            let line = Line::new(moments.mean, moments.inv_std, at(affine.weight, j, T::ONE), at(affine.bias, j, T::ZERO));
            for i in 0..shape.n {
                apply_line(line, samples.run(x, i), samples.run_mut(&mut y[j * shape.l..], i));
            }
            out.mean[j] = moments.mean;
            out.inv_std[j] = moments.inv_std;
            out.var_unbiased[j] = moments.var_unbiased;
        }
    }

    fn backward_runs<T: Float>(
        dy: &[T], x: &[T], shape: Channels, scaling: Scaling<'_, T>, fixed: bool, dx: &mut [T], out: &mut AffineGrad<'_, T>,
    ) {
        let samples = shape.samples();
        for j in 0..shape.c {
            let (dy, x) = (&dy[j * shape.l..], &x[j * shape.l..]);
            let sums = feature_sums(dy, x, samples, scaling.mean[j]);
            let feature = [scaling.mean[j], scaling.inv_std[j], at(scaling.weight, j, T::ONE)];
            let (slope, [grad_weight, grad_bias]) = Slope::new(sums, samples.n(), feature, fixed);
            for i in 0..shape.n {
                apply_slope(slope, samples.run(dy, i), samples.run(x, i), samples.run_mut(&mut dx[j * shape.l..], i));
            }
            out.weight[j] = grad_weight;
            out.bias[j] = grad_bias;
        }
    }

    fn apply_runs<T: Float>(x: &[T], shape: Channels, scaling: Scaling<'_, T>, bias: &[T], y: &mut [T]) {
        let runs = x.chunks_exact(shape.l).zip(y.chunks_exact_mut(shape.l));
        for (i, (x, y)) in runs.enumerate() {
            let j = i % shape.c;
            let weight = at(scaling.weight, j, T::ONE);
            apply_line(Line::new(scaling.mean[j], scaling.inv_std[j], weight, at(bias, j, T::ZERO)), x, y);
        }
    }
}

impl Channels {
    #[inline(always)]
    const fn samples(self) -> Samples {
        Samples { count: self.n, len: self.l, stride: self.c * self.l }
    }

    #[inline(always)]
    const fn rows(self) -> Rows {
        Rows { rows: self.n, cols: self.c, stride: self.c }
    }
}

/// Element `j`, or `default` of an empty slice.
#[inline(always)]
fn at<T: Copy>(x: &[T], j: usize, default: T) -> T {
    if x.is_empty() { default } else { x[j] }
}

/// [`at`] of `W` neighbours.
#[inline(always)]
fn at_block<T: Copy, const W: usize>(x: &[T], column: usize, default: T) -> [T; W] {
    if x.is_empty() { [default; W] } else { *window(x, column) }
}

/// Lines for `W` columns.
#[derive(Clone, Copy)]
struct LineBlock<T, const W: usize> {
    shift: [T; W],
    scale: [T; W],
    bias: [T; W],
}

impl<T: Float, const W: usize> LineBlock<T, W> {
    #[inline(always)]
    fn new(mean: [T; W], inv_std: [T; W], weight: [T; W], bias: [T; W]) -> Self {
        let mut scale = inv_std;
        for k in 0..W {
            scale[k] = inv_std[k] * weight[k];
        }
        Self { shift: mean, scale, bias }
    }

    #[inline(always)]
    fn at(&self, k: usize, x: T) -> T {
        Line { shift: self.shift[k], scale: self.scale[k], bias: self.bias[k] }.at(x)
    }
}

#[inline(always)]
fn moments_block<T: Float, const W: usize>(
    column: usize,
    x: &[T],
    shape: Rows,
    eps: T,
    out: &mut MomentsMut<'_, T>,
) -> ([T; W], [T; W]) {
    let x = &x[column..];
    let mean = fold_block::<T, W>(Sum, x, shape.rows, shape.stride).map(|sum| sum / count(shape.rows));
    let mut lanes = [[T::ZERO; W]; LANES];
    if W >= WIDE {
        for row in 0..shape.rows {
            let (x, acc) = (window::<T, W>(x, row * shape.stride), &mut lanes[row % LANES]);
            for k in 0..W {
                acc[k] = (x[k] - mean[k]).mul_add(x[k] - mean[k], acc[k]);
            }
        }
    } else {
        for (l, lane) in lanes.iter_mut().enumerate() {
            let mut acc = [T::ZERO; W];
            let mut row = l;
            while row < shape.rows {
                let x = window::<T, W>(x, row * shape.stride);
                for k in 0..W {
                    acc[k] = (x[k] - mean[k]).mul_add(x[k] - mean[k], acc[k]);
                }
                row += LANES;
            }
            *lane = acc;
        }
    }
    let squares = tree_columns(lanes, |a, b| a + b);
    let mut inv_std = [T::ZERO; W];
    let mut var_unbiased = [T::ZERO; W];
    for k in 0..W {
        let moments = moments(mean[k], squares[k], shape.rows, eps);
        inv_std[k] = moments.inv_std;
        var_unbiased[k] = moments.var_unbiased;
    }
    *window_mut(out.mean, column) = mean;
    *window_mut(out.inv_std, column) = inv_std;
    *window_mut(out.var_unbiased, column) = var_unbiased;
    (mean, inv_std)
}

#[inline(always)]
fn forward_block<T: Float, const W: usize>(
    column: usize,
    x: &[T],
    shape: Rows,
    affine: Affine<'_, T>,
    eps: T,
    y: &mut [T],
    out: &mut MomentsMut<'_, T>,
) {
    let (mean, inv_std) = moments_block::<T, W>(column, x, shape, eps, out);
    let weight = at_block(affine.weight, column, T::ONE);
    let line = LineBlock::new(mean, inv_std, weight, at_block(affine.bias, column, T::ZERO));
    for row in 0..shape.rows {
        let at = row * shape.stride + column;
        let (x, y) = (window::<T, W>(x, at), window_mut::<T, W>(y, at));
        for k in 0..W {
            y[k] = line.at(k, x[k]);
        }
    }
}

#[inline(always)]
fn forward_block_in_place<T: Float, const W: usize>(
    column: usize,
    x: &mut [T],
    shape: Rows,
    affine: Affine<'_, T>,
    eps: T,
    out: &mut MomentsMut<'_, T>,
) {
    let (mean, inv_std) = moments_block::<T, W>(column, x, shape, eps, out);
    let weight = at_block(affine.weight, column, T::ONE);
    let line = LineBlock::new(mean, inv_std, weight, at_block(affine.bias, column, T::ZERO));
    for row in 0..shape.rows {
        let x = window_mut::<T, W>(x, row * shape.stride + column);
        for (k, x) in x.iter_mut().enumerate() {
            *x = line.at(k, *x);
        }
    }
}

#[inline(always)]
fn apply_block<T: Float, const W: usize>(
    column: usize,
    x: &[T],
    shape: Rows,
    scaling: Scaling<'_, T>,
    bias: &[T],
    y: &mut [T],
) {
    let weight = at_block(scaling.weight, column, T::ONE);
    let bias = at_block(bias, column, T::ZERO);
    let line = LineBlock::<T, W>::new(*window(scaling.mean, column), *window(scaling.inv_std, column), weight, bias);
    for row in 0..shape.rows {
        let at = row * shape.stride + column;
        let (x, y) = (window::<T, W>(x, at), window_mut::<T, W>(y, at));
        for k in 0..W {
            y[k] = line.at(k, x[k]);
        }
    }
}

/// Slopes for `W` columns.
struct SlopeBlock<T, const W: usize> {
    mean: [T; W],
    scale: [T; W],
    grad_mean: [T; W],
    tilt: [T; W],
}

impl<T: Float, const W: usize> SlopeBlock<T, W> {
    #[inline(always)]
    fn at(&self, k: usize, dy: T, x: T) -> T {
        let [mean, scale] = [self.mean[k], self.scale[k]];
        Slope { mean, scale, grad_mean: self.grad_mean[k], tilt: self.tilt[k] }.at(dy, x)
    }
}

#[inline(always)]
fn slope_block<T: Float, const W: usize>(
    column: usize,
    dy: &[T],
    x: &[T],
    shape: Rows,
    scaling: Scaling<'_, T>,
    fixed: bool,
    out: &mut AffineGrad<'_, T>,
) -> SlopeBlock<T, W> {
    let mean = *window::<T, W>(scaling.mean, column);
    let mut plain = [[T::ZERO; W]; LANES];
    let mut tilted = [[T::ZERO; W]; LANES];
    if W >= WIDE {
        for row in 0..shape.rows {
            let at = row * shape.stride + column;
            let (dy, x) = (window::<T, W>(dy, at), window::<T, W>(x, at));
            let (plain, tilted) = (&mut plain[row % LANES], &mut tilted[row % LANES]);
            for k in 0..W {
                plain[k] += dy[k];
                tilted[k] = dy[k].mul_add(x[k] - mean[k], tilted[k]);
            }
        }
    } else {
        for l in 0..LANES {
            let (mut plain_acc, mut tilted_acc) = ([T::ZERO; W], [T::ZERO; W]);
            let mut row = l;
            while row < shape.rows {
                let at = row * shape.stride + column;
                let (dy, x) = (window::<T, W>(dy, at), window::<T, W>(x, at));
                for k in 0..W {
                    plain_acc[k] += dy[k];
                    tilted_acc[k] = dy[k].mul_add(x[k] - mean[k], tilted_acc[k]);
                }
                row += LANES;
            }
            plain[l] = plain_acc;
            tilted[l] = tilted_acc;
        }
    }
    let (plain, tilted) = (tree_columns(plain, |a, b| a + b), tree_columns(tilted, |a, b| a + b));
    let (inv_std, weight) = (window::<T, W>(scaling.inv_std, column), at_block::<T, W>(scaling.weight, column, T::ONE));
    let zero = [T::ZERO; W];
    let mut block = SlopeBlock { mean, scale: zero, grad_mean: zero, tilt: zero };
    let (grad_weight, grad_bias) = (window_mut::<T, W>(out.weight, column), window_mut::<T, W>(out.bias, column));
    for k in 0..W {
        let feature = [mean[k], inv_std[k], weight[k]];
        let (slope, grads) = Slope::new([plain[k], tilted[k]], shape.rows, feature, fixed);
        (block.scale[k], block.grad_mean[k], block.tilt[k]) = (slope.scale, slope.grad_mean, slope.tilt);
        [grad_weight[k], grad_bias[k]] = grads;
    }
    block
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn backward_block<T: Float, const W: usize>(
    column: usize,
    dy: &[T],
    x: &[T],
    shape: Rows,
    scaling: Scaling<'_, T>,
    fixed: bool,
    dx: &mut [T],
    out: &mut AffineGrad<'_, T>,
) {
    let slope = slope_block::<T, W>(column, dy, x, shape, scaling, fixed, out);
    for row in 0..shape.rows {
        let at = row * shape.stride + column;
        let (dy, x, dx) = (window::<T, W>(dy, at), window::<T, W>(x, at), window_mut::<T, W>(dx, at));
        for k in 0..W {
            dx[k] = slope.at(k, dy[k], x[k]);
        }
    }
}

#[inline(always)]
fn backward_block_in_place<T: Float, const W: usize>(
    column: usize,
    grad: &mut [T],
    x: &[T],
    shape: Rows,
    scaling: Scaling<'_, T>,
    fixed: bool,
    out: &mut AffineGrad<'_, T>,
) {
    let slope = slope_block::<T, W>(column, grad, x, shape, scaling, fixed, out);
    for row in 0..shape.rows {
        let at = row * shape.stride + column;
        let (grad, x) = (window_mut::<T, W>(grad, at), window::<T, W>(x, at));
        for k in 0..W {
            grad[k] = slope.at(k, grad[k], x[k]);
        }
    }
}

simd! {
    /// Normalize every column of `x`. `y` has the strides of `x`.
    pub fn forward_columns<T: Float>(
        x: &[T], shape: Rows, affine: Affine<'_, T>, eps: T, y: &mut [T], moments: &mut MomentsMut<'_, T>,
    ) {
        by_columns!(shape.cols, [256, 16, 4, 1], forward_block::<T>(x, shape, affine, eps, y, moments));
    }

    /// [`forward_columns`] that overwrites its input.
    pub fn forward_columns_in_place<T: Float>(
        x: &mut [T], shape: Rows, affine: Affine<'_, T>, eps: T, moments: &mut MomentsMut<'_, T>,
    ) {
        by_columns!(shape.cols, [256, 16, 4, 1], forward_block_in_place::<T>(x, shape, affine, eps, moments));
    }

    fn backward_by_columns<T: Float>(
        dy: &[T], x: &[T], shape: Rows, scaling: Scaling<'_, T>, fixed: bool, dx: &mut [T], out: &mut AffineGrad<'_, T>,
    ) {
        by_columns!(shape.cols, [256, 16, 4, 1], backward_block::<T>(dy, x, shape, scaling, fixed, dx, out));
    }

    /// [`backward_columns`] that overwrites the gradient it is given.
    pub fn backward_columns_in_place<T: Float>(
        grad: &mut [T], x: &[T], shape: Rows, scaling: Scaling<'_, T>, out: &mut AffineGrad<'_, T>,
    ) {
        by_columns!(shape.cols, [256, 16, 4, 1], backward_block_in_place::<T>(grad, x, shape, scaling, false, out));
    }

    /// Normalize every column of `x` by given statistics.
    pub fn apply_columns<T: Float>(x: &[T], shape: Rows, scaling: Scaling<'_, T>, bias: &[T], y: &mut [T]) {
        by_columns!(shape.cols, [256, 16, 4, 1], apply_block::<T>(x, shape, scaling, bias, y));
    }
}

/// The gradients of [`forward_columns`].
pub fn backward_columns<T: Float>(
    dy: &[T],
    x: &[T],
    shape: Rows,
    scaling: Scaling<'_, T>,
    dx: &mut [T],
    out: &mut AffineGrad<'_, T>,
) {
    backward_by_columns(dy, x, shape, scaling, false, dx, out);
}

/// The gradients of [`apply_columns`].
pub fn apply_columns_backward<T: Float>(
    dy: &[T],
    x: &[T],
    shape: Rows,
    scaling: Scaling<'_, T>,
    dx: &mut [T],
    out: &mut AffineGrad<'_, T>,
) {
    backward_by_columns(dy, x, shape, scaling, true, dx, out);
}

/// Normalize every channel of `x`.
pub fn forward_channels<T: Float>(
    x: &[T],
    shape: Channels,
    affine: Affine<'_, T>,
    eps: T,
    y: &mut [T],
    moments: &mut MomentsMut<'_, T>,
) {
    if shape.l == 1 {
        forward_columns(x, shape.rows(), affine, eps, y, moments);
    } else {
        forward_runs(x, shape, affine, eps, y, moments);
    }
}

/// The gradients of [`forward_channels`].
pub fn backward_channels<T: Float>(
    dy: &[T],
    x: &[T],
    shape: Channels,
    scaling: Scaling<'_, T>,
    dx: &mut [T],
    out: &mut AffineGrad<'_, T>,
) {
    if shape.l == 1 {
        backward_columns(dy, x, shape.rows(), scaling, dx, out);
    } else {
        backward_runs(dy, x, shape, scaling, false, dx, out);
    }
}

/// Normalize every channel of `x` by given statistics.
pub fn apply_channels<T: Float>(x: &[T], shape: Channels, scaling: Scaling<'_, T>, bias: &[T], y: &mut [T]) {
    if shape.l == 1 {
        apply_columns(x, shape.rows(), scaling, bias, y);
    } else if shape.l > 1 {
        apply_runs(x, shape, scaling, bias, y);
    }
}

/// The gradients of [`apply_channels`].
pub fn apply_channels_backward<T: Float>(
    dy: &[T],
    x: &[T],
    shape: Channels,
    scaling: Scaling<'_, T>,
    dx: &mut [T],
    out: &mut AffineGrad<'_, T>,
) {
    if shape.l == 1 {
        apply_columns_backward(dy, x, shape.rows(), scaling, dx, out);
    } else {
        backward_runs(dy, x, shape, scaling, true, dx, out);
    }
}

/// A running statistic after a batch: (1 − momentum) · running + momentum · batch.
#[inline(always)]
pub fn moving_average<T: Float>(running: T, batch: T, momentum: T) -> T {
    (T::ONE - momentum) * running + momentum * batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, bits, on_all_levels, random, tolerance, transposed, wide};

    const EPS: f64 = 0.5;

    /// Everything that a batch norm computes: y, mean, `inv_std`, variance, dx, dweight, dbias, then in eval mode y, dx, dweight.
    type Results<T> = [Vec<T>; 10];

    struct Case<T> {
        x: Vec<T>,
        dy: Vec<T>,
        weight: Vec<T>,
        bias: Vec<T>,
    }

    /// Samples far from 0, where a one-pass variance has no digit left in f32.
    fn case<T: Float>(n: usize, c: usize) -> Case<T> {
        let x = random::<T>(n * c, 30).iter().map(|&x| T::from_f64(100.0) + x).collect();
        Case { x, dy: random(n * c, 31), weight: random(c, 32), bias: random(c, 33) }
    }

    fn by_feature<T: Float>(case: &Case<T>, n: usize, c: usize) -> Results<T> {
        let new = |len| vec![T::ZERO; len];
        let [mut y, mut dx, mut eval_y, mut eval_dx] = std::array::from_fn(|_| new(n * c));
        let [mut mean, mut inv_std, mut var, mut dw, mut db, mut eval_dw] = std::array::from_fn(|_| new(c));
        let eps = T::from_f64(EPS);
        for j in 0..c {
            let at = j * n..(j + 1) * n;
            let (x, dy, w, b) = (&case.x[at.clone()], &case.dy[at.clone()], case.weight[j], case.bias[j]);
            let m = forward_feature(x, w, b, eps, &mut y[at.clone()]);
            let mut in_place = x.to_vec();
            assert_eq!(forward_feature_in_place(&mut in_place, w, b, eps), m);
            assert_eq!(bits(&in_place), bits(&y[at.clone()]));
            (mean[j], inv_std[j], var[j]) = (m.mean, m.inv_std, m.var_unbiased);
            (dw[j], db[j]) = backward_feature(dy, x, m.mean, m.inv_std, w, &mut dx[at.clone()]);
            let mut in_place = dy.to_vec();
            assert_eq!(backward_feature_in_place(&mut in_place, x, m.mean, m.inv_std, w), (dw[j], db[j]));
            assert_eq!(bits(&in_place), bits(&dx[at.clone()]));
            apply_feature(x, m.mean, m.inv_std, w, b, &mut eval_y[at.clone()]);
            let (eval_dw_j, eval_db_j) = apply_feature_backward(dy, x, m.mean, m.inv_std, w, &mut eval_dx[at]);
            assert_eq!(eval_db_j.to_f64().to_bits(), db[j].to_f64().to_bits());
            eval_dw[j] = eval_dw_j;
        }
        [y, mean, inv_std, var, dx, dw, db, eval_y, eval_dx, eval_dw]
    }

    fn by_channel<T: Float>(case: &Case<T>, shape: Channels) -> Results<T> {
        let (all, c) = (shape.n * shape.c * shape.l, shape.c);
        let new = |len| vec![T::ZERO; len];
        let [mut y, mut dx, mut eval_y, mut eval_dx] = std::array::from_fn(|_| new(all));
        let [mut mean, mut inv_std, mut var, mut dw, mut db, mut eval_dw] = std::array::from_fn(|_| new(c));
        let affine = Affine { weight: &case.weight, bias: &case.bias };
        let mut moments = MomentsMut { mean: &mut mean, inv_std: &mut inv_std, var_unbiased: &mut var };
        let eps = T::from_f64(EPS);
        forward_channels(&case.x, shape, affine, eps, &mut y, &mut moments);
        if shape.l == 1 {
            let mut in_place = case.x.clone();
            forward_columns_in_place(&mut in_place, shape.rows(), affine, eps, &mut moments);
            assert_eq!(bits(&in_place), bits(&y));
        }
        let scaling = Scaling { mean: &mean, inv_std: &inv_std, weight: &case.weight };
        let mut grads = AffineGrad { weight: &mut dw, bias: &mut db };
        backward_channels(&case.dy, &case.x, shape, scaling, &mut dx, &mut grads);
        if shape.l == 1 {
            let mut in_place = case.dy.clone();
            backward_columns_in_place(&mut in_place, &case.x, shape.rows(), scaling, &mut grads);
            assert_eq!(bits(&in_place), bits(&dx));
        }
        apply_channels(&case.x, shape, scaling, &case.bias, &mut eval_y);
        let mut grads = AffineGrad { weight: &mut eval_dw, bias: &mut db };
        apply_channels_backward(&case.dy, &case.x, shape, scaling, &mut eval_dx, &mut grads);
        [y, mean, inv_std, var, dx, dw, db, eval_y, eval_dx, eval_dw]
    }

    /// `(c, n, l)` to `(n, c, l)`.
    fn channels_first<T: Float>(x: &[T], shape: Channels) -> Vec<T> {
        let Channels { n, c, l } = shape;
        let index = |i: usize| (i / l / c, i / l % c, i % l);
        (0..n * c * l).map(index).map(|(i, j, t)| x[j * n * l + i * l + t]).collect()
    }

    fn check_layouts<T: Float>() {
        for (n, c, l) in [
            (1, 1, 1),
            (3, 5, 1),
            (15, 17, 1),
            (16, 64, 1),
            (33, 100, 1),
            (4097, 3, 1),
            (3, 2, 17),
            (5, 3, 33),
            (2, 3, 7),
        ] {
            let shape = Channels { n, c, l };
            let features = case::<T>(n * l, c);
            let expected = by_feature(&features, n * l, c);
            assert_eq!(
                on_all_levels(|| by_feature(&features, n * l, c).map(|v| bits(&v))),
                expected.each_ref().map(|v| bits(v))
            );
            let turn = |x: &[T]| if l == 1 { transposed(x, c, n) } else { channels_first(x, shape) };
            let (x, dy) = (turn(&features.x), turn(&features.dy));
            let channels = Case { x, dy, weight: features.weight, bias: features.bias };
            let found = on_all_levels(|| by_channel(&channels, shape).map(|v| bits(&v)));
            // y, dx and their like are of the shape of x.
            for (k, expected) in expected.iter().enumerate() {
                let turned = if [0, 4, 7, 8].contains(&k) { turn(expected) } else { expected.clone() };
                assert_eq!(found[k], bits(&turned), "result {k} of ({n}, {c}, {l})");
            }
        }
    }

    #[test]
    fn all_layouts_give_the_same_bits() {
        check_layouts::<f32>();
        check_layouts::<f64>();
    }

    fn check_reference<T: Float>() {
        for n in [2, 3, 16, 17, 100, 4097] {
            let c = 2;
            let case = case::<T>(n, c);
            let [y, mean, inv_std, var, dx, dw, db, _, eval_dx, _] = by_feature(&case, n, c);
            for j in 0..c {
                let at = j * n..(j + 1) * n;
                let (x, g) = (wide(&case.x[at.clone()]), wide(&case.dy[at.clone()]));
                let (w, b, nf) = (case.weight[j].to_f64(), case.bias[j].to_f64(), n as f64);
                let mu = x.iter().sum::<f64>() / nf;
                let squares = x.iter().map(|x| (x - mu) * (x - mu)).sum::<f64>();
                let inv = 1.0 / (squares / nf + EPS).sqrt();
                let normal: Vec<f64> = x.iter().map(|x| (x - mu) * inv).collect();
                let sum = g.iter().sum::<f64>();
                let dot = g.iter().zip(&normal).map(|(g, x)| g * x).sum::<f64>();
                // The mean of f32 near 100 is off by 4e-6 or more, and so is every difference from it.
                let tol = tolerance::<T>() * 4.0;
                assert_close(&[mean[j], inv_std[j], var[j]], &[mu, inv, squares / (nf - 1.0)], tol);
                assert_close(&y[at.clone()], &normal.iter().map(|x| w * x + b).collect::<Vec<_>>(), tol);
                let expected: Vec<f64> =
                    g.iter().zip(&normal).map(|(g, x)| w * inv / nf * (nf * g - sum - x * dot)).collect();
                assert_close(&dx[at.clone()], &expected, tol);
                assert_close(&eval_dx[at], &g.iter().map(|g| w * inv * g).collect::<Vec<_>>(), tol);
                assert_close(&[dw[j], db[j]], &[dot, sum], tol * 10.0);
            }
        }
    }

    #[test]
    fn results_match_the_formulas() {
        check_reference::<f32>();
        check_reference::<f64>();
    }

    #[test]
    fn gradients_match_finite_differences() {
        let n = 17;
        let Case { x, dy, weight, bias } = case::<f64>(n, 1);
        let weighted = |x: &[f64], w: f64, b: f64| {
            let mut y = vec![0.0; n];
            forward_feature(x, w, b, EPS, &mut y);
            y.iter().zip(&dy).map(|(y, dy)| y * dy).sum::<f64>()
        };
        let (w, b, h) = (weight[0], bias[0], 1e-5);
        let (mut y, mut dx) = (vec![0.0; n], vec![0.0; n]);
        let m = forward_feature(&x, w, b, EPS, &mut y);
        let (dw, db) = backward_feature(&dy, &x, m.mean, m.inv_std, w, &mut dx);
        for i in 0..n {
            let at = |h: f64| {
                let mut x = x.clone();
                x[i] += h;
                weighted(&x, w, b)
            };
            assert_close(&[dx[i]], &[(at(h) - at(-h)) / (2.0 * h)], 1e-8);
        }
        let expected =
            [weighted(&x, w + h, b) - weighted(&x, w - h, b), weighted(&x, w, b + h) - weighted(&x, w, b - h)];
        assert_close(&[dw, db], &expected.map(|e| e / (2.0 * h)), 1e-8);
    }

    #[test]
    fn an_empty_weight_and_bias_are_one_and_zero() {
        let (n, c) = (33, 21);
        let full = Case { weight: vec![1.0; c], bias: vec![0.0; c], ..case::<f32>(n, c) };
        let none = Case { weight: vec![], bias: vec![], ..case::<f32>(n, c) };
        let shape = Channels { n, c, l: 1 };
        assert_eq!(by_channel(&full, shape), by_channel(&none, shape));
        let shape = Channels { n: 11, c, l: 3 };
        assert_eq!(by_channel(&full, shape), by_channel(&none, shape));
    }

    #[test]
    fn a_single_sample_has_no_unbiased_variance() {
        let mut y = [0.0];
        let moments = forward_feature(&[3.0], 2.0, 5.0, 0.25, &mut y);
        assert_eq!((moments, y), (Moments { mean: 3.0, inv_std: 2.0, var_unbiased: 0.0 }, [5.0]));
    }
}

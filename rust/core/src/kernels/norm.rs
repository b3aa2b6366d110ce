//! Batch normalization of one feature, of the columns of a matrix, of the channels of `(n, c, l)`; and normalization of
//! groups of channels ([`Groups`]).
//!
//! With μ and σ² the mean and the biased variance of a feature over its n samples, x̂ = (x − μ) / √(σ² + ε):
//!
//! ```text
//! y  = weight · x̂ + bias
//! dx = weight · inv_std / n · (n · dy − Σ dy − x̂ · Σ dy·x̂)      inv_std = 1 / √(σ² + ε)
//! ```
//!
//! The variance is the mean of (x − μ)², taken after the mean: `E[x²] − μ²` cancels. Σ is in the order of [`super::reduce`] over
//! the samples of a feature, so that every layout gives the same bits.
//!
//! Source: Ioffe & Szegedy 2015, <https://arxiv.org/abs/1502.03167>, Algorithm 1.

mod columns;
mod feature;
mod groups;
#[cfg(test)]
mod tests;

use feature::{Line, Samples, Slope, apply_line, apply_slope, feature_moments, feature_sums};

pub use columns::{apply_columns, apply_columns_backward, backward_columns, forward_columns};
pub use feature::{
    apply_feature, apply_feature_backward, backward_feature, backward_feature_in_place, forward_feature,
    forward_feature_in_place,
};
pub use groups::{Groups, Measure, backward_groups, forward_groups, weight_gradients};

use super::reduce::window;
use crate::element::Float;
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

/// An array of `(n, c, l)`, whose features are its `c` channels, of n·l samples each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// Batch size.
    pub n: usize,
    /// Features.
    pub c: usize,
    /// Length.
    pub l: usize,
    /// Distance from one sample to the next: c·l, or more where these are some of the channels.
    pub stride: usize,
}

impl Channels {
    /// All channels of a packed array.
    #[must_use]
    pub const fn new(n: usize, c: usize, l: usize) -> Self {
        Self { n, c, l, stride: c * l }
    }

    #[inline(always)]
    const fn samples(self) -> Samples {
        Samples { count: self.n, len: self.l, stride: self.stride }
    }

    #[inline(always)]
    const fn rows(self) -> Rows {
        Rows { rows: self.n, cols: self.c, stride: self.stride }
    }
}

simd! {
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

/// Normalize every channel of `x`, which must be packed, by given statistics.
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

//! Batch normalization of one feature, of the columns of a matrix, of the channels of images ([`planes`]); and normalization
//! of groups of channels ([`Groups`]).
//!
//! With μ and σ² the mean and the biased variance of a feature over its n samples, x̂ = (x − μ) / √(σ² + ε):
//!
//! ```text
//! y  = weight · x̂ + bias
//! dx = weight · inv_std / n · (n · dy − Σ dy − x̂ · Σ dy·x̂)      inv_std = 1 / √(σ² + ε)
//! ```
//!
//! The variance is the mean of (x − μ)², taken after the mean: `E[x²] − μ²` cancels. Σ is in the order of [`super::reduce`] over
//! the samples of a feature, so that a matrix and its transpose give the same bits; images have an order of their own.
//!
//! Source: Ioffe & Szegedy 2015, <https://arxiv.org/abs/1502.03167>, Algorithm 1.

mod columns;
mod feature;
mod groups;
pub mod planes;
#[cfg(test)]
mod tests;
mod unit;

pub use columns::{apply_columns, apply_columns_backward, backward_columns, forward_columns};
pub use feature::{
    apply_feature, apply_feature_backward, backward_feature, backward_feature_in_place, forward_feature,
    forward_feature_in_place,
};
pub use groups::{Groups, Measure, backward_groups, forward_groups, weight_gradients};

use super::reduce::window;
use crate::element::Float;

/// Statistics of a feature over a batch.
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

/// Normalization and affine map of features, one element a feature.
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

/// Element `j`, or `default` of an empty slice.
#[inline(always)]
fn at<T: Copy>(x: &[T], j: usize, default: T) -> T {
    if x.is_empty() { default } else { x[j] }
}

/// [`at`] of `W` neighbors.
#[inline(always)]
fn at_block<T: Copy, const W: usize>(x: &[T], column: usize, default: T) -> [T; W] {
    if x.is_empty() { [default; W] } else { *window(x, column) }
}

/// A running statistic after a batch: (1 − momentum) · running + momentum · batch.
#[inline(always)]
pub fn moving_average<T: Float>(running: T, batch: T, momentum: T) -> T {
    (T::ONE - momentum) * running + momentum * batch
}

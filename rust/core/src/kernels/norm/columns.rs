//! The columns of a matrix, a block of neighbors at a time.

use super::feature::{Line, Slope, count, moments};
use super::{Affine, AffineGrad, MomentsMut, Rows, Scaling, at_block};
use crate::element::{Float, LANES};
use crate::kernels::reduce::{BLOCK, Sum, by_columns, fold_block, join, joined, tree_columns, window, window_mut};
use crate::simd;

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
    let mut mean = fold_block::<T, Sum, W>(Sum, x, shape.rows, shape.stride);
    for mean in &mut mean {
        *mean = *mean / count(shape.rows);
    }
    let mut squares = [0.0; W];
    for start in (0..shape.rows).step_by(BLOCK) {
        let end = shape.rows.min(start + BLOCK);
        let mut lanes = [[T::ZERO; W]; LANES];
        for (l, lane) in lanes.iter_mut().enumerate() {
            let mut acc = [T::ZERO; W];
            let mut row = start + l;
            while row < end {
                let x = window::<T, W>(x, row * shape.stride);
                for k in 0..W {
                    acc[k] = (x[k] - mean[k]).mul_add(x[k] - mean[k], acc[k]);
                }
                row += LANES;
            }
            *lane = acc;
        }
        join(&mut squares, tree_columns(lanes, |a, b| a + b));
    }
    let squares = joined::<T, W>(squares);
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
    let mut totals = [[0.0; W]; 2];
    for start in (0..shape.rows).step_by(BLOCK) {
        let end = shape.rows.min(start + BLOCK);
        let mut plain = [[T::ZERO; W]; LANES];
        let mut tilted = [[T::ZERO; W]; LANES];
        for l in 0..LANES {
            let (mut plain_acc, mut tilted_acc) = ([T::ZERO; W], [T::ZERO; W]);
            let mut row = start + l;
            while row < end {
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
        join(&mut totals[0], tree_columns(plain, |a, b| a + b));
        join(&mut totals[1], tree_columns(tilted, |a, b| a + b));
    }
    let [plain, tilted] = [joined::<T, W>(totals[0]), joined::<T, W>(totals[1])];
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

// 128 columns: as many as a prefetcher likes to see in a row, and few enough that rows whose stride is a power of two
// leave each other their sets of the cache.
simd! {
    /// Normalize every column of `x`. `y` has the strides of `x`.
    pub fn forward_columns<T: Float>(
        x: &[T], shape: Rows, affine: Affine<'_, T>, eps: T, y: &mut [T], moments: &mut MomentsMut<'_, T>,
    ) {
        by_columns!(shape.cols, [128, 16, 4, 1], forward_block::<T>(x, shape, affine, eps, y, moments));
    }

    fn backward_by_columns<T: Float>(
        dy: &[T], x: &[T], shape: Rows, scaling: Scaling<'_, T>, fixed: bool, dx: &mut [T], out: &mut AffineGrad<'_, T>,
    ) {
        by_columns!(shape.cols, [128, 16, 4, 1], backward_block::<T>(dy, x, shape, scaling, fixed, dx, out));
    }

    /// Normalize every column of `x` by given statistics.
    pub fn apply_columns<T: Float>(x: &[T], shape: Rows, scaling: Scaling<'_, T>, bias: &[T], y: &mut [T]) {
        by_columns!(shape.cols, [128, 16, 4, 1], apply_block::<T>(x, shape, scaling, bias, y));
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

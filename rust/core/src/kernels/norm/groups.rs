//! Groups of neighbouring channels of `(n, c, l)`, each normalized by itself: layer, RMS, group and instance norm.
//!
//! ```text
//! y  = weight · x̂ + bias                            x̂ = (x − μ) · inv_std over the k elements of a group
//! dx = inv_std · (h − Σ h / k − x̂ · Σ h·x̂ / k)      h = weight · dy; without Σ h where μ is not taken away
//! ```

use super::feature::{Line, Samples, apply_line, count, feature_moments, feature_sums, moments, sum_samples};
use super::{Affine, AffineGrad, Moments, MomentsMut, Scaling, at};
use crate::element::{Float, LANES};
use crate::kernels::reduce::{by_columns, opaque, tree_columns, trees, window, window_mut};
use crate::simd;

/// A packed array of `(n, c, l)`, the channels of each sample being in `groups`. A group of a sample is a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Batch size.
    pub n: usize,
    /// Channels, a multiple of `groups`.
    pub c: usize,
    /// Length of a channel.
    pub l: usize,
    /// Groups of a sample.
    pub groups: usize,
}

impl Groups {
    /// Groups of all samples.
    #[must_use]
    pub const fn rows(self) -> usize {
        self.n * self.groups
    }

    /// Channels of a group.
    #[must_use]
    pub const fn channels(self) -> usize {
        self.c / self.groups
    }

    /// Elements of a row.
    #[must_use]
    pub const fn row(self) -> usize {
        self.channels() * self.l
    }
}

/// What a row is divided by: the root of its variance about the mean, or of its mean square.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure<T> {
    /// Added to the variance or the mean square.
    pub eps: T,
    /// Whether the mean is taken away.
    pub centered: bool,
}

/// The moments of one row.
#[inline(always)]
fn row_moments<T: Float>(x: &[T], measure: Measure<T>) -> Moments<T> {
    let samples = Samples::contiguous(x.len());
    if measure.centered {
        return feature_moments(x, samples, measure.eps);
    }
    let [squares] = sum_samples(x, x, samples, |[acc], x, _| [x.mul_add(x, acc)]);
    moments(T::ZERO, squares, x.len(), measure.eps)
}

/// y ← weight · (x − mean) · `inv_std` + bias, every element having a weight and a bias of its own.
#[inline(always)]
fn apply_each<T: Float>(x: &[T], mean: T, inv_std: T, affine: Affine<'_, T>, y: &mut [T]) {
    let normal = |x: T| (x - mean) * inv_std;
    if affine.bias.is_empty() {
        for ((y, &x), &w) in y.iter_mut().zip(x).zip(affine.weight) {
            *y = normal(x) * w;
        }
    } else if affine.weight.is_empty() {
        for ((y, &x), &b) in y.iter_mut().zip(x).zip(affine.bias) {
            *y = normal(x) + b;
        }
    } else {
        for (((y, &x), &w), &b) in y.iter_mut().zip(x).zip(affine.weight).zip(affine.bias) {
            *y = normal(x).mul_add(w, b);
        }
    }
}

/// These elements of a vector; none of an empty one.
#[inline(always)]
fn part<T>(x: &[T], start: usize, len: usize) -> &[T] {
    if x.is_empty() { x } else { &x[start..][..len] }
}

/// Σ h and Σ h·(x − μ), h = weight · dy.
#[inline(always)]
fn weighted_sums<T: Float>(dy: &[T], x: &[T], weight: &[T], mean: T) -> [T; 2] {
    let mut acc = [[T::ZERO; LANES]; 2];
    let step = |acc: &mut [[T; LANES]; 2], l: usize, dy: T, x: T, w: T| {
        let h = dy * w;
        acc[0][l] += h;
        acc[1][l] = h.mul_add(x - mean, acc[1][l]);
    };
    let ((dys, dy_rest), (xs, x_rest), (ws, w_rest)) =
        (dy.as_chunks::<LANES>(), x.as_chunks::<LANES>(), weight.as_chunks::<LANES>());
    for ((dy, x), w) in dys.iter().zip(xs).zip(ws) {
        for l in 0..LANES {
            step(&mut acc, l, dy[l], x[l], w[l]);
        }
    }
    acc = opaque(acc);
    for (l, ((&dy, &x), &w)) in dy_rest.iter().zip(x_rest).zip(w_rest).enumerate() {
        step(&mut acc, l, dy, x, w);
    }
    trees(acc)
}

/// (h, x) → dx of a row, from Σ h and Σ h·(x − μ).
#[derive(Clone, Copy)]
struct RowSlope<T> {
    mean: T,
    inv_std: T,
    grad_mean: T,
    tilt: T,
}

impl<T: Float> RowSlope<T> {
    #[inline(always)]
    fn new(sums: [T; 2], k: usize, mean: T, inv_std: T, centered: bool) -> Self {
        let share = T::ONE / count(k);
        let grad_mean = if centered { sums[0] * share } else { T::ZERO };
        Self { mean, inv_std, grad_mean, tilt: -(inv_std * (inv_std * sums[1] * share)) }
    }

    #[inline(always)]
    fn at(self, h: T, x: T) -> T {
        self.inv_std * (x - self.mean).mul_add(self.tilt, h - self.grad_mean)
    }
}

/// Σ dy·x̂ and Σ dy of `W` columns over the samples, each sample having moments of its own.
#[inline(always)]
fn weight_block<T: Float, const W: usize>(
    column: usize,
    dy: &[T],
    x: &[T],
    shape: Groups,
    (mean, inv_std): (&[T], &[T]),
    out: &mut AffineGrad<'_, T>,
) {
    let mut plain = [[T::ZERO; W]; LANES];
    let mut tilted = [[T::ZERO; W]; LANES];
    for l in 0..LANES {
        let (mut plain_acc, mut tilted_acc) = ([T::ZERO; W], [T::ZERO; W]);
        let mut row = l;
        while row < shape.n {
            let at = row * shape.c + column;
            let (dy, x) = (window::<T, W>(dy, at), window::<T, W>(x, at));
            let (mean, inv_std) = (mean[row * shape.groups], inv_std[row * shape.groups]);
            for k in 0..W {
                plain_acc[k] += dy[k];
                tilted_acc[k] = dy[k].mul_add((x[k] - mean) * inv_std, tilted_acc[k]);
            }
            row += LANES;
        }
        plain[l] = plain_acc;
        tilted[l] = tilted_acc;
    }
    *window_mut::<T, W>(out.weight, column) = tree_columns(tilted, |a, b| a + b);
    *window_mut::<T, W>(out.bias, column) = tree_columns(plain, |a, b| a + b);
}

simd! {
    /// Normalize rows, from row `first` on: as many as `out.mean` is long, of which `x` and `y` hold the elements.
    /// `out.var_unbiased` may be empty.
    pub fn forward_groups<T: Float>(
        x: &[T], shape: Groups, first: usize, affine: Affine<'_, T>, measure: Measure<T>, y: &mut [T],
        out: &mut MomentsMut<'_, T>,
    ) {
        let (k, channels) = (shape.row(), shape.channels());
        for row in 0..out.mean.len() {
            let (x, y) = (&x[row * k..][..k], &mut y[row * k..][..k]);
            let Moments { mean, inv_std, var_unbiased } = row_moments(x, measure);
            (out.mean[row], out.inv_std[row]) = (mean, inv_std);
            if let Some(var) = out.var_unbiased.get_mut(row) {
                *var = var_unbiased;
            }
            let channel = (first + row) % shape.groups * channels;
            if shape.l == 1 && !(affine.weight.is_empty() && affine.bias.is_empty()) {
                let weight = part(affine.weight, channel, k);
                let affine = Affine { weight, bias: part(affine.bias, channel, k) };
                apply_each(x, mean, inv_std, affine, y);
            } else {
                for (j, (x, y)) in x.chunks_exact(shape.l).zip(y.chunks_exact_mut(shape.l)).enumerate() {
                    let weight = at(affine.weight, channel + j, T::ONE);
                    apply_line(Line::new(mean, inv_std, weight, at(affine.bias, channel + j, T::ZERO)), x, y);
                }
            }
        }
    }

    /// The gradient with respect to x of rows from row `first` on, of which `dy`, `x`, `dx` and the moments hold what is
    /// theirs. Channels longer than 1 also leave their Σ dy·x̂ and Σ dy, one an element, in `sums`.
    pub fn backward_groups<T: Float>(
        dy: &[T], x: &[T], shape: Groups, first: usize, scaling: Scaling<'_, T>, centered: bool, dx: &mut [T],
        sums: &mut AffineGrad<'_, T>,
    ) {
        let (k, channels) = (shape.row(), shape.channels());
        for row in 0..scaling.mean.len() {
            let (dy, x, dx) = (&dy[row * k..][..k], &x[row * k..][..k], &mut dx[row * k..][..k]);
            let (mean, inv_std) = (scaling.mean[row], scaling.inv_std[row]);
            let channel = (first + row) % shape.groups * channels;
            if shape.l == 1 && !scaling.weight.is_empty() {
                let weight = &scaling.weight[channel..][..k];
                let slope = RowSlope::new(weighted_sums(dy, x, weight, mean), k, mean, inv_std, centered);
                for (((dx, &dy), &x), &w) in dx.iter_mut().zip(dy).zip(x).zip(weight) {
                    *dx = slope.at(dy * w, x);
                }
            } else if shape.l == 1 {
                let slope = RowSlope::new(feature_sums(dy, x, Samples::contiguous(k), mean), k, mean, inv_std, centered);
                for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x) {
                    *dx = slope.at(dy, x);
                }
            } else {
                let mut total = [T::ZERO; 2];
                for (j, (dy, x)) in dy.chunks_exact(shape.l).zip(x.chunks_exact(shape.l)).enumerate() {
                    let [plain, tilted] = feature_sums(dy, x, Samples::contiguous(shape.l), mean);
                    let weight = at(scaling.weight, channel + j, T::ONE);
                    total = [plain.mul_add(weight, total[0]), tilted.mul_add(weight, total[1])];
                    sums.weight[row * channels + j] = tilted * inv_std;
                    sums.bias[row * channels + j] = plain;
                }
                let slope = RowSlope::new(total, k, mean, inv_std, centered);
                let runs = dy.chunks_exact(shape.l).zip(x.chunks_exact(shape.l)).zip(dx.chunks_exact_mut(shape.l));
                for (j, ((dy, x), dx)) in runs.enumerate() {
                    let weight = at(scaling.weight, channel + j, T::ONE);
                    for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x) {
                        *dx = slope.at(dy * weight, x);
                    }
                }
            }
        }
    }

    /// The gradients with respect to weight and bias of channels of length 1, from channel `first` on: as many as `out`
    /// is long. `dy`, `x` and the moments are whole.
    pub fn weight_gradients<T: Float>(
        dy: &[T], x: &[T], shape: Groups, first: usize, mean: &[T], inv_std: &[T], out: &mut AffineGrad<'_, T>,
    ) {
        let (channels, end) = (shape.channels(), first + out.weight.len());
        let mut start = first;
        while start < end {
            let group = start / channels;
            let stop = end.min((group + 1) * channels);
            let (dy, x, moments) = (&dy[start..], &x[start..], (&mean[group..], &inv_std[group..]));
            let mine = start - first..stop - first;
            let out = &mut AffineGrad { weight: &mut out.weight[mine.clone()], bias: &mut out.bias[mine] };
            by_columns!(stop - start, [128, 16, 4, 1], weight_block::<T>(dy, x, shape, moments, out));
            start = stop;
        }
    }
}

//! One feature: its samples, its statistics, and the maps that they make.

use super::Moments;
use crate::element::Float;
use crate::kernels::reduce::sum_pairs;
use crate::simd;

/// Some samples of one feature: `count` runs of `len`, `stride` apart.
#[derive(Clone, Copy)]
pub(super) struct Samples {
    pub(super) count: usize,
    pub(super) len: usize,
    pub(super) stride: usize,
}

impl Samples {
    #[inline(always)]
    pub(super) const fn contiguous(n: usize) -> Self {
        Self { count: 1, len: n, stride: n }
    }

    #[inline(always)]
    pub(super) const fn n(self) -> usize {
        self.count * self.len
    }

    #[inline(always)]
    pub(super) fn run<T>(self, x: &[T], i: usize) -> &[T] {
        &x[i * self.stride..][..self.len]
    }

    #[inline(always)]
    pub(super) fn run_mut<T>(self, x: &mut [T], i: usize) -> &mut [T] {
        &mut x[i * self.stride..][..self.len]
    }
}

#[inline(always)]
pub(super) fn count<T: Float>(n: usize) -> T {
    T::from_f64(n as f64)
}

/// The moments from Σ (x − μ)².
#[inline(always)]
pub(super) fn moments<T: Float>(mean: T, squares: T, n: usize, eps: T) -> Moments<T> {
    Moments {
        mean,
        inv_std: T::ONE / (squares / count(n) + eps).sqrt(),
        var_unbiased: squares / count(n.saturating_sub(1).max(1)),
    }
}

#[inline(always)]
fn feature_moments<T: Float>(x: &[T], eps: T) -> Moments<T> {
    let mean = sum_pairs(x, x, |[acc], x, _| [acc + x])[0] / count(x.len());
    let [squares] = sum_pairs(x, x, |[acc], x, _| [(x - mean).mul_add(x - mean, acc)]);
    moments(mean, squares, x.len(), eps)
}

/// x → (x − shift) · scale + bias.
#[derive(Clone, Copy)]
pub(super) struct Line<T> {
    pub(super) shift: T,
    pub(super) scale: T,
    pub(super) bias: T,
}

impl<T: Float> Line<T> {
    #[inline(always)]
    pub(super) fn new(mean: T, inv_std: T, weight: T, bias: T) -> Self {
        Self { shift: mean, scale: inv_std * weight, bias }
    }

    #[inline(always)]
    pub(super) fn at(self, x: T) -> T {
        (x - self.shift).mul_add(self.scale, self.bias)
    }
}

/// (dy, x) → dx, from Σ dy and Σ dy·(x − μ).
#[derive(Clone, Copy)]
pub(super) struct Slope<T> {
    pub(super) mean: T,
    /// weight · `inv_std`.
    pub(super) scale: T,
    /// Σ dy / n.
    pub(super) grad_mean: T,
    /// `inv_std` · Σ dy·x̂ / n.
    pub(super) tilt: T,
}

impl<T: Float> Slope<T> {
    /// The slope, and the gradients of weight and bias. Statistics that are `fixed` do not move with x.
    #[inline(always)]
    pub(super) fn new(sums: [T; 2], n: usize, [mean, inv_std, weight]: [T; 3], fixed: bool) -> (Self, [T; 2]) {
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
    pub(super) fn at(self, dy: T, x: T) -> T {
        self.scale * (x - self.mean).mul_add(self.tilt, dy - self.grad_mean)
    }
}

/// Σ dy and Σ dy·(x − μ).
#[inline(always)]
fn feature_sums<T: Float>(dy: &[T], x: &[T], mean: T) -> [T; 2] {
    sum_pairs(dy, x, |[plain, tilted], dy, x| [plain + dy, dy.mul_add(x - mean, tilted)])
}

#[inline(always)]
pub(super) fn apply_line<T: Float>(line: Line<T>, x: &[T], y: &mut [T]) {
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
        let moments = feature_moments(x, eps);
        apply_line(Line::new(moments.mean, moments.inv_std, weight, bias), x, y);
        moments
    }

    /// [`forward_feature`] that overwrites its input.
    pub fn forward_feature_in_place<T: Float>(x: &mut [T], weight: T, bias: T, eps: T) -> Moments<T> {
        let moments = feature_moments(x, eps);
        let line = Line::new(moments.mean, moments.inv_std, weight, bias);
        for x in x {
            *x = line.at(*x);
        }
        moments
    }

    /// The gradient of [`forward_feature`] with respect to `x`; returns those with respect to weight and bias.
    pub fn backward_feature<T: Float>(dy: &[T], x: &[T], mean: T, inv_std: T, weight: T, dx: &mut [T]) -> (T, T) {
        let sums = feature_sums(dy, x, mean);
        let (slope, [grad_weight, grad_bias]) = Slope::new(sums, x.len(), [mean, inv_std, weight], false);
        apply_slope(slope, dy, x, dx);
        (grad_weight, grad_bias)
    }

    /// [`backward_feature`] that overwrites the gradient it is given.
    pub fn backward_feature_in_place<T: Float>(grad: &mut [T], x: &[T], mean: T, inv_std: T, weight: T) -> (T, T) {
        let sums = feature_sums(grad, x, mean);
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
        let sums = feature_sums(dy, x, mean);
        let (slope, [grad_weight, grad_bias]) = Slope::new(sums, x.len(), [mean, inv_std, weight], true);
        apply_slope(slope, dy, x, dx);
        (grad_weight, grad_bias)
    }
}

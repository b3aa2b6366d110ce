//! Groups of neighboring channels of `(n, c, l)`, each normalized by itself: layer, RMS, group and instance norm.
//!
//! ```text
//! y  = weight · x̂ + bias                            x̂ = (x − μ) · inv_std over the k elements of a group
//! dx = inv_std · (h − Σ h / k − x̂ · Σ h·x̂ / k)      h = weight · dy; without Σ h where μ is not taken away
//! ```

use super::feature::{Line, Samples, apply_line, count, moments};
use super::unit::sum_unit;
use super::{Affine, AffineGrad, Moments, MomentsMut, Scaling, at};
use crate::element::Float;
use crate::kernels::reduce::{join, joined};
use crate::simd;

/// Columns of which the gradients of weight and bias are made at once: what is read and written then stays in the first cache.
const COLUMNS: usize = 512;
/// Rows that are summed one after another, before their sum joins the others' in double precision.
const ROWS: usize = 32;

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
    pub fn channels(self) -> usize {
        self.c.checked_div(self.groups).unwrap_or(0)
    }

    /// Elements of a row.
    #[must_use]
    pub fn row(self) -> usize {
        self.channels() * self.l
    }
}

/// Divisor of a row: the root of its variance about the mean, or of its mean square.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure<T> {
    /// Added to the variance or the mean square.
    pub eps: T,
    /// True if the mean is taken away.
    pub centered: bool,
}

/// The moments of one row.
#[inline(always)]
fn row_moments<T: Float>(x: &[T], measure: Measure<T>) -> Moments<T> {
    let samples = Samples::contiguous(x.len());
    let mean = if measure.centered {
        sum_unit::<1, 1, T>([x, x, x], samples, |[acc], [x, _, _]| [acc + x])[0] / count(x.len())
    } else {
        T::ZERO
    };
    let [squares] = sum_unit::<1, 1, T>([x, x, x], samples, |[acc], [x, _, _]| [(x - mean).mul_add(x - mean, acc)]);
    moments(mean, squares, x.len(), measure.eps)
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
    sum_unit::<3, 2, T>([dy, x, weight], Samples::contiguous(dy.len()), |[plain, tilted], [dy, x, w]| {
        let h = dy * w;
        [plain + h, h.mul_add(x - mean, tilted)]
    })
}

/// Σ dy and Σ dy·(x − μ).
#[inline(always)]
fn plain_sums<T: Float>(dy: &[T], x: &[T], mean: T) -> [T; 2] {
    sum_unit::<2, 2, T>([dy, x, dy], Samples::contiguous(dy.len()), |[plain, tilted], [dy, x, _]| {
        [plain + dy, dy.mul_add(x - mean, tilted)]
    })
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

/// Add dy and dy·x̂ of `R` rows, one after another.
#[inline(always)]
fn add_rows<T: Float, const R: usize>(
    dy: [&[T]; R],
    x: [&[T]; R],
    moments: [[T; 2]; R],
    (plain, tilted): (&mut [T], &mut [T]),
) {
    let width = plain.len();
    let (dy, x, tilted) = (dy.map(|row| &row[..width]), x.map(|row| &row[..width]), &mut tilted[..width]);
    for k in 0..width {
        let (mut plain_acc, mut tilted_acc) = (plain[k], tilted[k]);
        for r in 0..R {
            let [mean, inv_std] = moments[r];
            plain_acc += dy[r][k];
            tilted_acc = dy[r][k].mul_add((x[r][k] - mean) * inv_std, tilted_acc);
        }
        (plain[k], tilted[k]) = (plain_acc, tilted_acc);
    }
}

/// Σ dy·x̂ and Σ dy of at most [`COLUMNS`] columns over the samples, each sample having moments of its own.
#[inline(always)]
fn weight_columns<T: Float>(
    dy: &[T],
    x: &[T],
    shape: Groups,
    (mean, inv_std): (&[T], &[T]),
    out: &mut AffineGrad<'_, T>,
) {
    let width = out.weight.len();
    let mut totals = [[0.0; COLUMNS]; 2];
    let (mut plain, mut tilted) = ([T::ZERO; COLUMNS], [T::ZERO; COLUMNS]);
    for first in (0..shape.n).step_by(ROWS) {
        let (plain, tilted) = (&mut plain[..width], &mut tilted[..width]);
        plain.fill(T::ZERO);
        tilted.fill(T::ZERO);
        let of = |row: usize| [mean[row * shape.groups], inv_std[row * shape.groups]];
        let end = shape.n.min(first + ROWS);
        let mut row = first;
        // Four at a time, so that the sums are loaded and stored a quarter as often.
        while row + 4 <= end {
            let at = |r: usize| (row + r) * shape.c;
            let rows = [0, 1, 2, 3];
            let (dy, x) = (rows.map(|r| &dy[at(r)..]), rows.map(|r| &x[at(r)..]));
            add_rows(dy, x, rows.map(|r| of(row + r)), (&mut *plain, &mut *tilted));
            row += 4;
        }
        for row in row..end {
            let at = row * shape.c;
            add_rows([&dy[at..]], [&x[at..]], [of(row)], (&mut *plain, &mut *tilted));
        }
        for (totals, sums) in totals.iter_mut().zip([&*plain, &*tilted]) {
            for (total, &sum) in totals.iter_mut().zip(sums) {
                *total += sum.to_f64();
            }
        }
    }
    for (totals, sums) in totals.iter().zip([&mut *out.bias, &mut *out.weight]) {
        for (sum, &total) in sums.iter_mut().zip(totals) {
            *sum = T::from_f64(total);
        }
    }
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
                let slope = RowSlope::new(plain_sums(dy, x, mean), k, mean, inv_std, centered);
                for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x) {
                    *dx = slope.at(dy, x);
                }
            } else {
                let mut total = [0.0; 2];
                for (j, (dy, x)) in dy.chunks_exact(shape.l).zip(x.chunks_exact(shape.l)).enumerate() {
                    let [plain, tilted] = plain_sums(dy, x, mean);
                    let weight = at(scaling.weight, channel + j, T::ONE);
                    join(&mut total, [plain * weight, tilted * weight]);
                    sums.weight[row * channels + j] = tilted * inv_std;
                    sums.bias[row * channels + j] = plain;
                }
                let slope = RowSlope::new(joined(total), k, mean, inv_std, centered);
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
            let stop = end.min((group + 1) * channels).min(start + COLUMNS);
            let (dy, x, moments) = (&dy[start..], &x[start..], (&mean[group..], &inv_std[group..]));
            let mine = start - first..stop - first;
            let out = &mut AffineGrad { weight: &mut out.weight[mine.clone()], bias: &mut out.bias[mine] };
            weight_columns(dy, x, shape, moments, out);
            start = stop;
        }
    }
}

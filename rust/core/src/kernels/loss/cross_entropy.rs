//! Cross entropy from logits.
//!
//! Cross entropy of a sample of class y among c, with log-probabilities p = `log_softmax(logits)`, class weights w and label
//! smoothing ε, as `PyTorch` defines it:
//!
//! ```text
//! loss = (1 − ε) · (−w_y · p_y) + ε/c · Σ_j (−w_j · p_j)
//! ∂loss/∂logit_k = eᵖ_k · ((1 − ε) · w_y + ε/c · Σ_j w_j) − ε/c · w_k − [k = y] · (1 − ε) · w_y
//! ```
//!
//! Reduction over samples is the caller's: `scale` holds the gradient of each sample's loss, 1/n for a mean.

use crate::element::{Float, LANES};
use crate::kernels::position::{read_ref, within};
use crate::kernels::reduce::{
    BLOCK, Running, by_columns, join, joined, sum, sum_of, sum_pairs, tree_columns, window, window_mut,
};
use crate::kernels::softmax::{SHORT, Turned, block_exp_sum, block_max, exp_sum, logs, row_max, turn, turn_back};
use crate::kernels::unary::c;
use crate::simd;

/// The settings of a cross entropy.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy<'a, T> {
    /// Number of classes, at least 1.
    pub classes: usize,
    /// One weight a class; empty for 1.
    pub weight: &'a [T],
    /// ε, the share of the target that is spread over all classes.
    pub smoothing: f64,
    /// The label of samples that have neither loss nor gradient. Other labels are at least 0 and below `classes`.
    pub ignore_index: i64,
}

/// Results of forward for every sample: its loss, and the values from which backward recomputes its softmax.
#[derive(Debug)]
pub struct SampleLosses<'a, T> {
    /// The loss.
    pub loss: &'a mut [T],
    /// The greatest logit.
    pub max: &'a mut [T],
    /// Σ e^(logit − max).
    pub sum: &'a mut [T],
}

/// Inputs of backward for every sample.
#[derive(Clone, Copy, Debug)]
pub struct SampleScales<'a, T> {
    /// The gradient of its loss.
    pub scale: &'a [T],
    /// As [`SampleLosses::max`].
    pub max: &'a [T],
    /// As [`SampleLosses::sum`].
    pub sum: &'a [T],
}

impl<T: Float> CrossEntropy<'_, T> {
    /// A label as it is used: one that is no class, which others have written since labels were checked, is left out.
    #[inline(always)]
    #[allow(clippy::trivially_copy_pass_by_ref)] // read where it lies, for another thread may write it
    fn known(&self, label: &i64) -> i64 {
        let label = read_ref(label);
        if within(label, self.classes).is_some() { label } else { self.ignore_index }
    }

    #[inline(always)]
    fn weight(&self, class: usize) -> T {
        if self.weight.is_empty() { T::ONE } else { self.weight[class] }
    }

    /// ε/c.
    #[inline(always)]
    fn spread(&self) -> T {
        c(self.smoothing / self.classes as f64)
    }

    /// (1 − ε) · `w_y`.
    #[inline(always)]
    fn hot(&self, label: i64) -> T {
        c::<T>(1.0 - self.smoothing) * self.weight(label as usize)
    }

    /// The loss, given the log-probability of the label and the weighted sum of all.
    #[inline(always)]
    fn loss(&self, label: i64, log_p: T, smooth: T) -> T {
        let loss = -(self.hot(label) * log_p);
        if self.smoothing == 0.0 { loss } else { loss - self.spread() * smooth }
    }

    /// Σ w.
    #[inline(always)]
    fn total_weight(&self) -> T {
        if self.weight.is_empty() { c(self.classes as f64) } else { sum(self.weight) }
    }
}

/// Loss, maximum and sum of `W` samples, whose logits are columns of `x`.
#[inline(always)]
fn forward_samples<T: Float, const W: usize>(
    ce: CrossEntropy<'_, T>,
    x: &[T],
    stride: usize,
    labels: &[i64; W],
) -> [[T; W]; 3] {
    let labels = labels.each_ref().map(|label| ce.known(label));
    let max = block_max::<T, W>(x, ce.classes, stride);
    let sum = block_exp_sum::<T, W>(x, ce.classes, stride, &max);
    let log = logs(sum);
    let smooth = if ce.smoothing == 0.0 {
        [T::ZERO; W]
    } else {
        let mut totals = [0.0; W];
        for start in (0..ce.classes).step_by(BLOCK) {
            let mut lanes = [[T::ZERO; W]; LANES];
            for j in start..ce.classes.min(start + BLOCK) {
                let (x, weight, lane) = (window::<T, W>(x, j * stride), ce.weight(j), &mut lanes[j % LANES]);
                for k in 0..W {
                    lane[k] += weight * (x[k] - max[k] - log[k]);
                }
            }
            join(&mut totals, tree_columns(lanes, |a, b| a + b));
        }
        joined(totals)
    };
    let mut loss = [T::ZERO; W];
    for k in 0..W {
        if labels[k] != ce.ignore_index {
            let log_p = x[labels[k] as usize * stride + k] - max[k] - log[k];
            loss[k] = ce.loss(labels[k], log_p, smooth[k]);
        }
    }
    [loss, max, sum]
}

/// The gradients of `W` samples, from `total`, the sum of the weights.
#[inline(always)]
fn backward_samples<T: Float, const W: usize>(
    ce: CrossEntropy<'_, T>,
    (x, stride): (&[T], usize),
    labels: &[i64; W],
    [scale, max, sum]: [&[T; W]; 3],
    total: T,
    (out, out_stride): (&mut [T], usize),
) {
    let labels = labels.each_ref().map(|label| ce.known(label));
    let spread = ce.spread();
    let mut share = [T::ZERO; W];
    for k in 0..W {
        if labels[k] != ce.ignore_index {
            share[k] = ce.hot(labels[k]) + spread * total;
        }
    }
    for j in 0..ce.classes {
        let (x, cold) = (window::<T, W>(x, j * stride), -(spread * ce.weight(j)));
        let out = window_mut::<T, W>(out, j * out_stride);
        for k in 0..W {
            out[k] = scale[k] * gradient((x[k] - max[k]).exp() / sum[k], share[k], cold);
        }
    }
    for k in 0..W {
        if labels[k] == ce.ignore_index {
            for j in 0..ce.classes {
                out[j * out_stride + k] = T::ZERO;
            }
        } else {
            let hot = &mut out[labels[k] as usize * out_stride + k];
            *hot = *hot - scale[k] * ce.hot(labels[k]);
        }
    }
}

/// The gradient with respect to a logit, but for the label's part.
#[inline(always)]
fn gradient<T: Float>(p: T, share: T, cold: T) -> T {
    p.mul_add(share, cold)
}

#[inline(always)]
fn forward_block<T: Float, const W: usize>(
    column: usize,
    ce: CrossEntropy<'_, T>,
    x: &[T],
    stride: usize,
    labels: &[i64],
    out: &mut SampleLosses<'_, T>,
) {
    let [loss, max, sum] = forward_samples::<T, W>(ce, &x[column..], stride, window(labels, column));
    *window_mut(out.loss, column) = loss;
    *window_mut(out.max, column) = max;
    *window_mut(out.sum, column) = sum;
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn backward_block<T: Float, const W: usize>(
    column: usize,
    ce: CrossEntropy<'_, T>,
    x: &[T],
    stride: usize,
    labels: &[i64],
    samples: SampleScales<'_, T>,
    total: T,
    out: &mut [T],
) {
    let scales = [window(samples.scale, column), window(samples.max, column), window(samples.sum, column)];
    let (x, out) = ((&x[column..], stride), (&mut out[column..], stride));
    backward_samples::<T, W>(ce, x, window(labels, column), scales, total, out);
}

/// Up to [`LANES`] elements, then `fill`.
#[inline(always)]
fn filled<X: Copy>(x: &[X], fill: X) -> [X; LANES] {
    let mut block = [fill; LANES];
    block[..x.len()].copy_from_slice(x);
    block
}

simd! {
    /// The losses of samples that are columns of `x`, `stride` or less in number: logit `j` of sample `i` is `x[j * stride + i]`.
    pub fn cross_entropy_columns<T: Float>(
        ce: CrossEntropy<'_, T>, x: &[T], stride: usize, labels: &[i64], out: &mut SampleLosses<'_, T>,
    ) {
        by_columns!(labels.len(), [16, 1], forward_block::<T>(ce, x, stride, labels, out));
    }

    /// The gradient of [`cross_entropy_columns`]. `out` has the strides of `x`.
    pub fn cross_entropy_columns_backward<T: Float>(
        ce: CrossEntropy<'_, T>, x: &[T], stride: usize, labels: &[i64], samples: SampleScales<'_, T>, out: &mut [T],
    ) {
        let total = ce.total_weight();
        by_columns!(labels.len(), [16, 1], backward_block::<T>(ce, x, stride, labels, samples, total, out));
    }

    /// The losses of samples that are rows of `x`: the bits of [`cross_entropy_columns`].
    pub fn cross_entropy_rows<T: Float>(
        ce: CrossEntropy<'_, T>, x: &[T], labels: &[i64], out: &mut SampleLosses<'_, T>,
    ) {
        let classes = ce.classes;
        if classes <= SHORT {
            let mut turned: Turned<T> = [[T::ZERO; LANES]; SHORT];
            for (i, labels) in labels.chunks(LANES).enumerate() {
                let (start, n) = (i * LANES, labels.len());
                turn(&x[start * classes..], n, classes, &mut turned);
                let [loss, max, sum] = forward_samples(ce, turned.as_flattened(), LANES, &filled(labels, 0));
                out.loss[start..start + n].copy_from_slice(&loss[..n]);
                out.max[start..start + n].copy_from_slice(&max[..n]);
                out.sum[start..start + n].copy_from_slice(&sum[..n]);
            }
            return;
        }
        for (i, (x, label)) in x.chunks_exact(classes).zip(labels).enumerate() {
            let label = ce.known(label);
            let max = row_max(x);
            let sum = exp_sum(x, max);
            let log = sum.ln();
            let smooth = if ce.smoothing == 0.0 {
                T::ZERO
            } else if ce.weight.is_empty() {
                sum_of(x, |acc, x| acc + (x - max - log))
            } else {
                sum_pairs(x, ce.weight, |[acc], x, weight| [acc + weight * (x - max - log)])[0]
            };
            (out.max[i], out.sum[i]) = (max, sum);
            out.loss[i] = if label == ce.ignore_index {
                T::ZERO
            } else {
                ce.loss(label, x[label as usize] - max - log, smooth)
            };
        }
    }

    /// The gradient of [`cross_entropy_rows`].
    pub fn cross_entropy_rows_backward<T: Float>(
        ce: CrossEntropy<'_, T>, x: &[T], labels: &[i64], samples: SampleScales<'_, T>, out: &mut [T],
    ) {
        let (classes, total, spread) = (ce.classes, ce.total_weight(), ce.spread());
        if classes <= SHORT {
            let mut turned: Turned<T> = [[T::ZERO; LANES]; SHORT];
            let mut grads: Turned<T> = [[T::ZERO; LANES]; SHORT];
            for (i, labels) in labels.chunks(LANES).enumerate() {
                let (start, n) = (i * LANES, labels.len());
                turn(&x[start * classes..], n, classes, &mut turned);
                let scales = [samples.scale, samples.max, samples.sum].map(|x| filled(&x[start..start + n], T::ZERO));
                let (x, grad) = ((turned.as_flattened(), LANES), (grads.as_flattened_mut(), LANES));
                backward_samples(ce, x, &filled(labels, 0), scales.each_ref(), total, grad);
                turn_back(&grads, n, classes, &mut out[start * classes..]);
            }
            return;
        }
        for (i, ((x, label), out)) in x.chunks_exact(classes).zip(labels).zip(out.chunks_exact_mut(classes)).enumerate() {
            let label = ce.known(label);
            if label == ce.ignore_index {
                out.fill(T::ZERO);
                continue;
            }
            let (scale, max, sum) = (samples.scale[i], samples.max[i], samples.sum[i]);
            let share = ce.hot(label) + spread * total;
            for (j, (out, &x)) in out.iter_mut().zip(x).enumerate() {
                *out = scale * gradient((x - max).exp() / sum, share, -(spread * ce.weight(j)));
            }
            let hot = &mut out[label as usize];
            *hot = *hot - scale * ce.hot(label);
        }
    }

    /// The losses −Σ w · t · p of samples that are rows of `x`, whose targets are probabilities: t = (1 − ε) · target + ε/c.
    pub fn soft_cross_entropy_rows<T: Float>(
        ce: CrossEntropy<'_, T>, x: &[T], target: &[T], out: &mut SampleLosses<'_, T>,
    ) {
        let (keep, spread) = (c::<T>(1.0 - ce.smoothing), ce.spread());
        for (i, (x, target)) in x.chunks_exact(ce.classes).zip(target.chunks_exact(ce.classes)).enumerate() {
            let max = row_max(x);
            let sum = exp_sum(x, max);
            let log = sum.ln();
            let mut total = Running::default();
            for (j, (&x, &target)) in x.iter().zip(target).enumerate() {
                total.add(ce.weight(j) * target.mul_add(keep, spread) * (x - max - log));
            }
            (out.loss[i], out.max[i], out.sum[i]) = (-total.total(), max, sum);
        }
    }

    /// The gradient of [`soft_cross_entropy_rows`] with respect to the logits.
    pub fn soft_cross_entropy_rows_backward<T: Float>(
        ce: CrossEntropy<'_, T>, x: &[T], target: &[T], samples: SampleScales<'_, T>, out: &mut [T],
    ) {
        let (keep, spread) = (c::<T>(1.0 - ce.smoothing), ce.spread());
        let rows = x.chunks_exact(ce.classes).zip(target.chunks_exact(ce.classes)).zip(out.chunks_exact_mut(ce.classes));
        for (i, ((x, target), out)) in rows.enumerate() {
            let (scale, max, sum) = (samples.scale[i], samples.max[i], samples.sum[i]);
            let mut share = Running::default();
            for (j, &target) in target.iter().enumerate() {
                share.add(ce.weight(j) * target.mul_add(keep, spread));
            }
            let share = share.total();
            for (j, ((out, &x), &target)) in out.iter_mut().zip(x).zip(target).enumerate() {
                let cold = -(ce.weight(j) * target.mul_add(keep, spread));
                *out = scale * gradient((x - max).exp() / sum, share, cold);
            }
        }
    }

    /// The gradient of [`soft_cross_entropy_rows`] with respect to the targets.
    pub fn soft_cross_entropy_rows_backward_target<T: Float>(
        ce: CrossEntropy<'_, T>, x: &[T], samples: SampleScales<'_, T>, out: &mut [T],
    ) {
        let keep = c::<T>(1.0 - ce.smoothing);
        for (i, (x, out)) in x.chunks_exact(ce.classes).zip(out.chunks_exact_mut(ce.classes)).enumerate() {
            let (scale, max, log) = (samples.scale[i], samples.max[i], samples.sum[i].ln());
            for (j, (out, &x)) in out.iter_mut().zip(x).enumerate() {
                *out = -(scale * (keep * ce.weight(j)) * (x - max - log));
            }
        }
    }
}

#[cfg(test)]
mod tests;

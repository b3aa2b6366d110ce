//! Losses: cross entropy from logits, and those of one input and one target at a time.
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

use super::binary::{Binary, binary, zip, zip_grad_a, zip_grad_b};
use super::reduce::{by_columns, fold_pairs, lanes, sum, tree, window, window_mut};
use super::softmax::{SHORT, Turned, block_max, block_sum, row_max, shifted_exp, turn, turn_back};
use super::unary::{c, sign};
use crate::element::{Float, LANES};
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

/// What forward finds of every sample: its loss, and what backward needs to take its softmax again.
#[derive(Debug)]
pub struct SampleLosses<'a, T> {
    /// The loss.
    pub loss: &'a mut [T],
    /// The greatest logit.
    pub max: &'a mut [T],
    /// Σ e^(logit − max).
    pub sum: &'a mut [T],
}

/// What backward needs of every sample.
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
    let max = block_max::<T, W>(x, ce.classes, stride);
    let sum = block_sum::<T, W>(ce.classes, |j| shifted_exp(window(x, j * stride), &max));
    let log = sum.map(T::ln);
    let smooth = if ce.smoothing == 0.0 {
        [T::ZERO; W]
    } else {
        block_sum::<T, W>(ce.classes, |j| {
            let (x, weight) = (window::<T, W>(x, j * stride), ce.weight(j));
            std::array::from_fn(|k| weight * (x[k] - max[k] - log[k]))
        })
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
        for (i, (x, &label)) in x.chunks_exact(classes).zip(labels).enumerate() {
            let max = row_max(x);
            let sum = tree(lanes(x, T::ZERO, |acc, x| acc + (x - max).exp()), |a, b| a + b);
            let log = sum.ln();
            let mut smooth = [[T::ZERO; LANES]];
            if ce.smoothing != 0.0 && ce.weight.is_empty() {
                fold_pairs(x, x, &mut smooth, |[acc], x, _| [acc + (x - max - log)]);
            } else if ce.smoothing != 0.0 {
                fold_pairs(x, ce.weight, &mut smooth, |[acc], x, weight| [acc + weight * (x - max - log)]);
            }
            (out.max[i], out.sum[i]) = (max, sum);
            out.loss[i] = if label == ce.ignore_index {
                T::ZERO
            } else {
                ce.loss(label, x[label as usize] - max - log, tree(smooth[0], |a, b| a + b))
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
        for (i, ((x, &label), out)) in x.chunks_exact(classes).zip(labels).zip(out.chunks_exact_mut(classes)).enumerate() {
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
            let sum = tree(lanes(x, T::ZERO, |acc, x| acc + (x - max).exp()), |a, b| a + b);
            let log = sum.ln();
            let mut acc = [T::ZERO; LANES];
            for (j, (&x, &target)) in x.iter().zip(target).enumerate() {
                acc[j % LANES] += ce.weight(j) * target.mul_add(keep, spread) * (x - max - log);
            }
            (out.loss[i], out.max[i], out.sum[i]) = (-tree(acc, |a, b| a + b), max, sum);
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
            let mut share = [T::ZERO; LANES];
            for (j, &target) in target.iter().enumerate() {
                share[j % LANES] += ce.weight(j) * target.mul_add(keep, spread);
            }
            let share = tree(share, |a, b| a + b);
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

/// ln x, at least −100, as `PyTorch` keeps binary cross entropy finite.
#[inline(always)]
fn bounded<T: Float>(log: T) -> T {
    if log < c(-100.0) { c(-100.0) } else { log }
}

/// ln(1 + e⁻ˣ), without overflow.
#[inline(always)]
fn softplus_neg<T: Float>(x: T) -> T {
    let below = if x < T::ZERO { -x } else { T::ZERO };
    below + (-x.abs()).exp().ln_1p()
}

/// t · ln t, 0 at 0.
#[inline(always)]
fn entropy<T: Float>(t: T) -> T {
    if t == T::ZERO { T::ZERO } else { t * t.ln() }
}

/// d held to `−limit..=limit`.
#[inline(always)]
fn held<T: Float>(d: T, limit: T) -> T {
    if d.abs() < limit { d } else { limit * sign(d) }
}

binary!(/** (x − t)². */ Mse, |self, a, b| (a - b) * (a - b), (a - b) + (a - b), (b - a) + (b - a));
binary!(/** |x − t|, with derivative 0 at 0. */ L1, |self, a, b| (a - b).abs(), sign(a - b), sign(b - a));
binary!(
    /// ½ · d² / β below |d| = β, |d| − ½ · β from there, d = x − t.
    SmoothL1 {
        /// β, above 0.
        beta
    },
    |self, a, b| {
        let d = (a - b).abs();
        if d < self.beta { c::<T>(0.5) * d * d / self.beta } else { d - c::<T>(0.5) * self.beta }
    },
    held(a - b, self.beta) / self.beta,
    held(b - a, self.beta) / self.beta
);
binary!(
    /// ½ · d² below |d| = δ, δ · (|d| − ½ · δ) from there, d = x − t.
    Huber {
        /// δ, above 0.
        delta
    },
    |self, a, b| {
        let d = (a - b).abs();
        if d < self.delta { c::<T>(0.5) * d * d } else { self.delta * (d - c::<T>(0.5) * self.delta) }
    },
    held(a - b, self.delta),
    held(b - a, self.delta)
);
binary!(
    /// −t · ln x − (1 − t) · ln(1 − x), the logarithms at least −100.
    Bce,
    |self, a, b| (b - T::ONE) * bounded((-a).ln_1p()) - b * bounded(a.ln()),
    {
        let denominator = (T::ONE - a) * a;
        (a - b) / if denominator < c(1e-12) { c(1e-12) } else { denominator }
    },
    (-a).ln_1p() - a.ln()
);
binary!(
    /// Binary cross entropy of sigmoid(x): (1 − t) · x + (1 + (w − 1) · t) · ln(1 + e⁻ˣ).
    BceWithLogits {
        /// w, the weight of the positive class.
        pos_weight
    },
    |self, a, b| (T::ONE - b).mul_add(a, (self.pos_weight - T::ONE).mul_add(b, T::ONE) * softplus_neg(a)),
    (self.pos_weight - T::ONE).mul_add(b, T::ONE).mul_add(a.sigmoid(), -(self.pos_weight * b)),
    (self.pos_weight - T::ONE) * softplus_neg(a) - a
);
binary!(/** t · (ln t − x), for x a log-probability. */ KlDiv, |self, a, b| entropy(b) - b * a, -b, b.ln() + T::ONE - a);
binary!(
    /// eᵗ · (t − x), for x and t log-probabilities.
    KlDivLog,
    |self, a, b| b.exp() * (b - a),
    -b.exp(),
    b.exp() * (b - a + T::ONE)
);

/// A loss of one input and one target at a time, chosen at run time; each call matches once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PointLoss {
    /// [`Mse`].
    Mse,
    /// [`L1`].
    L1,
    /// [`SmoothL1`]; [`L1`] for β = 0.
    SmoothL1 {
        /// β, at least 0.
        beta: f64,
    },
    /// [`Huber`].
    Huber {
        /// δ, above 0.
        delta: f64,
    },
    /// [`Bce`].
    Bce,
    /// [`BceWithLogits`]. A weight for each class: call it on each column's slices.
    BceWithLogits {
        /// The weight of the positive class, 1 for none.
        pos_weight: f64,
    },
    /// [`KlDiv`], or [`KlDivLog`].
    KlDiv {
        /// Whether the target is a log-probability too.
        log_target: bool,
    },
}

/// Evaluate `$body` with `$op` the function of `$loss`, for elements of `$t`.
macro_rules! with_op {
    ($loss:expr, $t:ty, $op:ident => $body:expr) => {
        match $loss {
            PointLoss::Mse => with_op!(@ $op = Mse, $body),
            PointLoss::L1 | PointLoss::SmoothL1 { beta: 0.0 } => with_op!(@ $op = L1, $body),
            PointLoss::SmoothL1 { beta } => with_op!(@ $op = SmoothL1 { beta: c::<$t>(beta) }, $body),
            PointLoss::Huber { delta } => with_op!(@ $op = Huber { delta: c::<$t>(delta) }, $body),
            PointLoss::Bce => with_op!(@ $op = Bce, $body),
            PointLoss::BceWithLogits { pos_weight } => {
                with_op!(@ $op = BceWithLogits { pos_weight: c::<$t>(pos_weight) }, $body)
            }
            PointLoss::KlDiv { log_target: false } => with_op!(@ $op = KlDiv, $body),
            PointLoss::KlDiv { log_target: true } => with_op!(@ $op = KlDivLog, $body),
        }
    };
    (@ $op:ident = $value:expr, $body:expr) => {{
        let $op = $value;
        $body
    }};
}

impl PointLoss {
    /// out ← loss(input, target)
    pub fn forward<T: Float>(self, input: &[T], target: &[T], out: &mut [T]) {
        with_op!(self, T, op => zip(op, input, target, out));
    }

    /// out ← grad · ∂loss/∂input
    pub fn grad_input<T: Float>(self, grad: &[T], input: &[T], target: &[T], out: &mut [T]) {
        with_op!(self, T, op => zip_grad_a(op, grad, input, target, out));
    }

    /// out ← grad · ∂loss/∂target
    pub fn grad_target<T: Float>(self, grad: &[T], input: &[T], target: &[T], out: &mut [T]) {
        with_op!(self, T, op => zip_grad_b(op, grad, input, target, out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::binary::tests::check;
    use crate::kernels::testing::{assert_close, bits, on_all_levels, random, tolerance, transposed, wide};

    const IGNORED: i64 = -100;

    fn labels(n: usize, classes: usize) -> Vec<i64> {
        (0..n).map(|i| if i % 7 == 3 { IGNORED } else { (i * i * 5 % classes) as i64 }).collect()
    }

    /// The formula of the module, in f64.
    fn reference(x: &[f64], label: i64, weight: &[f64], eps: f64) -> f64 {
        if label == IGNORED {
            return 0.0;
        }
        let log = x.iter().map(|x| x.exp()).sum::<f64>().ln();
        let w = |j: usize| weight.get(j).copied().unwrap_or(1.0);
        let nll = -w(label as usize) * (x[label as usize] - log);
        let smooth: f64 = x.iter().enumerate().map(|(j, x)| -w(j) * (x - log)).sum();
        (1.0 - eps) * nll + eps / x.len() as f64 * smooth
    }

    fn by_rows<T: Float>(ce: CrossEntropy<'_, T>, x: &[T], labels: &[i64], scale: &[T]) -> [Vec<T>; 2] {
        let n = labels.len();
        let [mut loss, mut max, mut sum] = std::array::from_fn(|_| vec![T::ZERO; n]);
        let mut out = SampleLosses { loss: &mut loss, max: &mut max, sum: &mut sum };
        cross_entropy_rows(ce, x, labels, &mut out);
        let mut grad = vec![T::ONE; x.len()];
        cross_entropy_rows_backward(ce, x, labels, SampleScales { scale, max: &max, sum: &sum }, &mut grad);
        [loss, grad]
    }

    fn by_columns<T: Float>(ce: CrossEntropy<'_, T>, x: &[T], labels: &[i64], scale: &[T]) -> [Vec<T>; 2] {
        let n = labels.len();
        let [mut loss, mut max, mut sum] = std::array::from_fn(|_| vec![T::ZERO; n]);
        let mut out = SampleLosses { loss: &mut loss, max: &mut max, sum: &mut sum };
        let turned = transposed(x, n, ce.classes);
        cross_entropy_columns(ce, &turned, n, labels, &mut out);
        let mut grad = vec![T::ONE; x.len()];
        cross_entropy_columns_backward(ce, &turned, n, labels, SampleScales { scale, max: &max, sum: &sum }, &mut grad);
        [loss, transposed(&grad, ce.classes, n)]
    }

    fn check_type<T: Float>() {
        for (n, classes) in [(0, 3), (1, 1), (3, 2), (16, 10), (17, 33), (33, 100), (40, 32)] {
            let (x, labels, scale) = (random::<T>(n * classes, 50), labels(n, classes), random::<T>(n, 51));
            let weight: Vec<T> = random::<T>(classes, 52).iter().map(|&w| T::from_f64(2.5) + w).collect();
            for (weight, smoothing) in [(&[][..], 0.0), (&weight, 0.0), (&[], 0.25), (&weight, 0.25)] {
                let ce = CrossEntropy { classes, weight, smoothing, ignore_index: IGNORED };
                let rows = on_all_levels(|| by_rows(ce, &x, &labels, &scale).map(|v| bits(&v)));
                let columns = on_all_levels(|| by_columns(ce, &x, &labels, &scale).map(|v| bits(&v)));
                assert_eq!(rows, columns, "{n} × {classes}");
                let [loss, grad] = by_rows(ce, &x, &labels, &scale);
                let weight = wide(weight);
                for i in 0..n {
                    let at = i * classes..(i + 1) * classes;
                    let x = wide(&x[at.clone()]);
                    assert_close(&[loss[i]], &[reference(&x, labels[i], &weight, smoothing)], tolerance::<T>());
                    let slope = |j: usize| {
                        let moved = |h: f64| {
                            let mut x = x.clone();
                            x[j] += h;
                            reference(&x, labels[i], &weight, smoothing)
                        };
                        scale[i].to_f64() * (moved(1e-5) - moved(-1e-5)) / 2e-5
                    };
                    let expected: Vec<f64> = (0..classes).map(slope).collect();
                    assert_close(&grad[at], &expected, tolerance::<T>().max(1e-8));
                }
            }
        }
    }

    #[test]
    fn cross_entropy_matches_its_formula_with_the_same_bits_in_both_layouts() {
        check_type::<f32>();
        check_type::<f64>();
    }

    #[test]
    fn an_ignored_sample_has_no_gradient_even_if_its_logits_are_not_numbers() {
        for classes in [4, 40] {
            let ce = CrossEntropy { classes, weight: &[], smoothing: 0.0, ignore_index: 2 };
            let x = vec![f32::NAN; classes];
            for [loss, grad] in [by_rows(ce, &x, &[2], &[1.0]), by_columns(ce, &x, &[2], &[1.0])] {
                assert_eq!((loss[0], grad), (0.0, vec![0.0; classes]));
            }
        }
    }

    #[test]
    fn far_logits_do_not_overflow() {
        let ce = CrossEntropy { classes: 2, weight: &[], smoothing: 0.0, ignore_index: IGNORED };
        let [loss, grad] = by_rows(ce, &[1e4_f32, -1e4], &[1], &[1.0]);
        assert_eq!((loss[0], &grad[..]), (2e4, &[1.0, -1.0][..]));
    }

    #[test]
    fn probabilities_as_targets_match_the_formula() {
        let (n, classes) = (5, 19);
        let (x, scale) = (random::<f64>(n * classes, 53), random::<f64>(n, 54));
        let target: Vec<f64> = random(n * classes, 55).iter().map(|x: &f64| x + 2.0).collect();
        let weight: Vec<f64> = random(classes, 56).iter().map(|x: &f64| x + 2.5).collect();
        let ce = CrossEntropy { classes, weight: &weight, smoothing: 0.25, ignore_index: IGNORED };
        let [mut loss, mut max, mut sum] = std::array::from_fn(|_| vec![0.0; n]);
        let mut out = SampleLosses { loss: &mut loss, max: &mut max, sum: &mut sum };
        soft_cross_entropy_rows(ce, &x, &target, &mut out);
        let (mut dx, mut dt) = (vec![0.0; n * classes], vec![0.0; n * classes]);
        let samples = SampleScales { scale: &scale, max: &max, sum: &sum };
        soft_cross_entropy_rows_backward(ce, &x, &target, samples, &mut dx);
        soft_cross_entropy_rows_backward_target(ce, &x, samples, &mut dt);

        let reference = |x: &[f64], target: &[f64]| -> f64 {
            let log = x.iter().map(|x| x.exp()).sum::<f64>().ln();
            let term = |j: usize| weight[j] * (target[j] * 0.75 + 0.25 / classes as f64) * (x[j] - log);
            -(0..classes).map(term).sum::<f64>()
        };
        for i in 0..n {
            let at = i * classes..(i + 1) * classes;
            let (x, target) = (&x[at.clone()], &target[at]);
            assert_close(&[loss[i]], &[reference(x, target)], 1e-12);
            for j in 0..classes {
                let moved = |h: f64| {
                    let (mut x_moved, mut target_moved) = (x.to_vec(), target.to_vec());
                    x_moved[j] += h;
                    target_moved[j] += h;
                    [reference(&x_moved, target), reference(x, &target_moved)]
                };
                let (up, down) = (moved(1e-5), moved(-1e-5));
                let expected = [0, 1].map(|k| scale[i] * (up[k] - down[k]) / 2e-5);
                assert_close(&[dx[i * classes + j], dt[i * classes + j]], &expected, 1e-7);
            }
        }
    }

    #[test]
    fn point_losses_match_their_formulas() {
        let huber = |d: f64, delta: f64| if d.abs() < delta { 0.5 * d * d } else { delta * (d.abs() - 0.5 * delta) };
        check(Mse, Mse, |x, t| (x - t).powi(2), 0.0, 1.0);
        check(L1, L1, |x, t| (x - t).abs(), 0.0, 1.0);
        check(SmoothL1 { beta: 0.5 }, SmoothL1 { beta: 0.5 }, |x, t| huber(x - t, 0.5) / 0.5, 0.0, 1.0);
        check(Huber { delta: 0.5 }, Huber { delta: 0.5 }, |x, t| huber(x - t, 0.5), 0.0, 1.0);
        check(Bce, Bce, |x, t| -t * x.ln() - (1.0 - t) * (1.0 - x).ln(), 0.5, 0.2);
        let logits =
            |x: f64, t: f64| -3.0 * t * (1.0 / (1.0 + (-x).exp())).ln() - (1.0 - t) * (1.0 / (1.0 + x.exp())).ln();
        check(BceWithLogits { pos_weight: 3.0 }, BceWithLogits { pos_weight: 3.0 }, logits, 0.5, 1.0);
        check(KlDiv, KlDiv, |x, t| t * (t.ln() - x), 3.0, 1.0);
        check(KlDivLog, KlDivLog, |x, t| t.exp() * (t - x), 0.0, 1.0);
    }

    #[test]
    fn edges_of_point_losses_are_those_of_pytorch() {
        assert_eq!(
            [Bce.eval(0.0, 1.0), Bce.eval(1.0, 0.0), Bce.eval(1.0, 1.0), Bce.eval(0.0, 0.0)],
            [100.0, 100.0, 0.0, 0.0]
        );
        assert_eq!([Bce.grad_a(0.0, 1.0), Bce.grad_a(1.0, 0.0)], [-1e12, 1e12]);
        let op = BceWithLogits { pos_weight: 1.0 };
        assert_eq!([op.eval(1e4, 0.0), op.eval(-1e4, 1.0), op.eval(1e4, 1.0)], [1e4, 1e4, 0.0]);
        assert_eq!([L1.grad_a(1.0, 1.0), KlDiv.eval(-3.0, 0.0)], [0.0, 0.0]);
        assert_eq!([Huber { delta: 2.0 }.grad_a(2.0, 0.0), SmoothL1 { beta: 2.0 }.grad_a(-2.0, 0.0)], [2.0, -1.0]);
    }

    #[test]
    fn a_choice_at_run_time_runs_its_function() {
        let place = |x: &f32| 0.5 + 0.2 * x;
        let x: Vec<f32> = random(33, 57).iter().map(place).collect();
        let t: Vec<f32> = random(33, 58).iter().map(place).collect();
        let grad = random::<f32>(33, 59);
        let all = [
            PointLoss::Mse,
            PointLoss::L1,
            PointLoss::SmoothL1 { beta: 0.25 },
            PointLoss::Huber { delta: 0.25 },
            PointLoss::Bce,
            PointLoss::BceWithLogits { pos_weight: 3.0 },
            PointLoss::KlDiv { log_target: false },
            PointLoss::KlDiv { log_target: true },
        ];
        let run = |loss: PointLoss| {
            let mut out: [Vec<f32>; 3] = std::array::from_fn(|_| vec![0.0; 33]);
            loss.forward(&x, &t, &mut out[0]);
            loss.grad_input(&grad, &x, &t, &mut out[1]);
            loss.grad_target(&grad, &x, &t, &mut out[2]);
            out
        };
        for loss in all {
            let mut out: [Vec<f32>; 3] = std::array::from_fn(|_| vec![0.0; 33]);
            with_op!(loss, f32, op => {
                zip(op, &x, &t, &mut out[0]);
                zip_grad_a(op, &grad, &x, &t, &mut out[1]);
                zip_grad_b(op, &grad, &x, &t, &mut out[2]);
            });
            assert_eq!(run(loss), out, "{loss:?}");
        }
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| run(*a) != run(*b)), "{a:?}");
        }
        assert_eq!(run(PointLoss::SmoothL1 { beta: 0.0 }), run(PointLoss::L1));
    }
}

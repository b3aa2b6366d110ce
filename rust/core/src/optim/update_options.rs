//! Changes of gradient and parameter around the rule: clipping, noise, max-norm, an average.
//!
//! ```text
//! g ← min(max(g, −clip_value), clip_value)
//! g ← g · min(1, clip_norm / (‖all g‖ + 1e-6))
//! g ← g + √(η / (1 + t)^γ) · z,  z of variance 1 (noise.rs), t updates done before this one
//! θ ← rule(θ, g)
//! θ_row ← θ_row · max_norm / (‖θ_row‖ + 1e-7)           where ‖θ_row‖ > max_norm
//! a ← θ at the first update, then a + (1 − decay) · (θ − a)
//! ```
//!
//! Sources: Pascanu et al. 2013, <https://arxiv.org/abs/1211.5063> (norm); Neelakantan et al. 2015,
//! <https://arxiv.org/abs/1511.06807> (noise); Srebro & Shraibman 2005, <https://doi.org/10.1007/11503415_37>, and
//! Hinton et al. 2012, <https://arxiv.org/abs/1207.0580> (max-norm); Polyak & Juditsky 1992,
//! <https://doi.org/10.1137/0330046> (averages). The 1e-6 and the 1e-7 are those of `PyTorch`'s `clip_grad_norm_` and `renorm`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Lerp, noise};
use crate::element::{Float, LANES};
use crate::kernels::reduce;
use crate::rng::Draw;
use crate::simd;

/// Gradient noise of variance `eta / (1 + t)^gamma`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// The variance at the first update.
    pub eta: f64,
    /// Decay of the noise.
    pub gamma: f64,
}

impl Noise {
    /// The standard deviation after `t` updates.
    #[must_use]
    pub fn std(&self, t: u64) -> f64 {
        (self.eta / Float::pow(1.0 + t as f64, self.gamma)).sqrt()
    }
}

/// Changes of all parameters of a model around an update, and the number of updates.
#[derive(Debug, Default)]
pub struct UpdateOptions {
    /// The greatest absolute value of an element of a gradient.
    pub clip_value: Option<f64>,
    /// The greatest norm of all gradients together.
    pub clip_norm: Option<f64>,
    /// Noise on gradients.
    pub noise: Option<Noise>,
    /// The share of an average that an update keeps.
    pub ema: Option<f64>,
    done: AtomicU64,
}

impl UpdateOptions {
    /// One that was never used.
    #[must_use]
    pub fn new(clip_value: Option<f64>, clip_norm: Option<f64>, noise: Option<Noise>, ema: Option<f64>) -> Self {
        Self { clip_value, clip_norm, noise, ema, done: AtomicU64::new(0) }
    }

    /// Number of updates so far.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Go on after `done` updates.
    pub fn set_done(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
    }

    /// Calls of the generator that an update makes.
    #[must_use]
    pub fn draws(&self) -> u64 {
        u64::from(self.noise.is_some())
    }

    /// The scalars of the update `ahead` of the next one. `draw` is that of its noise; `norm` that of all gradients
    /// together, after clipping by value, if there is a limit to it.
    #[must_use]
    pub fn at<T: Float>(&self, ahead: u64, draw: Option<Draw>, norm: Option<f64>) -> Around<T> {
        let t = self.done() + ahead;
        // A norm that is NaN makes all gradients NaN, as in PyTorch.
        let scale = |limit: f64| norm.map(|norm| limit / (norm + 1e-6)).filter(|&scale| scale < 1.0 || scale.is_nan());
        Around {
            limit: self.clip_value.map(T::from_f64),
            scale: self.clip_norm.and_then(scale).map(T::from_f64),
            noise: self.noise.zip(draw).map(|(noise, draw)| (noise.std(t), draw)),
            average: self.ema.map(|decay| Lerp::new(if t == 0 { 0.0 } else { decay })),
        }
    }
}

/// The scalars of one update.
#[derive(Clone, Copy, Debug)]
pub struct Around<T> {
    limit: Option<T>,
    scale: Option<T>,
    noise: Option<(f64, Draw)>,
    average: Option<Lerp<T>>,
}

impl<T: Float> Around<T> {
    /// True if it changes gradients.
    #[must_use]
    pub fn changes_gradients(&self) -> bool {
        self.limit.is_some() || self.scale.is_some() || self.noise.is_some()
    }

    /// Change a part of a gradient; `position` is that of its first element among all parameters.
    pub fn gradient(&self, grad: &mut [T], position: usize) {
        if let Some(limit) = self.limit {
            clamp(limit, grad);
        }
        if let Some(scale) = self.scale {
            scale_by(scale, grad);
        }
        if let Some((std, draw)) = self.noise {
            noise::add(draw, std, position, grad);
        }
    }

    /// Take the new values of a part of a parameter into its average.
    pub fn average(&self, param: &[T], average: &mut [T]) {
        if let Some(lerp) = self.average {
            lerp_to(lerp, param, average);
        }
    }
}

/// Shorten the rows of `cols` elements that are longer than `max_norm`.
pub fn limit_rows<T: Float>(param: &mut [T], cols: usize, max_norm: f64) {
    if cols == 0 {
        return;
    }
    for row in param.chunks_mut(cols) {
        let norm = squares(T::ZERO, false, row).sqrt();
        if norm > max_norm {
            scale_by(T::from_f64(max_norm / (norm + 1e-7)), row);
        }
    }
}

/// Σ g² over a row, in f64, of the elements as clipping by value leaves them.
#[must_use]
pub fn squared_norm<T: Float>(clip_value: Option<f64>, row: &[T]) -> f64 {
    squares(T::from_f64(clip_value.unwrap_or(0.0)), clip_value.is_some(), row)
}

/// The norm of all gradients together, from the squared norms of the rows of each.
pub fn total_norm<'a>(rows: impl IntoIterator<Item = &'a [f64]>) -> f64 {
    rows.into_iter().map(reduce::sum_flat).sum::<f64>().sqrt()
}

/// Sums run in twice as many lanes as elsewhere, so that they do not wait for one another.
const SUMS: usize = 2 * LANES;

#[inline(always)]
fn clamped<T: Float>(limit: T, x: T) -> T {
    // In this order NaN stays.
    let x = if x > limit { limit } else { x };
    if x < -limit { -limit } else { x }
}

simd! {
    fn clamp<T: Float>(limit: T, grad: &mut [T]) {
        for grad in grad {
            *grad = clamped(limit, *grad);
        }
    }

    fn scale_by<T: Float>(scale: T, x: &mut [T]) {
        for x in x {
            *x = scale * *x;
        }
    }

    fn lerp_to<T: Float>(lerp: Lerp<T>, new: &[T], old: &mut [T]) {
        for (old, &new) in old.iter_mut().zip(new) {
            *old = lerp.of(*old, new);
        }
    }

    fn squares<T: Float>(limit: T, clip: bool, x: &[T]) -> f64 {
        let mut lanes = [0.0_f64; SUMS];
        let (whole, tail) = x.as_chunks::<SUMS>();
        if clip {
            for x in whole {
                for (lane, &x) in lanes.iter_mut().zip(x) {
                    let x = clamped(limit, x).to_f64();
                    *lane = Float::mul_add(x, x, *lane);
                }
            }
        } else {
            for x in whole {
                for (lane, &x) in lanes.iter_mut().zip(x) {
                    *lane = Float::mul_add(x.to_f64(), x.to_f64(), *lane);
                }
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(tail) {
            let x = if clip { clamped(limit, x) } else { x }.to_f64();
            *lane = Float::mul_add(x, x, *lane);
        }
        let mut half = SUMS / 2;
        while half > 0 {
            for l in 0..half {
                lanes[l] += lanes[l + half];
            }
            half /= 2;
        }
        lanes[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAW: Draw = Draw { seed: 3, stream: 2, call: 9 };

    fn ramp(n: usize) -> Vec<f64> {
        (0..n).map(|i| (i as f64 - n as f64 / 3.0) / 5.0).collect()
    }

    #[test]
    fn a_gradient_is_clipped_scaled_and_disturbed_in_this_order() {
        let update_options = UpdateOptions::new(Some(1.5), Some(2.0), Some(Noise { eta: 0.3, gamma: 0.55 }), None);
        update_options.set_done(6);
        let mut grad = ramp(53);
        let clipped: Vec<f64> = grad.iter().map(|g| g.clamp(-1.5, 1.5)).collect();
        let norm = total_norm([&[squared_norm(Some(1.5), &grad)][..]]);
        let expected = clipped.iter().map(|g| g * g).sum::<f64>().sqrt();
        assert!((norm - expected).abs() < 1e-12);
        let mut z = vec![0.0; 53];
        noise::add(DRAW, 1.0, 11, &mut z);
        update_options.at(2, Some(DRAW), Some(norm)).gradient(&mut grad, 11);
        let std = (0.3 / 9.0_f64.powf(0.55)).sqrt();
        for ((found, g), z) in grad.iter().zip(clipped).zip(z) {
            assert!((found - (g * 2.0 / (norm + 1e-6) + std * z)).abs() < 1e-12);
        }
    }

    #[test]
    fn noise_does_not_depend_on_how_a_gradient_is_split() {
        let update_options = UpdateOptions::new(None, None, Some(Noise { eta: 1.0, gamma: 0.0 }), None);
        let around = update_options.at::<f32>(0, Some(DRAW), None);
        let mut whole = vec![0.5_f32; 1000];
        let mut parts = whole.clone();
        around.gradient(&mut whole, 7);
        for (start, end) in [(0, 1), (1, 258), (258, 515), (515, 1000)] {
            around.gradient(&mut parts[start..end], 7 + start);
        }
        assert_eq!(whole, parts);
    }

    #[test]
    fn rows_are_shortened_and_short_ones_left_alone() {
        let mut param = [3.0, 4.0, 0.3, 0.4];
        limit_rows(&mut param, 2, 2.0);
        assert!((param[0] - 1.2).abs() < 1e-6 && (param[1] - 1.6).abs() < 1e-6, "{param:?}");
        assert_eq!(param[2..], [0.3, 0.4]);
    }

    #[test]
    fn an_average_begins_at_the_first_new_values() {
        let update_options = UpdateOptions::new(None, None, None, Some(0.9));
        let mut average = [100.0];
        update_options.at(0, None, None).average(&[2.0], &mut average);
        update_options.at(1, None, None).average(&[3.0], &mut average);
        assert!((average[0] - 2.1_f64).abs() < 1e-15);
    }

    #[test]
    fn a_norm_that_is_nan_makes_nan() {
        let update_options = UpdateOptions::new(None, Some(1.0), None, None);
        let mut grad = [1.0_f32];
        update_options.at(0, None, Some(f64::NAN)).gradient(&mut grad, 0);
        assert!(grad[0].is_nan());
    }
}

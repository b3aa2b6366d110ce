//! Rprop: every element has a step size of its own, and only the sign of its gradient counts.
//!
//! Source: Riedmiller & Braun 1993, <https://doi.org/10.1109/ICNN.1993.298623>, in the form without backtracking that
//! Igel & Hüsken 2000 call iRprop⁻, as in PyTorch. For whole batches: the noise of small ones turns signs round.

use super::{Check, Gradient, Scalars, Settings, Update, show, sign};
use crate::{Float, Result, simd};

/// Settings of Rprop. For every element:
///
/// ```text
/// g ← ±∂                                                 (− to maximize)
/// s ← clamp(s · (η⁺ if g·p > 0; η⁻ if g·p < 0; else 1))  (from lr)
/// g ← 0 if g·p < 0
/// θ ← θ − s · sign(g)
/// p ← g
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rprop {
    /// Start of every step size, at least 0.
    pub lr: f64,
    /// η⁻ and η⁺: factors of the step size after a change of sign and without one, in (0, 1) and above 1.
    pub etas: (f64, f64),
    /// The least and the greatest step size.
    pub step_sizes: (f64, f64),
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for Rprop {
    fn default() -> Self {
        Self { lr: 1e-2, etas: (0.5, 1.2), step_sizes: (1e-6, 50.0), maximize: false }
    }
}

impl Settings for Rprop {
    type Step<T: Float> = RpropStep<T>;

    const NAME: &'static str = "Rprop";

    fields!(lr, etas, step_sizes, maximize);

    fn state_names(&self) -> &'static [&'static str] {
        &["prev", "step_size"]
    }

    fn initial_state(&self, index: usize) -> f64 {
        if index == 1 { self.lr } else { 0.0 }
    }

    fn validate(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.at_least_0("lr", self.lr)?;
        let (minus, plus) = self.etas;
        check.that(0.0 < minus && minus < 1.0 && 1.0 < plus, || {
            format!("etas[0] in (0, 1) and etas[1] above 1; got {} and {}", show(minus), show(plus))
        })?;
        check.number("step_sizes[0]", self.step_sizes.0)?;
        check.number("step_sizes[1]", self.step_sizes.1)
    }

    fn at<T: Float>(&self, _t: u64, _scalars: Scalars) -> RpropStep<T> {
        RpropStep {
            gradient: Gradient::new(0.0, self.maximize),
            minus: T::from_f64(self.etas.0),
            plus: T::from_f64(self.etas.1),
            least: T::from_f64(self.step_sizes.0),
            greatest: T::from_f64(self.step_sizes.1),
        }
    }
}

/// The scalars of one step of Rprop.
#[derive(Clone, Copy, Debug)]
pub struct RpropStep<T> {
    gradient: Gradient<T>,
    minus: T,
    plus: T,
    least: T,
    greatest: T,
}

impl<T: Float> RpropStep<T> {
    /// Written so that NaN stays.
    #[inline(always)]
    fn clamp(self, size: T) -> T {
        let size = if size < self.least { self.least } else { size };
        if size > self.greatest { self.greatest } else { size }
    }
}

impl<T: Float> Update<T> for RpropStep<T> {
    #[inline]
    fn update(&self, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let [prev, step_size] = state else { panic!("Rprop: prev and step_size are its state") };
        rprop(*self, param, grad, prev, step_size);
    }
}

simd! {
    fn rprop<T: Float>(step: RpropStep<T>, param: &mut [T], grad: &[T], prev: &mut [T], step_size: &mut [T]) {
        for (((param, &grad), prev), step_size) in param.iter_mut().zip(grad).zip(prev).zip(step_size) {
            let grad = step.gradient.of(grad, *param);
            let agreement = sign(grad * *prev);
            let factor = if agreement > T::ZERO {
                step.plus
            } else if agreement < T::ZERO {
                step.minus
            } else {
                // 1 for 0, and NaN for NaN.
                agreement + T::ONE
            };
            *step_size = step.clamp(*step_size * factor);
            let grad = if agreement < T::ZERO { T::ZERO } else { grad };
            *param = (-*step_size).mul_add(sign(grad), *param);
            *prev = grad;
        }
    }
}

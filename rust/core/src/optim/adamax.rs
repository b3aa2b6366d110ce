//! Adamax: Adam whose second moment is a decaying maximum.
//!
//! Source: Kingma & Ba 2015, Algorithm 2, <https://arxiv.org/abs/1412.6980>, which has no ε.

use super::{Check, Gradient, Lerp, Scalars, Settings, Update};
use crate::{Float, Result, simd};

/// Settings of Adamax. For every element, at step t:
///
/// ```text
/// g ← ±∂ + weight_decay · θ                              (− to maximize)
/// m ← β₁·m + (1 − β₁)·g
/// u ← max(β₂·u, |g| + eps)
/// θ ← θ − lr / (1 − β₁ᵗ) · m / u
/// ```
///
/// ε stands inside the maximum, as in PyTorch; Keras adds it to u when dividing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adamax {
    /// Step size, at least 0.
    pub lr: f64,
    /// β₁ and β₂: the share of the average that is kept, and of the maximum; in [0, 1).
    pub betas: (f64, f64),
    /// Added to the size of the gradient, at least 0.
    pub eps: f64,
    /// Factor of the L2 penalty's gradient, at least 0.
    pub weight_decay: f64,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for Adamax {
    fn default() -> Self {
        Self { lr: 2e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, maximize: false }
    }
}

impl Settings for Adamax {
    type Step<T: Float> = AdamaxStep<T>;

    const NAME: &'static str = "Adamax";

    fields!(lr, betas, eps, weight_decay, maximize);

    fn state_names(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_inf"]
    }

    fn validate(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.at_least_0("lr", self.lr)?;
        check.at_least_0("eps", self.eps)?;
        check.share("betas[0]", self.betas.0)?;
        check.share("betas[1]", self.betas.1)?;
        check.at_least_0("weight_decay", self.weight_decay)
    }

    fn at<T: Float>(&self, t: u64, _scalars: Scalars) -> AdamaxStep<T> {
        let (beta1, beta2) = self.betas;
        AdamaxStep {
            gradient: Gradient::new(self.weight_decay, self.maximize),
            first: Lerp::new(beta1),
            keep: T::from_f64(beta2),
            eps: T::from_f64(self.eps),
            minus_lr: T::from_f64(-self.lr / (1.0 - libm::pow(beta1, t as f64))),
        }
    }
}

/// The scalars of one step of Adamax.
#[derive(Clone, Copy, Debug)]
pub struct AdamaxStep<T> {
    gradient: Gradient<T>,
    first: Lerp<T>,
    keep: T,
    eps: T,
    minus_lr: T,
}

impl<T: Float> Update<T> for AdamaxStep<T> {
    #[inline]
    fn update(&self, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let [exp_avg, exp_inf] = state else { panic!("Adamax: exp_avg and exp_inf are its state") };
        adamax(*self, param, grad, exp_avg, exp_inf);
    }
}

simd! {
    fn adamax<T: Float>(step: AdamaxStep<T>, param: &mut [T], grad: &[T], exp_avg: &mut [T], exp_inf: &mut [T]) {
        for (((param, &grad), exp_avg), exp_inf) in param.iter_mut().zip(grad).zip(exp_avg).zip(exp_inf) {
            let grad = step.gradient.of(grad, *param);
            *exp_avg = step.first.of(*exp_avg, grad);
            let (old, new) = (step.keep * *exp_inf, grad.abs() + step.eps);
            // A NaN on either side stays.
            *exp_inf = if old > new || old.is_nan() { old } else { new };
            *param = step.minus_lr.mul_add(*exp_avg / *exp_inf, *param);
        }
    }
}

//! `RAdam`: Adam that divides by the second moment only once that is known well enough.
//!
//! Source: Liu et al. 2020, Algorithm 2, <https://arxiv.org/abs/1908.03265>. As in PyTorch, rectification begins above
//! ρ = 5; the paper's begins above 4.

use super::{Check, Gradient, Lerp, Scalars, Settings, SquareAverage, Update, decay};
use crate::{Float, Result, simd};

/// Settings of `RAdam`. For every element, at step t:
///
/// ```text
/// θ ← θ · (1 − lr · weight_decay)                        (if decoupled)
/// g ← ±∂ + weight_decay · θ                              (− to maximize; without decay if decoupled)
/// m ← β₁·m + (1 − β₁)·g
/// v ← β₂·v + (1 − β₂)·g²
/// ρ∞ = 2 / (1 − β₂) − 1,  ρ = ρ∞ − 2t·β₂ᵗ / (1 − β₂ᵗ)
/// r = √((ρ − 4)(ρ − 2)ρ∞ / ((ρ∞ − 4)(ρ∞ − 2)ρ))
/// θ ← θ − lr · m / (1 − β₁ᵗ) · (r · √(1 − β₂ᵗ) / (√v + eps) if ρ > 5, else 1)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RAdam {
    /// Step size, at least 0.
    pub lr: f64,
    /// β₁ and β₂: the shares of the two averages that are kept, in [0, 1).
    pub betas: (f64, f64),
    /// Added outside the root, at least 0.
    pub eps: f64,
    /// Strength of the weight decay, at least 0.
    pub weight_decay: f64,
    /// Decay the parameter itself, not by way of the gradient.
    pub decoupled_weight_decay: bool,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for RAdam {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

impl RAdam {
    /// Factor of a rectified step; None for a step that does not divide.
    fn rectification(&self, t: u64) -> Option<f64> {
        let (t, beta2) = (t as f64, self.betas.1);
        let power = libm::pow(beta2, t);
        let most = 2.0 / (1.0 - beta2) - 1.0;
        let length = most - 2.0 * t * power / (1.0 - power);
        (length > 5.0).then(|| {
            let ratio = (length - 4.0) * (length - 2.0) * most / ((most - 4.0) * (most - 2.0) * length);
            (ratio * (1.0 - power)).sqrt()
        })
    }
}

impl Settings for RAdam {
    type Step<T: Float> = RAdamStep<T>;

    const NAME: &'static str = "RAdam";

    fields!(lr, betas, eps, weight_decay, decoupled_weight_decay, maximize);

    fn state_names(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn validate(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.at_least_0("lr", self.lr)?;
        check.at_least_0("eps", self.eps)?;
        check.share("betas[0]", self.betas.0)?;
        check.share("betas[1]", self.betas.1)?;
        check.at_least_0("weight_decay", self.weight_decay)
    }

    fn at<T: Float>(&self, t: u64, _scalars: Scalars) -> RAdamStep<T> {
        let (beta1, beta2) = self.betas;
        let rectification = self.rectification(t);
        let (l2, shrink) = decay(self.weight_decay, self.lr, self.decoupled_weight_decay);
        RAdamStep {
            gradient: Gradient::new(l2, self.maximize),
            shrink: T::from_f64(shrink),
            first: Lerp::new(beta1),
            second: SquareAverage::new(beta2, self.eps),
            eps: T::from_f64(self.eps),
            divides: rectification.is_some(),
            minus_lr: T::from_f64(-self.lr / (1.0 - libm::pow(beta1, t as f64)) * rectification.unwrap_or(1.0)),
        }
    }
}

/// The scalars of one step of `RAdam`.
#[derive(Clone, Copy, Debug)]
pub struct RAdamStep<T> {
    gradient: Gradient<T>,
    shrink: T,
    first: Lerp<T>,
    second: SquareAverage<T>,
    eps: T,
    divides: bool,
    minus_lr: T,
}

impl<T: Float> Update<T> for RAdamStep<T> {
    #[inline]
    fn update(&self, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let [exp_avg, exp_avg_sq] = state else { panic!("RAdam: exp_avg and exp_avg_sq are its state") };
        radam(*self, param, grad, exp_avg, exp_avg_sq);
    }
}

simd! {
    fn radam<T: Float>(step: RAdamStep<T>, param: &mut [T], grad: &[T], exp_avg: &mut [T], exp_avg_sq: &mut [T]) {
        for (((param, &grad), exp_avg), exp_avg_sq) in param.iter_mut().zip(grad).zip(exp_avg).zip(exp_avg_sq) {
            let shrunk = step.shrink * *param;
            let grad = step.gradient.of(grad, shrunk);
            *exp_avg = step.first.of(*exp_avg, grad);
            *exp_avg_sq = step.second.of(*exp_avg_sq, grad);
            let direction = if step.divides { *exp_avg / (exp_avg_sq.sqrt() + step.eps) } else { *exp_avg };
            *param = step.minus_lr.mul_add(direction, shrunk);
        }
    }
}

//! `NAdam`: Adam with Nesterov's momentum.
//!
//! Source: Dozat 2016, Algorithm 2, <https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ>, with the momentum's warm-up
//! from its section 3; decoupled weight decay is Loshchilov & Hutter 2019, <https://arxiv.org/abs/1711.05101>.

use super::{Check, Gradient, Lerp, Scalars, Settings, SquareAverage, Update, decay};
use crate::{Float, Result, simd};

/// Settings of `NAdam`. For every element, at step t:
///
/// ```text
/// μₜ = β₁ · (1 − ½ · 0.96^(t · momentum_decay))
/// Π ← Π · μₜ                                             (from 1)
/// θ ← θ · (1 − lr · weight_decay)                        (if decoupled)
/// g ← ±∂ + weight_decay · θ                              (− to maximize; without decay if decoupled)
/// m ← β₁·m + (1 − β₁)·g
/// v ← β₂·v + (1 − β₂)·g²
/// θ ← θ − lr · (μₜ₊₁ / (1 − Π·μₜ₊₁) · m + (1 − μₜ) / (1 − Π) · g) / (√(v / (1 − β₂ᵗ)) + eps)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NAdam {
    /// Step size, at least 0.
    pub lr: f64,
    /// β₁ and β₂: the shares of the two averages that are kept, in [0, 1).
    pub betas: (f64, f64),
    /// Added outside the root, at least 0.
    pub eps: f64,
    /// Strength of the weight decay, at least 0.
    pub weight_decay: f64,
    /// Speed at which μ grows from half of β₁ to β₁, at least 0.
    pub momentum_decay: f64,
    /// Decay the parameter itself, not by way of the gradient.
    pub decoupled_weight_decay: bool,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for NAdam {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            momentum_decay: 4e-3,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

impl NAdam {
    fn mu(&self, t: u64) -> f64 {
        self.betas.0 * (1.0 - 0.5 * libm::pow(0.96, t as f64 * self.momentum_decay))
    }
}

impl Settings for NAdam {
    type Step<T: Float> = NAdamStep<T>;

    const NAME: &'static str = "NAdam";
    const SCALARS: &'static [&'static str] = &["mu_product"];

    fields!(lr, betas, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize);

    fn state_names(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn validate(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.at_least_0("lr", self.lr)?;
        check.at_least_0("eps", self.eps)?;
        check.share("betas[0]", self.betas.0)?;
        check.share("betas[1]", self.betas.1)?;
        check.at_least_0("weight_decay", self.weight_decay)?;
        check.at_least_0("momentum_decay", self.momentum_decay)
    }

    fn initial_scalars(&self) -> Scalars {
        [1.0, 0.0]
    }

    fn scalars_after(&self, t: u64, [mu_product, _]: Scalars) -> Scalars {
        [mu_product * self.mu(t), 0.0]
    }

    fn at<T: Float>(&self, t: u64, scalars: Scalars) -> NAdamStep<T> {
        let (beta1, beta2) = self.betas;
        let [mu_product, _] = self.scalars_after(t, scalars);
        let mu_next = self.mu(t + 1);
        let (l2, shrink) = decay(self.weight_decay, self.lr, self.decoupled_weight_decay);
        NAdamStep {
            gradient: Gradient::new(l2, self.maximize),
            shrink: T::from_f64(shrink),
            first: Lerp::new(beta1),
            second: SquareAverage::new(beta2, self.eps),
            root_scale: T::from_f64(1.0 / (1.0 - libm::pow(beta2, t as f64)).sqrt()),
            eps: T::from_f64(self.eps),
            of_grad: T::from_f64(-self.lr * (1.0 - self.mu(t)) / (1.0 - mu_product)),
            of_mean: T::from_f64(-self.lr * mu_next / (1.0 - mu_product * mu_next)),
        }
    }
}

/// The scalars of one step of `NAdam`.
#[derive(Clone, Copy, Debug)]
pub struct NAdamStep<T> {
    gradient: Gradient<T>,
    shrink: T,
    first: Lerp<T>,
    second: SquareAverage<T>,
    root_scale: T,
    eps: T,
    of_grad: T,
    of_mean: T,
}

impl<T: Float> Update<T> for NAdamStep<T> {
    #[inline]
    fn update(&self, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let [exp_avg, exp_avg_sq] = state else { panic!("NAdam: exp_avg and exp_avg_sq are its state") };
        nadam(*self, param, grad, exp_avg, exp_avg_sq);
    }
}

simd! {
    fn nadam<T: Float>(step: NAdamStep<T>, param: &mut [T], grad: &[T], exp_avg: &mut [T], exp_avg_sq: &mut [T]) {
        for (((param, &grad), exp_avg), exp_avg_sq) in param.iter_mut().zip(grad).zip(exp_avg).zip(exp_avg_sq) {
            let shrunk = step.shrink * *param;
            let grad = step.gradient.of(grad, shrunk);
            *exp_avg = step.first.of(*exp_avg, grad);
            *exp_avg_sq = step.second.of(*exp_avg_sq, grad);
            let denominator = step.root_scale.mul_add(exp_avg_sq.sqrt(), step.eps);
            let direction = step.of_mean.mul_add(*exp_avg, step.of_grad * grad);
            *param = shrunk + direction / denominator;
        }
    }
}

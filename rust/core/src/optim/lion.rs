//! Lion: steps of one size, in the direction of the sign of a momentum.
//!
//! Source: Chen et al. 2023, Algorithm 2, <https://arxiv.org/abs/2302.06675>.

use super::{Check, Gradient, Lerp, Scalars, Settings, Update, sign};
use crate::{Float, Result, simd};

/// Settings of Lion. For every element:
///
/// ```text
/// g ← ±∂                                                 (− to maximize)
/// c = β₁·m + (1 − β₁)·g
/// θ ← θ − lr · (sign(c) + weight_decay · θ)
/// m ← β₂·m + (1 − β₂)·g
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lion {
    /// Step size, at least 0. A third to a tenth of AdamW's, says the paper.
    pub lr: f64,
    /// β₁ and β₂: the shares of the momentum that are kept, for the step and for the memory; in [0, 1).
    pub betas: (f64, f64),
    /// Share of the parameter that each step takes away, in units of `lr`; at least 0.
    pub weight_decay: f64,
    /// Climb instead of descend; the decay still decays.
    pub maximize: bool,
}

impl Default for Lion {
    fn default() -> Self {
        Self { lr: 1e-4, betas: (0.9, 0.99), weight_decay: 0.0, maximize: false }
    }
}

impl Settings for Lion {
    type Step<T: Float> = LionStep<T>;

    const NAME: &'static str = "Lion";

    fields!(lr, betas, weight_decay, maximize);

    fn state_names(&self) -> &'static [&'static str] {
        &["exp_avg"]
    }

    fn validate(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.at_least_0("lr", self.lr)?;
        check.share("betas[0]", self.betas.0)?;
        check.share("betas[1]", self.betas.1)?;
        check.at_least_0("weight_decay", self.weight_decay)
    }

    fn at<T: Float>(&self, _t: u64, _scalars: Scalars) -> LionStep<T> {
        LionStep {
            gradient: Gradient::new(0.0, self.maximize),
            shrink: T::from_f64(1.0 - self.lr * self.weight_decay),
            ahead: Lerp::new(self.betas.0),
            memory: Lerp::new(self.betas.1),
            minus_lr: T::from_f64(-self.lr),
        }
    }
}

/// The scalars of one step of Lion.
#[derive(Clone, Copy, Debug)]
pub struct LionStep<T> {
    gradient: Gradient<T>,
    shrink: T,
    ahead: Lerp<T>,
    memory: Lerp<T>,
    minus_lr: T,
}

impl<T: Float> Update<T> for LionStep<T> {
    #[inline]
    fn update(&self, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let [exp_avg] = state else { panic!("Lion: exp_avg is its state") };
        lion(*self, param, grad, exp_avg);
    }
}

simd! {
    fn lion<T: Float>(step: LionStep<T>, param: &mut [T], grad: &[T], exp_avg: &mut [T]) {
        for ((param, &grad), exp_avg) in param.iter_mut().zip(grad).zip(exp_avg) {
            let grad = step.gradient.of(grad, *param);
            let direction = sign(step.ahead.of(*exp_avg, grad));
            *param = step.minus_lr.mul_add(direction, step.shrink * *param);
            *exp_avg = step.memory.of(*exp_avg, grad);
        }
    }
}

//! Adagrad: steps that shrink with the sum of the squared gradients so far.
//!
//! Source: Duchi, Hazan & Singer 2011, <https://jmlr.org/papers/v12/duchi11a.html>, the diagonal form.

use super::{Check, Gradient, Scalars, Settings, Update};
use crate::{Float, Result, simd};

/// Settings of Adagrad. For every element, at step t:
///
/// ```text
/// g ← ±∂ + weight_decay · θ                              (− to maximize)
/// s ← s + g²
/// θ ← θ − lr / (1 + (t − 1) · lr_decay) · g / (√s + eps)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adagrad {
    /// Step size, at least 0.
    pub lr: f64,
    /// Decay of the step size itself, at least 0.
    pub lr_decay: f64,
    /// Factor of the L2 penalty's gradient, at least 0.
    pub weight_decay: f64,
    /// Start of the sum, at least 0.
    pub initial_accumulator_value: f64,
    /// Added outside the root, at least 0.
    pub eps: f64,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for Adagrad {
    fn default() -> Self {
        Self { lr: 1e-2, lr_decay: 0.0, weight_decay: 0.0, initial_accumulator_value: 0.0, eps: 1e-10, maximize: false }
    }
}

impl Settings for Adagrad {
    type Step<T: Float> = AdagradStep<T>;

    const NAME: &'static str = "Adagrad";

    fields!(lr, lr_decay, weight_decay, initial_accumulator_value, eps, maximize);

    fn state_names(&self) -> &'static [&'static str] {
        &["sum"]
    }

    fn initial_state(&self, _index: usize) -> f64 {
        self.initial_accumulator_value
    }

    fn validate(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.at_least_0("lr", self.lr)?;
        check.at_least_0("lr_decay", self.lr_decay)?;
        check.at_least_0("weight_decay", self.weight_decay)?;
        check.at_least_0("initial_accumulator_value", self.initial_accumulator_value)?;
        check.at_least_0("eps", self.eps)
    }

    fn at<T: Float>(&self, t: u64, _scalars: Scalars) -> AdagradStep<T> {
        AdagradStep {
            gradient: Gradient::new(self.weight_decay, self.maximize),
            minus_lr: T::from_f64(-self.lr / (1.0 + (t - 1) as f64 * self.lr_decay)),
            eps: T::from_f64(self.eps),
        }
    }
}

/// The scalars of one step of Adagrad.
#[derive(Clone, Copy, Debug)]
pub struct AdagradStep<T> {
    gradient: Gradient<T>,
    minus_lr: T,
    eps: T,
}

impl<T: Float> Update<T> for AdagradStep<T> {
    #[inline]
    fn update(&self, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let [sum] = state else { panic!("Adagrad: sum is its state") };
        adagrad(*self, param, grad, sum);
    }
}

simd! {
    fn adagrad<T: Float>(step: AdagradStep<T>, param: &mut [T], grad: &[T], sum: &mut [T]) {
        for ((param, &grad), sum) in param.iter_mut().zip(grad).zip(sum) {
            let grad = step.gradient.of(grad, *param);
            *sum = grad.mul_add(grad, *sum);
            *param = step.minus_lr.mul_add(grad / (sum.sqrt() + step.eps), *param);
        }
    }
}

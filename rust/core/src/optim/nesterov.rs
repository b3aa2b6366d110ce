//! Nesterov: momentum whose gradient was taken at the point that the momentum alone would reach.
//!
//! Source: Nesterov 1983, in the form of Sutskever et al. 2013, equations 3 and 4,
//! <https://proceedings.mlr.press/v28/sutskever13.html>, with `lr` outside the velocity.

use super::{Check, Floor, Gradient, Scalars, Settings, Update};
use crate::{Float, Result, simd};

/// Settings of Nesterov's momentum. For every element, ∂ being the gradient at the look-ahead point a:
///
/// ```text
/// a = θ − lr · momentum · v                              (v from 0)
/// g ← ±∂ + weight_decay · a                              (− to maximize)
/// v ← momentum · v + g
/// θ ← θ − lr · v
/// ```
///
/// The caller goes to a, computes the gradient, and comes back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nesterov {
    /// Step size, at least 0.
    pub lr: f64,
    /// Share of the velocity that is kept, at least 0.
    pub momentum: f64,
    /// Factor of the L2 penalty's gradient, at least 0.
    pub weight_decay: f64,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for Nesterov {
    fn default() -> Self {
        Self { lr: 1e-3, momentum: 0.9, weight_decay: 0.0, maximize: false }
    }
}

impl Settings for Nesterov {
    type Step<T: Float> = NesterovStep<T>;

    const NAME: &'static str = "Nesterov";

    fields!(lr, momentum, weight_decay, maximize);

    fn state_names(&self) -> &'static [&'static str] {
        &["momentum_buffer"]
    }

    fn validate(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.at_least_0("lr", self.lr)?;
        check.at_least_0("momentum", self.momentum)?;
        check.at_least_0("weight_decay", self.weight_decay)
    }

    fn at<T: Float>(&self, _t: u64, _scalars: Scalars) -> NesterovStep<T> {
        NesterovStep {
            gradient: Gradient::new(self.weight_decay, self.maximize),
            momentum: T::from_f64(self.momentum),
            floor: Floor::new(),
            minus_ahead: T::from_f64(-self.lr * self.momentum),
            minus_lr: T::from_f64(-self.lr),
        }
    }
}

/// The scalars of one step of Nesterov's momentum.
#[derive(Clone, Copy, Debug)]
pub struct NesterovStep<T> {
    gradient: Gradient<T>,
    momentum: T,
    floor: Floor<T>,
    minus_ahead: T,
    minus_lr: T,
}

impl<T: Float> Update<T> for NesterovStep<T> {
    #[inline]
    fn update(&self, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let [buffer] = state else { panic!("Nesterov: momentum_buffer is its state") };
        nesterov(*self, param, grad, buffer);
    }
}

simd! {
    fn nesterov<T: Float>(step: NesterovStep<T>, param: &mut [T], grad: &[T], buffer: &mut [T]) {
        for ((param, &grad), buffer) in param.iter_mut().zip(grad).zip(buffer) {
            let grad = step.gradient.of(grad, step.minus_ahead.mul_add(*buffer, *param));
            *buffer = step.floor.of(step.momentum.mul_add(*buffer, grad));
            *param = step.minus_lr.mul_add(*buffer, *param);
        }
    }
}

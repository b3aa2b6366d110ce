//! Adadelta: steps in the units of the parameter, from two moving averages of squares.
//!
//! Source: Zeiler 2012, Algorithm 1, <https://arxiv.org/abs/1212.5701>, which has no `lr`.

use super::{Check, Gradient, Scalars, Settings, SquareAverage, Update};
use crate::{Float, Result, simd};

/// Settings of Adadelta. For every element:
///
/// ```text
/// g ← ±∂ + weight_decay · θ                              (− to maximize)
/// v ← rho · v + (1 − rho) · g²
/// d ← √(u + eps) / √(v + eps) · g
/// u ← rho · u + (1 − rho) · d²
/// θ ← θ − lr · d
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adadelta {
    /// Factor of the step, at least 0.
    pub lr: f64,
    /// Share of both averages that is kept, in [0, 1].
    pub rho: f64,
    /// Added inside both roots, at least 0.
    pub eps: f64,
    /// Factor of the L2 penalty's gradient, at least 0.
    pub weight_decay: f64,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for Adadelta {
    fn default() -> Self {
        Self { lr: 1.0, rho: 0.9, eps: 1e-6, weight_decay: 0.0, maximize: false }
    }
}

impl Settings for Adadelta {
    type Step<T: Float> = AdadeltaStep<T>;

    const NAME: &'static str = "Adadelta";

    fields!(lr, rho, eps, weight_decay, maximize);

    fn state_names(&self) -> &'static [&'static str] {
        &["square_avg", "acc_delta"]
    }

    fn validate(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.at_least_0("lr", self.lr)?;
        check.that((0.0..=1.0).contains(&self.rho), || format!("rho in [0, 1]; got {}", super::show(self.rho)))?;
        check.at_least_0("eps", self.eps)?;
        check.at_least_0("weight_decay", self.weight_decay)
    }

    fn at<T: Float>(&self, _t: u64, _scalars: Scalars) -> AdadeltaStep<T> {
        AdadeltaStep {
            gradient: Gradient::new(self.weight_decay, self.maximize),
            average: SquareAverage::new(self.rho, self.eps),
            eps: T::from_f64(self.eps),
            minus_lr: T::from_f64(-self.lr),
        }
    }
}

/// The scalars of one step of Adadelta.
#[derive(Clone, Copy, Debug)]
pub struct AdadeltaStep<T> {
    gradient: Gradient<T>,
    average: SquareAverage<T>,
    eps: T,
    minus_lr: T,
}

impl<T: Float> Update<T> for AdadeltaStep<T> {
    #[inline]
    fn update(&self, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let [square_avg, acc_delta] = state else { panic!("Adadelta: square_avg and acc_delta are its state") };
        adadelta(*self, param, grad, square_avg, acc_delta);
    }
}

simd! {
    fn adadelta<T: Float>(
        step: AdadeltaStep<T>,
        param: &mut [T],
        grad: &[T],
        square_avg: &mut [T],
        acc_delta: &mut [T],
    ) {
        for (((param, &grad), square_avg), acc_delta) in param.iter_mut().zip(grad).zip(square_avg).zip(acc_delta) {
            let grad = step.gradient.of(grad, *param);
            *square_avg = step.average.of(*square_avg, grad);
            // One root of the quotient costs less than the quotient of two roots, and rounds less.
            let delta = ((*acc_delta + step.eps) / (*square_avg + step.eps)).sqrt() * grad;
            *acc_delta = step.average.of(*acc_delta, delta);
            *param = step.minus_lr.mul_add(delta, *param);
        }
    }
}

//! ASGD: gradient descent that also keeps the average of the parameters it went through.
//!
//! Source: Polyak & Juditsky 1992, <https://doi.org/10.1137/0330046>, with the decaying rate of Bottou's implementation,
//! Xu 2011, <https://arxiv.org/abs/1107.2490>.

use super::{Check, Gradient, Scalars, Settings, Update};
use crate::{Float, Result, simd};

/// Settings of ASGD. For every element, at step t:
///
/// ```text
/// g ← ±∂ + weight_decay · θ                              (− to maximize)
/// θ ← θ · (1 − lambd · η) − η · g                        (η from lr)
/// a ← θ if μ = 1, else a + μ · (θ − a)                   (μ from 1)
/// η ← lr / (1 + lambd · lr · t)^alpha
/// μ ← 1 / max(1, t − t0)
/// ```
///
/// η and μ are those of the next step: a change of `lr` acts one step later, as in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asgd {
    /// Step size, at least 0.
    pub lr: f64,
    /// Decay of the parameter and of the step size, at least 0.
    pub lambd: f64,
    /// Power by which the step size falls, at least 0.
    pub alpha: f64,
    /// The step from which on the parameters are averaged.
    pub t0: f64,
    /// Factor of the L2 penalty's gradient, at least 0.
    pub weight_decay: f64,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for Asgd {
    fn default() -> Self {
        Self { lr: 1e-2, lambd: 1e-4, alpha: 0.75, t0: 1e6, weight_decay: 0.0, maximize: false }
    }
}

impl Settings for Asgd {
    type Step<T: Float> = AsgdStep<T>;

    const NAME: &'static str = "ASGD";
    const SCALARS: &'static [&'static str] = &["eta", "mu"];

    fields!(lr, lambd, alpha, t0, weight_decay, maximize);

    fn state_names(&self) -> &'static [&'static str] {
        &["ax"]
    }

    fn validate(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.at_least_0("lr", self.lr)?;
        check.at_least_0("lambd", self.lambd)?;
        check.at_least_0("alpha", self.alpha)?;
        check.number("t0", self.t0)?;
        check.at_least_0("weight_decay", self.weight_decay)
    }

    fn initial_scalars(&self) -> Scalars {
        [self.lr, 1.0]
    }

    fn scalars_after(&self, t: u64, _scalars: Scalars) -> Scalars {
        let t = t as f64;
        [self.lr / libm::pow(1.0 + self.lambd * self.lr * t, self.alpha), 1.0 / (t - self.t0).max(1.0)]
    }

    fn at<T: Float>(&self, _t: u64, [eta, mu]: Scalars) -> AsgdStep<T> {
        AsgdStep {
            gradient: Gradient::new(self.weight_decay, self.maximize),
            keep: T::from_f64(1.0 - self.lambd * eta),
            minus_eta: T::from_f64(-eta),
            mu: T::from_f64(mu),
        }
    }
}

/// The scalars of one step of ASGD.
#[derive(Clone, Copy, Debug)]
pub struct AsgdStep<T> {
    gradient: Gradient<T>,
    keep: T,
    minus_eta: T,
    mu: T,
}

impl<T: Float> Update<T> for AsgdStep<T> {
    #[inline]
    fn update(&self, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        let [ax] = state else { panic!("ASGD: ax is its state") };
        asgd(*self, param, grad, ax);
    }
}

simd! {
    fn asgd<T: Float>(step: AsgdStep<T>, param: &mut [T], grad: &[T], ax: &mut [T]) {
        for ((param, &grad), ax) in param.iter_mut().zip(grad).zip(ax) {
            let grad = step.gradient.of(grad, *param);
            *param = step.minus_eta.mul_add(grad, step.keep * *param);
            *ax = if step.mu == T::ONE { *param } else { step.mu.mul_add(*param - *ax, *ax) };
        }
    }
}

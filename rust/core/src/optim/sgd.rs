//! SGD: stochastic gradient descent, with momentum or without.
//!
//! Source: Sutskever et al. 2013, <https://proceedings.mlr.press/v28/sutskever13.html>, in PyTorch's form: `lr`
//! multiplies the velocity instead of entering it, so that a change of `lr` acts at once. Keras keeps the paper's form.

use super::{Check, Floor, Gradient, Scalars, Settings, Update};
use crate::{Float, Result, simd};

/// Settings of SGD. For every element, at step t:
///
/// ```text
/// g ← ±∂ + weight_decay · θ                              (− to maximize)
/// b ← g at t = 1, then momentum · b + (1 − dampening) · g
/// θ ← θ − lr · (g without momentum; g + momentum · b if nesterov; else b)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Step size, at least 0.
    pub lr: f64,
    /// Share of the velocity that is kept, at least 0; 0 for none, and then there is no state.
    pub momentum: f64,
    /// Share of the gradient that the velocity leaves out, from its second step on.
    pub dampening: f64,
    /// Factor of the L2 penalty's gradient, at least 0.
    pub weight_decay: f64,
    /// Look one step ahead; needs momentum and no dampening.
    pub nesterov: bool,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { lr: 1e-3, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false, maximize: false }
    }
}

impl Settings for Sgd {
    type Step<T: Float> = SgdStep<T>;

    const NAME: &'static str = "SGD";
    const COUNTED: bool = false;

    fields!(lr, momentum, dampening, weight_decay, nesterov, maximize);

    fn state_names(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["momentum_buffer"] }
    }

    fn validate(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.at_least_0("lr", self.lr)?;
        check.at_least_0("momentum", self.momentum)?;
        check.at_least_0("weight_decay", self.weight_decay)?;
        check.number("dampening", self.dampening)?;
        check.that(!self.nesterov || (self.momentum > 0.0 && self.dampening == 0.0), || {
            let (momentum, dampening) = (super::show(self.momentum), super::show(self.dampening));
            format!("momentum above 0 and dampening of 0 with nesterov; got {momentum} and {dampening}")
        })
    }

    fn at<T: Float>(&self, t: u64, _scalars: Scalars) -> SgdStep<T> {
        // The first velocity is the gradient itself, undampened.
        let (keep, share) = if t == 1 { (0.0, 1.0) } else { (self.momentum, 1.0 - self.dampening) };
        SgdStep {
            gradient: Gradient::new(self.weight_decay, self.maximize),
            keep: T::from_f64(keep),
            share: T::from_f64(share),
            floor: Floor::new(),
            momentum: T::from_f64(self.momentum),
            nesterov: self.nesterov,
            minus_lr: T::from_f64(-self.lr),
        }
    }
}

/// The scalars of one step of SGD.
#[derive(Clone, Copy, Debug)]
pub struct SgdStep<T> {
    gradient: Gradient<T>,
    keep: T,
    share: T,
    floor: Floor<T>,
    momentum: T,
    nesterov: bool,
    minus_lr: T,
}

impl<T: Float> Update<T> for SgdStep<T> {
    #[inline]
    fn update(&self, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        match state {
            [] => plain(*self, param, grad),
            [buffer] => with_momentum(*self, param, grad, buffer),
            _ => panic!("SGD: momentum_buffer is all its state"),
        }
    }
}

simd! {
    fn plain<T: Float>(step: SgdStep<T>, param: &mut [T], grad: &[T]) {
        for (param, &grad) in param.iter_mut().zip(grad) {
            *param = step.minus_lr.mul_add(step.gradient.of(grad, *param), *param);
        }
    }

    fn with_momentum<T: Float>(step: SgdStep<T>, param: &mut [T], grad: &[T], buffer: &mut [T]) {
        for ((param, &grad), buffer) in param.iter_mut().zip(grad).zip(buffer) {
            let grad = step.gradient.of(grad, *param);
            let velocity = step.floor.of(step.keep.mul_add(*buffer, step.share * grad));
            *buffer = velocity;
            let direction = if step.nesterov { step.momentum.mul_add(velocity, grad) } else { velocity };
            *param = step.minus_lr.mul_add(direction, *param);
        }
    }
}

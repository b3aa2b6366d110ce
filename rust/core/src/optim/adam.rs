//! Adam: steps from moving averages of the gradient and of its square.
//!
//! Source: Kingma & Ba 2015, Algorithm 1, <https://arxiv.org/abs/1412.6980>; `amsgrad` is Reddi, Kale & Kumar 2018,
//! <https://openreview.net/forum?id=ryQu7f-RZ>, with the bias correction that PyTorch applies to the maximum;
//! decoupled weight decay is Loshchilov & Hutter 2019, <https://arxiv.org/abs/1711.05101>.

use super::{Check, Gradient, Lerp, Scalars, Settings, SquareAverage, Update, decay};
use crate::{Float, Result, simd};

/// Settings of Adam. For every element, at step t:
///
/// ```text
/// θ ← θ · (1 − lr · weight_decay)                        (if decoupled)
/// g ← ±∂ + weight_decay · θ                              (− to maximize; without decay if decoupled)
/// m ← β₁·m + (1 − β₁)·g
/// v ← β₂·v + (1 − β₂)·g²
/// w ← max(w, v)                                          (if amsgrad; else w = v)
/// θ ← θ − lr / (1 − β₁ᵗ) · m / (√w / √(1 − β₂ᵗ) + eps)
/// ```
///
/// ε stands outside the corrected root, as in Algorithm 1 and PyTorch; Keras' "epsilon hat" does not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Step size, at least 0.
    pub lr: f64,
    /// β₁ and β₂: the shares of the two averages that are kept, in [0, 1).
    pub betas: (f64, f64),
    /// Added outside the root, at least 0.
    pub eps: f64,
    /// Factor of the L2 penalty's gradient, or the share of the parameter that goes with each step; at least 0.
    pub weight_decay: f64,
    /// Decay the parameter itself, as [`AdamW`](super::AdamW) does.
    pub decoupled_weight_decay: bool,
    /// Divide by the largest second moment so far.
    pub amsgrad: bool,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            amsgrad: false,
            maximize: false,
        }
    }
}

impl Settings for Adam {
    type Step<T: Float> = AdamStep<T>;

    const NAME: &'static str = "Adam";

    fields!(lr, betas, eps, weight_decay, decoupled_weight_decay, amsgrad, maximize);

    fn state_names(&self) -> &'static [&'static str] {
        if self.amsgrad { &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"] } else { &["exp_avg", "exp_avg_sq"] }
    }

    fn validate(&self) -> Result<()> {
        self.validate_as(&Check(Self::NAME))
    }

    fn at<T: Float>(&self, t: u64, _scalars: Scalars) -> AdamStep<T> {
        // In f64: in f32, 1 − β₂ᵗ is off by 1.3e-5 at t = 1.
        let correction = |beta| 1.0 - libm::pow(beta, t as f64);
        let (beta1, beta2) = self.betas;
        let (l2, shrink) = decay(self.weight_decay, self.lr, self.decoupled_weight_decay);
        AdamStep {
            gradient: Gradient::new(l2, self.maximize),
            shrink: T::from_f64(shrink),
            first: Lerp::new(beta1),
            second: SquareAverage::new(beta2, self.eps),
            // Both corrections become factors, which leaves one root and one division an element.
            root_scale: T::from_f64(1.0 / correction(beta2).sqrt()),
            eps: T::from_f64(self.eps),
            minus_lr: T::from_f64(-self.lr / correction(beta1)),
        }
    }
}

impl Adam {
    /// The checks, which AdamW shares.
    pub(super) fn validate_as(&self, check: &Check) -> Result<()> {
        check.at_least_0("lr", self.lr)?;
        check.at_least_0("eps", self.eps)?;
        check.share("betas[0]", self.betas.0)?;
        check.share("betas[1]", self.betas.1)?;
        check.at_least_0("weight_decay", self.weight_decay)
    }
}

/// The scalars of one step of Adam or AdamW.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep<T> {
    gradient: Gradient<T>,
    /// Factor of the parameter: AdamW's decay.
    shrink: T,
    first: Lerp<T>,
    second: SquareAverage<T>,
    root_scale: T,
    eps: T,
    minus_lr: T,
}

impl<T: Float> AdamStep<T> {
    /// Update both moments; returns the shrunk parameter.
    #[inline(always)]
    fn moments(self, param: T, grad: T, exp_avg: &mut T, exp_avg_sq: &mut T) -> T {
        let param = self.shrink * param;
        let grad = self.gradient.of(grad, param);
        *exp_avg = self.first.of(*exp_avg, grad);
        *exp_avg_sq = self.second.of(*exp_avg_sq, grad);
        param
    }

    #[inline(always)]
    fn walk(self, param: T, exp_avg: T, square: T) -> T {
        let denominator = self.root_scale.mul_add(square.sqrt(), self.eps);
        self.minus_lr.mul_add(exp_avg / denominator, param)
    }
}

impl<T: Float> Update<T> for AdamStep<T> {
    #[inline]
    fn update(&self, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        match state {
            [exp_avg, exp_avg_sq] => adam(*self, param, grad, exp_avg, exp_avg_sq),
            [exp_avg, exp_avg_sq, max] => amsgrad(*self, param, grad, exp_avg, exp_avg_sq, max),
            _ => panic!("Adam: exp_avg, exp_avg_sq and max_exp_avg_sq are all its state"),
        }
    }
}

simd! {
    fn adam<T: Float>(step: AdamStep<T>, param: &mut [T], grad: &[T], exp_avg: &mut [T], exp_avg_sq: &mut [T]) {
        for (((param, &grad), exp_avg), exp_avg_sq) in param.iter_mut().zip(grad).zip(exp_avg).zip(exp_avg_sq) {
            let shrunk = step.moments(*param, grad, exp_avg, exp_avg_sq);
            *param = step.walk(shrunk, *exp_avg, *exp_avg_sq);
        }
    }

    fn amsgrad<T: Float>(
        step: AdamStep<T>,
        param: &mut [T],
        grad: &[T],
        exp_avg: &mut [T],
        exp_avg_sq: &mut [T],
        max: &mut [T],
    ) {
        let state = exp_avg.iter_mut().zip(exp_avg_sq).zip(max);
        for ((param, &grad), ((exp_avg, exp_avg_sq), max)) in param.iter_mut().zip(grad).zip(state) {
            let shrunk = step.moments(*param, grad, exp_avg, exp_avg_sq);
            // This way round a NaN in the average reaches the maximum.
            *max = if *max > *exp_avg_sq { *max } else { *exp_avg_sq };
            *param = step.walk(shrunk, *exp_avg, *max);
        }
    }
}

//! AdamW: Adam whose weight decay acts on the parameter, not on the gradient.
//!
//! Source: Loshchilov & Hutter 2019, Algorithm 2, <https://arxiv.org/abs/1711.05101>; as in PyTorch, `lr` multiplies the
//! decay too.

use super::{Adam, AdamStep, Check, Scalars, Settings};
use crate::{Float, Result};

/// Settings of AdamW. For every element, at step t:
///
/// ```text
/// θ ← θ · (1 − lr · weight_decay)
/// θ ← Adam's step without weight decay
/// ```
///
/// A group of parameters may ask for Adam's own decay in its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Step size, at least 0.
    pub lr: f64,
    /// β₁ and β₂: the shares of the two averages that are kept, in [0, 1).
    pub betas: (f64, f64),
    /// Added outside the root, at least 0.
    pub eps: f64,
    /// Share of the parameter that each step takes away, in units of `lr`; at least 0.
    pub weight_decay: f64,
    /// Decay the parameter itself; else it is Adam.
    pub decoupled_weight_decay: bool,
    /// Divide by the largest second moment so far.
    pub amsgrad: bool,
    /// Climb instead of descend; the decay still decays.
    pub maximize: bool,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 1e-2,
            decoupled_weight_decay: true,
            amsgrad: false,
            maximize: false,
        }
    }
}

impl AdamW {
    fn adam(&self) -> Adam {
        let Self { lr, betas, eps, weight_decay, decoupled_weight_decay, amsgrad, maximize } = *self;
        Adam { lr, betas, eps, weight_decay, decoupled_weight_decay, amsgrad, maximize }
    }
}

impl Settings for AdamW {
    type Step<T: Float> = AdamStep<T>;

    const NAME: &'static str = "AdamW";

    fields!(lr, betas, eps, weight_decay, decoupled_weight_decay, amsgrad, maximize);

    fn state_names(&self) -> &'static [&'static str] {
        self.adam().state_names()
    }

    fn validate(&self) -> Result<()> {
        self.adam().validate_as(&Check(Self::NAME))
    }

    fn at<T: Float>(&self, t: u64, scalars: Scalars) -> AdamStep<T> {
        self.adam().at(t, scalars)
    }
}

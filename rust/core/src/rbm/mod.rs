//! Restricted Boltzmann machines: visible units v, hidden units h, and weights between the two kinds only.
//!
//! ```text
//! E(v, h) = −aᵀv − bᵀh − hᵀWv           Bernoulli visible units
//! E(v, h) = ½‖v − a‖² − bᵀh − hᵀWv      Gaussian visible units, of variance 1
//! p(hⱼ = 1 | v) = σ(bⱼ + Wⱼv)
//! p(vᵢ = 1 | h) = σ(aᵢ + Wᵀᵢh)          or v ~ N(a + Wᵀh, 1)
//! ```
//!
//! Learning follows Δ = ⟨h vᵀ⟩ of the data − ⟨h vᵀ⟩ of a Gibbs chain, which k steps have led away from the data
//! (contrastive divergence) or from where the last batch left it (persistent). A chunk of batches is one call; after the
//! first batch nothing is allocated. See `learn` for the stages.
//!
//! Sources: Hinton 2002, "Training products of experts by minimizing contrastive divergence",
//! <https://doi.org/10.1162/089976602760128018>; Tieleman 2008, "Training restricted Boltzmann machines using
//! approximations to the likelihood gradient", <https://doi.org/10.1145/1390156.1390290>; Hinton 2012, "A practical
//! guide to training restricted Boltzmann machines", <https://doi.org/10.1007/978-3-642-35289-8_32>.

mod learn;
mod machine;
#[cfg(test)]
mod tests;

use std::time::Instant;

use crate::element::DType;
use crate::error::{Error, Result};
use crate::ops::random;
use crate::plan::pace::Pace;
use crate::tensor::{Storage, Tensor};
use crate::{threads, with_float};

/// Kind of the visible units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visible {
    /// 0 or 1; data in between count as probabilities.
    Bernoulli,
    /// Any number, with variance 1 given the hidden units.
    Gaussian,
}

/// Settings of learning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Kind of the visible units.
    pub visible: Visible,
    /// Gibbs steps a batch, at least 1.
    pub k: usize,
    /// True if the chain goes on from batch to batch, instead of starting at the data.
    pub persistent: bool,
    /// True if the visible units of the chain are drawn, instead of set to their means.
    pub sample_visible: bool,
    /// Step size.
    pub lr: f64,
    /// Share of the last step that is taken again.
    pub momentum: f64,
    /// Factor of the L2 penalty's gradient; on weights only.
    pub weight_decay: f64,
    /// Target of the hidden units' mean activity.
    pub sparsity_target: f64,
    /// Strength of that penalty; 0 for none.
    pub sparsity_cost: f64,
    /// Share of the old in the running mean of the activity.
    pub sparsity_decay: f64,
}

/// Parameters of a machine. All are contiguous and of one dtype.
#[derive(Clone, Debug)]
pub struct State {
    /// W, (hidden × visible).
    pub weight: Tensor,
    /// a.
    pub visible_bias: Tensor,
    /// b.
    pub hidden_bias: Tensor,
    /// The last step of each of the three, for momentum.
    pub weight_step: Tensor,
    /// See [`weight_step`](Self::weight_step).
    pub visible_step: Tensor,
    /// See [`weight_step`](Self::weight_step).
    pub hidden_step: Tensor,
    /// Running mean of each hidden unit's probability, for sparsity.
    pub activity: Tensor,
    /// The hidden units of the persistent chains, (hidden × chains).
    pub chains: Tensor,
}

impl State {
    fn check(&self) -> Result<(usize, usize, DType)> {
        let (shape, dtype) = (self.weight.shape(), self.weight.dtype());
        let (&[hidden, visible], true) = (shape, dtype.is_float()) else {
            return Err(Error::value(format!("RBM: expected weight to be a matrix of floats; got shape {shape:?}")));
        };
        let chains = self.chains.shape().get(1).copied().unwrap_or(0);
        let all = [
            ("weight", &self.weight, &[hidden, visible][..]),
            ("visible_bias", &self.visible_bias, &[visible]),
            ("hidden_bias", &self.hidden_bias, &[hidden]),
            ("weight_step", &self.weight_step, &[hidden, visible]),
            ("visible_step", &self.visible_step, &[visible]),
            ("hidden_step", &self.hidden_step, &[hidden]),
            ("activity", &self.activity, &[hidden]),
            ("chains", &self.chains, &[hidden, chains]),
        ];
        for (name, tensor, shape) in all {
            let writable = tensor.layout().is_contiguous() && tensor.storage().writable();
            if tensor.shape() != shape || tensor.dtype() != dtype || !writable {
                return Err(Error::value(format!(
                    "RBM: expected {name} to be contiguous, writable {dtype} of shape {shape:?}; got {} of shape {:?}",
                    tensor.dtype(),
                    tensor.shape()
                )));
            }
        }
        Ok((hidden, visible, dtype))
    }

    fn changed(&self) {
        for tensor in [&self.weight, &self.visible_bias, &self.hidden_bias, &self.chains] {
            tensor.storage().bump();
        }
    }
}

/// Nanoseconds of work that a thread should have to itself.
const WORK_PER_THREAD: usize = 20_000;

/// The room that a machine works in, kept from call to call.
#[derive(Debug, Default)]
pub struct Rbm {
    arena: Option<Storage>,
    pace: Pace,
}

impl Rbm {
    /// A machine that has no room yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Room for so many bytes.
    fn room(&mut self, bytes: usize) -> *mut u8 {
        if self.arena.as_ref().is_none_or(|arena| arena.bytes() < bytes) {
            self.arena = Some(Storage::alloc(bytes));
        }
        self.arena.as_ref().map_or(std::ptr::null_mut(), Storage::ptr)
    }

    /// Learn from the rows `order` of `x` in batches of `samples`, the last one as long as it is. `errors` takes a number a batch:
    /// the mean squared difference of data and reconstruction, or 0 where the chains persist and there is none.
    ///
    /// Returns how many batches ran. An error that is not finite is the last one, and its batch changes nothing.
    pub fn train(
        &mut self,
        state: &State,
        settings: &Settings,
        x: &Tensor,
        order: &[i64],
        samples: usize,
        errors: &mut [f64],
    ) -> Result<usize> {
        let (hidden, visible, dtype) = state.check()?;
        let rows = check_rows("x", x, visible, dtype)?;
        if samples == 0 || errors.len() != order.len().div_ceil(samples) {
            return Err(Error::value("RBM: expected an error for every batch"));
        }
        if let Some(bad) = order.iter().find(|&&r| r < 0 || r as usize >= rows) {
            return Err(Error::index(format!("RBM: expected row numbers in [0, {rows}); got {bad}")));
        }
        let chains = if settings.persistent { state.chains.shape()[1] } else { samples };
        if chains == 0 || settings.k == 0 {
            return Err(Error::value("RBM: expected at least one chain and one step"));
        }
        let sizes = machine::Sizes { hidden, visible, data: samples, chains };
        let draw = random::reserve(errors.len() as u64);
        let done = with_float!(dtype, T => {
            let arena = self.room(sizes.len() * size_of::<T>());
            let most = (sizes.nanoseconds(settings.k) / WORK_PER_THREAD).clamp(1, threads::num_threads());
            let begun = Instant::now();
            let job = learn::Job { state, settings, sizes, draw };
            let width = self.pace.width(most, begun);
            // SAFETY: the state was checked and the room is ours.
            let (done, size) = unsafe { learn::train::<T>(&job, arena.cast(), x, order, errors, width) };
            if most > 1 {
                self.pace.took(begun, Instant::now(), done as u32, size);
            }
            done
        });
        state.changed();
        Ok(done)
    }

    /// Take `steps` steps of Gibbs sampling from the visible units `v`, (n × visible), which are changed; `mean` takes the
    /// means that the last ones were drawn from.
    pub fn sample(&mut self, state: &State, visible: Visible, v: &Tensor, steps: usize, mean: &Tensor) -> Result<()> {
        let (hidden, width, dtype) = state.check()?;
        let n = check_rows("v", v, width, dtype)?;
        if check_rows("mean", mean, width, dtype)? != n || !v.storage().writable() || !mean.storage().writable() {
            return Err(Error::value("RBM: expected v and mean to be writable and of one shape"));
        }
        let sizes = machine::Sizes { hidden, visible: width, data: n, chains: n };
        let draw = random::reserve(1);
        with_float!(dtype, T => {
            let arena = self.room(sizes.len() * size_of::<T>());
            let most = (sizes.nanoseconds(steps) / WORK_PER_THREAD).clamp(1, threads::num_threads());
            // SAFETY: the state was checked and the room is ours.
            unsafe { machine::sample::<T>(state, visible, sizes, draw, arena.cast(), [v, mean], steps, most) };
        });
        v.storage().bump();
        mean.storage().bump();
        Ok(())
    }
}

/// The number of rows of a contiguous matrix.
fn check_rows(name: &str, x: &Tensor, cols: usize, dtype: DType) -> Result<usize> {
    match *x.shape() {
        [rows, c] if c == cols && x.dtype() == dtype && x.layout().is_contiguous() => Ok(rows),
        _ => Err(Error::value(format!(
            "RBM: expected {name} to be contiguous {dtype} of shape (n, {cols}); got {} of shape {:?}",
            x.dtype(),
            x.shape()
        ))),
    }
}

//! Random permutations.

use smallvec::smallvec;

use super::source::next_shuffle;
use super::{Op, Outputs, Run, apply, at_replay};
use crate::element::DType;
use crate::error::{Error, Result};
use crate::rng::{self, Draw};
use crate::tensor::{Meta, Tensor, View};

/// The numbers 0..n in random order, as int64: no inputs.
#[derive(Clone, Copy, Debug)]
pub struct RandPerm {
    /// Number of entries.
    pub n: usize,
    /// From what they are drawn.
    pub draw: Draw,
}

impl Op for RandPerm {
    fn name(&self) -> &'static str {
        "randperm"
    }

    fn infer(&self, _inputs: &[Meta]) -> Result<Outputs> {
        if u32::try_from(self.n).is_err() {
            return Err(Error::value(format!("randperm: expected n below 2**32; got {}", self.n)));
        }
        Ok(smallvec![Meta::new(&[self.n], DType::I64)])
    }

    fn run(&self, run: &Run<'_>, _inputs: &[View<'_>], outputs: &[View<'_>]) {
        // Every swap depends on those before.
        if run.team.rank() == 0 {
            // SAFETY: one member writes.
            rng::permute(at_replay(self.draw, run), unsafe { outputs[0].part::<i64>(0..self.n) });
        }
    }

    fn draw(&self) -> Option<Draw> {
        Some(self.draw)
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn work(&self, _inputs: &[Meta], _outputs: &[Meta]) -> usize {
        // One thread does it: there is nobody to be woken.
        0
    }
}

/// The numbers 0..n in random order, for shuffling data.
///
/// # Panics
/// If n is 2³² or more.
#[must_use]
pub fn permutation(n: usize) -> Vec<u32> {
    rng::permutation(next_shuffle(), n)
}

/// [`permutation`] as an int64 tensor.
pub fn randperm(n: usize) -> Result<Tensor> {
    apply(RandPerm { n, draw: next_shuffle() }, &[])
}

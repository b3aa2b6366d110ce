//! Sums of blocks, added in double precision.

use super::{BLOCK, tree};
use crate::element::{Float, LANES};

/// Add the sums of a block to those of the blocks before it.
#[inline(always)]
pub(crate) fn join<T: Float, const N: usize>(totals: &mut [f64; N], block: [T; N]) {
    for n in 0..N {
        totals[n] += block[n].to_f64();
    }
}

/// The sums of all blocks.
#[inline(always)]
pub(crate) fn joined<T: Float, const N: usize>(totals: [f64; N]) -> [T; N] {
    let mut sums = [T::ZERO; N];
    for n in 0..N {
        sums[n] = T::from_f64(totals[n]);
    }
    sums
}

/// A sum whose terms come one after another: the bits of [`sum`](super::sum).
#[derive(Clone, Copy, Debug)]
pub struct Running<T> {
    lanes: [T; LANES],
    taken: usize,
    total: f64,
}

impl<T: Float> Default for Running<T> {
    fn default() -> Self {
        Self { lanes: [T::ZERO; LANES], taken: 0, total: 0.0 }
    }
}

impl<T: Float> Running<T> {
    /// Add x.
    #[inline(always)]
    pub fn add(&mut self, x: T) {
        self.step(|sum| sum + x);
    }

    /// Add a·b, rounded once with the sum.
    #[inline(always)]
    pub fn add_product(&mut self, a: T, b: T) {
        self.step(|sum| a.mul_add(b, sum));
    }

    #[inline(always)]
    fn step(&mut self, add: impl Fn(T) -> T) {
        let lane = &mut self.lanes[self.taken % LANES];
        *lane = add(*lane);
        self.taken += 1;
        if self.taken == BLOCK {
            self.join();
        }
    }

    fn join(&mut self) {
        self.total += tree(self.lanes, |a, b| a + b).to_f64();
        (self.lanes, self.taken) = ([T::ZERO; LANES], 0);
    }

    /// The sum.
    #[must_use]
    pub fn total(mut self) -> T {
        self.join();
        T::from_f64(self.total)
    }
}

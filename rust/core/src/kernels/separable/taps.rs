//! Sums over the taps of an output.

use crate::element::{Float, LANES};
use crate::kernels::reduce::{self, tree};
use crate::kernels::vector::Vector;

/// Outputs from which on a sum of neighbors is worth lanes.
const LONG: usize = 16;
/// Taps that are summed one after another.
pub(super) const CHAIN: usize = 32;
/// Enough to add up 2³² taps.
const MOST_LEVELS: usize = 28;

/// Start of a sum: the 0 that changes no product, if there is any.
#[inline(always)]
pub(super) fn empty_sum<T: Float>(at: &[u32]) -> T {
    if at.is_empty() { T::ZERO } else { -T::ZERO }
}

/// Σ weight · input of one output.
#[inline(always)]
pub(super) fn one<T: Float>(line: &[T], at: &[u32], weights: &[T]) -> T {
    let n = at.len();
    if n >= LONG && at[n - 1] as usize == at[0] as usize + n - 1 {
        let mut total = 0.0;
        for (x, w) in line[at[0] as usize..][..n].chunks(reduce::BLOCK).zip(weights.chunks(reduce::BLOCK)) {
            let (chunks, rest) = x.as_chunks::<LANES>();
            let (chunk_weights, rest_weights) = w.as_chunks::<LANES>();
            let mut sums = [T::ZERO; LANES];
            for (x, w) in chunks.iter().zip(chunk_weights) {
                for l in 0..LANES {
                    sums[l] = w[l].mul_add(x[l], sums[l]);
                }
            }
            for ((sum, &x), &w) in sums.iter_mut().zip(rest).zip(rest_weights) {
                *sum = w.mul_add(x, *sum);
            }
            total += tree(sums, |a, b| a + b).to_f64();
        }
        return T::from_f64(total);
    }
    let mut total = -0.0;
    for (at, weights) in at.chunks(CHAIN).zip(weights.chunks(CHAIN)) {
        let mut sum = -T::ZERO;
        for (&at, &w) in at.iter().zip(weights) {
            sum = w.mul_add(line[at as usize], sum);
        }
        total += sum.to_f64();
    }
    if n == 0 { T::ZERO } else { T::from_f64(total) }
}

/// Sums of blocks of [`CHAIN`] taps, added in pairs, then pairs of pairs, so that no chain of additions is long.
pub(super) struct Pairs<V> {
    /// Level i, where bit i of `blocks` is set, has the sum of 2ⁱ blocks.
    levels: [V; MOST_LEVELS],
    blocks: u32,
}

impl<V: Vector> Pairs<V> {
    /// # Safety
    /// Here and below as for [`Vector`].
    #[inline(always)]
    pub(super) unsafe fn new() -> Self {
        // SAFETY: what the caller is asked for.
        Self { levels: unsafe { [V::zero(); MOST_LEVELS] }, blocks: 0 }
    }

    #[inline(always)]
    pub(super) unsafe fn push(&mut self, mut sum: V) {
        let mut level = 0;
        while self.blocks >> level & 1 == 1 {
            // SAFETY: what the caller is asked for.
            sum = unsafe { self.levels[level].add(sum) };
            level += 1;
        }
        self.levels[level] = sum;
        self.blocks += 1;
    }

    /// At least one block.
    #[inline(always)]
    pub(super) unsafe fn total(self) -> V {
        let first = self.blocks.trailing_zeros() as usize;
        let mut sum = self.levels[first];
        for level in (first + 1..MOST_LEVELS).filter(|&level| self.blocks >> level & 1 == 1) {
            // SAFETY: what the caller is asked for.
            sum = unsafe { self.levels[level].add(sum) };
        }
        sum
    }
}

/// Apply `$step` to `$sum`, tap by tap: Σ over the taps `$at` with their `$weights`. (A closure might not be inlined, and
/// would then be without the instructions of its caller.)
macro_rules! over_taps {
    ($v:ty, $at:expr, $weights:expr, |$tap:ident, $weight:ident, $sum:ident| $step:expr) => {{
        let (at, weights) = ($at, $weights);
        let zero = <$v>::splat(empty_sum(at));
        if at.len() <= CHAIN {
            let mut $sum = zero;
            for (&$tap, &$weight) in at.iter().zip(weights) {
                $sum = $step;
            }
            $sum
        } else {
            let mut pairs = $crate::kernels::separable::taps::Pairs::<$v>::new();
            for (at, weights) in at.chunks(CHAIN).zip(weights.chunks(CHAIN)) {
                let mut $sum = zero;
                for (&$tap, &$weight) in at.iter().zip(weights) {
                    $sum = $step;
                }
                pairs.push($sum);
            }
            pairs.total()
        }
    }};
}
pub(super) use over_taps;

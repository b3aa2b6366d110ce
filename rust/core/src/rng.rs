//! Randomness by position: Philox4x32-10.
//!
//! A draw is a pure function of (seed, stream, call, position). No generator state is walked, so a range may be split
//! in any way over threads, a mask can be drawn again in the backward pass, and a run that resumes needs two integers.
//!
//! | Philox input | value |
//! |---|---|
//! | key word 0, 1 | low and high half of `seed` |
//! | counter word 0 | low half of the block index |
//! | counter word 1 | high half of the block index, `^ stream` |
//! | counter word 2, 3 | low and high half of `call` |
//!
//! A block is 128 bits; [`uniform`], [`normal`] and the others say which positions it serves. A block index stays below
//! 2³² (so a draw has at least 2³³ numbers) for streams never to meet.
//!
//! Source: Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3,
//! <https://doi.org/10.1145/2063384.2063405>.

use crate::element::{DType, Float};
use crate::simd;

mod normal;

pub(crate) use normal::of_block as normals;
pub use normal::{add_normal, normal};

/// The multipliers, and the Weyl constants by which the key grows from round to round (paper, section 3.3).
const M0: u64 = 0xD251_1F53;
const M1: u64 = 0xCD9E_8D57;
const W0: u32 = 0x9E37_79B9;
const W1: u32 = 0xBB67_AE85;
const ROUNDS: u32 = 10;
const LOW: u64 = 0xFFFF_FFFF;

/// 2⁻²⁴ and 2⁻⁵³.
const TWO_M24: f64 = 1.0 / 16_777_216.0;
const TWO_M53: f64 = 1.0 / 9_007_199_254_740_992.0;

/// One block of Philox4x32-10, each 32-bit word in the low half of a `u64`; the high halves of what comes back are 0.
///
/// The words are kept that wide because vector units multiply 32 × 32 → 64 bits in 64-bit lanes: a loop over blocks
/// then needs no shuffle.
#[inline(always)]
#[must_use]
pub fn philox_wide(counter: [u64; 4], key: [u32; 2]) -> [u64; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..ROUNDS {
        let product0 = M0 * (c0 & LOW);
        let product1 = M1 * (c2 & LOW);
        // The high halves of c0 and c2 hold rubbish from the xor, which the masks above take away.
        c0 = (product1 >> 32) ^ c1 ^ u64::from(k0);
        c2 = (product0 >> 32) ^ c3 ^ u64::from(k1);
        c1 = product1 & LOW;
        c3 = product0 & LOW;
        k0 = k0.wrapping_add(W0);
        k1 = k1.wrapping_add(W1);
    }
    [c0 & LOW, c1, c2 & LOW, c3]
}

/// Source of one random operation: the numbers at positions 0, 1, 2 … are a pure function of these three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The user's seed.
    pub seed: u64,
    /// Number of an operation that draws within one call: a layer, an epoch's shuffle.
    pub stream: u32,
    /// Number of the call, counted up by [`Generator::next_call`].
    pub call: u64,
}

impl Draw {
    /// The four words of block `index`.
    #[inline(always)]
    #[must_use]
    pub fn block(self, index: u64) -> [u32; 4] {
        self.block_wide(index).map(|word| word as u32)
    }

    /// The same words, each in a `u64`, for loops that are to be vectorized.
    #[inline(always)]
    #[must_use]
    pub fn block_wide(self, index: u64) -> [u64; 4] {
        let counter = [index & LOW, (index >> 32) ^ u64::from(self.stream), self.call & LOW, self.call >> 32];
        philox_wide(counter, [self.seed as u32, (self.seed >> 32) as u32])
    }
}

/// Conversion of a block to N numbers. A trait, because a closure cannot be made to inline, and outside the kernel that is
/// compiled for the machine's instructions every `mul_add` is a call.
trait Numbers<T, const N: usize> {
    fn of(words: [u64; 4]) -> [T; N];
}

/// Fill `out` from blocks, `out[i]` being position `first + i`.
#[inline(always)]
fn fill<T: Float, const N: usize, K: Numbers<T, N>>(_: K, draw: Draw, first: usize, out: &mut [T]) {
    let skip = first % N;
    let mut index = (first / N) as u64;
    let (head, out) = out.split_at_mut(if skip == 0 { 0 } else { (N - skip).min(out.len()) });
    if !head.is_empty() {
        head.copy_from_slice(&K::of(draw.block_wide(index))[skip..skip + head.len()]);
        index += 1;
    }
    let (whole, tail) = out.as_chunks_mut::<N>();
    let last = index + whole.len() as u64;
    for (index, out) in (index..).zip(whole) {
        *out = K::of(draw.block_wide(index));
    }
    if !tail.is_empty() {
        tail.copy_from_slice(&K::of(draw.block_wide(last))[..tail.len()]);
    }
}

/// The 24 high bits of a word, as a number of [0, 1).
#[inline(always)]
fn unit24(word: u64) -> f64 {
    f64::from((word >> 8) as i32) * TWO_M24
}

/// The 53 high bits of two words, the first being the low half.
#[inline(always)]
fn high53(low: u64, high: u64) -> f64 {
    ((low | high << 32) >> 11) as f64
}

struct UniformF32;
impl<T: Float> Numbers<T, 4> for UniformF32 {
    #[inline(always)]
    fn of(w: [u64; 4]) -> [T; 4] {
        [unit24(w[0]), unit24(w[1]), unit24(w[2]), unit24(w[3])].map(T::from_f64)
    }
}

struct UniformF64;
impl<T: Float> Numbers<T, 2> for UniformF64 {
    #[inline(always)]
    fn of(w: [u64; 4]) -> [T; 2] {
        [T::from_f64(high53(w[0], w[1]) * TWO_M53), T::from_f64(high53(w[2], w[3]) * TWO_M53)]
    }
}

simd! {
    /// Uniform numbers of [0, 1): `out[i]` is position `first + i` of the draw.
    ///
    /// ```text
    /// f32: position p ← (word p mod 4 of block p / 4) >> 8, times 2⁻²⁴
    /// f64: position p ← (words 2(p mod 2) and 2(p mod 2) + 1 of block p / 2) >> 11, times 2⁻⁵³
    /// ```
    pub fn uniform<T: Float>(draw: Draw, first: usize, out: &mut [T]) {
        if T::DTYPE == DType::F32 {
            fill(UniformF32, draw, first, out);
        } else {
            fill(UniformF64, draw, first, out);
        }
    }

    /// 1 with probability `p`, else 0: `out[i]` is position `first + i` of the draw.
    ///
    /// Position p is 1 iff word p mod 4 of block p / 4 is below `p · 2³²`, rounded; so 0 and 1 are exact.
    pub fn bernoulli(draw: Draw, p: f64, first: usize, out: &mut [u8]) {
        let below = (p * 4_294_967_296.0).round() as u64;
        let mut block = draw.block_wide((first / 4) as u64);
        for (position, out) in (first..).zip(out) {
            if position.is_multiple_of(4) {
                block = draw.block_wide((position / 4) as u64);
            }
            *out = u8::from(block[position % 4] < below);
        }
    }
}

/// An integer of `0..n`, without bias: Lemire's multiplication on the four words of block `index`.
///
/// A word is refused with probability n / 2³² at most; should all four be, blocks 2³² apart follow, which no other
/// position of this stream uses.
#[inline]
fn below(draw: Draw, n: u32, index: u64) -> u32 {
    let mut retry = 0_u64;
    loop {
        for word in draw.block(index | retry << 32) {
            let product = u64::from(word) * u64::from(n);
            // 2³² mod n, the share to refuse, is below n: the division is seldom needed.
            if product as u32 >= n || product as u32 >= n.wrapping_neg() % n {
                return (product >> 32) as u32;
            }
        }
        retry += 1;
    }
}

/// Fill `out` with a permutation of `0..out.len()`, all being equally likely.
///
/// Fisher–Yates from the end, where element `i` swaps with one of `0..=i` that block `i` chooses.
///
/// # Panics
/// If `out` has 2³² elements or more.
pub fn permute<T: From<u32>>(draw: Draw, out: &mut [T]) {
    let n = u32::try_from(out.len()).expect("a permutation has fewer than 2^32 elements");
    for (i, out) in (0..n).zip(out.iter_mut()) {
        *out = T::from(i);
    }
    for i in (1..n).rev() {
        out.swap(i as usize, below(draw, i + 1, u64::from(i)) as usize);
    }
}

/// A permutation of `0..n`, as [`permute`] writes it.
#[must_use]
pub fn permutation(draw: Draw, n: usize) -> Vec<u32> {
    let mut out = crate::reserve::filled(n, 0);
    permute(draw, &mut out);
    out
}

/// State of a generator: a seed and the number of calls so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generator {
    seed: u64,
    call: u64,
}

impl Generator {
    /// A generator that has not been called.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, call: 0 }
    }

    /// A generator that goes on from a state.
    #[must_use]
    pub const fn at((seed, call): (u64, u64)) -> Self {
        Self { seed, call }
    }

    /// Begin again, from `seed`.
    pub fn manual_seed(&mut self, seed: u64) {
        *self = Self::new(seed);
    }

    /// A draw that has not been given before. `stream` separates operations that share a call number.
    pub fn next_call(&mut self, stream: u32) -> Draw {
        let draw = Draw { seed: self.seed, stream, call: self.call };
        self.call = self.call.wrapping_add(1);
        draw
    }

    /// (seed, call), from which [`Generator::set_state`] goes on exactly.
    #[must_use]
    pub const fn state(&self) -> (u64, u64) {
        (self.seed, self.call)
    }

    /// Go on from a state.
    pub fn set_state(&mut self, state: (u64, u64)) {
        *self = Self::at(state);
    }
}

#[cfg(test)]
mod tests;

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

/// The multipliers, and the Weyl constants by which the key grows from round to round (paper, section 3.3).
const M0: u64 = 0xD251_1F53;
const M1: u64 = 0xCD9E_8D57;
const W0: u32 = 0x9E37_79B9;
const W1: u32 = 0xBB67_AE85;
const ROUNDS: u32 = 10;
const LOW: u64 = 0xFFFF_FFFF;

/// 2⁻²⁴, 2⁻³² and 2⁻⁵³.
const TWO_M24: f64 = 1.0 / 16_777_216.0;
const TWO_M32: f64 = 1.0 / 4_294_967_296.0;
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

/// What one random operation draws from: the numbers at positions 0, 1, 2 … are a pure function of these three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The user's seed.
    pub seed: u64,
    /// Which of the operations that draw within one call: a layer, an epoch's shuffle.
    pub stream: u32,
    /// Which call, counted up by [`Generator::next_call`].
    pub call: u64,
}

impl Draw {
    /// The four words of block `index`.
    #[inline(always)]
    #[must_use]
    pub fn block(self, index: u64) -> [u32; 4] {
        self.block_wide(index).map(|word| word as u32)
    }

    /// The same words, each in a `u64`, for loops that are to be vectorised.
    #[inline(always)]
    #[must_use]
    pub fn block_wide(self, index: u64) -> [u64; 4] {
        let counter = [index & LOW, (index >> 32) ^ u64::from(self.stream), self.call & LOW, self.call >> 32];
        philox_wide(counter, [self.seed as u32, (self.seed >> 32) as u32])
    }
}

/// How a block becomes N numbers. A trait, because a closure cannot be made to inline, and outside the kernel that is
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

/// √(−2 ln u) · (cos 2πv, sin 2πv)
#[inline(always)]
fn box_muller<T: Float>(u: f64, v: f64) -> [T; 2] {
    let radius = (T::from_f64(-2.0) * T::from_f64(u).ln()).sqrt();
    let angle = T::from_f64(std::f64::consts::TAU * v);
    [radius * angle.cos(), radius * angle.sin()]
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

struct NormalF32;
impl<T: Float> Numbers<T, 4> for NormalF32 {
    #[inline(always)]
    fn of(w: [u64; 4]) -> [T; 4] {
        let [a, b] = box_muller((w[0] as f64 + 0.5) * TWO_M32, unit24(w[1]));
        let [c, d] = box_muller((w[2] as f64 + 0.5) * TWO_M32, unit24(w[3]));
        [a, b, c, d]
    }
}

struct NormalF64;
impl<T: Float> Numbers<T, 2> for NormalF64 {
    #[inline(always)]
    fn of(w: [u64; 4]) -> [T; 2] {
        box_muller((high53(w[0], w[1]) + 0.5) * TWO_M53, high53(w[2], w[3]) * TWO_M53)
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

    /// Standard normal numbers: `out[i]` is position `first + i` of the draw.
    ///
    /// A pair of integers gives the pair of positions 2q and 2q + 1:
    ///
    /// ```text
    /// z = √(−2 ln u) · (cos 2πv, sin 2πv)
    /// f32: u = (word + ½) · 2⁻³², v = next word >> 8, times 2⁻²⁴, two pairs a block; |z| ≤ 6.8
    /// f64: u = ((two words >> 11) + ½) · 2⁻⁵³, v = next two >> 11, times 2⁻⁵³, one pair a block; |z| ≤ 8.7
    /// ```
    ///
    /// Source: Box & Muller 1958, <https://doi.org/10.1214/aoms/1177706645>.
    pub fn normal<T: Float>(draw: Draw, first: usize, out: &mut [T]) {
        if T::DTYPE == DType::F32 {
            fill(NormalF32, draw, first, out);
        } else {
            fill(NormalF64, draw, first, out);
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
pub fn permute(draw: Draw, out: &mut [u32]) {
    let n = u32::try_from(out.len()).expect("a permutation has fewer than 2^32 elements");
    for (i, out) in (0..n).zip(out.iter_mut()) {
        *out = i;
    }
    for i in (1..n).rev() {
        out.swap(i as usize, below(draw, i + 1, u64::from(i)) as usize);
    }
}

/// A permutation of `0..n`, as [`permute`] writes it.
#[must_use]
pub fn permutation(draw: Draw, n: usize) -> Vec<u32> {
    let mut out = vec![0; n];
    permute(draw, &mut out);
    out
}

/// Where draws come from: a seed and the number of calls so far.
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
    pub fn set_state(&mut self, (seed, call): (u64, u64)) {
        *self = Self { seed, call };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DRAW: Draw = Draw { seed: 0x1234_5678_9ABC_DEF0, stream: 7, call: 0x1_0000_0003 };

    fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
        philox_wide(counter.map(u64::from), key).map(|word| u32::try_from(word).unwrap())
    }

    /// The known answers that come with the authors' library (`kat_vectors`, philox4x32 10).
    #[test]
    fn known_answers() {
        let ones = u32::MAX;
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8]);
        assert_eq!(philox([ones; 4], [ones; 2]), [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD]);
        assert_eq!(
            philox([0x243F_6A88, 0x85A3_08D3, 0x1319_8A2E, 0x0370_7344], [0xA409_3822, 0x299F_31D0]),
            [0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1]
        );
    }

    /// The table in the module's head.
    #[test]
    fn seed_stream_call_and_block_each_have_their_words() {
        let draw = Draw { seed: 0x1111_1111_2222_2222, stream: 0x3333, call: 0x4444_4444_5555_5555 };
        let expected = philox([0x7777_7777, 0x66 ^ 0x3333, 0x5555_5555, 0x4444_4444], [0x2222_2222, 0x1111_1111]);
        assert_eq!(draw.block(0x66_7777_7777), expected);
    }

    fn check_split<T: Float>(make: impl Fn(usize, &mut [T]), first: usize, len: usize) {
        let mut whole = vec![T::ZERO; first + len];
        make(0, &mut whole);
        let mut part = vec![T::ZERO; len];
        make(first, &mut part);
        assert_eq!(part, whole[first..]);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_numbers(first in 0_usize..40, len in 0_usize..40) {
            check_split::<f32>(|first, out| uniform(DRAW, first, out), first, len);
            check_split::<f64>(|first, out| uniform(DRAW, first, out), first, len);
            check_split::<f32>(|first, out| normal(DRAW, first, out), first, len);
            check_split::<f64>(|first, out| normal(DRAW, first, out), first, len);
            let (mut whole, mut part) = (vec![0; first + len], vec![0; len]);
            bernoulli(DRAW, 0.3, 0, &mut whole);
            bernoulli(DRAW, 0.3, first, &mut part);
            prop_assert_eq!(&part[..], &whole[first..]);
        }

        #[test]
        fn permutation_has_every_index_once(n in 0_usize..300) {
            let mut sorted = permutation(DRAW, n);
            sorted.sort_unstable();
            prop_assert!(sorted.iter().map(|&i| i as usize).eq(0..n));
        }
    }

    /// Mean, variance, third and fourth moment, within five standard errors of n = 2¹⁸ draws.
    fn check_moments<T: Float>(expected: [f64; 4], errors: [f64; 4], make: fn(Draw, usize, &mut [T])) {
        let mut out = vec![T::ZERO; 1 << 18];
        make(DRAW, 0, &mut out);
        for (power, (expected, error)) in (1..).zip(expected.into_iter().zip(errors)) {
            let mean = out.iter().map(|x| x.to_f64().powi(power)).sum::<f64>() / out.len() as f64;
            assert!((mean - expected).abs() < 5.0 * error / 512.0, "moment {power}: {mean}, not {expected}");
        }
    }

    #[test]
    fn moments() {
        // The standard deviation of x^k is √(E x^2k − (E x^k)²).
        let deviation = |k: f64| (1.0 / (2.0 * k + 1.0) - (1.0 / (k + 1.0)).powi(2)).sqrt();
        let errors = [deviation(1.0), deviation(2.0), deviation(3.0), deviation(4.0)];
        check_moments::<f32>([0.5, 1.0 / 3.0, 0.25, 0.2], errors, uniform);
        check_moments::<f64>([0.5, 1.0 / 3.0, 0.25, 0.2], errors, uniform);
        let errors = [1.0, 2.0, 15.0, 96.0].map(f64::sqrt);
        check_moments::<f32>([0.0, 1.0, 0.0, 3.0], errors, normal);
        check_moments::<f64>([0.0, 1.0, 0.0, 3.0], errors, normal);
    }

    #[test]
    fn all_levels_give_the_same_bits() {
        let run = |level| {
            simd::set_level(level);
            let (mut singles, mut doubles) = (vec![0.0_f32; 4099], vec![0.0_f64; 4099]);
            normal(DRAW, 1, &mut singles);
            normal(DRAW, 1, &mut doubles);
            (singles, doubles)
        };
        let portable = run(simd::Level::Portable);
        assert!(portable == run(simd::Level::Avx2));
        assert!(portable == run(simd::Level::Avx512));
    }

    #[test]
    fn uniform_is_below_one_and_uses_all_its_bits() {
        let mut out = vec![0.0_f32; 1 << 16];
        uniform(DRAW, 0, &mut out);
        assert!(out.iter().all(|x| (0.0..1.0).contains(x)));
        assert!(out.iter().any(|x| (x * 16_777_216.0) % 2.0 == 1.0));
        let mut out = vec![0.0_f64; 1 << 16];
        uniform(DRAW, 0, &mut out);
        assert!(out.iter().all(|x| (0.0..1.0).contains(x)));
        assert!(out.iter().any(|x| (x * 9_007_199_254_740_992.0) % 2.0 == 1.0));
    }

    #[test]
    fn bernoulli_keeps_its_rate_and_its_ends() {
        let mut out = vec![0; 1 << 18];
        bernoulli(DRAW, 0.3, 0, &mut out);
        let rate = out.iter().map(|&x| f64::from(x)).sum::<f64>() / out.len() as f64;
        assert!((rate - 0.3).abs() < 5.0 * (0.21_f64).sqrt() / 512.0, "{rate}");
        bernoulli(DRAW, 1.0, 0, &mut out);
        assert!(out.iter().all(|&x| x == 1));
        bernoulli(DRAW, 0.0, 0, &mut out);
        assert!(out.iter().all(|&x| x == 0));
    }

    /// All 24 orders of four, by χ² with 23 degrees of freedom (49.7 is its 0.1 % point). Swapping with `0..n` instead
    /// of `0..=i`, the classic mistake, gives far more.
    #[test]
    fn permutations_are_equally_likely() {
        const TRIALS: u64 = 24_000;
        let mut counts = std::collections::HashMap::new();
        for call in 0..TRIALS {
            *counts.entry(permutation(Draw { call, ..DRAW }, 4)).or_insert(0_u32) += 1;
        }
        let expected = TRIALS as f64 / 24.0;
        let chi2: f64 = counts.values().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
        assert!(counts.len() == 24 && chi2 < 49.7, "{} orders, χ² = {chi2}", counts.len());
    }

    /// A bound just above 2³¹ refuses almost every second word: the rejection runs, and the halves stay even.
    #[test]
    fn below_is_unbiased_where_most_words_are_refused() {
        let n = (1_u32 << 31) + 1;
        let low = (0..10_000).filter(|&index| below(DRAW, n, index) < n / 2).count();
        assert!((4_750..5_250).contains(&low), "{low}");
    }

    #[test]
    #[ignore = "a measurement, with --release"]
    fn nanoseconds_a_number() {
        let mut out = vec![0.0_f32; 1 << 14];
        for (name, make) in [("uniform", uniform as fn(Draw, usize, &mut [f32])), ("normal", normal)] {
            let time = |_| {
                let start = std::time::Instant::now();
                make(DRAW, 0, &mut out);
                start.elapsed().as_nanos()
            };
            println!("{name}: {:.2} ns", (0..100).map(time).min().unwrap_or(0) as f64 / 16_384.0);
        }
    }

    #[test]
    fn generator_goes_on_from_its_state() {
        let mut generator = Generator::new(5);
        let first = generator.next_call(1);
        let state = generator.state();
        let second = generator.next_call(1);
        assert_eq!((first.call, second.call, second.seed, second.stream), (0, 1, 5, 1));
        let mut other = Generator::new(0);
        other.set_state(state);
        assert_eq!(other.next_call(1), second);
        other.manual_seed(5);
        assert_eq!(other.next_call(1), first);
    }
}

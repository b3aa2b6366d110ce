//! Standard normal numbers, by Box and Muller's transform of pairs of integers.
//!
//! In f32 all of it is in f32: the angle comes as an integer share of a turn, whose quarter and rest are exact, so that
//! sine and cosine take two short polynomials and no reduction.
//!
//! Source: Box & Muller 1958, <https://doi.org/10.1214/aoms/1177706645>.

use std::ops::Range;

use super::{Draw, high53};
use crate::element::{DType, Float};
use crate::math::f32::{ln_normal, sin_cos_eighth};
use crate::simd;

/// Blocks taken together in f32: more than a vector, so that loops over them stay loops and are vectorized as such.
const WIDE: usize = 32;
/// Numbers taken together.
const TILE: usize = 4 * WIDE;
/// 2⁻³¹
const TWO_M31: f32 = 1.0 / 2_147_483_648.0;
/// 2⁻⁵³
const TWO_M53: f64 = 1.0 / 9_007_199_254_740_992.0;
/// 2π · 2⁻²⁴
const RADIANS: f32 = std::f32::consts::TAU / 16_777_216.0;

/// √(−2 ln u) with u = (⌊word / 2⌋ + ½) · 2⁻³¹.
#[inline(always)]
fn radius(word: u32) -> f32 {
    // As an i32, because AVX2 converts no u32.
    let u = ((word >> 1) as i32 as f32 + 0.5) * TWO_M31;
    // If u was rounded to 1, the logarithm is 0, and its square root −0.
    (-2.0 * ln_normal(u)).sqrt()
}

/// cos 2πv and sin 2πv with v = ⌊word / 2⁸⌋ · 2⁻²⁴.
#[inline(always)]
fn direction(word: u32) -> [f32; 2] {
    let v = (word >> 8) as i32;
    // The nearest quarter turn leaves an eighth at most, exactly.
    let quarter = (v + (1 << 21)) >> 22;
    let (sin, cos) = sin_cos_eighth((v - (quarter << 22)) as f32 * RADIANS);
    let odd = quarter & 1 == 1;
    let (x, y) = (if odd { sin } else { cos }, if odd { cos } else { sin });
    // x is negative about the second and third quarter, y about the third and fourth.
    let sign = |quarter: i32| ((quarter & 2) as u32) << 30;
    [f32::from_bits(x.to_bits() ^ sign(quarter + 1)), f32::from_bits(y.to_bits() ^ sign(quarter))]
}

/// The four numbers of a block, made in f32, for kernels that draw by another rule.
#[inline(always)]
pub(crate) fn of_block<T: Float>(words: [u32; 4]) -> [T; 4] {
    let (r, [x, y]) = (radius(words[0]), direction(words[1]));
    let (s, [z, w]) = (radius(words[2]), direction(words[3]));
    [r * x, r * y, s * z, s * w].map(|number| T::from_f64(f64::from(number)))
}

/// The two numbers of a block in f64.
#[inline(always)]
fn of_block_wide<T: Float>(words: [u64; 4]) -> [T; 2] {
    let u = (high53(words[0], words[1]) + 0.5) * TWO_M53;
    let angle = std::f64::consts::TAU * (high53(words[2], words[3]) * TWO_M53);
    let radius = (-2.0 * Float::ln(u)).sqrt();
    [T::from_f64(radius * Float::cos(angle)), T::from_f64(radius * Float::sin(angle))]
}

/// Those numbers of tile `index` that are wanted, each at its place, perhaps among others.
#[inline(always)]
// Plain counting is what vectorizes.
#[allow(clippy::needless_range_loop)]
fn tile<T: Float>(draw: Draw, index: usize, wanted: Range<usize>, out: &mut [T; TILE]) {
    if T::DTYPE != DType::F32 {
        for (i, out) in out.as_chunks_mut::<2>().0[wanted.start / 2..wanted.end.div_ceil(2)].iter_mut().enumerate() {
            *out = of_block_wide(draw.block_wide((index * (TILE / 2) + wanted.start / 2 + i) as u64));
        }
        return;
    }
    let mut words = [[0_u32; WIDE]; 4];
    for j in 0..WIDE {
        let block = draw.block_wide((index * WIDE + j) as u64);
        words[0][j] = block[0] as u32;
        words[1][j] = block[1] as u32;
        words[2][j] = block[2] as u32;
        words[3][j] = block[3] as u32;
    }
    for (j, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *out = of_block([words[0][j], words[1][j], words[2][j], words[3][j]]);
    }
}

simd! {
    /// Standard normal numbers: `out[i]` is position `first + i` of the draw.
    ///
    /// A pair of integers gives the pair of positions 2q and 2q + 1:
    ///
    /// ```text
    /// z = √(−2 ln u) · (cos 2πv, sin 2πv)
    /// f32: u = ((word >> 1) + ½) · 2⁻³¹, v = next word >> 8, times 2⁻²⁴, two pairs a block; |z| ≤ 6.7
    /// f64: u = ((two words >> 11) + ½) · 2⁻⁵³, v = next two >> 11, times 2⁻⁵³, one pair a block; |z| ≤ 8.7
    /// ```
    ///
    /// Source: Box & Muller 1958, <https://doi.org/10.1214/aoms/1177706645>.
    pub fn normal<T: Float>(draw: Draw, first: usize, out: &mut [T]) {
        let mut numbers = [T::ZERO; TILE];
        let (mut index, mut skip, mut out) = (first / TILE, first % TILE, out);
        while !out.is_empty() {
            let n = out.len().min(TILE - skip);
            let (now, later) = out.split_at_mut(n);
            tile(draw, index, skip..skip + n, &mut numbers);
            now.copy_from_slice(&numbers[skip..skip + n]);
            (index, skip, out) = (index + 1, 0, later);
        }
    }

    /// `out[i] = x[i] + std · z`, z being position `first + i` of the draw that [`normal`] makes; rounded once.
    pub fn add_normal<T: Float>(draw: Draw, std: T, first: usize, x: &[T], out: &mut [T]) {
        let mut numbers = [T::ZERO; TILE];
        let (mut index, mut skip, mut x, mut out) = (first / TILE, first % TILE, x, out);
        while !out.is_empty() {
            let n = out.len().min(TILE - skip);
            let (now, later) = out.split_at_mut(n);
            let (terms, rest) = x.split_at(n);
            tile(draw, index, skip..skip + n, &mut numbers);
            for ((out, &x), &number) in now.iter_mut().zip(terms).zip(&numbers[skip..skip + n]) {
                *out = std.mul_add(number, x);
            }
            (index, skip, x, out) = (index + 1, 0, rest, later);
        }
    }
}

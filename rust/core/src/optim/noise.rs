//! Noise for gradients, at less than a nanosecond a number.
//!
//! The normal numbers of [`rng`](crate::rng) take a logarithm, a root and an angle each, which would nearly double the
//! time of a step. Here the 16 bytes of a Philox block, taken as ±1, ±3, … ±255, are mixed by a Walsh–Hadamard
//! transform: every result is a sum of all of them with signs. Sixteen such numbers have mean 0, variance 1 and no correlation, exactly, and
//! each by itself is normal up to an excess kurtosis of −0.075, as sums of 16 equal terms are; none is beyond ±6.9.
//!
//! | position p | is |
//! |---|---|
//! | p / 1024 | 64 blocks, the first being block 64 · (p / 1024) |
//! | p mod 64 | which of them |
//! | p mod 1024 / 64 | which sum: the coefficient of the transform |

use crate::element::Float;
use crate::rng::Draw;
use crate::simd;

/// Bytes of a block, and so sums.
const BYTES: usize = 16;
/// Blocks taken together: more than a vector, so that loops over them stay loops and are vectorized as such.
const WIDE: usize = 64;
/// Numbers of these blocks. A parameter begins at a multiple of it.
pub const TILE: usize = BYTES * WIDE;

/// √(16 · (256² − 1) / 3): the standard deviation of a sum.
const STD: f64 = 591.202_165_083_992_2;

/// The four sums ±a ± b ± c ± d of a transform's two stages, for every block.
#[inline(always)]
fn mix([a, b, c, d]: [i32; 4]) -> [i32; 4] {
    let (p, q, r, s) = (a + b, a - b, c + d, c - d);
    [p + r, q + s, p - r, q - s]
}

/// The sums of tile `index`.
#[inline(always)]
// Plain counting is what vectorizes.
#[allow(clippy::needless_range_loop)]
fn tile(draw: Draw, index: usize) -> [[i32; WIDE]; BYTES] {
    let mut words = [[0_u32; WIDE]; 4];
    for j in 0..WIDE {
        let block = draw.block_wide((index * WIDE + j) as u64);
        words[0][j] = block[0] as u32;
        words[1][j] = block[1] as u32;
        words[2][j] = block[2] as u32;
        words[3][j] = block[3] as u32;
    }
    let mut sums = [[0_i32; WIDE]; BYTES];
    for (words, sums) in words.iter().zip(sums.as_chunks_mut::<4>().0) {
        let [s0, s1, s2, s3] = sums;
        for j in 0..WIDE {
            let byte = |n: u32| ((words[j] >> (8 * n)) & 255) as i32 * 2 - 255;
            [s0[j], s1[j], s2[j], s3[j]] = mix([byte(0), byte(1), byte(2), byte(3)]);
        }
    }
    let [first, second, third, fourth] = sums.as_chunks_mut::<4>().0 else { unreachable!("sixteen sums") };
    for i in 0..4 {
        let (a, b, c, d) = (&mut first[i], &mut second[i], &mut third[i], &mut fourth[i]);
        for j in 0..WIDE {
            [a[j], b[j], c[j], d[j]] = mix([a[j], b[j], c[j], d[j]]);
        }
    }
    sums
}

simd! {
    /// grad ← grad + scale · sum
    fn add_tiles<T: Float>(draw: Draw, scale: T, first: usize, grad: &mut [[T; TILE]]) {
        for (index, grad) in (first..).zip(grad) {
            let sums = tile(draw, index);
            for (row, sums) in grad.as_chunks_mut::<WIDE>().0.iter_mut().zip(&sums) {
                for (grad, &sum) in row.iter_mut().zip(sums) {
                    *grad = scale.mul_add(T::from_f64(f64::from(sum)), *grad);
                }
            }
        }
    }
}

/// grad ← grad + std · z: element `i` meets the number at position `first + i` of the draw.
pub fn add<T: Float>(draw: Draw, std: f64, first: usize, grad: &mut [T]) {
    let scale = T::from_f64(std / STD);
    let skip = first % TILE;
    let (head, rest) = grad.split_at_mut(if skip == 0 { 0 } else { (TILE - skip).min(grad.len()) });
    let partial = |index: usize, skip: usize, grad: &mut [T]| {
        let mut whole = [[T::ZERO; TILE]];
        whole[0][skip..skip + grad.len()].copy_from_slice(grad);
        add_tiles(draw, scale, index, &mut whole);
        grad.copy_from_slice(&whole[0][skip..skip + grad.len()]);
    };
    if !head.is_empty() {
        partial(first / TILE, skip, head);
    }
    let next = first.div_ceil(TILE);
    let (whole, tail) = rest.as_chunks_mut::<TILE>();
    add_tiles(draw, scale, next, whole);
    if !tail.is_empty() {
        partial(next + whole.len(), 0, tail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAW: Draw = Draw { seed: 5, stream: 2, call: 77 };

    /// Position p by the definition, in plain arithmetic.
    fn textbook(p: usize) -> f64 {
        let words = DRAW.block((p / TILE * WIDE + p % WIDE) as u64);
        let row = p % TILE / WIDE;
        let bytes = words.iter().flat_map(|w| w.to_le_bytes());
        let sum: f64 = bytes
            .enumerate()
            .map(|(i, b)| {
                let sign = if (i & row).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
                sign * (2.0 * f64::from(b) - 255.0)
            })
            .sum();
        sum / (16.0 * (65536.0 - 1.0) / 3.0_f64).sqrt()
    }

    #[test]
    fn every_position_is_the_textbooks() {
        for (first, len) in [(0, 1), (0, 600), (37, 100), (250, 700), (255, 1), (512, 256)] {
            let mut z = vec![0.0_f64; len];
            add(DRAW, 1.0, first, &mut z);
            for (i, z) in z.iter().enumerate() {
                assert!((z - textbook(first + i)).abs() < 1e-14, "position {}", first + i);
            }
        }
    }

    #[test]
    fn moments_are_those_of_normal_numbers() {
        let n = 1 << 18;
        let mut z = vec![0.0_f64; n];
        add(DRAW, 1.0, 0, &mut z);
        let moment = |k: i32| z.iter().map(|z| z.powi(k)).sum::<f64>() / n as f64;
        assert!(moment(1).abs() < 5.0 / (n as f64).sqrt());
        assert!((moment(2) - 1.0).abs() < 0.015);
        assert!(moment(3).abs() < 0.04);
        assert!((moment(4) - 2.925).abs() < 0.06);
        let beyond_2 = z.iter().filter(|z| z.abs() > 2.0).count() as f64 / n as f64;
        assert!((beyond_2 - 0.0455).abs() < 0.003, "{beyond_2}");
    }
}

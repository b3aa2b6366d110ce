//! Noise on images, from the words of a draw's blocks: element i has word i mod 4 of block `first + i / 4`.

use super::{Sampled, at_least, at_most};
use crate::rng::Draw;
use crate::simd;

/// Blocks drawn at once.
const BLOCKS: usize = 64;

/// The words of some blocks.
#[inline(always)]
fn draw_words(draw: Draw, first: u64, blocks: usize, words: &mut [u32; 4 * BLOCKS]) {
    for (block, words) in (first..).zip(&mut words.as_chunks_mut::<4>().0[..blocks]) {
        *words = draw.block_wide(block).map(|word| word as u32);
    }
}

simd! {
    /// x ← x + mean + std·noise, then held in [0, white] if `clip`.
    pub fn add<T: Sampled>(image: &mut [T], noise: &[T], mean: T, std: T, clip: bool, white: T) {
        for (x, &z) in image.iter_mut().zip(noise) {
            let y = *x + z.mul_add(std, mean);
            *x = if clip { at_most(at_least(y, T::ZERO), white) } else { y };
        }
    }

    /// x ← 0 where the word is below `below`.
    pub fn mask<T: Sampled>(image: &mut [T], draw: Draw, first: u64, below: u64) {
        let mut words = [0; 4 * BLOCKS];
        for (part, x) in image.chunks_mut(4 * BLOCKS).enumerate() {
            draw_words(draw, first + (part * BLOCKS) as u64, x.len().div_ceil(4), &mut words);
            for (x, &word) in x.iter_mut().zip(&words) {
                *x = if u64::from(word) < below { T::ZERO } else { *x };
            }
        }
    }

    /// In every plane of n elements: x ← white where the word is below `salt`, else 0 where it is below `below`.
    pub fn salt_and_pepper<T: Sampled>(image: &mut [T], n: usize, draw: Draw, first: u64, salt: u64, below: u64, white: T) {
        let mut words = [0; 4 * BLOCKS];
        for (part, start) in (0..n).step_by(4 * BLOCKS).enumerate() {
            let count = (n - start).min(4 * BLOCKS);
            draw_words(draw, first + (part * BLOCKS) as u64, count.div_ceil(4), &mut words);
            for plane in image.chunks_exact_mut(n) {
                for (x, &word) in plane[start..start + count].iter_mut().zip(&words) {
                    let value = if u64::from(word) < salt { white } else { T::ZERO };
                    *x = if u64::from(word) < below { value } else { *x };
                }
            }
        }
    }
}

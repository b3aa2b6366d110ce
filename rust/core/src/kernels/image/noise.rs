//! Noise on images, from the words of a draw's blocks: element i has word i mod 4 of block `first + i / 4`.

use super::{Sampled, at_least, at_most};
use crate::rng::Draw;
use crate::simd;

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
        for (block, x) in (first..).zip(image.chunks_mut(4)) {
            let words = draw.block_wide(block);
            for (x, word) in x.iter_mut().zip(words) {
                if word < below {
                    *x = T::ZERO;
                }
            }
        }
    }

    /// In every plane of n elements: x ← white where the word is below `salt`, else 0 where it is below `below`.
    pub fn salt_and_pepper<T: Sampled>(image: &mut [T], n: usize, draw: Draw, first: u64, salt: u64, below: u64, white: T) {
        for (block, start) in (first..).zip((0..n).step_by(4)) {
            let words = draw.block_wide(block);
            for (i, word) in (start..n).zip(words) {
                if word < below {
                    let value = if word < salt { white } else { T::ZERO };
                    for x in image[i..].iter_mut().step_by(n) {
                        *x = value;
                    }
                }
            }
        }
    }
}

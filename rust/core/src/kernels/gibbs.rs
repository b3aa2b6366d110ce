//! The units of a restricted Boltzmann machine: means from inputs, and draws from means.
//!
//! Matrices are feature-major: a unit has its values, one a sample, side by side. What is drawn belongs to the logical
//! matrix of n samples and c units:
//!
//! ```text
//! word(s, j)   ← word j mod 4 of block s·⌈c/4⌉ + ⌊j/4⌋ of the draw
//! uniform      u = (word >> 8) · 2⁻²⁴
//! normal       from the words of the units 2q and 2q + 1, as in [`rng::normal`] of f32
//! ```
//! so that neither the layout nor the number of threads shows, and f32 and f64 draw alike.
//!
//! Source: Hinton 2012, "A practical guide to training restricted Boltzmann machines", sections 3 and 13,
//! <https://doi.org/10.1007/978-3-642-35289-8_32>.

use std::ops::Range;

use super::reduce::sum_pairs;
use crate::element::Float;
use crate::rng::{self, Draw};
use crate::simd;

/// Units that share a block of the draw.
const UNITS_PER_BLOCK: usize = 4;
/// Blocks drawn at once: 1 KiB of scratch stays in L1.
const BLOCKS: usize = 64;

/// A rectangle of a feature-major matrix: these units of `all`, with `samples` values each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    /// All units of the matrix, not only those of the rectangle: what is drawn depends on it.
    pub all: usize,
    /// The units in the rectangle.
    pub units: Range<usize>,
    /// Values a unit.
    pub samples: usize,
}

/// A walk over a rectangle, up to 4 units over a range of samples at a time. No function that takes a closure: one that is not
/// inlined is compiled without the instructions of its caller, and calls a function for every `mul_add`.
struct Walk<'a> {
    draw: Draw,
    area: &'a Units,
    unit: usize,
    sample: usize,
    words: [[u32; BLOCKS]; UNITS_PER_BLOCK],
}

impl<'a> Walk<'a> {
    #[inline(always)]
    fn new(draw: Draw, area: &'a Units) -> Self {
        debug_assert!(area.units.end <= area.all, "units outside of the matrix");
        Self { draw, area, unit: area.units.start, sample: 0, words: [[0; BLOCKS]; UNITS_PER_BLOCK] }
    }

    /// Draw the next words; which units of the rectangle they are for, the number in the block of the first, and the samples.
    #[inline(always)]
    fn step(&mut self) -> Option<(Range<usize>, usize, Range<usize>)> {
        let Units { all, ref units, samples } = *self.area;
        if self.unit >= units.end || samples == 0 {
            return None;
        }
        let blocks_per_sample = all.div_ceil(UNITS_PER_BLOCK);
        let (unit, first, block) = (self.unit, self.sample, self.unit / UNITS_PER_BLOCK);
        let end = units.end.min((block + 1) * UNITS_PER_BLOCK);
        let count = BLOCKS.min(samples - first);
        for i in 0..count {
            let drawn = self.draw.block_wide(((first + i) * blocks_per_sample + block) as u64);
            for (words, word) in self.words.iter_mut().zip(drawn) {
                words[i] = word as u32;
            }
        }
        self.sample += count;
        if self.sample == samples {
            (self.unit, self.sample) = (end, 0);
        }
        Some((unit - units.start..end - units.start, unit % UNITS_PER_BLOCK, first..first + count))
    }
}

simd! {
    /// Logistic units: input ← σ(input + bias), and sample ← 1 with that probability, else 0.
    ///
    /// Unit `i` of the rectangle has its inputs from `i · stride` of `mean` on, and its samples from `i · sample_stride` of
    /// `sample` on. Sample and mean differ by nothing but the draw: 1 iff u < σ.
    pub fn bernoulli<T: Float>(
        draw: Draw,
        area: &Units,
        bias: &[T],
        mean: &mut [T],
        stride: usize,
        sample: &mut [T],
        sample_stride: usize,
    ) {
        let unit24 = T::from_f64(1.0 / 16_777_216.0);
        let mut walk = Walk::new(draw, area);
        while let Some((units, number, samples)) = walk.step() {
            for (words, i) in walk.words[number..].iter().zip(units) {
                let mean = &mut mean[i * stride + samples.start..][..samples.len()];
                let sample = &mut sample[i * sample_stride + samples.start..][..samples.len()];
                let bias = bias[i];
                for ((mean, sample), &word) in mean.iter_mut().zip(sample).zip(words) {
                    *mean = (*mean + bias).sigmoid();
                    let uniform = T::from_f64(f64::from((word >> 8) as i32)) * unit24;
                    *sample = if uniform < *mean { T::ONE } else { T::ZERO };
                }
            }
        }
    }

    /// Linear units with Gaussian noise of variance 1: input ← input + bias, and sample ← that + a standard normal number.
    ///
    /// Strides as for [`bernoulli`].
    pub fn gaussian<T: Float>(
        draw: Draw,
        area: &Units,
        bias: &[T],
        mean: &mut [T],
        stride: usize,
        sample: &mut [T],
        sample_stride: usize,
    ) {
        let mut walk = Walk::new(draw, area);
        while let Some((units, number, samples)) = walk.step() {
            let words = &walk.words;
            let mut normals = [[T::ZERO; BLOCKS]; UNITS_PER_BLOCK];
            for s in 0..samples.len() {
                let drawn = rng::normals([words[0][s], words[1][s], words[2][s], words[3][s]]);
                for (normals, normal) in normals.iter_mut().zip(drawn) {
                    normals[s] = normal;
                }
            }
            for (normals, i) in normals[number..].iter().zip(units) {
                let mean = &mut mean[i * stride + samples.start..][..samples.len()];
                let sample = &mut sample[i * sample_stride + samples.start..][..samples.len()];
                for ((mean, sample), &normal) in mean.iter_mut().zip(sample).zip(normals) {
                    *mean += bias[i];
                    *sample = *mean + normal;
                }
            }
        }
    }

    /// x ← σ(x + bias)
    pub fn logistic<T: Float>(bias: T, x: &mut [T]) {
        for x in x {
            *x = (*x + bias).sigmoid();
        }
    }

    /// x ← (x + shift) · scale
    pub fn shift_scale<T: Float>(shift: T, scale: T, x: &mut [T]) {
        for x in x {
            *x = (*x + shift) * scale;
        }
    }

    /// x ← x + y
    pub fn add<T: Float>(x: &mut [T], y: &[T]) {
        for (x, &y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }

    /// v ← momentum · v − decay · w
    pub fn slow_down<T: Float>(momentum: T, decay: T, w: &[T], v: &mut [T]) {
        for (v, &w) in v.iter_mut().zip(w) {
            *v = momentum * *v - decay * w;
        }
    }

    /// Σ (x − y)².
    pub fn squared_distance<T: Float>(x: &[T], y: &[T]) -> T {
        sum_pairs(x, y, |[acc], x, y| [(x - y).mul_add(x - y, acc)])[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bits, random};
    use crate::simd::Level;

    const DRAW: Draw = Draw { seed: 5, stream: 9, call: 1 << 33 };
    /// Samples and units: the smallest, odd ones, whole blocks, more than [`BLOCKS`] samples.
    const SHAPES: [(usize, usize); 6] = [(1, 1), (5, 3), (10, 17), (64, 8), (70, 5), (130, 9)];

    fn word(s: usize, j: usize, c: usize) -> u32 {
        DRAW.block((s * c.div_ceil(4) + j / 4) as u64)[j % 4]
    }

    /// A wrong block, number or stride of any unit shows.
    #[test]
    fn logistic_units_follow_the_definition_at_every_level() {
        for level in [Level::Portable, Level::Avx2, Level::Avx512] {
            simd::set_level(level);
            for (n, c) in SHAPES {
                let (input, bias) = (random::<f64>(n * c, 3), random::<f64>(c, 4));
                let (mut mean, mut sample) = (vec![7.0; c * (n + 2)], vec![7.0; c * (n + 5)]);
                for j in 0..c {
                    mean[j * (n + 2)..][..n].copy_from_slice(&input[j * n..][..n]);
                }
                let area = Units { all: c, units: 0..c, samples: n };
                bernoulli(DRAW, &area, &bias, &mut mean, n + 2, &mut sample, n + 5);
                for j in 0..c {
                    for s in 0..n {
                        let p = 1.0 / (1.0 + (-(input[j * n + s] + bias[j])).exp());
                        assert!((mean[j * (n + 2) + s] - p).abs() < 1e-14, "{n} × {c}, {level:?}");
                        let u = f64::from(word(s, j, c) >> 8) / 16_777_216.0;
                        assert_eq!(sample[j * (n + 5) + s], f64::from(u8::from(u < mean[j * (n + 2) + s])));
                    }
                    assert_eq!(mean[j * (n + 2) + n..][..2], [7.0; 2]);
                }
            }
        }
    }

    #[test]
    fn any_part_draws_as_the_whole() {
        let (n, c) = (70, 11);
        for draw_units in [bernoulli::<f32>, gaussian::<f32>] {
            let (input, bias) = (random::<f32>(n * c, 3), random::<f32>(c, 4));
            let (mut mean, mut whole) = (input.clone(), vec![0.0; n * c]);
            draw_units(DRAW, &Units { all: c, units: 0..c, samples: n }, &bias, &mut mean, n, &mut whole, n);
            for units in [0..3, 3..4, 2..9, 5..11] {
                let mut mean = input[units.start * n..units.end * n].to_vec();
                let mut part = vec![0.0; mean.len()];
                let area = Units { all: c, units: units.clone(), samples: n };
                draw_units(DRAW, &area, &bias[units.clone()], &mut mean, n, &mut part, n);
                assert_eq!(bits(&part), bits(&whole[units.start * n..units.end * n]), "{units:?}");
            }
        }
    }

    /// Five standard errors over 40000 numbers: a variance of 2, or pairs that share a normal number, shows.
    #[test]
    fn gaussian_units_have_their_mean_and_variance() {
        let (n, c) = (5000, 8);
        let bias: Vec<f64> = (0..c).map(|j| j as f64 - 3.0).collect();
        let (mut mean, mut sample) = (vec![0.5; n * c], vec![0.0; n * c]);
        gaussian(DRAW, &Units { all: c, units: 0..c, samples: n }, &bias, &mut mean, n, &mut sample, n);
        assert!(mean.iter().enumerate().all(|(i, &m)| m == bias[i / n] + 0.5));
        let noise: Vec<f64> = sample.iter().zip(&mean).map(|(s, m)| s - m).collect();
        let count = noise.len() as f64;
        let (average, square) = (noise.iter().sum::<f64>() / count, noise.iter().map(|e| e * e).sum::<f64>() / count);
        assert!(average.abs() < 5.0 / count.sqrt(), "{average}");
        assert!((square - 1.0).abs() < 5.0 * (2.0 / count).sqrt(), "{square}");
        for (a, b) in [(0, 1), (1, 2), (0, 2), (3, 4)] {
            let product = (0..n).map(|s| noise[a * n + s] * noise[b * n + s]).sum::<f64>() / n as f64;
            assert!(product.abs() < 5.0 / (n as f64).sqrt(), "units {a} and {b}: {product}");
        }
    }

    #[test]
    fn distances_and_steps() {
        let (x, y) = (random::<f64>(37, 1), random::<f64>(37, 2));
        let expected: f64 = x.iter().zip(&y).map(|(x, y)| (x - y).powi(2)).sum();
        assert!((squared_distance(&x, &y) - expected).abs() < 1e-12);
        let (mut v, mut w) = (vec![2.0, -4.0], vec![1.0, 3.0]);
        slow_down(0.5, 0.25, &w, &mut v);
        assert_eq!(v, [0.75, -2.75]);
        shift_scale(1.0, -2.0, &mut w);
        assert_eq!(w, [-4.0, -8.0]);
        add(&mut w, &v);
        assert_eq!(w, [-3.25, -10.75]);
        logistic(3.25, &mut w[..1]);
        assert_eq!(w, [0.5, -10.75]);
    }
}

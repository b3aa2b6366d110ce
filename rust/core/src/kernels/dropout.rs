//! Dropout: zero some elements at random, scale up the others. Backward is the same function of the gradient, and draws
//! the mask again instead of storing it.
//!
//! The mask belongs to the logical matrix of n rows (samples) and c columns (features), whichever way it lies in memory:
//!
//! ```text
//! half(r, j) ← 16 bits of block r·⌈c/8⌉ + ⌊j/8⌋ of the draw: number j mod 8, the low half of word 0 being number 0,
//!              its high half number 1, …
//! y[r, j]    ← x[r, j] · scale    if half(r, j) ≥ threshold    (so with probability 1 − p)
//!              0                  otherwise, even where x is infinite or NaN
//! ```
//!
//! Source: Srivastava et al. 2014, <https://jmlr.org/papers/v15/srivastava14a.html>; scaled while training, as in
//! `PyTorch` ("inverted" dropout).

use std::ops::Range;

use crate::element::Float;
use crate::rng::Draw;
use crate::simd;

/// Columns that share a block: 128 bits, 16 each.
const COLUMNS_PER_BLOCK: usize = 8;
/// Blocks drawn at once: enough for full vectors of any width, and 1 KiB of scratch stays in L1.
const BLOCKS: usize = 64;

/// The elements to drop, and the factor of the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mask<T> {
    /// Source of the random bits.
    pub draw: Draw,
    /// Number of the 65536 values of a half that drop its element.
    pub threshold: u32,
    /// Factor of the kept elements.
    pub scale: T,
}

impl<T: Float> Mask<T> {
    /// Drop with probability `p`, from 0 to 1.
    ///
    /// The probability in force is the multiple of 1/65536 nearest to p; the scale is `1 / (1 − p)` with p as given.
    /// Where everything is dropped, the scale is 0.
    #[must_use]
    pub fn new(draw: Draw, p: f64) -> Self {
        let threshold = (p * 65_536.0).round() as u32;
        let scale = if threshold < 65_536 { 1.0 / (1.0 - p) } else { 0.0 };
        Self { draw, threshold, scale: T::from_f64(scale) }
    }

    #[inline(always)]
    fn apply(self, half: u32, x: T) -> T {
        if half >= self.threshold { x * self.scale } else { T::ZERO }
    }
}

/// Walk whole rows of c columns from `first_row` on, `len` elements in all: `visit` gets the halves of the elements at a
/// range of positions, in order.
#[inline(always)]
fn walk_rows(draw: Draw, c: usize, first_row: usize, len: usize, mut visit: impl FnMut(&[[u8; 2]], Range<usize>)) {
    debug_assert!(len == 0 || len.is_multiple_of(c));
    let blocks_per_row = c.div_ceil(COLUMNS_PER_BLOCK);
    // Rows that end with their last block follow each other without a gap: one long row.
    let row_len = if c.is_multiple_of(COLUMNS_PER_BLOCK) { len } else { c };
    let mut index = (first_row * blocks_per_row) as u64;
    let mut bits = [[0; 8]; 2 * BLOCKS];
    let (mut at, mut column) = (0, 0);
    while at < len {
        let rows_left = (len - at).div_ceil(c);
        let blocks = BLOCKS.min(rows_left * blocks_per_row);
        for (block, [low, high]) in (index..).zip(&mut bits.as_chunks_mut().0[..blocks]) {
            let w = draw.block_wide(block);
            *low = (w[0] | w[1] << 32).to_le_bytes();
            *high = (w[2] | w[3] << 32).to_le_bytes();
        }
        index += blocks as u64;
        let halves = &bits.as_flattened().as_chunks::<2>().0[..blocks * COLUMNS_PER_BLOCK];
        let mut used = 0;
        while used < halves.len() && at < len {
            let taken = (row_len - column).min(halves.len() - used);
            visit(&halves[used..used + taken], at..at + taken);
            (at, column, used) = (at + taken, column + taken, used + taken);
            if column == row_len {
                // The rest of the row's last block is not used.
                (column, used) = (0, used.next_multiple_of(COLUMNS_PER_BLOCK));
            }
        }
    }
}

/// A rectangle of a feature-major matrix of c features: feature `features.start + i` has its samples, `samples` of them,
/// from `i · stride` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// All features of the matrix, not only those of the rectangle: the mask depends on it.
    pub c: usize,
    /// The features in the buffer.
    pub features: Range<usize>,
    /// The samples (rows of the logical matrix) in the buffer.
    pub samples: Range<usize>,
    /// From one feature to the next, in elements.
    pub stride: usize,
}

/// Walk a rectangle: `visit` gets words, how far to shift them so that the low 16 bits are the halves, and the range of
/// positions whose halves these are.
#[inline(always)]
fn walk_features(draw: Draw, area: &Features, mut visit: impl FnMut(&[u32], u32, Range<usize>)) {
    let Features { c, features, samples, stride } = area.clone();
    debug_assert!(features.end <= c && stride >= samples.len());
    let blocks_per_row = c.div_ceil(COLUMNS_PER_BLOCK);
    let mut words = [[0; BLOCKS]; 4];
    let mut feature = features.start;
    while feature < features.end {
        let block_in_row = feature / COLUMNS_PER_BLOCK;
        let block_end = features.end.min((block_in_row + 1) * COLUMNS_PER_BLOCK);
        let mut sample = samples.start;
        while sample < samples.end {
            let count = BLOCKS.min(samples.end - sample);
            let first = (sample * blocks_per_row + block_in_row) as u64;
            for i in 0..count {
                let w = draw.block_wide(first + (i * blocks_per_row) as u64);
                for (words, word) in words.iter_mut().zip(w) {
                    words[i] = word as u32;
                }
            }
            for f in feature..block_end {
                let number = f % COLUMNS_PER_BLOCK;
                let start = (f - features.start) * stride + (sample - samples.start);
                visit(&words[number / 2][..count], 16 * (number as u32 % 2), start..start + count);
            }
            sample += count;
        }
        feature = block_end;
    }
}

simd! {
    /// Drop out of whole rows of a row-major matrix with c columns, `x` beginning at row `first_row`: y ← dropout(x).
    pub fn rows<T: Float>(mask: Mask<T>, c: usize, first_row: usize, x: &[T], y: &mut [T]) {
        walk_rows(mask.draw, c, first_row, x.len(), |halves, range| {
            for ((y, &x), &half) in y[range.clone()].iter_mut().zip(&x[range]).zip(halves) {
                *y = mask.apply(u32::from(u16::from_le_bytes(half)), x);
            }
        });
    }

    /// Drop out of a rectangle of a feature-major matrix: x ← dropout(x). Gaps between the features are left alone.
    pub fn features_in_place<T: Float>(mask: Mask<T>, area: &Features, x: &mut [T]) {
        walk_features(mask.draw, area, |words, shift, range| {
            for (x, &word) in x[range].iter_mut().zip(words) {
                *x = mask.apply(word >> shift & 0xFFFF, *x);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simd::Level;

    const DRAW: Draw = Draw { seed: 99, stream: 3, call: 12 };
    /// Rows and columns: the smallest, odd ones, whole blocks, more than [`BLOCKS`] blocks a row and rows.
    const SHAPES: [(usize, usize); 8] = [(1, 1), (5, 3), (33, 17), (4, 8), (70, 16), (3, 600), (2, 1024), (130, 9)];

    /// Straight from the definition in the module's head.
    fn reference(mask: Mask<f32>, c: usize, row: usize, column: usize, x: f32) -> f32 {
        let block = mask.draw.block((row * c.div_ceil(8) + column / 8) as u64);
        let word = block[column % 8 / 2];
        let half = if column.is_multiple_of(2) { word & 0xFFFF } else { word >> 16 };
        if half >= mask.threshold { x * mask.scale } else { 0.0 }
    }

    fn input(n: usize, c: usize) -> Vec<f32> {
        (0..n * c).map(|i| i as f32 + 0.5).collect()
    }

    fn expected(mask: Mask<f32>, n: usize, c: usize) -> Vec<f32> {
        input(n, c).iter().enumerate().map(|(i, &x)| reference(mask, c, i / c, i % c, x)).collect()
    }

    /// The rectangle of a row-major matrix, feature-major, and −1 in the gaps.
    fn transposed(matrix: &[f32], area: &Features) -> Vec<f32> {
        let mut out = vec![-1.0; area.features.len() * area.stride];
        for (i, f) in area.features.clone().enumerate() {
            for (j, s) in area.samples.clone().enumerate() {
                out[i * area.stride + j] = matrix[s * area.c + f];
            }
        }
        out
    }

    #[test]
    fn both_layouts_follow_the_definition_at_every_level() {
        let mask = Mask::new(DRAW, 0.3);
        for level in [Level::Portable, Level::Avx2, Level::Avx512] {
            simd::set_level(level);
            for (n, c) in SHAPES {
                let (x, want) = (input(n, c), expected(mask, n, c));
                let mut y = vec![f32::NAN; n * c];
                rows(mask, c, 0, &x, &mut y);
                assert_eq!(y, want, "rows of {n} × {c}, {level:?}");

                let area = Features { c, features: 0..c, samples: 0..n, stride: n + 3 };
                let (x, want) = (transposed(&x, &area), transposed(&want, &area));
                let mut y = x;
                features_in_place(mask, &area, &mut y);
                assert_eq!(y, want, "features of {n} × {c}, {level:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_mask(
            (n, c, a, b, d, e) in (1_usize..90, 1_usize..40).prop_flat_map(|(n, c)| {
                (Just(n), Just(c), 0..=n, 0..=n, 0..=c, 0..=c)
            }),
        ) {
            let mask = Mask::new(DRAW, 0.5);
            let (x, want) = (input(n, c), expected(mask, n, c));
            let part = a.min(b)..a.max(b);
            let mut y = vec![f32::NAN; part.len() * c];
            rows(mask, c, part.start, &x[part.start * c..part.end * c], &mut y);
            prop_assert_eq!(&y[..], &want[part.start * c..part.end * c]);

            let area = Features { c, features: d.min(e)..d.max(e), stride: part.len() + 1, samples: part };
            let mut y = transposed(&x, &area);
            features_in_place(mask, &area, &mut y);
            prop_assert_eq!(y, transposed(&want, &area));
        }
    }

    #[test]
    fn keeps_its_rate_and_its_scale() {
        for p in [0.1, 0.5, 0.77] {
            let (n, c) = (512, 512);
            let mut y = vec![f64::NAN; n * c];
            rows(Mask::new(DRAW, p), c, 0, &vec![1.0; n * c], &mut y);
            let kept: Vec<f64> = y.iter().copied().filter(|&y| y != 0.0).collect();
            let rate = kept.len() as f64 / y.len() as f64;
            assert!((rate - (1.0 - p)).abs() < 5.0 * (p * (1.0 - p)).sqrt() / 512.0, "p = {p}: kept {rate}");
            assert!(kept.iter().all(|&y| y == 1.0 / (1.0 - p)));
        }
    }

    /// At p = 1 no half may pass, 65535 included, and an infinite x becomes 0 as well; at p = 0 nothing changes.
    #[test]
    fn ends_are_exact() {
        let mut y = vec![f32::NAN; 1 << 18];
        rows(Mask::new(DRAW, 1.0), 64, 0, &vec![f32::INFINITY; 1 << 18], &mut y);
        assert!(y.iter().all(|&y| y == 0.0));
        rows(Mask::new(DRAW, 0.0), 64, 0, &vec![1.5; 1 << 18], &mut y);
        assert!(y.iter().all(|&y| y == 1.5));
    }

    #[test]
    #[ignore = "a measurement, with --release"]
    fn nanoseconds_an_element() {
        let report = |name: &str, elements: usize, run: &mut dyn FnMut()| {
            let time = |_| {
                let start = std::time::Instant::now();
                run();
                start.elapsed().as_nanos()
            };
            println!("{name}: {:.3} ns", (0..500).map(time).min().unwrap_or(0) as f64 / elements as f64);
        };
        let mask = Mask::new(DRAW, 0.5);
        for level in [Level::Avx2, Level::Avx512] {
            simd::set_level(level);
            for (n, c) in [(128, 512), (128, 500), (128, 10), (60, 256)] {
                let (x, mut y) = (input(n, c), vec![0.0; n * c]);
                let area = Features { c, features: 0..c, samples: 0..n, stride: n };
                report(&format!("{level:?} rows {n} × {c}"), n * c, &mut || rows(mask, c, 0, &x, &mut y));
                report(&format!("{level:?} features {n} × {c}"), n * c, &mut || {
                    features_in_place(mask, &area, &mut y);
                });
            }
        }
    }
}

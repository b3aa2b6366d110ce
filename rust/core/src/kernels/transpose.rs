//! The transpose of a matrix, in blocks that fill whole cache lines of the result.

use std::ops::Range;

use crate::element::Element;
use crate::simd;
use crate::simd::{Level, level};

/// Rows and columns of a block: a cache line of f32.
const BLOCK: usize = 16;

/// Rows and columns that are turned in registers.
const TILE: usize = 8;

/// Layout of a matrix: `rows × cols`, its rows `stride` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Distance from one row to the next, at least `cols`.
    pub stride: usize,
}

/// Turn a tile at the starts of `src` and `dst`.
#[inline(always)]
fn turn_tile<T: Element>(vectors: bool, src: &[T], stride: usize, dst: &mut [T], dst_stride: usize) {
    const LAST: usize = TILE - 1;
    let (src, dst) = (&src[..LAST * stride + TILE], &mut dst[..LAST * dst_stride + TILE]);
    #[cfg(target_arch = "x86_64")]
    if vectors && size_of::<T>() == 4 {
        // SAFETY: this level has AVX; a tile of elements of four bytes lies in both slices, whose lengths are checked above.
        return unsafe { x86::turn_words(src.as_ptr().cast(), stride, dst.as_mut_ptr().cast(), dst_stride) };
    }
    #[cfg(target_arch = "x86_64")]
    if vectors && size_of::<T>() == 8 {
        // SAFETY: as above, with eight bytes.
        return unsafe { x86::turn_doubles(src.as_ptr().cast(), stride, dst.as_mut_ptr().cast(), dst_stride) };
    }
    #[cfg(target_arch = "aarch64")]
    if size_of::<T>() == 4 {
        // SAFETY: NEON is part of the target; a tile of elements of four bytes lies in both slices, checked above.
        return unsafe { neon::turn_words(src.as_ptr().cast(), stride, dst.as_mut_ptr().cast(), dst_stride) };
    }
    #[cfg(target_arch = "aarch64")]
    if size_of::<T>() == 8 {
        // SAFETY: as above, with eight bytes.
        return unsafe { neon::turn_doubles(src.as_ptr().cast(), stride, dst.as_mut_ptr().cast(), dst_stride) };
    }
    let _ = vectors;
    for j in 0..TILE {
        for i in 0..TILE {
            dst[j * dst_stride + i] = src[i * stride + j];
        }
    }
}

/// Tiles turned by shuffles, of which the compiler finds fewer. The elements are moved, never computed with.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm_loadu_pd, _mm_loadu_ps, _mm256_castpd128_pd256, _mm256_castps128_ps256, _mm256_insertf128_pd,
        _mm256_insertf128_ps, _mm256_shuffle_ps, _mm256_storeu_pd, _mm256_storeu_ps, _mm256_unpackhi_pd,
        _mm256_unpackhi_ps, _mm256_unpacklo_pd, _mm256_unpacklo_ps,
    };

    /// Turn 8 × 8 elements of four bytes.
    ///
    /// # Safety
    /// `src` and `dst` hold 8 rows of 8 elements, `stride` and `dst_stride` apart.
    #[inline]
    #[target_feature(enable = "avx")]
    pub unsafe fn turn_words(src: *const f32, stride: usize, dst: *mut f32, dst_stride: usize) {
        for half in 0..2 {
            // SAFETY: rows `i` and `i + 4`, four columns of each, are of the tile.
            let row = |i: usize| unsafe {
                let (low, high) = (src.add(i * stride + 4 * half), src.add((i + 4) * stride + 4 * half));
                _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high))
            };
            let rows = [row(0), row(1), row(2), row(3)];
            let (a, b) = (_mm256_unpacklo_ps(rows[0], rows[1]), _mm256_unpacklo_ps(rows[2], rows[3]));
            let (c, d) = (_mm256_unpackhi_ps(rows[0], rows[1]), _mm256_unpackhi_ps(rows[2], rows[3]));
            let columns = [
                _mm256_shuffle_ps::<0x44>(a, b),
                _mm256_shuffle_ps::<0xee>(a, b),
                _mm256_shuffle_ps::<0x44>(c, d),
                _mm256_shuffle_ps::<0xee>(c, d),
            ];
            for (j, column) in columns.into_iter().enumerate() {
                // SAFETY: row `4 * half + j` of the turned tile.
                unsafe { _mm256_storeu_ps(dst.add((4 * half + j) * dst_stride), column) };
            }
        }
    }

    /// Turn 8 × 8 elements of eight bytes.
    ///
    /// # Safety
    /// `src` and `dst` hold 8 rows of 8 elements, `stride` and `dst_stride` apart.
    #[inline]
    #[target_feature(enable = "avx")]
    pub unsafe fn turn_doubles(src: *const f64, stride: usize, dst: *mut f64, dst_stride: usize) {
        for j in (0..8).step_by(2) {
            for i in (0..8).step_by(4) {
                // SAFETY: rows `i + k` and `i + k + 2`, two columns of each, are of the tile.
                let row = |k: usize| unsafe {
                    let (low, high) = (src.add((i + k) * stride + j), src.add((i + k + 2) * stride + j));
                    _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(_mm_loadu_pd(low)), _mm_loadu_pd(high))
                };
                let (a, b) = (row(0), row(1));
                // SAFETY: four columns of rows `j` and `j + 1` of the turned tile.
                unsafe {
                    _mm256_storeu_pd(dst.add(j * dst_stride + i), _mm256_unpacklo_pd(a, b));
                    _mm256_storeu_pd(dst.add((j + 1) * dst_stride + i), _mm256_unpackhi_pd(a, b));
                }
            }
        }
    }
}

/// The same by NEON.
#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::{
        float64x2_t, vld1q_f32, vld1q_f64, vreinterpretq_f64_f32, vst1q_f64, vtrn1q_f32, vtrn1q_f64, vtrn2q_f32,
        vtrn2q_f64,
    };

    /// Turn 8 × 8 elements of four bytes.
    ///
    /// # Safety
    /// `src` and `dst` hold 8 rows of 8 elements, `stride` and `dst_stride` apart.
    #[inline(always)]
    pub unsafe fn turn_words(src: *const f32, stride: usize, dst: *mut f32, dst_stride: usize) {
        for (i, j) in [(0, 0), (0, 4), (4, 0), (4, 4)] {
            // SAFETY: four rows and columns of the tile, and of the turned one.
            unsafe {
                let row = |k: usize| vld1q_f32(src.add((i + k) * stride + j));
                let (a, b, c, d) = (row(0), row(1), row(2), row(3));
                // Columns 0 and 2, 1 and 3, of two rows each.
                let wide =
                    |even: bool, a, b| vreinterpretq_f64_f32(if even { vtrn1q_f32(a, b) } else { vtrn2q_f32(a, b) });
                let (even, odd) = ([wide(true, a, b), wide(true, c, d)], [wide(false, a, b), wide(false, c, d)]);
                let put = |k: usize, column: float64x2_t| vst1q_f64(dst.add((j + k) * dst_stride + i).cast(), column);
                put(0, vtrn1q_f64(even[0], even[1]));
                put(1, vtrn1q_f64(odd[0], odd[1]));
                put(2, vtrn2q_f64(even[0], even[1]));
                put(3, vtrn2q_f64(odd[0], odd[1]));
            }
        }
    }

    /// Turn 8 × 8 elements of eight bytes.
    ///
    /// # Safety
    /// `src` and `dst` hold 8 rows of 8 elements, `stride` and `dst_stride` apart.
    #[inline(always)]
    pub unsafe fn turn_doubles(src: *const f64, stride: usize, dst: *mut f64, dst_stride: usize) {
        for j in (0..8).step_by(2) {
            for i in (0..8).step_by(2) {
                // SAFETY: two rows and columns of the tile, and of the turned one.
                unsafe {
                    let (a, b) = (vld1q_f64(src.add(i * stride + j)), vld1q_f64(src.add((i + 1) * stride + j)));
                    vst1q_f64(dst.add(j * dst_stride + i), vtrn1q_f64(a, b));
                    vst1q_f64(dst.add((j + 1) * dst_stride + i), vtrn2q_f64(a, b));
                }
            }
        }
    }
}

#[inline(always)]
fn turn_rest<T: Element>(src: &[T], stride: usize, (rows, cols): (usize, usize), dst: &mut [T], dst_stride: usize) {
    for j in 0..cols {
        for i in 0..rows {
            dst[j * dst_stride + i] = src[i * stride + j];
        }
    }
}

/// Start of the tile at `start`, moved so that it is whole if `len` is enough for one.
#[inline(always)]
fn within(start: usize, len: usize) -> usize {
    if len >= TILE { start.min(len - TILE) } else { start }
}

simd! {
    /// dst ← srcᵀ: element `(i, j)` of `src`, at `i * stride + j`, goes to `j * dst_stride + i`.
    ///
    /// Threads share it by columns of `src`, which are neighboring rows of `dst`: columns `from..` of `src` start at
    /// `src[from..]` and go to `dst[from * dst_stride..]`. Where they own rows of `src`, see [`transpose_rows`].
    pub fn transpose<T: Element>(src: &[T], shape: Matrix, dst: &mut [T], dst_stride: usize) {
        let vectors = level() >= Level::Avx2;
        let Matrix { rows, cols, stride } = shape;
        debug_assert!(stride >= cols && dst_stride >= rows);
        for i in (0..rows).step_by(BLOCK) {
            for j in (0..cols).step_by(BLOCK) {
                let (height, width) = ((rows - i).min(BLOCK), (cols - j).min(BLOCK));
                for tile_i in (0..height).step_by(TILE) {
                    for tile_j in (0..width).step_by(TILE) {
                        // A tile that would reach beyond the matrix overlaps the one before.
                        let (i, j) = (within(i + tile_i, rows), within(j + tile_j, cols));
                        let (src, dst) = (&src[i * stride + j..], &mut dst[j * dst_stride + i..]);
                        let (height, width) = ((rows - i).min(TILE), (cols - j).min(TILE));
                        if height == TILE && width == TILE {
                            turn_tile(vectors, src, stride, dst, dst_stride);
                        } else {
                            turn_rest(src, stride, (height, width), dst, dst_stride);
                        }
                    }
                }
            }
        }
    }
}

/// [`transpose`] of some rows of `src` into columns of the same numbers of `dst`; the rest of `dst` stays.
pub fn transpose_rows<T: Element>(src: &[T], shape: Matrix, rows: Range<usize>, dst: &mut [T], dst_stride: usize) {
    if !rows.is_empty() && shape.cols > 0 {
        let part = Matrix { rows: rows.len(), ..shape };
        transpose(&src[rows.start * shape.stride..], part, &mut dst[rows.start..], dst_stride);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::Float;
    use crate::kernels::testing::{bits, on_all_levels, random};

    fn check<T: Float>() {
        for rows in [0, 1, 3, 8, 15, 16, 17, 33, 100] {
            for cols in [0, 1, 7, 8, 16, 31, 65] {
                for (pad, dst_pad) in [(0, 0), (3, 5)] {
                    let (stride, dst_stride) = (cols + pad, rows + dst_pad);
                    let src = random::<T>(rows * stride, 60);
                    let mut expected = vec![T::ONE; cols * dst_stride];
                    for i in 0..rows {
                        for j in 0..cols {
                            expected[j * dst_stride + i] = src[i * stride + j];
                        }
                    }
                    let shape = Matrix { rows, cols, stride };
                    let found = on_all_levels(|| {
                        let mut dst = vec![T::ONE; cols * dst_stride];
                        transpose(&src, shape, &mut dst, dst_stride);
                        bits(&dst)
                    });
                    assert_eq!(found, bits(&expected), "{rows} × {cols}, padded by {pad} and {dst_pad}");
                    let mut dst = vec![T::ONE; cols * dst_stride];
                    let third = rows / 3;
                    for part in [0..third, third..third, third..rows] {
                        transpose_rows(&src, shape, part, &mut dst, dst_stride);
                    }
                    assert_eq!(bits(&dst), bits(&expected));
                }
            }
        }
    }

    #[test]
    fn every_element_goes_to_its_place_and_padding_stays() {
        check::<f32>();
        check::<f64>();
    }
}

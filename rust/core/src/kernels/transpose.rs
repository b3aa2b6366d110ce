//! The transpose of a matrix, in blocks that fill whole cache lines of the result.

use std::ops::Range;

use crate::element::Element;
use crate::simd;

/// Rows and columns of a block: a cache line of f32.
const BLOCK: usize = 16;

/// Rows and columns that are turned in registers.
const TILE: usize = 8;

/// Where a matrix lies: `rows × cols`, its rows `stride` apart.
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
fn turn_tile<T: Element>(src: &[T], stride: usize, dst: &mut [T], dst_stride: usize) {
    let mut tile = [[T::default(); TILE]; TILE];
    for (i, row) in tile.iter_mut().enumerate() {
        *row = *src[i * stride..].first_chunk().expect("a whole tile");
    }
    for j in 0..TILE {
        let out: &mut [T; TILE] = dst[j * dst_stride..].first_chunk_mut().expect("a whole tile");
        for i in 0..TILE {
            out[i] = tile[i][j];
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

simd! {
    /// dst ← srcᵀ: element `(i, j)` of `src`, at `i * stride + j`, goes to `j * dst_stride + i`.
    ///
    /// Threads share it by columns of `src`, which are neighbouring rows of `dst`: columns `from..` of `src` start at
    /// `src[from..]` and go to `dst[from * dst_stride..]`. Where they own rows of `src`, see [`transpose_rows`].
    pub fn transpose<T: Element>(src: &[T], shape: Matrix, dst: &mut [T], dst_stride: usize) {
        let Matrix { rows, cols, stride } = shape;
        debug_assert!(stride >= cols && dst_stride >= rows);
        for i in (0..rows).step_by(BLOCK) {
            for j in (0..cols).step_by(BLOCK) {
                let (height, width) = ((rows - i).min(BLOCK), (cols - j).min(BLOCK));
                for tile_j in (0..width).step_by(TILE) {
                    for tile_i in (0..height).step_by(TILE) {
                        let (i, j) = (i + tile_i, j + tile_j);
                        let (src, dst) = (&src[i * stride + j..], &mut dst[j * dst_stride + i..]);
                        let (height, width) = ((rows - i).min(TILE), (cols - j).min(TILE));
                        if height == TILE && width == TILE {
                            turn_tile(src, stride, dst, dst_stride);
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

//! Positions of extremes.

use super::{Axis, by_columns, max, min, window, window_mut};
use crate::element::Float;
use crate::simd;

/// The first position of the maximum, or of the first NaN. 0 if there is no element.
#[must_use]
pub fn argmax<T: Float>(x: &[T]) -> usize {
    position(x, max(x))
}

/// The first position of the minimum, or of the first NaN. 0 if there is no element.
#[must_use]
pub fn argmin<T: Float>(x: &[T]) -> usize {
    position(x, min(x))
}

fn position<T: Float>(x: &[T], value: T) -> usize {
    let found = if value.is_nan() { x.iter().position(|x| x.is_nan()) } else { x.iter().position(|&x| x == value) };
    found.unwrap_or(0)
}

#[inline(always)]
fn arg_block<T: Float, const W: usize>(
    column: usize,
    beats: impl Fn(T, T) -> bool,
    x: &[T],
    rows: usize,
    stride: usize,
    out: &mut [i64],
) {
    let mut best = *window::<T, W>(x, column);
    let mut index = [0_i64; W];
    for row in 1..rows {
        let x = window::<T, W>(x, row * stride + column);
        for k in 0..W {
            let takes = beats(x[k], best[k]) | (x[k].is_nan() & !best[k].is_nan());
            best[k] = if takes { x[k] } else { best[k] };
            index[k] = if takes { row as i64 } else { index[k] };
        }
    }
    *window_mut(out, column) = index;
}

simd! {
    /// [`argmax`] of every column of the `rows × cols` matrix `x`, whose rows are `stride` apart. At least one row.
    pub fn argmax_columns<T: Float>(x: &[T], rows: usize, cols: usize, stride: usize, out: &mut [i64]) {
        by_columns!(cols, [16, 4, 1], arg_block::<T>(|a, b| a > b, x, rows, stride, out));
    }

    /// [`argmin`] of every column of the `rows × cols` matrix `x`, whose rows are `stride` apart. At least one row.
    pub fn argmin_columns<T: Float>(x: &[T], rows: usize, cols: usize, stride: usize, out: &mut [i64]) {
        by_columns!(cols, [16, 4, 1], arg_block::<T>(|a, b| a < b, x, rows, stride, out));
    }
}

/// The positions of the maxima of `x` along `axis`, which is not empty.
pub fn argmax_axis<T: Float>(x: &[T], axis: Axis, out: &mut [i64]) {
    arg_axis(x, axis, out, argmax, argmax_columns);
}

/// The positions of the minima of `x` along `axis`, which is not empty.
pub fn argmin_axis<T: Float>(x: &[T], axis: Axis, out: &mut [i64]) {
    arg_axis(x, axis, out, argmin, argmin_columns);
}

type ArgColumns<T> = fn(&[T], usize, usize, usize, &mut [i64]);

fn arg_axis<T: Float>(x: &[T], axis: Axis, out: &mut [i64], row: fn(&[T]) -> usize, columns: ArgColumns<T>) {
    debug_assert_eq!(out.len(), axis.results());
    for i in 0..axis.outer {
        let x = &x[i * axis.block()..];
        if axis.is_contiguous() {
            out[i] = row(&x[..axis.len]) as i64;
        } else {
            columns(x, axis.len, axis.inner, axis.stride, &mut out[i * axis.inner..][..axis.inner]);
        }
    }
}

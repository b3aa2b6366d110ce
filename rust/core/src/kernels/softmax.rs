//! Softmax, its logarithm, and the logarithm of a sum of exponentials, along any axis.
//!
//! With m the maximum of the axis and s = Σ e^(x − m), summed in the order of [`super::reduce`]:
//!
//! ```text
//! softmax(x)     = e^(x − m) / s
//! log_softmax(x) = x − m − ln s
//! logsumexp(x)   = m + ln s
//! ```
//!
//! As in `PyTorch`, an axis of −∞ only gives NaN, but −∞ as its logsumexp. An axis that is not contiguous is vectorized over
//! the runs; so is a short contiguous one, which is turned in blocks of rows. All give the same bits.

use super::reduce::{
    Axis, BLOCK, by_columns, greater, join, joined, lanes, opaque, sum_of, sum_pairs, tree, tree_columns, window,
    window_mut,
};
use crate::element::{Float, LANES};
use crate::simd;

/// The longest contiguous axis of which a block of rows is turned on the stack: there, lanes would be left empty.
pub(crate) const SHORT: usize = 32;

/// A block of [`LANES`] turned rows.
pub(crate) type Turned<T> = [[T; LANES]; SHORT];

/// Turn up to [`LANES`] rows of `len` elements, so that an entry of all rows is a run.
#[inline(always)]
pub(crate) fn turn<T: Float>(x: &[T], rows: usize, len: usize, turned: &mut Turned<T>) {
    for (row, x) in x.chunks_exact(len).take(rows).enumerate() {
        for (run, &x) in turned.iter_mut().zip(x) {
            run[row] = x;
        }
    }
}

/// Turn them back.
#[inline(always)]
pub(crate) fn turn_back<T: Float>(turned: &Turned<T>, rows: usize, len: usize, x: &mut [T]) {
    for (row, x) in x.chunks_exact_mut(len).take(rows).enumerate() {
        for (x, run) in x.iter_mut().zip(turned) {
            *x = run[row];
        }
    }
}

/// A maximum as it is subtracted: never −0, so that the order in which it was found cannot show.
#[inline(always)]
pub(crate) fn settle<T: Float>(max: T) -> T {
    max + T::ZERO
}

/// The maximum of a contiguous axis.
#[inline(always)]
pub(crate) fn row_max<T: Float>(x: &[T]) -> T {
    settle(tree(lanes(x, T::NEG_INFINITY, greater), greater))
}

/// The maxima of `W` columns.
#[inline(always)]
pub(crate) fn block_max<T: Float, const W: usize>(x: &[T], len: usize, stride: usize) -> [T; W] {
    let mut max = [T::NEG_INFINITY; W];
    for i in 0..len {
        let x = window::<T, W>(x, i * stride);
        for k in 0..W {
            max[k] = greater(max[k], x[k]);
        }
    }
    for max in &mut max {
        *max = settle(*max);
    }
    max
}

/// Σ e^(x − max) of a contiguous axis; the terms go to `terms`.
#[inline(always)]
pub(crate) fn row_exp_sum<T: Float>(x: &[T], max: T, terms: &mut [T]) -> T {
    let mut total = [0.0];
    for (x, terms) in x.chunks(BLOCK).zip(terms.chunks_mut(BLOCK)) {
        let mut acc = [T::ZERO; LANES];
        let (x_blocks, x_rest) = x.as_chunks::<LANES>();
        let (blocks, rest) = terms.as_chunks_mut::<LANES>();
        for (x, terms) in x_blocks.iter().zip(blocks) {
            for l in 0..LANES {
                terms[l] = (x[l] - max).exp();
                acc[l] += terms[l];
            }
        }
        acc = opaque(acc);
        for ((acc, &x), term) in acc.iter_mut().zip(x_rest).zip(rest) {
            *term = (x - max).exp();
            *acc += *term;
        }
        join(&mut total, [tree(acc, |a, b| a + b)]);
    }
    joined(total)[0]
}

/// Σ e^(x − max) of a contiguous axis: the bits of [`row_exp_sum`].
#[inline(always)]
pub(crate) fn exp_sum<T: Float>(x: &[T], max: T) -> T {
    sum_of(x, |acc, x| acc + (x - max).exp())
}

/// Σ e^(x − max) over the `len` entries of `W` columns. No closure gives the terms: one that is not inlined is compiled
/// without the instructions of its caller.
#[inline(always)]
pub(crate) fn block_exp_sum<T: Float, const W: usize>(x: &[T], len: usize, stride: usize, max: &[T; W]) -> [T; W] {
    let mut totals = [0.0; W];
    for start in (0..len).step_by(BLOCK) {
        let mut lanes = [[T::ZERO; W]; LANES];
        for (l, lane) in lanes.iter_mut().enumerate() {
            let mut i = start + l;
            while i < len.min(start + BLOCK) {
                let terms = shifted_exp(window(x, i * stride), max);
                for k in 0..W {
                    lane[k] += terms[k];
                }
                i += LANES;
            }
        }
        join(&mut totals, tree_columns(lanes, |a, b| a + b));
    }
    joined(totals)
}

/// ln of `W` neighbors.
#[inline(always)]
pub(crate) fn logs<T: Float, const W: usize>(mut x: [T; W]) -> [T; W] {
    for x in &mut x {
        *x = x.ln();
    }
    x
}

/// e^(x − max) of `W` neighbors.
#[inline(always)]
fn shifted_exp<T: Float, const W: usize>(x: &[T; W], max: &[T; W]) -> [T; W] {
    let mut e = [T::ZERO; W];
    for k in 0..W {
        e[k] = (x[k] - max[k]).exp();
    }
    e
}

#[inline(always)]
fn softmax_block<T: Float, const W: usize>(
    column: usize,
    x: &[T],
    len: usize,
    stride: usize,
    y: &mut [T],
    y_stride: usize,
) {
    let x = &x[column..];
    let max = block_max::<T, W>(x, len, stride);
    let mut totals = [0.0; W];
    for start in (0..len).step_by(BLOCK) {
        let mut lanes = [[T::ZERO; W]; LANES];
        for (l, lane) in lanes.iter_mut().enumerate() {
            let mut i = start + l;
            while i < len.min(start + BLOCK) {
                let terms = shifted_exp(window(x, i * stride), &max);
                *window_mut(y, i * y_stride + column) = terms;
                for k in 0..W {
                    lane[k] += terms[k];
                }
                i += LANES;
            }
        }
        join(&mut totals, tree_columns(lanes, |a, b| a + b));
    }
    let sum = joined::<T, W>(totals);
    for i in 0..len {
        let y = window_mut::<T, W>(y, i * y_stride + column);
        for k in 0..W {
            y[k] = y[k] / sum[k];
        }
    }
}

#[inline(always)]
fn log_softmax_block<T: Float, const W: usize>(
    column: usize,
    x: &[T],
    len: usize,
    stride: usize,
    y: &mut [T],
    y_stride: usize,
) {
    let x = &x[column..];
    let max = block_max::<T, W>(x, len, stride);
    let sum = block_exp_sum(x, len, stride, &max);
    let log = logs(sum);
    for i in 0..len {
        let (x, y) = (window::<T, W>(x, i * stride), window_mut::<T, W>(y, i * y_stride + column));
        for k in 0..W {
            y[k] = x[k] - max[k] - log[k];
        }
    }
}

/// Maxima from which logsumexp subtracts nothing: infinite ones, which are the result.
#[inline(always)]
fn finite_or_zero<T: Float>(max: T) -> T {
    if max.abs() == -T::NEG_INFINITY { T::ZERO } else { max }
}

#[inline(always)]
fn logsumexp_block<T: Float, const W: usize>(column: usize, x: &[T], len: usize, stride: usize, out: &mut [T]) {
    let x = &x[column..];
    let mut max = block_max::<T, W>(x, len, stride);
    for max in &mut max {
        *max = finite_or_zero(*max);
    }
    let sum = block_exp_sum(x, len, stride, &max);
    let out = window_mut::<T, W>(out, column);
    for k in 0..W {
        out[k] = max[k] + sum[k].ln();
    }
}

/// out = f(grad, y, Σ g), where `SOFTMAX` says which sum and which f.
#[inline(always)]
fn backward_one<T: Float, const SOFTMAX: bool>(grad: T, y: T, sum: T) -> T {
    if SOFTMAX { y * (grad - sum) } else { grad - y.exp() * sum }
}

#[inline(always)]
fn backward_term<T: Float, const SOFTMAX: bool>(acc: T, grad: T, y: T) -> T {
    if SOFTMAX { grad.mul_add(y, acc) } else { acc + grad }
}

#[inline(always)]
fn backward_block<T: Float, const W: usize, const SOFTMAX: bool>(
    column: usize,
    grad: &[T],
    y: &[T],
    len: usize,
    stride: usize,
    out: &mut [T],
) {
    let mut totals = [0.0; W];
    for start in (0..len).step_by(BLOCK) {
        let mut lanes = [[T::ZERO; W]; LANES];
        for (l, lane) in lanes.iter_mut().enumerate() {
            let mut i = start + l;
            while i < len.min(start + BLOCK) {
                let (grad, y) = (window::<T, W>(grad, i * stride + column), window::<T, W>(y, i * stride + column));
                for k in 0..W {
                    lane[k] = backward_term::<T, SOFTMAX>(lane[k], grad[k], y[k]);
                }
                i += LANES;
            }
        }
        join(&mut totals, tree_columns(lanes, |a, b| a + b));
    }
    let sum = joined::<T, W>(totals);
    for i in 0..len {
        let at = i * stride + column;
        let (grad, y, out) = (window::<T, W>(grad, at), window::<T, W>(y, at), window_mut::<T, W>(out, at));
        for k in 0..W {
            out[k] = backward_one::<T, SOFTMAX>(grad[k], y[k], sum[k]);
        }
    }
}

#[inline(always)]
fn softmax_backward_block<T: Float, const W: usize>(c: usize, g: &[T], y: &[T], len: usize, s: usize, out: &mut [T]) {
    backward_block::<T, W, true>(c, g, y, len, s, out);
}

#[inline(always)]
fn log_softmax_backward_block<T: Float, const W: usize>(
    c: usize,
    g: &[T],
    y: &[T],
    len: usize,
    s: usize,
    out: &mut [T],
) {
    backward_block::<T, W, false>(c, g, y, len, s, out);
}

/// Backward of one contiguous axis.
#[inline(always)]
fn backward_row<T: Float, const SOFTMAX: bool>(grad: &[T], y: &[T], out: &mut [T]) {
    let [sum] = sum_pairs(grad, y, |[acc], grad, y| [backward_term::<T, SOFTMAX>(acc, grad, y)]);
    for ((out, &grad), &y) in out.iter_mut().zip(grad).zip(y) {
        *out = backward_one::<T, SOFTMAX>(grad, y, sum);
    }
}

simd! {
    fn softmax_columns<T: Float>(x: &[T], len: usize, cols: usize, stride: usize, y: &mut [T]) {
        by_columns!(cols, [16, 4, 1], softmax_block::<T>(x, len, stride, y, stride));
    }

    fn log_softmax_columns<T: Float>(x: &[T], len: usize, cols: usize, stride: usize, y: &mut [T]) {
        by_columns!(cols, [16, 4, 1], log_softmax_block::<T>(x, len, stride, y, stride));
    }

    fn logsumexp_columns<T: Float>(x: &[T], len: usize, cols: usize, stride: usize, out: &mut [T]) {
        by_columns!(cols, [16, 4, 1], logsumexp_block::<T>(x, len, stride, out));
    }

    fn softmax_backward_columns<T: Float>(grad: &[T], y: &[T], len: usize, cols: usize, stride: usize, out: &mut [T]) {
        by_columns!(cols, [16, 4, 1], softmax_backward_block::<T>(grad, y, len, stride, out));
    }

    fn log_softmax_backward_columns<T: Float>(grad: &[T], y: &[T], len: usize, cols: usize, stride: usize, out: &mut [T]) {
        by_columns!(cols, [16, 4, 1], log_softmax_backward_block::<T>(grad, y, len, stride, out));
    }

    fn softmax_rows<T: Float>(x: &[T], len: usize, y: &mut [T]) {
        if len <= SHORT {
            let (mut x_turned, mut y_turned): (Turned<T>, Turned<T>) = ([[T::ZERO; LANES]; SHORT], [[T::ZERO; LANES]; SHORT]);
            for (x, y) in x.chunks(len * LANES).zip(y.chunks_mut(len * LANES)) {
                let rows = x.len() / len;
                turn(x, rows, len, &mut x_turned);
                softmax_block::<T, LANES>(0, x_turned.as_flattened(), len, LANES, y_turned.as_flattened_mut(), LANES);
                turn_back(&y_turned, rows, len, y);
            }
            return;
        }
        for (x, y) in x.chunks_exact(len).zip(y.chunks_exact_mut(len)) {
            let sum = row_exp_sum(x, row_max(x), y);
            for y in y {
                *y = *y / sum;
            }
        }
    }

    fn log_softmax_rows<T: Float>(x: &[T], len: usize, y: &mut [T]) {
        if len <= SHORT {
            let (mut x_turned, mut y_turned): (Turned<T>, Turned<T>) = ([[T::ZERO; LANES]; SHORT], [[T::ZERO; LANES]; SHORT]);
            for (x, y) in x.chunks(len * LANES).zip(y.chunks_mut(len * LANES)) {
                let rows = x.len() / len;
                turn(x, rows, len, &mut x_turned);
                log_softmax_block::<T, LANES>(0, x_turned.as_flattened(), len, LANES, y_turned.as_flattened_mut(), LANES);
                turn_back(&y_turned, rows, len, y);
            }
            return;
        }
        for (x, y) in x.chunks_exact(len).zip(y.chunks_exact_mut(len)) {
            let max = row_max(x);
            let log = row_exp_sum(x, max, y).ln();
            for (y, &x) in y.iter_mut().zip(x) {
                *y = x - max - log;
            }
        }
    }

    fn logsumexp_rows<T: Float>(x: &[T], len: usize, out: &mut [T]) {
        if len <= SHORT {
            let mut turned: Turned<T> = [[T::ZERO; LANES]; SHORT];
            let mut results = [T::ZERO; LANES];
            for (x, out) in x.chunks(len * LANES).zip(out.chunks_mut(LANES)) {
                turn(x, out.len(), len, &mut turned);
                logsumexp_block::<T, LANES>(0, turned.as_flattened(), len, LANES, &mut results);
                out.copy_from_slice(&results[..out.len()]);
            }
            return;
        }
        for (x, out) in x.chunks_exact(len).zip(out) {
            let max = finite_or_zero(row_max(x));
            *out = max + exp_sum(x, max).ln();
        }
    }

    fn softmax_backward_rows<T: Float>(grad: &[T], y: &[T], len: usize, out: &mut [T]) {
        for ((grad, y), out) in grad.chunks_exact(len).zip(y.chunks_exact(len)).zip(out.chunks_exact_mut(len)) {
            backward_row::<T, true>(grad, y, out);
        }
    }

    fn log_softmax_backward_rows<T: Float>(grad: &[T], y: &[T], len: usize, out: &mut [T]) {
        for ((grad, y), out) in grad.chunks_exact(len).zip(y.chunks_exact(len)).zip(out.chunks_exact_mut(len)) {
            backward_row::<T, false>(grad, y, out);
        }
    }

    /// One run of [`logsumexp_backward`]: a gradient and a result for each element.
    fn weigh<T: Float>(grad: &[T], x: &[T], y: &[T], out: &mut [T]) {
        for (((out, &grad), &x), &y) in out.iter_mut().zip(grad).zip(x).zip(y) {
            *out = grad * (x - y).exp();
        }
    }

    fn weigh_rows<T: Float>(grad: &[T], x: &[T], y: &[T], len: usize, out: &mut [T]) {
        for (((out, x), &grad), &y) in out.chunks_exact_mut(len).zip(x.chunks_exact(len)).zip(grad).zip(y) {
            for (out, &x) in out.iter_mut().zip(x) {
                *out = grad * (x - y).exp();
            }
        }
    }
}

/// y ← softmax(x) along `axis`.
pub fn softmax<T: Float>(x: &[T], axis: Axis, y: &mut [T]) {
    forward(x, axis, y, softmax_rows, softmax_columns);
}

/// y ← `log_softmax(x)` along `axis`.
pub fn log_softmax<T: Float>(x: &[T], axis: Axis, y: &mut [T]) {
    forward(x, axis, y, log_softmax_rows, log_softmax_columns);
}

/// out ← y · (grad − Σ grad·y), where `y` is the softmax.
pub fn softmax_backward<T: Float>(grad: &[T], y: &[T], axis: Axis, out: &mut [T]) {
    backward(grad, y, axis, out, softmax_backward_rows, softmax_backward_columns);
}

/// out ← grad − e^y · Σ grad, where `y` is the log-softmax.
pub fn log_softmax_backward<T: Float>(grad: &[T], y: &[T], axis: Axis, out: &mut [T]) {
    backward(grad, y, axis, out, log_softmax_backward_rows, log_softmax_backward_columns);
}

/// out ← ln Σ eˣ along `axis`: `outer * inner` results.
pub fn logsumexp<T: Float>(x: &[T], axis: Axis, out: &mut [T]) {
    debug_assert_eq!(out.len(), axis.results());
    if axis.len == 0 {
        out.fill(T::NEG_INFINITY);
    } else if axis.is_contiguous() {
        logsumexp_rows(&x[..axis.outer * axis.len], axis.len, out);
    } else {
        for i in 0..axis.outer {
            let out = &mut out[i * axis.inner..][..axis.inner];
            logsumexp_columns(&x[i * axis.block()..], axis.len, axis.inner, axis.stride, out);
        }
    }
}

/// out ← grad · e^(x − y), where `y` is the logsumexp, which like `grad` has one value a run.
pub fn logsumexp_backward<T: Float>(grad: &[T], x: &[T], y: &[T], axis: Axis, out: &mut [T]) {
    if axis.len == 0 {
        return;
    }
    if axis.is_contiguous() {
        return weigh_rows(grad, x, y, axis.len, out);
    }
    for i in 0..axis.outer {
        let results = i * axis.inner..(i + 1) * axis.inner;
        for j in 0..axis.len {
            let run = i * axis.block() + j * axis.stride;
            let run = run..run + axis.inner;
            weigh(&grad[results.clone()], &x[run.clone()], &y[results.clone()], &mut out[run]);
        }
    }
}

type Rows<T> = fn(&[T], usize, &mut [T]);
type Columns<T> = fn(&[T], usize, usize, usize, &mut [T]);
type BackwardRows<T> = fn(&[T], &[T], usize, &mut [T]);
type BackwardColumns<T> = fn(&[T], &[T], usize, usize, usize, &mut [T]);

fn forward<T: Float>(x: &[T], axis: Axis, y: &mut [T], rows: Rows<T>, columns: Columns<T>) {
    if axis.len == 0 {
        return;
    }
    if axis.is_contiguous() {
        let all = axis.outer * axis.len;
        return rows(&x[..all], axis.len, &mut y[..all]);
    }
    for i in 0..axis.outer {
        let start = i * axis.block();
        columns(&x[start..], axis.len, axis.inner, axis.stride, &mut y[start..]);
    }
}

fn backward<T: Float>(
    grad: &[T],
    y: &[T],
    axis: Axis,
    out: &mut [T],
    rows: BackwardRows<T>,
    columns: BackwardColumns<T>,
) {
    if axis.len == 0 {
        return;
    }
    if axis.is_contiguous() {
        return rows(grad, y, axis.len, out);
    }
    for i in 0..axis.outer {
        let start = i * axis.block();
        columns(&grad[start..], &y[start..], axis.len, axis.inner, axis.stride, &mut out[start..]);
    }
}

#[cfg(test)]
mod tests;

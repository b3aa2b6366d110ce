//! Sums, extremes and their positions, along any axis of an array.
//!
//! A reduction over `len` elements always takes the same steps: lane `l` of 16 folds elements `l`, `l + 16`, `l + 32`, …
//! in this order, then lanes meet in a fixed tree: `l` with `l + 8`, then 4, 2, 1 apart. This holds however the elements lie in
//! memory, so that an array and its transpose give the same bits.
//!
//! A sum does so for every [`BLOCK`] elements, and adds the blocks in their order in double precision: however long the axis is, no
//! chain of additions in single precision is longer than 32, and the error is below 1e-6 of the sum of magnitudes.
//!
//! NaN is contagious, in extremes too, as in `PyTorch`: a maximum, a minimum and their positions are those of the first NaN
//! if there is one. Of equal extremes, the first position counts.

mod blocks;
mod position;

pub use blocks::Running;
pub(crate) use blocks::{join, joined};
pub use position::{argmax, argmax_axis, argmax_columns, argmin, argmin_axis, argmin_columns};

use crate::element::{Float, LANES};
use crate::simd;

/// Elements of a block of a sum: 32 a lane. A chain of n additions of one number is off by up to 1.6e-8 · n in single precision.
pub const BLOCK: usize = 32 * LANES;

/// Elements of a partial sum of [`sum_flat`].
pub const CHUNK: usize = 8 * BLOCK;

/// One axis of an array: `outer` blocks, in each of which entry `i` of the axis is a run of `inner` elements from `i * stride`.
///
/// A run is one element for the last axis of an array. `stride` is `inner`, or more where runs are padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Number of blocks; each takes `len * stride` elements.
    pub outer: usize,
    /// Length of the axis.
    pub len: usize,
    /// Elements of a run, which the reduction keeps apart.
    pub inner: usize,
    /// Distance from one entry to the next.
    pub stride: usize,
}

impl Axis {
    /// The axis of a packed array of `(outer, len, inner)`.
    #[must_use]
    pub const fn new(outer: usize, len: usize, inner: usize) -> Self {
        Self { outer, len, inner, stride: inner }
    }

    /// True if the entries of the axis are neighbors in memory.
    #[must_use]
    pub const fn is_contiguous(self) -> bool {
        self.inner == 1 && self.stride == 1
    }

    /// Elements from one block to the next.
    #[must_use]
    pub const fn block(self) -> usize {
        self.len * self.stride
    }

    /// Elements that a result of one value a run takes.
    #[must_use]
    pub const fn results(self) -> usize {
        self.outer * self.inner
    }
}

/// Result of [`reduce_axis`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Σ x, 0 for an empty axis.
    Sum,
    /// Σ x², 0 for an empty axis.
    SumSq,
    /// The maximum, −∞ for an empty axis.
    Max,
    /// The minimum, ∞ for an empty axis.
    Min,
}

/// A reduction: where a lane starts, how it takes an element, how two lanes meet.
pub trait Fold<T>: Copy {
    /// True if this is a sum, which is taken in blocks.
    const SUMS: bool = false;
    /// A lane without elements.
    fn start(self) -> T;
    /// The lane `acc` with element `x`.
    fn step(self, acc: T, x: T) -> T;
    /// Two lanes, the one of lower index first.
    fn merge(self, a: T, b: T) -> T;
}

macro_rules! fold {
    ($(#[$meta:meta])* $name:ident, $sums:expr, $start:expr, |$acc:ident, $x:ident| $step:expr, |$a:ident, $b:ident| $merge:expr) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;
        impl<T: Float> Fold<T> for $name {
            const SUMS: bool = $sums;
            #[inline(always)]
            fn start(self) -> T {
                $start
            }
            #[inline(always)]
            fn step(self, $acc: T, $x: T) -> T {
                $step
            }
            #[inline(always)]
            fn merge(self, $a: T, $b: T) -> T {
                $merge
            }
        }
    };
}
fold!(/** Σ x. */ Sum, true, T::ZERO, |acc, x| acc + x, |a, b| a + b);
fold!(/** Σ x². */ SumSq, true, T::ZERO, |acc, x| x.mul_add(x, acc), |a, b| a + b);
fold!(/** The maximum. */ Max, false, T::NEG_INFINITY, |acc, x| greater(acc, x), |a, b| greater(a, b));
fold!(/** The minimum. */ Min, false, -T::NEG_INFINITY, |acc, x| less(acc, x), |a, b| less(a, b));

/// The greater, or the NaN; `a` if equal.
#[inline(always)]
pub(crate) fn greater<T: Float>(a: T, b: T) -> T {
    if (b > a) | b.is_nan() { b } else { a }
}

/// The smaller, or the NaN; `a` if equal.
#[inline(always)]
pub(crate) fn less<T: Float>(a: T, b: T) -> T {
    if (b < a) | b.is_nan() { b } else { a }
}

/// The fixed tree over the lanes.
#[inline(always)]
pub(crate) fn tree<T: Copy>(lanes: [T; LANES], merge: impl Fn(T, T) -> T) -> T {
    let mut lanes = opaque(lanes);
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] = merge(lanes[l], lanes[l + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// The fixed tree over the lanes of `W` columns.
#[inline(always)]
pub(crate) fn tree_columns<T: Copy, const W: usize>(mut lanes: [[T; W]; LANES], merge: impl Fn(T, T) -> T) -> [T; W] {
    let mut half = LANES / 2;
    while half > 0 {
        let (low, high) = lanes.split_at_mut(half);
        for (a, b) in low.iter_mut().zip(high) {
            for k in 0..W {
                a[k] = merge(a[k], b[k]);
            }
        }
        half /= 2;
    }
    lanes[0]
}

/// The sums of `N` sets of lanes. (`map` on an array leaves its closure a function of its own.)
#[inline(always)]
pub(crate) fn trees<T: Float, const N: usize>(acc: [[T; LANES]; N]) -> [T; N] {
    let mut sums = [T::ZERO; N];
    for n in 0..N {
        sums[n] = tree(acc[n], |a, b| a + b);
    }
    sums
}

/// Fold the elements of `x` into lanes.
#[inline(always)]
pub(crate) fn lanes<T: Float>(x: &[T], start: T, step: impl Fn(T, T) -> T) -> [T; LANES] {
    let mut acc = [[start; LANES]];
    fold_pairs(x, x, &mut acc, |[acc], x, _| [step(acc, x)]);
    acc[0]
}

/// `N` sums over the pairs of `x` and `y`.
#[inline(always)]
pub(crate) fn sum_pairs<T: Float, const N: usize>(
    x: &[T],
    y: &[T],
    step: impl Fn([T; N], T, T) -> [T; N] + Copy,
) -> [T; N] {
    let mut totals = [0.0; N];
    for (x, y) in x.chunks(BLOCK).zip(y.chunks(BLOCK)) {
        let mut acc = [[T::ZERO; LANES]; N];
        fold_pairs(x, y, &mut acc, step);
        join(&mut totals, trees(acc));
    }
    joined(totals)
}

/// The sum to which `step` adds what it makes of each element.
#[inline(always)]
pub(crate) fn sum_of<T: Float>(x: &[T], step: impl Fn(T, T) -> T + Copy) -> T {
    sum_pairs(x, x, |[acc], x, _| [step(acc, x)])[0]
}

/// The reduction of `x`.
#[inline(always)]
fn fold_run<T: Float, F: Fold<T>>(fold: F, x: &[T]) -> T {
    if F::SUMS {
        return sum_pairs(x, x, |[acc], x, _| [fold.step(acc, x)])[0];
    }
    tree(lanes(x, fold.start(), |acc, x| fold.step(acc, x)), |a, b| fold.merge(a, b))
}

/// Fold the pairs of `x` and `y`, the first of which belongs to lane 0, into `N` sets of lanes.
#[inline(always)]
fn fold_pairs<T: Float, const N: usize>(
    x: &[T],
    y: &[T],
    acc: &mut [[T; LANES]; N],
    step: impl Fn([T; N], T, T) -> [T; N],
) {
    let (x_blocks, x_rest) = x.as_chunks::<LANES>();
    let (y_blocks, y_rest) = y.as_chunks::<LANES>();
    let mut registers = *acc;
    for (x, y) in x_blocks.iter().zip(y_blocks) {
        for l in 0..LANES {
            let lane = step(std::array::from_fn(|n| registers[n][l]), x[l], y[l]);
            for n in 0..N {
                registers[n][l] = lane[n];
            }
        }
    }
    registers = opaque(registers);
    if !x_rest.is_empty() {
        let (x, y, rest) = (padded(x_rest), padded(y_rest), x_rest.len() as u32);
        for l in 0..LANES {
            let before = std::array::from_fn(|n| registers[n][l]);
            let lane = step(before, x[l], y[l]);
            for n in 0..N {
                registers[n][l] = if (l as u32) < rest { lane[n] } else { before[n] };
            }
        }
        registers = opaque(registers);
    }
    *acc = registers;
}

/// Fewer than [`LANES`] elements, then zeros.
#[inline(always)]
fn padded<T: Float>(x: &[T]) -> [T; LANES] {
    let mut block = [T::ZERO; LANES];
    block[..x.len()].copy_from_slice(x);
    opaque(block)
}

/// `x`, put where the compiler must store it in order. If it saw how single lanes are used after a loop, it would cut the
/// loop into vectors of two or four to suit.
#[inline(always)]
pub(crate) fn opaque<X>(x: X) -> X {
    std::hint::black_box(x)
}

/// The `W` elements of `x` from `start`.
#[inline(always)]
pub(crate) fn window<T, const W: usize>(x: &[T], start: usize) -> &[T; W] {
    x[start..].first_chunk().expect("the caller has checked lengths")
}

/// The `W` elements of `x` from `start`.
#[inline(always)]
pub(crate) fn window_mut<T, const W: usize>(x: &mut [T], start: usize) -> &mut [T; W] {
    x[start..].first_chunk_mut().expect("the caller has checked lengths")
}

/// Call `$kernel::<T, W>(column, …)` on blocks of columns until all `$cols` are done, with widths `$w` from the widest to 1.
macro_rules! by_columns {
    (@from $column:ident $cols:ident [] $kernel:ident $t:ty; $($arg:expr),*) => {};
    (@from $column:ident $cols:ident [$w:literal $($rest:literal)*] $kernel:ident $t:ty; $($arg:expr),*) => {
        while $cols - $column >= $w {
            $kernel::<$t, $w>($column, $($arg),*);
            $column += $w;
        }
        by_columns!(@from $column $cols [$($rest)*] $kernel $t; $($arg),*);
    };
    ($cols:expr, [$($w:literal),+], $kernel:ident::<$t:ty>($($arg:expr),* $(,)?)) => {{
        let cols: usize = $cols;
        let mut column = 0;
        by_columns!(@from column cols [$($w)+] $kernel $t; $($arg),*);
        let _ = column;
    }};
}
pub(crate) use by_columns;

/// Fold rows of `W` columns of which `x` holds the first from its start.
#[inline(always)]
fn fold_rows_of_block<T: Float, const W: usize>(
    fold: impl Fold<T>,
    x: &[T],
    rows: std::ops::Range<usize>,
    stride: usize,
) -> [T; W] {
    let mut lanes = [[fold.start(); W]; LANES];
    for (l, lane) in lanes.iter_mut().enumerate() {
        let mut acc = [fold.start(); W];
        let mut row = rows.start + l;
        while row < rows.end {
            let x = window::<T, W>(x, row * stride);
            for k in 0..W {
                acc[k] = fold.step(acc[k], x[k]);
            }
            row += LANES;
        }
        *lane = acc;
    }
    tree_columns(lanes, |a, b| fold.merge(a, b))
}

/// Fold `W` columns of which `x` holds the first from its start.
#[inline(always)]
pub(crate) fn fold_block<T: Float, F: Fold<T>, const W: usize>(fold: F, x: &[T], rows: usize, stride: usize) -> [T; W] {
    if !F::SUMS {
        return fold_rows_of_block(fold, x, 0..rows, stride);
    }
    let mut totals = [0.0; W];
    for start in (0..rows).step_by(BLOCK) {
        join(&mut totals, fold_rows_of_block(fold, x, start..rows.min(start + BLOCK), stride));
    }
    joined(totals)
}

#[inline(always)]
fn fold_columns_block<T: Float, const W: usize>(
    column: usize,
    fold: impl Fold<T>,
    x: &[T],
    rows: usize,
    stride: usize,
    out: &mut [T],
) {
    // Without rows there may be nothing to slice.
    let x = x.get(column..).unwrap_or_default();
    *window_mut::<T, W>(out, column) = fold_block(fold, x, rows, stride);
}

simd! {
    /// The reduction of `x`.
    pub fn fold<T: Float, F: Fold<T>>(fold: F, x: &[T]) -> T {
        fold_run(fold, x)
    }

    /// The reduction of every `len` neighbors of `x`, as many as `out` is long.
    pub fn fold_rows<T: Float, F: Fold<T>>(fold: F, x: &[T], len: usize, out: &mut [T]) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = fold_run(fold, &x[i * len..][..len]);
        }
    }

    /// The reduction of every column of the `rows × cols` matrix `x`, whose rows are `stride` apart.
    pub fn fold_columns<T: Float, F: Fold<T>>(fold: F, x: &[T], rows: usize, cols: usize, stride: usize, out: &mut [T]) {
        by_columns!(cols, [128, 16, 4, 1], fold_columns_block::<T>(fold, x, rows, stride, out));
    }

    /// Σ x·y.
    pub fn dot<T: Float>(x: &[T], y: &[T]) -> T {
        sum_pairs(x, y, |[acc], x, y| [x.mul_add(y, acc)])[0]
    }
}

/// Σ x over one axis. For long flat arrays see [`sum_flat`].
#[must_use]
pub fn sum<T: Float>(x: &[T]) -> T {
    fold(Sum, x)
}

/// Σ x².
#[must_use]
pub fn sum_sq<T: Float>(x: &[T]) -> T {
    fold(SumSq, x)
}

/// The maximum; −∞ if there is none.
#[must_use]
pub fn max<T: Float>(x: &[T]) -> T {
    fold(Max, x)
}

/// The minimum; ∞ if there is none.
#[must_use]
pub fn min<T: Float>(x: &[T]) -> T {
    fold(Min, x)
}

/// Σ x of every column of the `rows × cols` matrix `x`, whose rows are `stride` apart: the bits of [`sum`].
pub fn sum_columns<T: Float>(x: &[T], rows: usize, cols: usize, stride: usize, out: &mut [T]) {
    fold_columns(Sum, x, rows, cols, stride, out);
}

/// Σ x of all elements, however many: of the sums of chunks of [`CHUNK`], summed in the same way.
///
/// Threads share it by [`chunk_sums`]: `sum_flat(x) == sum_flat(chunk_sums(x))` for more than one chunk.
#[must_use]
pub fn sum_flat<T: Float>(x: &[T]) -> T {
    if x.len() <= CHUNK {
        return sum(x);
    }
    // The largest power of CHUNK below the length: each chunk of it is one of at most CHUNK partial sums.
    let mut span = CHUNK;
    while span.checked_mul(CHUNK).is_some_and(|next| next < x.len()) {
        span *= CHUNK;
    }
    let mut total = Running::default();
    for x in x.chunks(span) {
        total.add(sum_flat(x));
    }
    total.total()
}

/// Σ x of every [`CHUNK`] elements of `x`. A thread may take any run of whole chunks.
pub fn chunk_sums<T: Float>(x: &[T], out: &mut [T]) {
    for (x, out) in x.chunks(CHUNK).zip(out) {
        *out = sum(x);
    }
}

/// The reduction of `x` along `axis` into `out`, of `outer * inner` elements.
pub fn reduce_axis<T: Float>(reduction: Reduction, x: &[T], axis: Axis, out: &mut [T]) {
    match reduction {
        Reduction::Sum => fold_axis(Sum, x, axis, out),
        Reduction::SumSq => fold_axis(SumSq, x, axis, out),
        Reduction::Max => fold_axis(Max, x, axis, out),
        Reduction::Min => fold_axis(Min, x, axis, out),
    }
}

fn fold_axis<T: Float>(fold: impl Fold<T>, x: &[T], axis: Axis, out: &mut [T]) {
    debug_assert_eq!(out.len(), axis.results());
    if axis.is_contiguous() {
        return fold_rows(fold, x, axis.len, out);
    }
    for i in 0..axis.outer {
        let out = &mut out[i * axis.inner..][..axis.inner];
        fold_columns(fold, &x[i * axis.block()..], axis.len, axis.inner, axis.stride, out);
    }
}

#[cfg(test)]
mod tests;

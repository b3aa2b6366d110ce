//! Linear maps of planes that act on rows and columns one after the other: averages, interpolation, padding.
//!
//! ```text
//! y = R · x · Cᵀ        R: (rows of y × rows of x), C: (columns of y × columns of x), both sparse
//! ```
//!
//! First R makes lines of the width of x, as many as stay in cache, then C makes rows of y of them. Sums run in the order
//! of the taps.

use super::vector::{Vector, registers};
use crate::element::{Float, LANES};
use crate::kernels::reduce::tree;

/// Outputs from which on a sum of neighbours is worth lanes.
const LONG: usize = 16;
/// Elements of the lines that are made before rows are made of them: what was written just now is read slowly, and what
/// was written long ago has left the cache.
const BLOCK: usize = 4096;

/// The longest stretch of outputs in which `period` outputs further on the taps are those `step` inputs further on, where
/// inputs before the first and after the last are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Its first output.
    pub from: usize,
    /// Its end.
    pub to: usize,
    /// 1 or 2.
    pub period: usize,
    /// 0, 1 or 2; 1 if the period is 2.
    pub step: usize,
    /// An output of it, whole periods after the first, that has all its taps, as have all of its period.
    pub like: usize,
    /// How far the taps reach before the first input.
    pub before: usize,
    /// How far they reach past the last.
    pub after: usize,
}

/// One axis: output i is Σ `weights[k] · x[at[k]]` over the taps k from `starts[i]` to `starts[i + 1]`.
#[derive(Clone, Copy, Debug)]
pub struct Axis<'a, T> {
    /// How many inputs.
    pub inputs: usize,
    /// Where the taps of an output begin; one more than there are outputs.
    pub starts: &'a [u32],
    /// The input of a tap.
    pub at: &'a [u32],
    /// The weight of a tap.
    pub weights: &'a [T],
}

impl<'a, T: Float> Axis<'a, T> {
    /// How many outputs.
    #[inline(always)]
    fn outputs(&self) -> usize {
        self.starts.len() - 1
    }

    /// The taps of an output.
    #[inline(always)]
    fn taps(&self, i: usize) -> (&'a [u32], &'a [T]) {
        let range = self.starts[i] as usize..self.starts[i + 1] as usize;
        (&self.at[range.clone()], &self.weights[range])
    }

    /// That taps are inputs.
    fn check(&self) {
        assert!(self.at.iter().all(|&at| (at as usize) < self.inputs) && self.weights.len() == self.at.len());
    }
}

/// Both axes.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a, T> {
    /// R.
    pub rows: Axis<'a, T>,
    /// Where rows of y begin that are not the same as the one before; and how many rows there are.
    pub runs: &'a [u32],
    /// C.
    pub cols: Axis<'a, T>,
    /// Where the taps of C repeat.
    pub stretch: Stretch,
}

impl<T: Float> Map<'_, T> {
    /// From one line to the next: what lies before a line, the line in whole registers, and what lies after it.
    fn pitch(&self) -> usize {
        let (width, Stretch { before, after, .. }) = (self.cols.inputs, self.stretch);
        before + (width + after).max(width.next_multiple_of(LANES))
    }

    /// Lines that are made before rows are made of them.
    fn lines(&self) -> usize {
        (BLOCK / self.pitch()).clamp(1, self.rows.outputs().max(1))
    }

    /// Elements that [`planes`] needs. The last registers of the stretch of a line, two of them, may begin at its end.
    #[must_use]
    pub fn room(&self) -> usize {
        self.lines() * self.pitch() + 2 * LANES
    }

    /// That taps are inputs, and those of the stretch at most as far outside as it says.
    fn check(&self) {
        self.rows.check();
        self.cols.check();
        let Stretch { from, to, period, step, like, before, after } = self.stretch;
        if from == to {
            return;
        }
        assert!(matches!((period, step), (1, 0..=2) | (2, 1)));
        assert!(from <= like && like < to && to <= self.cols.outputs() && (like - from).is_multiple_of(period));
        let (back, ahead) = ((like - from) / period * step, (to - 1 - like) / period * step);
        for i in like..like + period {
            for &at in self.cols.taps(i).0 {
                assert!(at as usize + before >= back && at as usize + ahead < self.cols.inputs + after);
            }
        }
    }
}

/// What a sum begins with: with the 0 that changes no product, if there is any.
#[inline(always)]
fn empty_sum<T: Float>(at: &[u32]) -> T {
    if at.is_empty() { T::ZERO } else { -T::ZERO }
}

/// Σ weight · input of one output.
#[inline(always)]
fn one<T: Float>(line: &[T], at: &[u32], weights: &[T]) -> T {
    let n = at.len();
    if n >= LONG && at[n - 1] as usize == at[0] as usize + n - 1 {
        let (chunks, rest) = line[at[0] as usize..][..n].as_chunks::<LANES>();
        let (chunk_weights, rest_weights) = weights.as_chunks::<LANES>();
        let mut sums = [T::ZERO; LANES];
        for (x, w) in chunks.iter().zip(chunk_weights) {
            for l in 0..LANES {
                sums[l] = w[l].mul_add(x[l], sums[l]);
            }
        }
        for ((sum, &x), &w) in sums.iter_mut().zip(rest).zip(rest_weights) {
            *sum = w.mul_add(x, *sum);
        }
        return tree(sums, |a, b| a + b);
    }
    let mut sum = empty_sum(at);
    for (&at, &w) in at.iter().zip(weights) {
        sum = w.mul_add(line[at as usize], sum);
    }
    sum
}

/// line ← Σ weight · row of x, in whole registers.
///
/// # Safety
/// As for [`Vector`]; x has the rows of the taps, the line as many elements.
#[inline(always)]
unsafe fn down<V: Vector>(x: *const V::Elem, width: usize, at: &[u32], weights: &[V::Elem], line: *mut V::Elem) {
    for start in (0..width).step_by(V::LANES) {
        // SAFETY: loads are masked to the row, lines have room for whole registers.
        unsafe {
            let mask = V::first(V::LANES.min(width - start));
            let mut sum = V::splat(empty_sum(at));
            for (&at, &w) in at.iter().zip(weights) {
                sum = V::splat(w).mul_add(V::load_part(x.add(at as usize * width + start), mask), sum);
            }
            sum.store(line.add(start));
        }
    }
}

/// Σ weight · input of as many neighbouring outputs as there are lanes. With `STEP` 2 they are every other.
///
/// # Safety
/// As for [`Vector`]; `STEP` registers can be read at every tap of the line.
#[inline(always)]
unsafe fn sums<V: Vector, const STEP: usize>(line: *const V::Elem, at: &[u32], weights: &[V::Elem]) -> V {
    // SAFETY: what is asked of the caller.
    unsafe {
        let mut sum = V::splat(empty_sum(at));
        let mut k = 0;
        while k < at.len() {
            let source = line.wrapping_add(at[k] as usize);
            if STEP == 1 {
                sum = V::splat(weights[k]).mul_add(V::load(source), sum);
            } else {
                let (even, odd) = V::load(source).deinterleave(V::load(source.add(V::LANES)));
                sum = V::splat(weights[k]).mul_add(even, sum);
                if k + 1 < at.len() && at[k + 1] == at[k] + 1 {
                    k += 1;
                    sum = V::splat(weights[k]).mul_add(odd, sum);
                }
            }
            k += 1;
        }
        sum
    }
}

/// The outputs of the stretch.
///
/// # Safety
/// As for [`Vector`]; the columns are checked, and two registers can be read at the last tap of the line.
#[inline(always)]
unsafe fn stretch<V: Vector>(line: *const V::Elem, map: &Map<'_, V::Elem>, y: &mut [V::Elem]) {
    let Stretch { from, period, step, like, .. } = map.stretch;
    let (at, weights) = map.cols.taps(like);
    let (n, y) = (y.len(), y.as_mut_ptr());
    let first = line.wrapping_sub((like - from) / period * step);
    // SAFETY: stores are masked to y; the taps of its outputs are in the line, and what is read past them is not used.
    unsafe {
        if period == 2 {
            let (next_at, next_weights) = map.cols.taps(like + 1);
            for i in (0..n).step_by(2 * V::LANES) {
                let source = first.wrapping_add(i / 2);
                let (a, b) = (sums::<V, 1>(source, at, weights), sums::<V, 1>(source, next_at, next_weights));
                let (low, high) = a.interleave(b);
                let left = n - i;
                low.store_part(y.add(i), V::first(left.min(V::LANES)));
                if left > V::LANES {
                    high.store_part(y.add(i + V::LANES), V::first((left - V::LANES).min(V::LANES)));
                }
            }
            return;
        }
        for i in (0..n).step_by(V::LANES) {
            let source = first.wrapping_add(i * step);
            let sum = if step == 2 { sums::<V, 2>(source, at, weights) } else { sums::<V, 1>(source, at, weights) };
            sum.store_part(y.add(i), V::first((n - i).min(V::LANES)));
        }
    }
}

/// y ← C · line
///
/// # Safety
/// As for [`stretch`].
#[inline(always)]
unsafe fn across<V: Vector>(line: &[V::Elem], map: &Map<'_, V::Elem>, y: &mut [V::Elem]) {
    let Stretch { from, to, step, like, .. } = map.stretch;
    if from < to && step == 0 {
        let (at, weights) = map.cols.taps(like);
        y[from..to].fill(one(line, at, weights));
    } else if from < to {
        // SAFETY: what is asked of the caller.
        unsafe { stretch::<V>(line.as_ptr(), map, &mut y[from..to]) };
    }
    for i in (0..from).chain(to..y.len()) {
        let (at, weights) = map.cols.taps(i);
        y[i] = one(line, at, weights);
    }
}

/// Copy the first `width` elements to those that follow.
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
unsafe fn repeat<V: Vector>(rows: &mut [V::Elem], width: usize) {
    let (first, others) = rows.split_at_mut(width);
    for row in others.chunks_exact_mut(width) {
        for i in (0..width).step_by(V::LANES) {
            // SAFETY: masked to the rows.
            unsafe {
                let mask = V::first((width - i).min(V::LANES));
                V::load_part(first.as_ptr().add(i), mask).store_part(row.as_mut_ptr().add(i), mask);
            }
        }
    }
}

registers! {
    /// y ← R · x · Cᵀ for planes that follow each other. `room` is scratch, all 0: as much as [`Map::room`] says.
    pub(crate) fn planes<T, V>(x: &[T], map: &Map<'_, T>, room: &mut [T], y: &mut [T]) {
        let Map { rows, cols, .. } = map;
        let (width, out_cols) = (cols.inputs, cols.outputs());
        let (pitch, before, most) = (map.pitch(), map.stretch.before, map.lines());
        assert!(room.len() >= map.room());
        map.check();
        for (x, y) in x.chunks_exact(rows.inputs * width).zip(y.chunks_exact_mut(rows.outputs() * out_cols)) {
            for first in (0..map.runs.len() - 1).step_by(most) {
                let runs = &map.runs[first..(first + most + 1).min(map.runs.len())];
                for (line, &i) in room.chunks_exact_mut(pitch).zip(&runs[..runs.len() - 1]) {
                    let (at, weights) = rows.taps(i as usize);
                    // SAFETY: taps are rows of x; the line has room for whole registers.
                    unsafe { down::<V>(x.as_ptr(), width, at, weights, line[before..].as_mut_ptr()) };
                }
                for (l, run) in runs.windows(2).enumerate() {
                    let y = &mut y[run[0] as usize * out_cols..run[1] as usize * out_cols];
                    // SAFETY: a line lies between so many zeros, and `room` ends so far behind the last, as taps reach.
                    unsafe {
                        across::<V>(&room[l * pitch + before..], map, &mut y[..out_cols]);
                        repeat::<V>(y, out_cols);
                    }
                }
            }
        }
    }
}

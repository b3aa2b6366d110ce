//! Linear maps of planes that act on rows and columns one after the other: averages, interpolation, padding.
//!
//! ```text
//! y = R · x · Cᵀ        R: (rows of y × rows of x), C: (columns of y × columns of x), both sparse
//! ```
//!
//! First R makes lines of the width of x, as many as stay in cache, then C makes rows of y of them. Sums run in the order
//! of the taps, and in blocks where there are many.

mod taps;

use std::ops::Range;

use taps::{CHAIN, empty_sum, one, over_taps};

use super::vector::{Vector, registers};
use crate::element::{Float, LANES};

/// Elements of the lines that are made before rows are made of them: what was written just now is read slowly, and what
/// was written long ago has left the cache.
const BLOCK: usize = 4096;
/// Elements of y that are made of those lines: their memory is reached in its order, but for steps of this size.
const WRITTEN: usize = 1024;

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
    /// Elements by which the taps reach before the first input.
    pub before: usize,
    /// Elements by which they reach past the last.
    pub after: usize,
}

/// One axis: output i is Σ `weights[k] · x[at[k]]` over the taps k from `starts[i]` to `starts[i + 1]`.
#[derive(Clone, Copy, Debug)]
pub struct Axis<'a, T> {
    /// Number of inputs.
    pub inputs: usize,
    /// Start of the taps of each output; one more than there are outputs.
    pub starts: &'a [u32],
    /// The input of a tap.
    pub at: &'a [u32],
    /// The weight of a tap.
    pub weights: &'a [T],
}

impl<'a, T: Float> Axis<'a, T> {
    /// Number of outputs.
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
        assert!(self.starts.is_sorted() && self.starts.last().is_some_and(|&end| end as usize == self.at.len()));
        assert!(self.at.iter().all(|&at| (at as usize) < self.inputs) && self.weights.len() == self.at.len());
    }
}

/// Both axes.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a, T> {
    /// R.
    pub rows: Axis<'a, T>,
    /// Rows of y that differ from the one before; and the number of rows.
    pub runs: &'a [u32],
    /// C.
    pub cols: Axis<'a, T>,
    /// Stretch in which the taps of C repeat.
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
        let (lines, rows) = ((self.runs.len() - 1).max(1), self.rows.outputs());
        let most = (BLOCK / self.pitch()).min(WRITTEN * lines / (rows * self.cols.outputs()).max(1));
        most.clamp(1, lines)
    }

    /// Elements that `planes` needs. The last registers of the stretch of a line, two of them, may begin at its end.
    #[must_use]
    pub fn room(&self) -> usize {
        self.lines() * self.pitch() + 2 * LANES
    }

    /// That taps are inputs, and those of the stretch at most as far outside as it says.
    fn check(&self) {
        self.rows.check();
        self.cols.check();
        assert!(self.runs.is_sorted() && self.runs.last().is_some_and(|&end| end as usize == self.rows.outputs()));
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

/// Some lines, and the rows of y that are made of them.
struct Lines<'a, V: Vector> {
    /// The first element of the first line.
    line: *mut V::Elem,
    pitch: usize,
    /// The first row of y that a line makes, and where the rows of the last line end.
    runs: &'a [u32],
    /// y, from its first row.
    y: *mut V::Elem,
    map: &'a Map<'a, V::Elem>,
}

impl<V: Vector> Lines<'_, V> {
    /// lines ← R · x, in whole registers.
    ///
    /// # Safety
    /// Here and below as for [`Vector`]; pointers are to all that the map, which is checked, speaks of.
    #[inline(always)]
    unsafe fn make(&self, x: *const V::Elem) {
        let (rows, width) = (self.map.rows, self.map.cols.inputs);
        let whole = width - width % V::LANES;
        // SAFETY: loads are masked to the row, lines have room for whole registers.
        unsafe {
            let rest = V::first(width - whole);
            let mut line = self.line;
            for &i in &self.runs[..self.runs.len() - 1] {
                let taps = rows.starts.get_unchecked(i as usize..i as usize + 2);
                let taps = taps[0] as usize..taps[1] as usize;
                let (at, weights) = (rows.at.get_unchecked(taps.clone()), rows.weights.get_unchecked(taps));
                for start in (0..whole).step_by(V::LANES) {
                    let sum = over_taps!(V, at, weights, |at, w, sum| {
                        V::splat(w).mul_add(V::load(x.add(at as usize * width + start)), sum)
                    });
                    sum.store(line.add(start));
                }
                if whole < width {
                    let sum = over_taps!(V, at, weights, |at, w, sum| {
                        V::splat(w).mul_add(V::load_part(x.add(at as usize * width + whole), rest), sum)
                    });
                    sum.store(line.add(whole));
                }
                line = line.wrapping_add(self.pitch);
            }
        }
    }

    /// Σ weight · input of as many neighboring outputs as there are lanes. With `STEP` 2, `line` has every other.
    #[inline(always)]
    unsafe fn sums<const STEP: usize>(line: *const V::Elem, at: &[u32], weights: &[V::Elem]) -> V {
        // SAFETY: what is read past the taps of outputs is in the room behind the lines.
        unsafe {
            if STEP == 1 {
                return over_taps!(V, at, weights, |at, w, sum| {
                    V::splat(w).mul_add(V::load(line.wrapping_add(at as usize)), sum)
                });
            }
            if at.len() > CHAIN {
                return over_taps!(V, at, weights, |at, w, sum| {
                    let source = line.wrapping_add(at as usize);
                    V::splat(w).mul_add(V::load(source).deinterleave(V::load(source.add(V::LANES))).0, sum)
                });
            }
            let mut sum = V::splat(empty_sum(at));
            let mut k = 0;
            while k < at.len() {
                let source = line.wrapping_add(*at.get_unchecked(k) as usize);
                let w = V::splat(*weights.get_unchecked(k));
                let (even, odd) = V::load(source).deinterleave(V::load(source.add(V::LANES)));
                sum = w.mul_add(even, sum);
                if k + 1 < at.len() && *at.get_unchecked(k + 1) == *at.get_unchecked(k) + 1 {
                    k += 1;
                    sum = V::splat(*weights.get_unchecked(k)).mul_add(odd, sum);
                }
                k += 1;
            }
            sum
        }
    }

    /// The outputs of a stretch, each of its own taps.
    #[inline(always)]
    unsafe fn each<const STEP: usize>(&self) {
        let (Stretch { from, to, like, .. }, width) = (self.map.stretch, self.map.cols.outputs());
        let (at, weights) = self.map.cols.taps(like);
        for i in (from..to).step_by(V::LANES) {
            let mut line = self.line.cast_const().wrapping_add(i * STEP).wrapping_sub(like * STEP);
            // SAFETY: stores are masked to the stretch.
            unsafe {
                let mask = V::first((to - i).min(V::LANES));
                for rows in self.runs.windows(2) {
                    let sum = Self::sums::<STEP>(line, at, weights);
                    for row in rows[0]..rows[1] {
                        sum.store_part(self.y.add(row as usize * width + i), mask);
                    }
                    line = line.wrapping_add(self.pitch);
                }
            }
        }
    }

    /// The outputs of a stretch, two by two.
    #[inline(always)]
    unsafe fn pairs(&self) {
        let (Stretch { from, to, like, .. }, width) = (self.map.stretch, self.map.cols.outputs());
        let [(at, weights), (next_at, next_weights)] = [like, like + 1].map(|i| self.map.cols.taps(i));
        for i in (from..to).step_by(2 * V::LANES) {
            let mut line = self.line.cast_const().wrapping_add(i / 2).wrapping_sub(like / 2);
            let left = to - i;
            // SAFETY: stores are masked to the stretch.
            unsafe {
                let low = V::first(left.min(V::LANES));
                let high = V::first(left.clamp(V::LANES, 2 * V::LANES) - V::LANES);
                for rows in self.runs.windows(2) {
                    let even = Self::sums::<1>(line, at, weights);
                    let (a, b) = even.interleave(Self::sums::<1>(line, next_at, next_weights));
                    for row in rows[0]..rows[1] {
                        let y = self.y.add(row as usize * width + i);
                        a.store_part(y, low);
                        b.store_part(y.wrapping_add(V::LANES), high);
                    }
                    line = line.wrapping_add(self.pitch);
                }
            }
        }
    }

    /// The outputs of a stretch that are all the same.
    #[inline(always)]
    unsafe fn same(&self) {
        let (Stretch { from, to, like, .. }, cols) = (self.map.stretch, &self.map.cols);
        let (at, weights) = cols.taps(like);
        for (l, rows) in self.runs.windows(2).enumerate() {
            // SAFETY: a line, and a part of the rows that are made of it.
            unsafe {
                let line = std::slice::from_raw_parts(self.line.add(l * self.pitch), cols.inputs);
                let value = one(line, at, weights);
                for row in rows[0]..rows[1] {
                    let y = self.y.add(row as usize * cols.outputs() + from);
                    std::slice::from_raw_parts_mut(y, to - from).fill(value);
                }
            }
        }
    }

    /// Outputs outside of a stretch.
    #[inline(always)]
    unsafe fn rest(&self, outputs: Range<usize>) {
        let cols = &self.map.cols;
        for i in outputs.clone() {
            let (at, weights) = cols.taps(i);
            for (l, rows) in self.runs.windows(2).enumerate() {
                // SAFETY: a line, and an element of a row that is made of it.
                unsafe {
                    let line = std::slice::from_raw_parts(self.line.add(l * self.pitch), cols.inputs);
                    self.y.add(rows[0] as usize * cols.outputs() + i).write(one(line, at, weights));
                }
            }
        }
        for i in outputs.clone().step_by(V::LANES) {
            for rows in self.runs.windows(2).filter(|rows| rows[1] > rows[0] + 1) {
                // SAFETY: masked to the outputs.
                unsafe {
                    let mask = V::first((outputs.end - i).min(V::LANES));
                    let values = V::load_part(self.y.add(rows[0] as usize * cols.outputs() + i), mask);
                    for row in rows[0] + 1..rows[1] {
                        values.store_part(self.y.add(row as usize * cols.outputs() + i), mask);
                    }
                }
            }
        }
    }

    /// y ← C · line
    #[inline(always)]
    unsafe fn across(&self) {
        let Stretch { from, to, period, step, .. } = self.map.stretch;
        // SAFETY: what the caller is asked for.
        unsafe {
            match (period, step) {
                _ if from == to => {}
                (2, _) => self.pairs(),
                (_, 1) => self.each::<1>(),
                (_, 2) => self.each::<2>(),
                _ => self.same(),
            }
            self.rest(0..from);
            self.rest(to..self.map.cols.outputs());
        }
    }
}

registers! {
    /// y ← R · x · Cᵀ for planes that follow each other. `room` is scratch, all 0: as much as [`Map::room`] says.
    pub(crate) fn planes<T, V>(x: &[T], map: &Map<'_, T>, room: &mut [T], y: &mut [T]) {
        let (size, out) = (map.rows.inputs * map.cols.inputs, map.rows.outputs() * map.cols.outputs());
        assert!(room.len() >= map.room());
        map.check();
        let (pitch, most) = (map.pitch(), map.lines());
        let line = room[map.stretch.before..].as_mut_ptr();
        for (x, y) in x.chunks_exact(size).zip(y.chunks_exact_mut(out)) {
            for first in (0..map.runs.len() - 1).step_by(most) {
                let runs = &map.runs[first..(first + most + 1).min(map.runs.len())];
                let lines = Lines::<V> { line, pitch, runs, y: y.as_mut_ptr(), map };
                // SAFETY: the map is checked, x and y are whole planes, and `room` is what it asks for.
                unsafe {
                    lines.make(x.as_ptr());
                    lines.across();
                }
            }
        }
    }
}

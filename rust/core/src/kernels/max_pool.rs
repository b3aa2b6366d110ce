//! The greatest of each window of a plane, and where it is.
//!
//! Of equal elements the first in row-major order wins, of NaN the last: `v` takes the place of the best so far if
//! `v > best` or `v` is NaN. Padding never wins.

use super::vector::{Lanes, deinterleave};
use crate::element::Float;
use crate::simd;

/// Outputs that are done at once.
const BLOCK: usize = 16;
/// Rows of windows whose rows are dealt out before they are needed: what has just been written in pieces is read slowly.
const AHEAD: usize = 4;
/// Most elements of a window whose position within it is kept as a byte.
pub const MOST_OFFSETS: usize = 256;

/// Regular windows over planes, as (rows, columns).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Size of a plane.
    pub input: [usize; 2],
    /// How many windows there are.
    pub output: [usize; 2],
    /// Elements of a window.
    pub kernel: [usize; 2],
    /// Distance between windows.
    pub stride: [usize; 2],
    /// How far the first window begins before the plane.
    pub padding: [usize; 2],
    /// Distance between a window's elements.
    pub dilation: [usize; 2],
}

impl Windows {
    /// The elements of window `i` that lie inside the plane, by their number along an axis.
    #[inline(always)]
    #[must_use]
    pub fn inside(&self, axis: usize, i: usize) -> (usize, usize) {
        let (start, dilation) = (i * self.stride[axis], self.dilation[axis]);
        let first = self.padding[axis].saturating_sub(start).div_ceil(dilation);
        let end = (self.input[axis] + self.padding[axis]).saturating_sub(start).div_ceil(dilation);
        (first, end.min(self.kernel[axis]))
    }

    /// The rows or columns that a window reaches over.
    const fn span(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilation[axis] + 1
    }

    /// Whether the windows are 2 × 2 tiles of the plane.
    const fn tiles(&self) -> bool {
        matches!(
            self,
            Self { kernel: [2, 2], stride: [2, 2], padding: [0, 0], dilation: [1, 1], input, output }
                if 2 * output[0] <= input[0] && 2 * output[1] <= input[1]
        )
    }

    /// Elements of a plane.
    #[must_use]
    pub const fn plane(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Windows of a plane.
    #[must_use]
    pub const fn outputs(&self) -> usize {
        self.output[0] * self.output[1]
    }
}

/// Padded rows of a plane, their columns dealt out: column j is element j / stride of part j mod stride. The elements
/// that neighbouring windows have at one place then are neighbours.
#[derive(Debug)]
pub(crate) struct Rows<T> {
    /// Room for the rows that some rows of windows reach over, taken in turn.
    values: Vec<T>,
    /// Elements of a part.
    part: usize,
    /// Where the elements that a window has in one column begin in the parts.
    ahead: Vec<usize>,
    /// One less than there is room for, which is a power of two.
    mask: usize,
    /// The elements of each row of windows that lie inside the plane, as [`Windows::inside`] has them.
    inside: Vec<(usize, usize)>,
    /// The first such element of each column of windows, in whole blocks.
    first: Vec<u32>,
}

impl<T: Lanes> Rows<T> {
    /// Room for these windows; nothing where they need none.
    #[must_use]
    pub(crate) fn new(w: &Windows) -> Self {
        if w.tiles() {
            return Self { values: vec![], part: 0, ahead: vec![], mask: 0, inside: vec![], first: vec![] };
        }
        let [_, stride] = w.stride;
        let columns = (w.input[1] + w.padding[1]).max((w.output[1] - 1) * stride + w.span(1));
        let part = columns.div_ceil(stride) + BLOCK;
        let ahead = (0..w.kernel[1]).map(|j| j * w.dilation[1]).map(|j| j % stride * part + j / stride).collect();
        let rows = (w.span(0) + AHEAD * w.stride[0]).next_power_of_two();
        Self {
            values: vec![T::NEG_INFINITY; rows * stride * part],
            part,
            ahead,
            mask: rows - 1,
            inside: (0..w.output[0]).map(|i| w.inside(0, i)).collect(),
            first: (0..w.output[1].next_multiple_of(BLOCK)).map(|i| w.inside(1, i).0 as u32).collect(),
        }
    }

    /// The parts of a row of the plane.
    #[inline(always)]
    fn row(&self, w: &Windows, row: usize) -> &[T] {
        let n = w.stride[1] * self.part;
        &self.values[(row & self.mask) * n..][..n]
    }

    /// Deal out a row of the plane. The padding around it stays as it is.
    #[inline(always)]
    fn fill(&mut self, w: &Windows, row: usize, x: &[T]) {
        let (stride, part) = (w.stride[1], self.part);
        let n = stride * part;
        let to = &mut self.values[(row & self.mask) * n..][..n];
        let first = w.padding[1];
        if stride == 1 {
            to[first..first + x.len()].copy_from_slice(x);
        } else if stride == 2 {
            let (even, odd) = to.split_at_mut(part);
            let (a, b) = if first.is_multiple_of(2) {
                (&mut even[first / 2..], &mut odd[first / 2..])
            } else {
                (&mut odd[first / 2..], &mut even[first / 2 + 1..])
            };
            deinterleave(x, a, b);
        } else {
            for (column, &x) in (first..).zip(x) {
                to[column % stride * part + column / stride] = x;
            }
        }
    }
}

/// The greatest of 2 × 2 tiles.
#[inline(always)]
fn max_tiles<T: Lanes>(x: &[T], w: &Windows, y: &mut [T], at: &mut [u8]) {
    let (width, out) = (w.input[1], w.output[1]);
    for (i, (y, at)) in y.chunks_exact_mut(out).zip(at.chunks_exact_mut(out)).enumerate() {
        let (upper, lower) = x[2 * i * width..][..2 * width].split_at(width);
        let tiles = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
        for ((y, at), (upper, lower)) in y.iter_mut().zip(at).zip(tiles) {
            let (mut best, mut place) = (upper[0], 0_u32);
            for (k, v) in [(1, upper[1]), (2, lower[0]), (3, lower[1])] {
                let wins = (v > best) | v.is_nan();
                best = if wins { v } else { best };
                place = if wins { k } else { place };
            }
            (*y, *at) = (best, place as u8);
        }
    }
}

/// Put `v` in the place of the best so far where it wins.
#[inline(always)]
fn challenge<T: Lanes>(best: &mut [T; BLOCK], place: &mut [u32; BLOCK], v: &[T; BLOCK], at: &[u32; BLOCK]) {
    for l in 0..BLOCK {
        let wins = (v[l] > best[l]) | v[l].is_nan();
        best[l] = if wins { v[l] } else { best[l] };
        place[l] = if wins { at[l] } else { place[l] };
    }
}

/// The greatest of `BLOCK` windows. `COLUMNS` is how many a window has, or 0 if that is not known beforehand.
#[inline(always)]
fn max_block<T: Lanes, const COLUMNS: usize>(
    rows: &Rows<T>,
    w: &Windows,
    window_row: usize,
    column: usize,
) -> ([T; BLOCK], [u32; BLOCK]) {
    let ahead = if COLUMNS > 0 { &rows.ahead[..COLUMNS] } else { &rows.ahead[..] };
    let (from, to) = rows.inside[window_row];
    let first: &[u32; BLOCK] = rows.first[column..].first_chunk().expect("whole blocks");
    let mut best = [T::NEG_INFINITY; BLOCK];
    let mut place = first.map(|j| (from * w.kernel[1]) as u32 + j);
    for i in from..to {
        let row = rows.row(w, window_row * w.stride[0] + i * w.dilation[0] - w.padding[0]);
        // Each row by itself, so that the processor need not wait for one to begin the next.
        let mut row_best = [T::NEG_INFINITY; BLOCK];
        let mut row_place = [0; BLOCK];
        for (k, &ahead) in (i * ahead.len()..).zip(ahead) {
            let v = row[ahead + column..].first_chunk().expect("a part ends with a block");
            challenge(&mut row_best, &mut row_place, v, &[k as u32; BLOCK]);
        }
        challenge(&mut best, &mut place, &row_best, &row_place);
    }
    (best, place)
}

/// The greatest of each window of a plane. `COLUMNS`: see [`max_block`].
#[inline(always)]
fn max_plane<T: Lanes, const COLUMNS: usize>(x: &[T], w: &Windows, rows: &mut Rows<T>, y: &mut [T], at: &mut [u8]) {
    let ([_, width], [_, out]) = (w.input, w.output);
    let mut filled = 0;
    for (i, (y, at)) in y.chunks_exact_mut(out).zip(at.chunks_exact_mut(out)).enumerate() {
        let reach = ((i + AHEAD) * w.stride[0] + w.span(0)).saturating_sub(w.padding[0]).min(w.input[0]);
        filled = filled.max((i * w.stride[0]).saturating_sub(w.padding[0]));
        while filled < reach {
            rows.fill(w, filled, &x[filled * width..][..width]);
            filled += 1;
        }
        for (b, (y, at)) in y.chunks_mut(BLOCK).zip(at.chunks_mut(BLOCK)).enumerate() {
            let (best, place) = max_block::<T, COLUMNS>(rows, w, i, b * BLOCK);
            let place = place.map(|k| k as u8);
            if let (Some(y), Some(at)) = (y.first_chunk_mut(), at.first_chunk_mut()) {
                (*y, *at) = (best, place);
            } else {
                y.copy_from_slice(&best[..y.len()]);
                at.copy_from_slice(&place[..at.len()]);
            }
        }
    }
}

simd! {
    /// The greatest of each window of planes that follow each other, and its number within the window, row by row.
    pub(crate) fn max_windows<T: Lanes>(x: &[T], w: &Windows, rows: &mut Rows<T>, y: &mut [T], at: &mut [u8]) {
        let planes = x.chunks_exact(w.plane()).zip(y.chunks_exact_mut(w.outputs())).zip(at.chunks_exact_mut(w.outputs()));
        if w.tiles() {
            for ((x, y), at) in planes {
                max_tiles(x, w, y, at);
            }
            return;
        }
        for ((x, y), at) in planes {
            match w.kernel[1] {
                2 => max_plane::<T, 2>(x, w, rows, y, at),
                3 => max_plane::<T, 3>(x, w, rows, y, at),
                _ => max_plane::<T, 0>(x, w, rows, y, at),
            }
        }
    }

    /// The gradient of planes: that of each window goes to the element which won it.
    pub(crate) fn max_windows_backward<T: Float>(g: &[T], at: &[u8], w: &Windows, gx: &mut [T]) {
        let (width, out) = (w.input[1], w.output[1]);
        let planes = gx.chunks_exact_mut(w.plane()).zip(g.chunks_exact(w.outputs())).zip(at.chunks_exact(w.outputs()));
        if w.tiles() {
            for ((gx, g), at) in planes {
                for (i, (g, at)) in g.chunks_exact(out).zip(at.chunks_exact(out)).enumerate() {
                    let (upper, lower) = gx[2 * i * width..][..2 * width].split_at_mut(width);
                    upper[2 * out..].fill(T::ZERO);
                    lower[2 * out..].fill(T::ZERO);
                    let tiles = upper.as_chunks_mut::<2>().0.iter_mut().zip(lower.as_chunks_mut::<2>().0);
                    for ((&g, &at), (upper, lower)) in g.iter().zip(at).zip(tiles) {
                        let part = |k: u8| if at == k { g } else { T::ZERO };
                        *upper = [part(0), part(1)];
                        *lower = [part(2), part(3)];
                    }
                }
                gx[2 * w.output[0] * width..].fill(T::ZERO);
            }
            return;
        }
        // How far each element of a window lies from its first, which may lie before the plane.
        let mut ahead = [0_isize; MOST_OFFSETS];
        for (k, ahead) in ahead.iter_mut().take(w.kernel[0] * w.kernel[1]).enumerate() {
            let (i, j) = (k / w.kernel[1] * w.dilation[0], k % w.kernel[1] * w.dilation[1]);
            *ahead = (i * width + j) as isize - (w.padding[0] * width + w.padding[1]) as isize;
        }
        for ((gx, g), at) in planes {
            gx.fill(T::ZERO);
            for (i, (g, at)) in g.chunks_exact(out).zip(at.chunks_exact(out)).enumerate() {
                let mut start = (i * w.stride[0] * width) as isize;
                for (&g, &at) in g.iter().zip(at) {
                    gx[(start + ahead[at as usize]) as usize] += g;
                    start += w.stride[1] as isize;
                }
            }
        }
    }

    /// What the winner of each window has in other planes.
    pub(crate) fn pick_windows<T: Float>(x: &[T], at: &[u8], w: &Windows, y: &mut [T]) {
        let planes = x.chunks_exact(w.plane()).zip(y.chunks_exact_mut(w.outputs())).zip(at.chunks_exact(w.outputs()));
        for ((x, y), at) in planes {
            for (o, (y, &at)) in y.iter_mut().zip(at).enumerate() {
                let (i, j) = (o / w.output[1] * w.stride[0], o % w.output[1] * w.stride[1]);
                let (k, l) = (at as usize / w.kernel[1], at as usize % w.kernel[1]);
                let (row, column) = (i + k * w.dilation[0] - w.padding[0], j + l * w.dilation[1] - w.padding[1]);
                *y = x[row * w.input[1] + column];
            }
        }
    }
}

/// Windows of any sizes along an axis: `(first, end)`, of which every `step`-th counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// First and end, inside the plane.
    pub of: Vec<(usize, usize)>,
    /// Distance between elements.
    pub step: usize,
}

/// The greatest of each window of a plane with rows of `width`, and its place in the plane.
pub(crate) fn max_ranges<T: Float>(x: &[T], width: usize, rows: &Ranges, cols: &Ranges, y: &mut [T], at: &mut [i64]) {
    let out = cols.of.len();
    for (o, (y, at)) in y.iter_mut().zip(at).enumerate() {
        let ((top, bottom), (left, right)) = (rows.of[o / out], cols.of[o % out]);
        let (mut best, mut place) = (T::NEG_INFINITY, top * width + left);
        for i in (top..bottom).step_by(rows.step) {
            let first = i * width + left;
            for (j, &v) in x[first..first + right - left].iter().step_by(cols.step).enumerate() {
                if v > best || v.is_nan() {
                    (best, place) = (v, first + j * cols.step);
                }
            }
        }
        (*y, *at) = (best, place as i64);
    }
}

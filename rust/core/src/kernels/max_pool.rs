//! The greatest of each window of a plane, and where it is.
//!
//! Of equal elements the first in row-major order wins, of NaN the last: `v` takes the place of the best so far if
//! `v > best` or `v` is NaN. Padding never wins.

use std::ops::Range;

use super::vector::{Lanes, Vector, registers};
use crate::element::{Float, LANES};
use crate::reserve::{collected, filled};
use crate::simd;

/// Elements of the rows that are dealt out before the next step reads them: what was written just now is read slowly, and
/// what was written long ago has left the cache.
const ROOM: usize = 6144;
/// Most elements of a window whose position within it is kept as a byte.
pub const MOST_OFFSETS: usize = 256;

/// Regular windows over planes, as (rows, columns).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Size of a plane.
    pub input: [usize; 2],
    /// Number of windows.
    pub output: [usize; 2],
    /// Elements of a window.
    pub kernel: [usize; 2],
    /// Distance between windows.
    pub stride: [usize; 2],
    /// Elements by which the first window begins before the plane.
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

    /// True if the windows are 2 × 2 tiles of the plane.
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

/// Scratch for some rows of windows: the rows that they cover, padded and their columns dealt out, and the
/// greatest that each window has in each of them.
///
/// Column j of a padded row is element j / stride of part j mod stride. The elements that neighboring windows have at one
/// place then are neighbors. Numbers of elements within a window are kept as floats, in the lanes of those elements.
#[derive(Debug)]
pub(crate) struct Rows<T> {
    windows: Windows,
    /// The padded rows.
    dealt: Vec<T>,
    /// Elements of a part.
    part: usize,
    /// Starts, in the parts, of the elements that a window has in one column.
    ahead: Vec<usize>,
    /// The greatest of each row.
    best: Vec<T>,
    /// Its number in the row of the window.
    place: Vec<T>,
    /// The number of the greatest of a window.
    found: Vec<T>,
    /// Elements of a row of those, in whole registers.
    pitch: usize,
    /// The number of the first that lies inside the plane.
    first: Vec<T>,
    /// 0, 1, 2, …
    numbers: Vec<T>,
    /// Such elements of each row of windows, as [`Windows::inside`] has them.
    inside: Vec<(usize, usize)>,
    /// Rows of windows that are done at once.
    count: usize,
}

impl<T: Lanes> Rows<T> {
    /// Room for these windows; for tiles, which need none, of no rows.
    #[must_use]
    pub(crate) fn new(w: &Windows) -> Self {
        let [_, stride] = w.stride;
        let pitch = w.output[1].next_multiple_of(LANES);
        let columns = (w.input[1] + w.padding[1]).max((pitch - 1) * stride + w.span(1));
        let part = columns.div_ceil(stride);
        let most = ROOM / (stride * part + pitch);
        let count = (most.saturating_sub(w.span(0)) / w.stride[0] + 1).min(w.output[0]);
        let rows = if w.tiles() { 0 } else { (count - 1) * w.stride[0] + w.span(0) };
        let mut first = filled(pitch, T::ZERO);
        for (i, first) in first[..w.output[1]].iter_mut().enumerate() {
            *first = T::from_f64(w.inside(1, i).0 as f64);
        }
        Self {
            windows: *w,
            dealt: filled(rows * stride * part, T::NEG_INFINITY),
            part,
            ahead: collected((0..w.kernel[1]).map(|j| j * w.dilation[1]).map(|j| j % stride * part + j / stride)),
            best: filled(rows * pitch, T::ZERO),
            place: filled(rows * pitch, T::ZERO),
            found: filled(count * pitch, T::ZERO),
            pitch,
            first,
            numbers: collected((0..w.kernel[0] * w.kernel[1]).map(|k| T::from_f64(k as f64))),
            inside: collected((0..w.output[0]).map(|i| w.inside(0, i))),
            count,
        }
    }

    /// Deal out rows of the plane. The padding around them stays as it is.
    ///
    /// # Safety
    /// Here and below as for [`Vector`].
    #[inline(always)]
    unsafe fn deal<V: Vector<Elem = T>>(&mut self, rows: Range<usize>, x: &[T]) {
        let (width, first, stride) = (self.windows.input[1], self.windows.padding[1], self.windows.stride[1]);
        let n = stride * self.part;
        // Start of each remainder of a column of x by the stride.
        let part = |column: usize| (first + column) % stride * self.part + (first + column) / stride;
        let (even, odd) = (part(0), part(1));
        assert!(x.len() == rows.len() * width && first + width <= n && rows.end * n <= self.dealt.len());
        for (x, to) in x.chunks_exact(width).zip(self.dealt[rows.start * n..].chunks_exact_mut(n)) {
            // SAFETY: a row of x, and of the room for it.
            unsafe {
                let (x, to) = (x.as_ptr(), to.as_mut_ptr());
                match stride {
                    1 => copy::<V>(x, width, to.add(first)),
                    2 => deinterleave::<V>(x, width, to.add(even), to.add(odd)),
                    _ => {
                        for column in 0..stride.min(width) {
                            let to = to.add(part(column));
                            for (k, i) in (column..width).step_by(stride).enumerate() {
                                to.add(k).write(x.add(i).read());
                            }
                        }
                    }
                }
            }
        }
    }

    /// The greatest that windows have in each of these rows. `COLUMNS` is how many a window has, or 0 if that is not known
    /// beforehand.
    #[inline(always)]
    unsafe fn reduce<V: Vector<Elem = T>, const COLUMNS: usize>(&mut self, rows: Range<usize>) {
        let (n, pitch) = (self.windows.stride[1] * self.part, self.pitch);
        let ahead = if COLUMNS > 0 { &self.ahead[..COLUMNS] } else { &self.ahead[..] };
        assert!(!ahead.is_empty() && ahead.len() <= self.numbers.len() && rows.end * pitch <= self.best.len());
        let (dealt, numbers) = (self.dealt.as_ptr(), self.numbers.as_ptr());
        let (bests, places) = (self.best.as_mut_ptr(), self.place.as_mut_ptr());
        for i in (0..pitch).step_by(V::LANES) {
            // SAFETY: there are so many rows; each has whole registers for every element of the windows.
            unsafe {
                let first = V::load(self.first.as_ptr().add(i));
                for row in rows.clone() {
                    let dealt = dealt.add(row * n + i);
                    let (mut best, mut place) = (V::load(dealt.add(ahead[0])), first);
                    for k in 1..ahead.len() {
                        let v = V::load(dealt.add(*ahead.get_unchecked(k)));
                        (best, place) = best.challenge(place, v, V::splat(numbers.add(k).read()));
                    }
                    best.store(bests.add(row * pitch + i));
                    place.store(places.add(row * pitch + i));
                }
            }
        }
    }

    /// The greatest of each window of these rows of windows.
    #[inline(always)]
    unsafe fn join<V: Vector<Elem = T>>(&mut self, rows: Range<usize>, y: &mut [T]) {
        let (w, pitch) = (&self.windows, self.pitch);
        let (out, columns, step) = (w.output[1], w.kernel[1], w.dilation[0] * pitch);
        assert!(y.len() == rows.len() * out && rows.len() <= self.count && rows.end <= self.inside.len());
        let (bests, places) = (self.best.as_ptr(), self.place.as_ptr());
        for i in (0..out).step_by(V::LANES) {
            // SAFETY: windows reach over the rows that there are; stores are masked to y.
            unsafe {
                let mask = V::first((out - i).min(V::LANES));
                for (l, row) in rows.clone().enumerate() {
                    let (from, to) = *self.inside.get_unchecked(row);
                    let mut source = l * w.stride[0] * pitch + from * step + i;
                    let mut number = self.numbers.as_ptr().add(from * columns);
                    let mut best = V::load(bests.add(source));
                    let mut place = V::load(places.add(source)).add(V::splat(*number));
                    for _ in from + 1..to {
                        source += step;
                        number = number.add(columns);
                        let at = V::load(places.add(source)).add(V::splat(*number));
                        (best, place) = best.challenge(place, V::load(bests.add(source)), at);
                    }
                    best.store_part(y.as_mut_ptr().add(l * out + i), mask);
                    place.store(self.found.as_mut_ptr().add(l * pitch + i));
                }
            }
        }
    }
}

/// `to[i] = x[i]`. A call of `memcpy` takes longer.
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
unsafe fn copy<V: Vector>(x: *const V::Elem, n: usize, to: *mut V::Elem) {
    for i in (0..n).step_by(V::LANES) {
        // SAFETY: masked to the elements.
        unsafe {
            let mask = V::first((n - i).min(V::LANES));
            V::load_part(x.add(i), mask).store_part(to.add(i), mask);
        }
    }
}

/// `even[i] = x[2 i]`, `odd[i] = x[2 i + 1]`.
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
unsafe fn deinterleave<V: Vector>(x: *const V::Elem, n: usize, even: *mut V::Elem, odd: *mut V::Elem) {
    for i in (0..n).step_by(2 * V::LANES) {
        let left = n - i;
        // SAFETY: masked to the elements.
        unsafe {
            let x = x.add(i);
            if left >= 2 * V::LANES {
                let (evens, odds) = V::load(x).deinterleave(V::load(x.add(V::LANES)));
                evens.store(even.add(i / 2));
                odds.store(odd.add(i / 2));
            } else {
                let (low, high) = (left.min(V::LANES), left.saturating_sub(V::LANES));
                let low = V::load_part(x, V::first(low));
                let (evens, odds) = low.deinterleave(V::load_part(x.wrapping_add(V::LANES), V::first(high)));
                evens.store_part(even.add(i / 2), V::first(left.div_ceil(2)));
                odds.store_part(odd.wrapping_add(i / 2), V::first(left / 2));
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

/// The greatest of each window of a plane.
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
unsafe fn max_plane<V: Vector>(x: &[V::Elem], rows: &mut Rows<V::Elem>, y: &mut [V::Elem], at: &mut [u8])
where
    V::Elem: Lanes,
{
    let w = rows.windows;
    let ([height, width], out) = (w.input, w.output[1]);
    let chunks = y.chunks_mut(rows.count * out).zip(at.chunks_mut(rows.count * out));
    for (i, (y, at)) in (0..).step_by(rows.count).zip(chunks) {
        // Row 0 of the room is that in which the first window begins, which may lie before the plane.
        let (start, count) = (i * w.stride[0], y.len() / out);
        let reach = start + (count - 1) * w.stride[0] + w.span(0);
        let (from, to) = (start.max(w.padding[0]), reach.min(height + w.padding[0]));
        let x = &x[(from - w.padding[0]) * width..(to - w.padding[0]) * width];
        // SAFETY: what the caller is asked for.
        unsafe {
            rows.deal::<V>(from - start..to - start, x);
            match w.kernel[1] {
                2 => rows.reduce::<V, 2>(from - start..to - start),
                3 => rows.reduce::<V, 3>(from - start..to - start),
                _ => rows.reduce::<V, 0>(from - start..to - start),
            }
            rows.join::<V>(i..i + count, y);
        }
        for (at, found) in at.chunks_exact_mut(out).zip(rows.found.chunks_exact(rows.pitch)) {
            for (at, found) in at.iter_mut().zip(found) {
                *at = found.to_byte();
            }
        }
    }
}

registers! {
    /// The greatest of each window of planes that follow each other, and its number within the window, row by row.
    pub(crate) fn max_windows<T, V>(x: &[T], rows: &mut Rows<T>, y: &mut [T], at: &mut [u8]) {
        let w = rows.windows;
        let planes = x.chunks_exact(w.plane()).zip(y.chunks_exact_mut(w.outputs())).zip(at.chunks_exact_mut(w.outputs()));
        for ((x, y), at) in planes {
            if w.tiles() {
                max_tiles(x, &w, y, at);
            } else {
                // SAFETY: registers of the level.
                unsafe { max_plane::<V>(x, rows, y, at) };
            }
        }
    }
}

simd! {
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
        // Distance of each element of a window from its first, which may lie before the plane.
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

    /// Values of other planes at the winner of each window.
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

//! A sliding window over a plane, turned into the columns of a matrix.
//!
//! ```text
//! columns[(c, ty, tx), (oy, ox)] = plane c [oy · step_y + offset_y[ty], ox · step_x + offset_x[tx]]      0 outside of the plane
//! ```
//! so that a convolution is a product of its weights with them. Planes are first copied into a [`Frame`] with the zeros
//! around them, in which every row of columns is made of whole runs of elements.

use std::ops::Range;

use smallvec::SmallVec;

use super::vector::{Lanes, Vector, registers};
use crate::element::Float;
use crate::simd;

/// So few elements are copied one by one.
const FEW: usize = 2;

/// One dimension of a window that slides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Positions of the plane.
    pub input: usize,
    /// Positions of the window.
    pub output: usize,
    /// From one position of the window to the next.
    pub step: usize,
    /// Offset of each tap of the window, the window being at 0.
    pub offsets: SmallVec<[isize; 8]>,
}

impl Axis {
    /// True if the window is a single tap that looks at every position once, in order.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.step == 1 && self.input == self.output && self.offsets[..] == [0]
    }

    /// The first and the last position that a tap looks at; none if there is no tap or no position.
    fn reach(&self) -> Option<(isize, isize)> {
        let last = (self.output.checked_sub(1)? * self.step) as isize;
        Some((*self.offsets.iter().min()?, self.offsets.iter().max()? + last))
    }
}

/// Planes with what lies around them, rows in as many runs as the window's step: positions 0, s, 2s, … then 1, s + 1, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    input: (usize, usize),
    /// The position at the frame's first row, and in its first column.
    first: (isize, isize),
    rows: usize,
    step: usize,
    run: usize,
}

impl Frame {
    /// One that holds whatever these windows look at, all of the same plane and the same step.
    #[must_use]
    pub fn around<'a>(windows: impl Iterator<Item = (&'a Axis, &'a Axis)> + Clone, input: (usize, usize)) -> Self {
        let cover = |mut reaches: SmallVec<[(isize, isize); 4]>| {
            let first = reaches.iter().map(|r| r.0).min().unwrap_or(0);
            let last = reaches.drain(..).map(|r| r.1).max().unwrap_or(-1);
            (first, (last + 1 - first) as usize)
        };
        let (top, rows) = cover(windows.clone().filter_map(|(y, _)| y.reach()).collect());
        let (left, cols) = cover(windows.clone().filter_map(|(_, x)| x.reach()).collect());
        let step = windows.map(|(_, x)| x.step).max().unwrap_or(1);
        Self { input, first: (top, left), rows, step, run: cols.div_ceil(step) }
    }

    /// Elements of a frame.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows * self.pitch()
    }

    /// True if nothing is looked at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn pitch(&self) -> usize {
        self.step * self.run
    }

    /// Copy planes into frames, zeros where there is nothing.
    pub(crate) fn fill<T: Lanes>(&self, planes: &[T], frames: &mut [T]) {
        let plane = self.input.0 * self.input.1;
        if self.is_empty() {
            return;
        }
        if plane == 0 {
            return frames.fill(T::ZERO);
        }
        fill(*self, planes, frames);
    }

    /// Start of a tap's run: the row for the window's row `y`, and the element in it.
    fn place(&self, axes: (&Axis, &Axis), taps: (usize, usize), y: usize) -> usize {
        let row = (y * axes.0.step) as isize + axes.0.offsets[taps.0] - self.first.0;
        let col = (axes.1.offsets[taps.1] - self.first.1) as usize;
        row as usize * self.pitch() + col % self.step * self.run + col / self.step
    }

    /// Write the columns of the window's rows `rows`, for `channels` frames: rows of columns `ld` apart, in the order
    /// (channel, tap of y, tap of x).
    pub fn columns<T: Float>(
        &self,
        axes: (&Axis, &Axis),
        frames: &[T],
        rows: Range<usize>,
        columns: &mut [T],
        ld: usize,
    ) {
        let width = axes.1.output;
        // All taps' places in a frame, once for all channels.
        let mut places: SmallVec<[usize; 32]> = SmallVec::new();
        for ty in 0..axes.0.offsets.len() {
            for tx in 0..axes.1.offsets.len() {
                places.push(self.place(axes, (ty, tx), rows.start));
            }
        }
        if places.is_empty() || rows.is_empty() || width == 0 {
            return;
        }
        let shape = Runs { rows: rows.len(), width, from: axes.0.step * self.pitch() };
        gather(frames, self.len(), &places, shape, columns, ld);
    }
}

/// So many runs of `width` elements, side by side where they go, `from` apart where they come from.
#[derive(Clone, Copy)]
struct Runs {
    rows: usize,
    width: usize,
    from: usize,
}

/// Copy one run. Short ones are whole registers, of which the last may overlap the one before.
#[inline(always)]
fn copy_run<T: Float>(src: &[T], dst: &mut [T]) {
    #[inline(always)]
    fn by<T: Float, const W: usize>(src: &[T], dst: &mut [T]) {
        let last = src.len() - W;
        for (to, from) in dst.as_chunks_mut::<W>().0.iter_mut().zip(src.as_chunks::<W>().0) {
            *to = *from;
        }
        let (to, from) = (dst[last..].first_chunk_mut::<W>(), src[last..].first_chunk::<W>());
        if let (Some(to), Some(from)) = (to, from) {
            *to = *from;
        }
    }
    match src.len() {
        0..4 => dst.copy_from_slice(src),
        4..8 => by::<T, 4>(src, dst),
        8..16 => by::<T, 8>(src, dst),
        _ => by::<T, 16>(src, dst),
    }
}

/// The positions of one run that lie in the plane: `first + i · step` in `0..len`.
fn inside(first: isize, step: usize, len: usize, run: usize) -> Range<usize> {
    let step = step as isize;
    let up = |x: isize| (x.max(0) as usize).min(run);
    let start = up((-first + step - 1).div_euclid(step));
    start..up((len as isize - first + step - 1).div_euclid(step)).max(start)
}

/// Rows of some plane: the first, from one to the next, how many.
#[derive(Clone, Copy)]
struct Rows<P> {
    start: P,
    stride: usize,
    count: usize,
}

/// Rows' even and odd positions from `first` on: `even[j] = row[first + 2 j]`, `odd[j] = row[first + 2 j + 1]`, 0 outside of a
/// row. The results are `run` long and `apart` apart.
///
/// # Safety
/// The machine has V's instruction set, rows are `width` long, and there is room for the results.
#[inline(always)]
unsafe fn split_rows<V: Vector>(
    rows: Rows<*const V::Elem>,
    width: usize,
    first: isize,
    run: usize,
    (even, odd): (*mut V::Elem, *mut V::Elem),
    apart: usize,
) {
    let len = width as isize;
    // Masks are the same for all rows.
    for start in (0..run).step_by(V::LANES) {
        let (left, x) = (run - start, first + 2 * start as isize);
        // SAFETY: loads are masked to the rows, stores to `run` elements.
        unsafe {
            if left <= FEW {
                // A run is often one longer than a power of two, and this one must not take as long as a vector.
                for (i, j) in (0..rows.count).flat_map(|i| (start..run).map(move |j| (i, j))) {
                    let one = |x: isize| {
                        let inside = x >= 0 && x < len;
                        if inside { *rows.start.add(i * rows.stride).offset(x) } else { V::Elem::ZERO }
                    };
                    let x = first + 2 * j as isize;
                    even.add(i * apart + j).write(one(x));
                    odd.add(i * apart + j).write(one(x + 1));
                }
                return;
            }
            let lane = |edge: isize| edge.clamp(0, V::LANES as isize) as usize;
            let next = x + V::LANES as isize;
            let (low, high) = (V::between(lane(-x), lane(len - x)), V::between(lane(-next), lane(len - next)));
            let there = V::first(left.min(V::LANES));
            for i in 0..rows.count {
                let row = rows.start.wrapping_add(i * rows.stride);
                let low = V::load_part(row.wrapping_offset(x), low);
                let (evens, odds) = low.deinterleave(V::load_part(row.wrapping_offset(next), high));
                let (even, odd) = (even.add(i * apart + start), odd.add(i * apart + start));
                if left >= V::LANES {
                    evens.store(even);
                    odds.store(odd);
                } else {
                    evens.store_part(even, there);
                    odds.store_part(odd, there);
                }
            }
        }
    }
}

registers! {
    fn fill<T, V>(frame: Frame, planes: &[T], frames: &mut [T]) {
        let (height, width) = frame.input;
        let top = (-frame.first.0).clamp(0, frame.rows as isize) as usize;
        let bottom = (height as isize - frame.first.0).clamp(top as isize, frame.rows as isize) as usize;
        for (plane, out) in planes.chunks_exact(height * width).zip(frames.chunks_exact_mut(frame.len())) {
            if frame.step == 2 && top < bottom {
                let pitch = frame.pitch();
                out[..top * pitch].fill(T::ZERO);
                out[bottom * pitch..].fill(T::ZERO);
                let start = plane[(frame.first.0 + top as isize) as usize * width..].as_ptr();
                let rows = Rows { start, stride: width, count: bottom - top };
                let even = out[top * pitch..].as_mut_ptr();
                let to = (even, even.wrapping_add(frame.run));
                // SAFETY: these rows exist on both sides; this function's register is the machine's.
                unsafe { split_rows::<V>(rows, width, frame.first.1, frame.run, to, pitch) };
                continue;
            }
            for (r, out) in out.chunks_exact_mut(frame.pitch()).enumerate() {
                let y = frame.first.0 + r as isize;
                if y < 0 || y >= height as isize {
                    out.fill(T::ZERO);
                    continue;
                }
                let row = &plane[y as usize * width..][..width];
                for (phase, out) in out.chunks_exact_mut(frame.run).enumerate() {
                    let first = frame.first.1 + phase as isize;
                    let there = inside(first, frame.step, width, out.len());
                    out[..there.start].fill(T::ZERO);
                    out[there.end..].fill(T::ZERO);
                    if there.is_empty() {
                        continue;
                    }
                    let from = (first + (there.start * frame.step) as isize) as usize;
                    if frame.step == 1 {
                        copy_run(&row[from..][..there.len()], &mut out[there]);
                    } else {
                        for (out, x) in out[there].iter_mut().zip(row[from..].iter().step_by(frame.step)) {
                            *out = *x;
                        }
                    }
                }
            }
        }
    }
}

simd! {
    fn gather<T: Float>(frames: &[T], frame: usize, places: &[usize], runs: Runs, columns: &mut [T], ld: usize) {
        let mut taps = columns.chunks_mut(ld);
        for frame in frames.chunks_exact(frame) {
            for (&place, out) in places.iter().zip(&mut taps) {
                let mut src = &frame[place..];
                for (r, out) in out[..runs.rows * runs.width].chunks_exact_mut(runs.width).enumerate() {
                    copy_run(&src[..runs.width], out);
                    if r + 1 < runs.rows {
                        src = &src[runs.from..];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::testing::random;

    fn axis(input: usize, taps: usize, step: usize, dilation: usize, before: usize) -> Axis {
        let span = (taps - 1) * dilation + 1;
        let output = (input + 2 * before).saturating_sub(span) / step + 1;
        let offsets = (0..taps).map(|t| (t * dilation) as isize - before as isize).collect();
        Axis { input, output, step, offsets }
    }

    proptest! {
        /// Widths on both sides of every register, steps and gaps that leave out columns, zeros on all sides.
        #[test]
        fn columns_are_what_the_window_sees(
            (h, w) in (1_usize..9, 1_usize..40), taps in (1_usize..4, 1_usize..5), step in 1_usize..4,
            dilation in 1_usize..3, before in 0_usize..4, channels in 1_usize..3, cut in 0_usize..3,
        ) {
            let (y, x) = (axis(h, taps.0, step, dilation, before), axis(w, taps.1, step, 1, before));
            let planes: Vec<f32> = random(channels * h * w, 3);
            let frame = Frame::around([(&y, &x)].into_iter(), (h, w));
            let mut frames = vec![f32::NAN; channels * frame.len()];
            frame.fill(&planes, &mut frames);
            let rows = cut.min(y.output - 1)..y.output;
            let ld = rows.len() * x.output + cut;
            let mut columns = vec![f32::NAN; channels * taps.0 * taps.1 * ld];
            frame.columns((&y, &x), &frames, rows.clone(), &mut columns, ld);
            for c in 0..channels {
                for (ty, tx) in (0..taps.0).flat_map(|ty| (0..taps.1).map(move |tx| (ty, tx))) {
                    for (oy, ox) in rows.clone().flat_map(|oy| (0..x.output).map(move |ox| (oy, ox))) {
                        let (iy, ix) = ((oy * step) as isize + y.offsets[ty], (ox * step) as isize + x.offsets[tx]);
                        let inside = (0..h as isize).contains(&iy) && (0..w as isize).contains(&ix);
                        let expected = if inside { planes[(c * h + iy as usize) * w + ix as usize] } else { 0.0 };
                        let k = (c * taps.0 + ty) * taps.1 + tx;
                        prop_assert_eq!(columns[k * ld + (oy - rows.start) * x.output + ox], expected);
                    }
                }
            }
        }
    }
}

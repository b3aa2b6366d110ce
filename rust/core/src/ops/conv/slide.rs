//! The product of weights with the columns of all images, block by block.

use std::ops::Range;

use super::geometry::{Part, Slide};
use super::workspace;
use crate::kernels::matmul::{self, MatRef, Product, odd_lines};
use crate::kernels::vector::{Lanes, interleave};
use crate::tensor::View;
use crate::threads::Team;

/// Columns of a block: some panels of the product.
const BLOCK_COLUMNS: usize = 256;
/// Bytes of a block's columns, which stay in L2 beside the frame and the weights.
const BLOCK_BYTES: usize = 192 << 10;

/// Rows of a window's positions that make a block.
pub(super) fn rows_of_block<T>(part: &Part, channels: usize) -> usize {
    let row = part.x.output.max(1);
    let deep = (channels * part.taps()).max(1);
    let columns = BLOCK_COLUMNS.min(BLOCK_BYTES / (deep * size_of::<T>()));
    (columns / row).clamp(1, part.y.output.max(1))
}

/// Inputs of a window's movement, and its output.
struct Images<'a, T> {
    slide: &'a Slide,
    n: usize,
    groups: usize,
    /// Channels of a group that are read, and that are written.
    channels: (usize, usize),
    /// (n, groups · channels.0, plane)
    x: &'a [T],
    /// For every group, part after part, (channels.1, channels.0 · taps).
    weights: &'a [T],
    /// (n, groups · channels.1, plane)
    y: *mut T,
}

impl<T: Lanes> Images<'_, T> {
    /// Compute this member's share. `finish(channel, elements)` is called for every run of elements when it is complete.
    ///
    /// # Safety
    /// `y` has room, and nobody else touches it but members of the team that make the same call.
    unsafe fn run(&self, team: &Team, mut finish: impl FnMut(usize, &mut [T])) {
        let slide = self.slide;
        let rows = slide.output.0.div_ceil(slide.spread.0);
        if rows == 0 || slide.output.1 == 0 {
            return;
        }
        let direct = slide.is_identity();
        let block = |part: &Part| rows_of_block::<T>(part, self.channels.0) * part.x.output;
        let columns = |part: &Part| {
            let deep = self.channels.0.saturating_mul(part.taps());
            deep.saturating_mul(odd_lines::<T>(block(part)))
        };
        let most = |f: &dyn Fn(&Part) -> usize| slide.parts.iter().map(f).max().unwrap_or(0);
        let dense = slide.spread == (1, 1);
        let room = self.channels.1 * most(&block);
        let lens = [
            if direct { 0 } else { self.channels.0 * slide.frame.len() },
            if direct { 0 } else { most(&columns) },
            if dense { 0 } else { slide.spread.1 * room },
        ];
        workspace::with(lens, |[frames, columns, sums]| {
            let share = team.share(self.n * self.groups * rows);
            let mut at = share.start;
            while at < share.end {
                let (unit, first) = (at / rows, at % rows);
                let last = rows.min(first + share.end - at);
                let planes = &self.x[unit * self.channels.0 * slide.plane()..][..self.channels.0 * slide.plane()];
                if !direct {
                    slide.frame.fill(planes, frames);
                }
                let mut weights = &self.weights[unit % self.groups * self.weights_of_group()..];
                // Parts that share rows, and interleave in them.
                for parts in slide.parts.chunks(slide.spread.1.min(slide.output.1)) {
                    let rows_at_once = parts.iter().map(|part| rows_of_block::<T>(part, self.channels.0)).min();
                    let rows_at_once = rows_at_once.unwrap_or(1);
                    let part_rows = first.min(parts[0].y.output)..last.min(parts[0].y.output);
                    for start in part_rows.clone().step_by(rows_at_once) {
                        let rows = start..part_rows.end.min(start + rows_at_once);
                        let mut weights = weights;
                        for (i, part) in parts.iter().enumerate() {
                            let mine = self.weights_of(part);
                            let (b, ld) = if direct {
                                (&planes[start * part.x.output..], slide.plane())
                            } else {
                                let ld = odd_lines::<T>(rows.len() * part.x.output);
                                slide.frame.columns((&part.y, &part.x), frames, rows.clone(), columns, ld);
                                (&*columns, ld)
                            };
                            let sums = if dense { &mut [][..] } else { &mut sums[i * room..][..room] };
                            // SAFETY: the caller's promise; members have different rows of positions.
                            unsafe {
                                self.product(part, unit, rows.clone(), (&weights[..mine], b, ld), sums, &mut finish);
                            }
                            weights = &weights[mine..];
                        }
                        if !dense {
                            // SAFETY: as above.
                            unsafe { self.spread(parts, unit, rows, &sums[..], room) };
                        }
                    }
                    weights = &weights[parts.iter().map(|part| self.weights_of(part)).sum()..];
                }
                at += last - first;
            }
        });
    }

    fn weights_of(&self, part: &Part) -> usize {
        self.channels.1 * self.channels.0 * part.taps()
    }

    fn weights_of_group(&self) -> usize {
        self.slide.parts.iter().map(|part| self.weights_of(part)).sum()
    }

    /// Write rows of parts that interleave, from their sums, which are `room` apart.
    ///
    /// # Safety
    /// As for [`Images::run`].
    unsafe fn spread(&self, parts: &[Part], unit: usize, rows: Range<usize>, sums: &[T], room: usize) {
        let (slide, step) = (self.slide, parts.len());
        let plane = slide.output.0 * slide.output.1;
        let apart = slide.spread.0 * slide.output.1;
        for channel in 0..self.channels.1 {
            let y = parts[0].start.0 + rows.start * slide.spread.0;
            let first = (unit * self.channels.1 + channel) * plane + y * slide.output.1;
            // SAFETY: from the first to the last of this member's rows; what lies between is not touched.
            let out =
                unsafe { std::slice::from_raw_parts_mut(self.y.add(first), (rows.len() - 1) * apart + slide.output.1) };
            let run = |i: usize| {
                let width = parts[i].x.output;
                (&sums[i * room + channel * rows.len() * width..(i + 1) * room], width)
            };
            if step == 2 {
                interleave(run(0), run(1), rows.len(), slide.output.1, (out, apart));
                continue;
            }
            for (i, part) in parts.iter().enumerate() {
                let (run, width) = run(i);
                for (out, run) in out.chunks_mut(apart).zip(run.chunks(width)) {
                    let out = &mut out[..slide.output.1];
                    for (to, &from) in out[i..].iter_mut().step_by(step).zip(&run[..part.x.output]) {
                        *to = from;
                    }
                }
            }
        }
    }

    /// The rows `rows` of a part of unit `unit`, from their columns.
    ///
    /// # Safety
    /// As for [`Images::run`].
    unsafe fn product(
        &self,
        part: &Part,
        unit: usize,
        rows: Range<usize>,
        (weights, columns, ld): (&[T], &[T], usize),
        sums: &mut [T],
        finish: &mut impl FnMut(usize, &mut [T]),
    ) {
        let (slide, m) = (self.slide, self.channels.1);
        let (n, k) = (rows.len() * part.x.output, self.channels.0 * part.taps());
        let plane = slide.output.0 * slide.output.1;
        let channel = unit % self.groups * m;
        // SAFETY: the unit's planes lie in `y`.
        let y = unsafe { self.y.add(unit * m * plane) };
        let dense = slide.spread == (1, 1);
        // SAFETY: these rows lie in the plane.
        let c = if dense { unsafe { y.add(rows.start * part.x.output) } } else { sums.as_mut_ptr() };
        let ldc = if dense { plane } else { n };
        let p = Product {
            m,
            n,
            k,
            a: MatRef { ptr: weights.as_ptr(), row_stride: k as isize, col_stride: 1 },
            b: MatRef { ptr: columns.as_ptr(), row_stride: ld as isize, col_stride: 1 },
            c,
            ldc,
            accumulate: false,
            one_block: false,
        };
        let mut done = |done: Range<usize>| {
            for i in done {
                // SAFETY: a row of the product, complete, and nobody else's.
                let run = unsafe { std::slice::from_raw_parts_mut(c.add(i * ldc), n) };
                finish(channel + i, run);
            }
        };
        // SAFETY: the operands have these sizes; the result is this member's alone.
        unsafe { matmul::block(&p, 0..m, 0..n, &mut done) };
    }
}

/// Slide over the images `inputs[0]` with these weights, and add the bias `inputs[2]`, if there is one. The channels are those of
/// a group, read and written.
pub(super) fn convolve<T: Lanes>(
    team: &Team,
    slide: &Slide,
    (groups, channels): (usize, (usize, usize)),
    inputs: &[View<'_>],
    weights: &[T],
    y: &View<'_>,
) {
    let (x, bias) = (&inputs[0], inputs.get(2).map(View::slice::<T>));
    let images = Images { slide, n: x.shape()[0], groups, channels, x: x.slice::<T>(), weights, y: y.ptr::<T>() };
    let add_bias = |channel: usize, run: &mut [T]| {
        if let Some(bias) = bias {
            for y in run {
                *y += bias[channel];
            }
        }
    };
    // SAFETY: the shape rule has made y for these images.
    unsafe { images.run(team, add_bias) };
}

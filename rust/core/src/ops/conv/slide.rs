//! The product of weights with the columns of all images, block by block.

use std::ops::Range;

use super::geometry::{Part, Slide};
use super::scratch::{self, odd_lines};
use crate::element::Float;
use crate::kernels::matmul::{self, MatRef, Product};
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

/// What a window slides over, and what comes of it.
pub(super) struct Images<'a, T> {
    pub slide: &'a Slide,
    pub n: usize,
    pub groups: usize,
    /// Channels of a group that are read, and that are written.
    pub channels: (usize, usize),
    /// (n, groups · channels.0, plane)
    pub x: &'a [T],
    /// For every group, part after part, (channels.1, channels.0 · taps).
    pub weights: &'a [T],
    /// (n, groups · channels.1, plane)
    pub y: *mut T,
}

impl<T: Float> Images<'_, T> {
    /// Compute this member's share. `finish(channel, elements)` is called for every run of elements when it is complete.
    ///
    /// # Safety
    /// `y` has room, and nobody else touches it but members of the team that make the same call.
    pub unsafe fn run(&self, team: &Team, mut finish: impl FnMut(usize, &mut [T])) {
        let slide = self.slide;
        let rows = slide.output.0.div_ceil(slide.spread.0);
        if rows == 0 || slide.output.1 == 0 {
            return;
        }
        let direct = slide.is_identity();
        let block = |part: &Part| rows_of_block::<T>(part, self.channels.0) * part.x.output;
        let columns = |part: &Part| self.channels.0 * part.taps() * odd_lines::<T>(block(part));
        let most = |f: &dyn Fn(&Part) -> usize| slide.parts.iter().map(f).max().unwrap_or(0);
        let lens = [
            if direct { 0 } else { self.channels.0 * slide.frame.len() },
            if direct { 0 } else { most(&columns) },
            if slide.spread == (1, 1) { 0 } else { self.channels.1 * most(&block) },
        ];
        scratch::with(lens, |[frames, columns, sums]| {
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
                for part in &slide.parts {
                    let deep = self.channels.0 * part.taps();
                    let (mine, others) = weights.split_at(self.channels.1 * deep);
                    weights = others;
                    let part_rows = first.min(part.y.output)..last.min(part.y.output);
                    for start in part_rows.clone().step_by(rows_of_block::<T>(part, self.channels.0)) {
                        let end = part_rows.end.min(start + rows_of_block::<T>(part, self.channels.0));
                        let n = (end - start) * part.x.output;
                        let (b, ld) = if direct {
                            (&planes[start * part.x.output..], slide.plane())
                        } else {
                            let ld = odd_lines::<T>(n);
                            slide.frame.columns((&part.y, &part.x), frames, start..end, columns, ld);
                            (&*columns, ld)
                        };
                        // SAFETY: the caller's promise; members have different rows of positions.
                        unsafe { self.product(part, unit, start..end, (mine, b, ld), sums, &mut finish) };
                    }
                }
                at += last - first;
            }
        });
    }

    fn weights_of_group(&self) -> usize {
        self.slide.parts.iter().map(|part| self.channels.1 * self.channels.0 * part.taps()).sum()
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
                if !dense {
                    for (j, run) in run.chunks_exact(part.x.output.max(1)).enumerate() {
                        let row = part.start.0 + (rows.start + j) * slide.spread.0;
                        let first = i * plane + row * slide.output.1 + part.start.1;
                        for (x, &value) in run.iter().enumerate() {
                            // SAFETY: positions of this part alone.
                            unsafe { *y.add(first + x * slide.spread.1) = value };
                        }
                    }
                }
            }
        };
        // SAFETY: the operands have these sizes; the result is this member's alone.
        unsafe { matmul::block(&p, 0..m, 0..n, &mut done) };
    }
}

//! The gradient of a weight.

use std::ops::Range;

use super::grid::{Grid, padded};
use super::{Settings, apart, images, with_scheme, workspace};
use crate::kernels::matmul::{self, MatRef, Product};
use crate::kernels::vector::Lanes;
use crate::kernels::winograd::{self as kernel, EverySecond, Everywhere, Scheme, phases_at};

/// Its operands.
pub(in crate::ops::conv) struct Gradient<'a, T> {
    pub settings: &'a Settings,
    /// Rows of the kernel.
    pub kernel: usize,
    /// Rows and columns of x, and of g.
    pub image: (usize, usize),
    pub result: (usize, usize),
    /// (n, all, *), and which of its channels take part.
    pub x: &'a [T],
    pub all: usize,
    pub channels: Range<usize>,
    /// (n, out, *)
    pub g: &'a [T],
    pub out: usize,
}

impl<T: Lanes> Gradient<'_, T> {
    /// The sum over some images, one at least: (channel, tap, out).
    pub fn run(&self, images: Range<usize>, sum: &mut [T]) {
        with_scheme!(self.settings, self.kernel, scheme => self.run_by(scheme, images, sum));
    }

    fn run_by(&self, scheme: impl Scheme, range: Range<usize>, sum: &mut [T]) {
        let (channels, out) = (self.channels.len(), self.out);
        let (phases, places) = (scheme.phases(), scheme.side() * scheme.side());
        // From one phase to the next, of transformed tiles and of sums.
        let phase = padded(channels);
        let [from, to] = images(scheme, self.settings, false, self.image, self.result);
        // Blocks as for all channels: where a sum is cut must not depend on the team.
        let grid = Grid::new::<T>(scheme, from, to, phases.len() * padded(self.all) + padded(out));
        let (from, to) = (grid.apart::<T>(phases.len() * phase), grid.apart::<T>(padded(out)));
        let place = apart(phases.len() * phase * out);
        let lens = [grid.frame(), places * from.place, places * to.place, places * place];
        workspace::with(lens, |[frame, tiles, grads, sums]| {
            for (b, block) in grid.blocks(range, 1).enumerate() {
                grid.transform(&block, (self.x, self.all), self.channels.clone(), phase, frame, (tiles, from));
                grid.transform_grad(&block, (self.g, out), frame, (grads, to));
                for p in 0..places {
                    let there = phases_at(scheme, p);
                    let sums = &mut sums[p * place..][..phases.len() * phase * out];
                    if b == 0 {
                        sums[..there.start * phase * out].fill(T::ZERO);
                        sums[there.end * phase * out..].fill(T::ZERO);
                    }
                    let p = Product {
                        m: (there.len() - 1) * phase + channels,
                        n: out,
                        k: grid.count(&block),
                        a: MatRef {
                            ptr: tiles[p * from.place + there.start * phase..].as_ptr(),
                            row_stride: 1,
                            col_stride: from.tile as isize,
                        },
                        b: MatRef { ptr: grads[p * to.place..].as_ptr(), row_stride: to.tile as isize, col_stride: 1 },
                        c: sums[there.start * phase * out..].as_mut_ptr(),
                        ldc: out,
                        accumulate: b > 0,
                        one_block: false,
                    };
                    // SAFETY: the operands have these sizes; the sums are this member's alone.
                    unsafe { matmul::block(&p, 0..p.m, 0..p.n, &mut |_| ()) };
                }
            }
            for (c, sum) in sum.chunks_exact_mut(scheme.size() * scheme.size() * out).enumerate() {
                for (p, taps) in phases.iter().map(|phase| phase.map(|phase| phase.taps)).enumerate() {
                    kernel::transform_sums(scheme, &sums[(p * phase + c) * out..], place, taps, sum);
                }
            }
        });
    }
}

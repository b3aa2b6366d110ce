//! The gradient of a convolution's weight.
//!
//! The images are summed in slices whose number only the shapes decide, each slice in one chain, and the slices' sums in
//! order: members of a team take whole slices, and the bits do not depend on who took which.

use std::ops::Range;
use std::sync::Arc;

use smallvec::smallvec;

use super::geometry::{Settings, Slide};
use super::input_grad::{ConvGradInput, grad_input};
use super::slide::rows_of_block;
use super::winograd::{self, Gradient};
use super::workspace;
use super::{Conv, image_of, small};
use crate::error::Result;
use crate::kernels::matmul::{self, MatRef, Product, odd_lines};
use crate::kernels::vector::Lanes;
use crate::kernels::{reduce, transpose};
use crate::ops::{Grads, Op, Outputs, Run, Saves, add, apply, apply_many, expand, reshape};
use crate::tensor::tape::Backward;
use crate::tensor::{Meta, Tensor, View};
use crate::threads::Team;
use crate::with_float;

/// Slices of the images at most.
const SLICES: usize = 8;
/// Elements that the slices' sums may take together.
const ROOM: usize = 1 << 22;

/// `grad_weight`, and `grad_bias` if there is a bias: inputs g, x. Output 1 holds the slices' sums, 3 those of planes.
#[derive(Clone, Copy, Debug)]
pub struct ConvGradWeight {
    /// Of the convolution.
    pub settings: Settings,
    /// (h, w) of the kernel.
    pub kernel: (usize, usize),
    /// True if there is a bias.
    pub bias: bool,
}

/// Division of the work.
#[derive(Clone, Copy)]
struct Cut {
    n: usize,
    slices: usize,
    groups: usize,
    /// Channels of a group, of x and of g.
    channels: (usize, usize),
    taps: usize,
    winograd: bool,
    /// All images in one product.
    small: bool,
}

impl Cut {
    fn new(op: &ConvGradWeight, g: &[usize], x: &[usize]) -> Self {
        let groups = op.settings.groups;
        let channels = (x[1] / groups, g[1] / groups);
        let winograd = winograd::fits(&op.settings, &[g[1], channels.0, op.kernel.0, op.kernel.1], g);
        let taps = op.kernel.0 * op.kernel.1;
        let small = !winograd && small::fits_gradient(&op.settings.forward(image_of(x), op.kernel), channels, x[0]);
        let mut slices = if small { 1 } else { x[0].min(SLICES) };
        while slices > 1 && slices.saturating_mul(channels.0).saturating_mul(taps).saturating_mul(g[1]) > ROOM {
            slices /= 2;
        }
        Self { n: x[0], slices, groups, channels, taps, winograd, small }
    }

    /// Elements of a slice's sum.
    fn len(&self) -> usize {
        self.groups * self.channels.0 * self.taps * self.channels.1
    }

    fn images(&self, slice: usize) -> Range<usize> {
        self.n * slice / self.slices..self.n * (slice + 1) / self.slices
    }
}

impl ConvGradWeight {
    /// The sum over one slice for one group and some of its channels of x: (channels · taps, channels of g).
    fn slice<T: Lanes>(slide: &Slide, cut: Cut, part: &SlicePart<'_, T>, sum: &mut [T]) {
        let (plane, taps) = (slide.plane(), cut.taps);
        let area = slide.output.0 * slide.output.1;
        let (window, channels) = (&slide.parts[0], part.channels.len());
        let direct = slide.is_identity();
        // As many as for all channels: where a sum is cut must not depend on the team.
        let rows = rows_of_block::<T>(window, cut.channels.0);
        let deep = channels * taps;
        let lens =
            if direct { [0, 0] } else { [channels * slide.frame.len(), deep * odd_lines::<T>(rows * window.x.output)] };
        workspace::with(lens, |[frames, columns]| {
            let mut begun = false;
            for i in part.images.clone() {
                let first = (i * cut.groups + part.group) * cut.channels.0 + part.channels.start;
                let planes = &part.x[first * plane..][..channels * plane];
                let grads = &part.g[(i * cut.groups + part.group) * cut.channels.1 * area..][..cut.channels.1 * area];
                if !direct {
                    slide.frame.fill(planes, frames);
                }
                for start in (0..window.y.output).step_by(rows) {
                    let end = window.y.output.min(start + rows);
                    let n = (end - start) * window.x.output;
                    let (a, ld) = if direct {
                        (&planes[start * window.x.output..], plane)
                    } else {
                        let ld = odd_lines::<T>(n);
                        slide.frame.columns((&window.y, &window.x), frames, start..end, columns, ld);
                        (&*columns, ld)
                    };
                    let p = Product {
                        m: deep,
                        n: cut.channels.1,
                        k: n,
                        a: MatRef { ptr: a.as_ptr(), row_stride: ld as isize, col_stride: 1 },
                        b: MatRef {
                            ptr: grads[start * window.x.output..].as_ptr(),
                            row_stride: 1,
                            col_stride: area as isize,
                        },
                        c: sum.as_mut_ptr(),
                        ldc: cut.channels.1,
                        accumulate: begun,
                        one_block: false,
                    };
                    // SAFETY: the operands have these sizes; the sum is this member's alone.
                    unsafe { matmul::block(&p, 0..p.m, 0..p.n, &mut |_| ()) };
                    begun = true;
                }
            }
        });
    }

    fn compute<T: Lanes>(&self, team: &Team, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let (g, x) = (inputs[0].slice::<T>(), inputs[1].slice::<T>());
        let cut = Cut::new(self, inputs[0].shape(), inputs[1].shape());
        let slide = self.settings.forward(image_of(inputs[1].shape()), self.kernel);
        let sums = &outputs[1];
        // With fewer slices than members, a slice's channels are shared: each has sums of its own.
        let units = cut.slices * cut.groups;
        let parts =
            if cut.small || units == 0 { 1 } else { team.size().div_ceil(units).clamp(1, cut.channels.0.max(1)) };
        if cut.small {
            let (channels, out) = ((cut.groups, cut.channels), outputs[0].ptr::<T>());
            // SAFETY: the shape rule has made the output for this weight; all members are here.
            unsafe { small::grad_weight(team, &slide, channels, cut.n, (g, x), out) };
        }
        for task in team.share(if cut.small { 0 } else { units * parts }) {
            let (unit, p) = (task / parts, task % parts);
            let (slice, group) = (unit / cut.groups, unit % cut.groups);
            let channels = cut.channels.0 * p / parts..cut.channels.0 * (p + 1) / parts;
            let row = cut.taps * cut.channels.1;
            let first = (unit * cut.channels.0 + channels.start) * row;
            // SAFETY: tasks are disjoint.
            let sum = unsafe { sums.part::<T>(first..first + channels.len() * row) };
            if cut.winograd {
                let (result, image) = (image_of(inputs[0].shape()), image_of(inputs[1].shape()));
                let (all, out, settings) = (cut.channels.0, cut.channels.1, &self.settings);
                let kernel = self.kernel.0;
                let part = Gradient { settings, kernel, image, result, x, all, channels, g, out };
                part.run(cut.images(slice), sum);
                continue;
            }
            let part = SlicePart { g, x, images: cut.images(slice), group, channels };
            Self::slice(&slide, cut, &part, sum);
        }
        if self.bias {
            let (planes, area) = (cut.n * cut.groups * cut.channels.1, slide.output.0 * slide.output.1);
            let mine = team.share(planes);
            // SAFETY: shares are disjoint.
            let totals = unsafe { outputs[3].part::<T>(mine.clone()) };
            for (plane, total) in mine.zip(totals) {
                *total = reduce::sum_flat(&g[plane * area..][..area]);
            }
        }
        if !cut.small || self.bias {
            team.barrier();
        }
        if !cut.small {
            Self::finish::<T>(team, cut, outputs);
        }
        if self.bias {
            Self::finish_bias::<T>(team, cut, outputs);
        }
    }

    /// Add the slices' sums, and turn them into the weight's order.
    fn finish<T: Lanes>(team: &Team, cut: Cut, outputs: &[View<'_>]) {
        let (deep, m) = (cut.channels.0 * cut.taps, cut.channels.1);
        let share = team.share_aligned(cut.groups * deep, 16);
        let mut row = share.start;
        while row < share.end {
            let (group, first) = (row / deep, row % deep);
            let last = deep.min(first + share.end - row);
            let at = |slice: usize| slice * cut.len() + row * m..slice * cut.len() + (row + last - first) * m;
            // SAFETY: shares of rows are disjoint, in the sums and as columns of the result, whose rows interleave.
            unsafe {
                let total = outputs[1].part::<T>(at(0));
                if cut.slices == 0 {
                    total.fill(T::ZERO);
                }
                for slice in 1..cut.slices {
                    add_to(total, &*outputs[1].part::<T>(at(slice)));
                }
                let from = transpose::Matrix { rows: last - first, cols: m, stride: m };
                let place = group * m * deep + first;
                let len = (m - 1) * deep + last - first;
                let grad = std::slice::from_raw_parts_mut(outputs[0].ptr::<T>().add(place), len);
                transpose::transpose(total, from, grad, deep);
            }
            row += last - first;
        }
    }

    /// Add the sums of the images' planes.
    fn finish_bias<T: Lanes>(team: &Team, cut: Cut, outputs: &[View<'_>]) {
        let channels = cut.groups * cut.channels.1;
        let mine = team.share_aligned(channels, 16);
        if mine.is_empty() {
            return;
        }
        // SAFETY: shares are disjoint; the sums of planes were complete before the barrier.
        let total = unsafe { outputs[2].part::<T>(mine.clone()) };
        if cut.n == 0 {
            return total.fill(T::ZERO);
        }
        let planes = &outputs[3].slice::<T>()[mine.start..];
        reduce::sum_columns(planes, cut.n, mine.len(), channels, total);
    }
}

fn add_to<T: Lanes>(total: &mut [T], x: &[T]) {
    for (total, &x) in total.iter_mut().zip(x) {
        *total += x;
    }
}

/// Inputs of a slice's sum.
struct SlicePart<'a, T> {
    g: &'a [T],
    x: &'a [T],
    images: Range<usize>,
    group: usize,
    channels: Range<usize>,
}

impl Op for ConvGradWeight {
    fn name(&self) -> &'static str {
        "conv_grad_weight"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let (g, x) = (&inputs[0], &inputs[1]);
        let cut = Cut::new(self, &g.shape, &x.shape);
        let (out, dtype) = (g.shape[1], g.dtype);
        // One sum at least, which becomes 0 where there are no images.
        let sums = Meta::new(&[cut.slices.max(1), if cut.small { 1 } else { cut.len() }], dtype);
        let weight = Meta::new(&[out, cut.channels.0, self.kernel.0, self.kernel.1], dtype);
        let mut outputs: Outputs = smallvec![weight, sums];
        if self.bias {
            outputs.push(Meta::new(&[out], dtype));
            outputs.push(Meta::new(&[x.shape[0], out], dtype));
        }
        Ok(outputs)
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_float!(outputs[0].dtype(), T => self.compute::<T>(run.team, inputs, outputs));
    }

    fn saves(&self) -> Saves {
        Saves::inputs(0b11)
    }

    /// It is linear in g and in x, and both gradients are convolutions again.
    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let mut grads: Grads = smallvec![None, None];
        let weight = cx.grad_of(0);
        if cx.needs(0) {
            if let Some(weight) = weight {
                grads[0] = Some(apply(Conv { settings: self.settings }, &[cx.input(1), weight])?);
            }
            if let Some(bias) = self.bias.then(|| cx.grad_of(2)).flatten() {
                let spread = reshape(bias, &[-1, 1, 1])?;
                let spread = expand(&spread, &cx.input_meta[0].shape)?;
                grads[0] = Some(match grads[0].take() {
                    Some(grad) => add(&grad, &spread)?,
                    None => spread,
                });
            }
        }
        if let Some(weight) = weight.filter(|_| cx.needs(1)) {
            let op = ConvGradInput { settings: self.settings, image: image_of(&cx.input_meta[1].shape) };
            grads[1] = Some(grad_input(op, cx.input(0), weight, None)?);
        }
        Ok(grads)
    }

    fn work(&self, inputs: &[Meta], outputs: &[Meta]) -> usize {
        super::work(&outputs[0].shape, &inputs[0].shape)
    }
}

/// The gradients of weight and bias.
pub(super) fn grad_weight(op: ConvGradWeight, g: &Tensor, x: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
    let mut outputs = apply_many(Arc::new(op), &[g, x])?;
    let bias = op.bias.then(|| outputs.swap_remove(2));
    Ok((outputs.swap_remove(0), bias))
}

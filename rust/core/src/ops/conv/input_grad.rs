//! The gradient of a convolution's input, which is also the transposed convolution.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::geometry::{Part, Settings, Slide};
use super::weight_grad::{ConvGradWeight, grad_weight};
use super::winograd;
use super::{Conv, image_of, slide, small};
use crate::element::Float;
use crate::error::Result;
use crate::ops::{Grads, Op, Outputs, Run, Saves, apply, apply_many, sum};
use crate::tensor::tape::Backward;
use crate::tensor::{Meta, Tensor, View, room};
use crate::threads::Team;
use crate::with_float;

/// `grad_x`: inputs g (n, groups · o, *), weight (groups · o, c, kh, kw), and a bias (groups · c) that is added, if there is one.
/// Output 1 holds the weights in the order in which they are used.
#[derive(Clone, Copy, Debug)]
pub struct ConvGradInput {
    /// Of the convolution.
    pub settings: Settings,
    /// (h, w) of x.
    pub image: (usize, usize),
}

/// For every group and part, weights (c, o · taps): members of the team share the rows.
fn pack<T: Float>(team: &Team, slide: &Slide, weight: &View<'_>, groups: usize, packed: &View<'_>) {
    let [out, channels, kh, kw] = *weight.shape() else { unreachable!("the shape rule has checked it") };
    let (out, taps, weight) = (out / groups, kh * kw, weight.slice::<T>());
    // Of an image smaller than the stride, not all taps are seen.
    let seen = slide.parts.iter().map(Part::taps).sum::<usize>();
    for row in team.share(groups * channels) {
        let (group, c) = (row / channels, row % channels);
        let mut part_start = group * out * channels * seen;
        for part in &slide.parts {
            let deep = out * part.taps();
            let first = part_start + c * deep;
            // SAFETY: members have different rows.
            let row = unsafe { packed.part::<T>(first..first + deep) };
            let mut row = row.iter_mut();
            for o in 0..out {
                let kernel = &weight[((group * out + o) * channels + c) * taps..][..taps];
                for &ty in &part.taps.0 {
                    for (&tx, to) in part.taps.1.iter().zip(&mut row) {
                        *to = kernel[ty * kw + tx];
                    }
                }
            }
            part_start += channels * deep;
        }
    }
}

impl ConvGradInput {
    fn by_winograd(&self, weight: &[usize], g: &[usize]) -> bool {
        winograd::fits(&self.settings, weight, g)
    }
}

impl Op for ConvGradInput {
    fn name(&self) -> &'static str {
        "conv_grad_input"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let (g, weight) = (&inputs[0], &inputs[1]);
        let channels = weight.shape[1] * self.settings.groups;
        let x = Meta::new(&[g.shape[0], channels, self.image.0, self.image.1], g.dtype);
        room::countable(self.name(), &x.shape)?;
        let len = if self.by_winograd(&weight.shape, &g.shape) {
            winograd::kernels_len(&self.settings, &weight.shape)
        } else {
            weight.numel()
        };
        Ok(smallvec![x, Meta::new(&[len], g.dtype)])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let (weight, groups) = (inputs[1].shape(), self.settings.groups);
        with_float!(outputs[0].dtype(), T => {
            if self.by_winograd(weight, inputs[0].shape()) {
                return winograd::convolve::<T>(run.team, &self.settings, true, inputs, outputs);
            }
            let slide = self.settings.turned(self.image, image_of(weight));
            pack::<T>(run.team, &slide, &inputs[1], groups, &outputs[1]);
            run.team.barrier();
            let channels = (weight[0] / groups, weight[1]);
            if small::fits(&slide, channels) {
                let packed = outputs[1].slice();
                return small::convolve::<T>(run.team, &slide, (groups, channels), inputs, packed, &outputs[0]);
            }
            slide::convolve::<T>(run.team, &slide, (groups, channels), inputs, outputs[1].slice(), &outputs[0]);
        });
    }

    fn overwrites(&self, inputs: &[Meta]) -> bool {
        let (g, weight) = (&inputs[0], &inputs[1]);
        self.by_winograd(&weight.shape, &g.shape)
            && winograd::reads_images_first(&self.settings, &weight.shape, (&g.shape, g.dtype), self.image)
    }

    fn saves(&self) -> Saves {
        Saves::inputs(0b11)
    }

    /// It is linear in g and in the weight, and both gradients are convolutions again.
    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let (settings, h) = (self.settings, cx.grad());
        let mut grads: Grads = smallvec![None, None];
        if cx.needs(0) {
            grads[0] = Some(apply(Conv { settings }, &[h, cx.input(1)])?);
        }
        if cx.needs(1) {
            let op = ConvGradWeight { settings, kernel: image_of(&cx.input_meta[1].shape), bias: false };
            grads[1] = Some(grad_weight(op, cx.input(0), h)?.0);
        }
        if cx.input_meta.len() == 3 {
            grads.push(if cx.needs(2) { Some(sum(h, Some(&[0, 2, 3]), false)?) } else { None });
        }
        Ok(grads)
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        super::work(&inputs[1].shape, &inputs[0].shape)
    }
}

/// The gradient of x, plus a bias.
pub(super) fn grad_input(op: ConvGradInput, g: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let inputs: SmallVec<[&Tensor; 3]> = [g, weight].into_iter().chain(bias).collect();
    Ok(apply_many(Arc::new(op), &inputs)?.swap_remove(0))
}

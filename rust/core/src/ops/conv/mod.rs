//! Convolutions of images.
//!
//! ```text
//! y[n, o, i, j] = bias[o] + Σ_{c, s, t} weight[o, c, s, t] · x[n, c, i · stride + s · dilation − padding, j …]
//! ```
//! with x: (n, groups · c, h, w), weight: (groups · o, c, kh, kw), bias: (groups · o); x is 0 outside of the image. As everywhere
//! in deep learning this is a cross-correlation: the kernel is not mirrored.
//!
//! Each of the three products (y, `grad_x`, `grad_weight`) is the gradient of the others, so that three ops are closed under
//! differentiation. Small kernels go by Winograd's algorithm ([`crate::kernels::winograd`]), maps of few positions by products over all
//! images at once (`small.rs`). All others are products of matrices:
//! blocks of the image are copied into columns that stay in cache ([`crate::kernels::conv`]), one column a position of the window.
//! For `grad_x` the window slides over g; with a stride it does so once for every remainder by the stride, each with the taps that
//! hit it.

mod geometry;
mod input_grad;
mod slide;
mod small;
mod transposed;
mod weight_grad;
mod winograd;
mod workspace;

#[cfg(test)]
mod tests;

use smallvec::{SmallVec, smallvec};

pub use geometry::Settings;
pub use input_grad::ConvGradInput;
pub use transposed::conv_transpose;
pub use weight_grad::ConvGradWeight;
use weight_grad::grad_weight;

use super::{Grads, Op, Outputs, Run, Saves, apply, float_dtype, shape_error, squeeze, unsqueeze};
use crate::error::{Error, Result};
use crate::tensor::layout::show;
use crate::tensor::tape::Backward;
use crate::tensor::{Meta, Tensor, View, room};
use crate::with_float;

/// The op: inputs x, weight, and bias if there is one. By Winograd's algorithm, output 1 holds the transformed kernels.
#[derive(Clone, Copy, Debug)]
pub struct Conv {
    /// Stride, padding, dilation, groups.
    pub settings: Settings,
}

/// (h, w) of (n, c, h, w).
fn image_of(shape: &[usize]) -> (usize, usize) {
    (shape[2], shape[3])
}

/// Nanoseconds of one thread for one of the three products, of a weight and a g of these shapes.
fn work(weight: &[usize], g: &[usize]) -> usize {
    let each = weight[1..].iter().product::<usize>();
    g.iter().product::<usize>().saturating_mul(each) / 40
}

impl Op for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        let (x, weight) = (&inputs[0].shape, &inputs[1].shape);
        let [h, w] = check(&self.settings, &CONV[1], (x, x), weight, inputs.get(2).map(|b| &b.shape[..]))?[..] else {
            return Err(shape_error(self.name(), "an image of shape (h, w)", x));
        };
        let mut outputs: Outputs = smallvec![Meta::new(&[x[0], weight[0], h, w], dtype)];
        room::countable(self.name(), &outputs[0].shape)?;
        self.settings.check_reach(self.name(), weight[1], [h, w], [weight[2], weight[3]])?;
        if winograd::fits(&self.settings, weight, &outputs[0].shape) {
            outputs.push(Meta::new(&[winograd::kernels_len(&self.settings, weight)], dtype));
        }
        Ok(outputs)
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let groups = self.settings.groups;
        with_float!(outputs[0].dtype(), T => {
            if outputs.len() == 2 {
                return winograd::convolve::<T>(run.team, &self.settings, false, inputs, outputs);
            }
            let (x, weight) = (inputs[0].shape(), inputs[1].shape());
            let slide = self.settings.forward(image_of(x), image_of(weight));
            let channels = (weight[1], weight[0] / groups);
            if small::fits(&slide, channels) {
                return small::convolve::<T>(run.team, &slide, (groups, channels), inputs, inputs[1].slice(), &outputs[0]);
            }
            slide::convolve::<T>(run.team, &slide, (groups, channels), inputs, inputs[1].slice(), &outputs[0]);
        });
    }

    fn saves(&self) -> Saves {
        Saves::inputs(0b11)
    }

    fn saves_for(&self, wants: &[bool]) -> Saves {
        // The gradient of the bias comes with that of the weight.
        Saves::of_factors(&[wants[0], wants[1..].contains(&true)])
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let (settings, g) = (self.settings, cx.grad());
        let mut grads: Grads = smallvec![None; cx.input_meta.len()];
        let bias = grads.len() == 3 && cx.needs(2);
        if cx.needs(1) || bias {
            let op = ConvGradWeight { settings, kernel: image_of(&cx.input_meta[1].shape), bias };
            let (weight, of_bias) = grad_weight(op, g, cx.input(0))?;
            grads[1] = Some(weight);
            if bias {
                grads[2] = of_bias;
            }
        }
        // The last to read g, which it may overwrite.
        if cx.needs(0) {
            let op = ConvGradInput { settings, image: image_of(&cx.input_meta[0].shape) };
            grads[0] = Some(input_grad::grad_input(op, g, cx.input(1), None)?);
        }
        Ok(grads)
    }

    fn work(&self, inputs: &[Meta], outputs: &[Meta]) -> usize {
        work(&inputs[1].shape, &outputs[0].shape)
    }
}

/// Words for errors of convolutions over 1 and 2 dimensions: the op's name, and the shape of an image.
const CONV: [Names; 2] = [Names { op: "conv1d", dims: "l" }, Names { op: "conv2d", dims: "h, w" }];

#[derive(Clone, Copy)]
struct Names {
    op: &'static str,
    dims: &'static str,
}

/// The sizes of the result, if input, weight and bias fit. The input's shape is that of a batch, and as it was given.
fn check(
    settings: &Settings,
    names: &Names,
    (x, given): (&[usize], &[usize]),
    weight: &[usize],
    bias: Option<&[usize]>,
) -> Result<SmallVec<[usize; 2]>> {
    let dims = names.dims.split(',').count();
    let groups = settings.groups;
    settings.check(names.op, dims)?;
    check_weight(names, weight, groups, ["out", "in"])?;
    let channels = weight[1] * groups;
    if x.len() != dims + 2 || x[1] != channels {
        return Err(shape_error(names.op, &format!("input of shape (n, {channels}, {})", names.dims), given));
    }
    check_bias(names.op, weight[0], bias)?;
    let first = 2 - dims;
    let sizes: Option<SmallVec<[usize; 2]>> =
        (0..dims).map(|d| settings.positions(first + d, x[2 + d], weight[2 + d])).collect();
    sizes.ok_or_else(|| {
        let padded: SmallVec<[usize; 2]> = (0..dims).map(|d| settings.padded(first + d, x[2 + d])).collect();
        let span: SmallVec<[usize; 2]> = (0..dims).map(|d| settings.span(first + d, weight[2 + d])).collect();
        Error::value(format!(
            "{}: expected a padded image at least as large as the kernel, {}; got {}",
            names.op,
            show(&span),
            show(&padded)
        ))
    })
}

/// `sides` is what the weight's first two dimensions are called, the first of which groups divide.
fn check_weight(names: &Names, weight: &[usize], groups: usize, sides: [&str; 2]) -> Result<()> {
    let dims = names.dims.split(',').count();
    let [first, second] = sides;
    if weight.len() != dims + 2 || weight.contains(&0) {
        let sizes = if dims == 1 { "kl" } else { "kh, kw" };
        let expected = format!("weight of shape ({first}, {second}, {sizes}) without empty dimensions");
        return Err(shape_error(names.op, &expected, weight));
    }
    if groups == 0 || !weight[0].is_multiple_of(groups) {
        return Err(Error::value(format!(
            "{}: expected {first}put channels that groups divide; got {} and {groups}",
            names.op, weight[0]
        )));
    }
    Ok(())
}

fn check_bias(op: &str, channels: usize, bias: Option<&[usize]>) -> Result<()> {
    match bias {
        Some(bias) if bias != [channels] => Err(shape_error(op, &format!("bias of shape ({channels},)"), bias)),
        _ => Ok(()),
    }
}

/// With a dimension of size 1 before the last, so that what has one dimension has two.
fn flat(x: &Tensor, dims: usize) -> Result<Tensor> {
    if dims == 1 { unsqueeze(x, -2) } else { Ok(x.clone()) }
}

/// Convolve `x`, (n, c, *) or (c, *), where * is l or (h, w) as in the weight, (out, c / groups, *). Of a weight over one
/// dimension, the settings' second one counts.
pub fn conv(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, dims: usize, settings: Settings) -> Result<Tensor> {
    let names = &CONV[dims - 1];
    let batched = if x.ndim() == dims + 1 { unsqueeze(x, 0)? } else { x.clone() };
    let metas: SmallVec<[Meta; 3]> = [x, weight].into_iter().chain(bias).map(Tensor::meta).collect();
    float_dtype(names.op, &metas)?;
    check(&settings, names, (batched.shape(), x.shape()), weight.shape(), bias.map(Tensor::shape))?;
    let (image, kernel) = (flat(&batched, dims)?, flat(weight, dims)?);
    let inputs: SmallVec<[&Tensor; 3]> = [&image, &kernel].into_iter().chain(bias).collect();
    unflat(apply(Conv { settings }, &inputs)?, dims, x.ndim())
}

/// The result, with as many dimensions as the input had.
fn unflat(y: Tensor, dims: usize, ndim: usize) -> Result<Tensor> {
    let y = if dims == 1 { squeeze(&y, Some(&[-2]))? } else { y };
    if ndim == dims + 1 { squeeze(&y, Some(&[0])) } else { Ok(y) }
}

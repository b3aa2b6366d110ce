//! The transposed convolution: what a convolution's gradient does to its input.

use super::geometry::Settings;
use super::input_grad::{ConvGradInput, grad_input};
use super::{Names, check_bias, check_weight, flat, unflat};
use crate::error::{Error, Result};
use crate::ops::pad::pad;
use crate::ops::{Scalar, add, float_dtype, reshape, shape_error, unsqueeze};
use crate::tensor::{Meta, Tensor, room};
use smallvec::SmallVec;

const NAMES: [Names; 2] = [Names { op: "conv_transpose1d", dims: "l" }, Names { op: "conv_transpose2d", dims: "h, w" }];

/// The size of the result along dimension `d`, if there is one.
fn length(settings: &Settings, d: usize, size: usize, kernel: usize, more: usize) -> Option<usize> {
    let windows = size.checked_sub(1)?.checked_mul(settings.stride[d])?;
    let span = (kernel - 1).checked_mul(settings.dilation[d])?.checked_add(1)?;
    let whole = windows.checked_add(span)?.checked_add(more)?;
    whole.checked_sub(settings.padding[d].0)?.checked_sub(settings.padding[d].1).filter(|&length| length > 0)
}

/// Spread `x`, (n, groups · c, *) or without n, by a weight (groups · c, out, *): the gradient of the input of the convolution that
/// has these settings, whose image is `more` larger than its windows tell.
pub fn conv_transpose(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    dims: usize,
    settings: Settings,
    more: [usize; 2],
) -> Result<Tensor> {
    let names = &NAMES[dims - 1];
    let batched = if x.ndim() == dims + 1 { unsqueeze(x, 0)? } else { x.clone() };
    let metas: SmallVec<[Meta; 3]> = [x, weight].into_iter().chain(bias).map(Tensor::meta).collect();
    float_dtype(names.op, &metas)?;
    let kernel = weight.shape();
    settings.check(names.op, dims)?;
    room::settings(names.op, "output_padding", &more, 0, || more[0].max(more[1]).to_string())?;
    check_weight(names, kernel, settings.groups, ["in", "out"])?;
    if batched.ndim() != dims + 2 || batched.shape()[1] != kernel[0] {
        return Err(shape_error(names.op, &format!("input of shape (n, {}, {})", kernel[0], names.dims), x.shape()));
    }
    check_bias(names.op, kernel[1] * settings.groups, bias.map(Tensor::shape))?;
    let first = 2 - dims;
    for d in 0..dims {
        let limit = settings.stride[first + d].max(settings.dilation[first + d]);
        if more[first + d] >= limit {
            return Err(Error::value(format!(
                "{}: expected output_padding below stride or dilation, {limit}; got {}",
                names.op,
                more[first + d]
            )));
        }
    }
    let (image, kernel) = (flat(&batched, dims)?, flat(weight, dims)?);
    let size = |d: usize| length(&settings, d, image.shape()[2 + d], kernel.shape()[2 + d], more[d]);
    let (Some(h), Some(w)) = (size(0), size(1)) else {
        return Err(shape_error(names.op, "an image that padding leaves something of", batched.shape()));
    };
    let op = ConvGradInput { settings, image: (h, w) };
    if (0..2).all(|d| more[d] < settings.stride[d]) {
        return unflat(grad_input(op, &image, &kernel, bias)?, dims, x.ndim());
    }
    // The image has more windows than x has elements. The one that has as many, without padding, is cut and continued.
    let ends: [(i64, i64); 2] = std::array::from_fn(|d| {
        let (before, after) = settings.padding[d];
        (-(before as i64), more[d] as i64 - after as i64)
    });
    let whole = |length: usize, (before, after): (i64, i64)| (length as i64 - before - after) as usize;
    let settings = Settings { padding: [(0, 0); 2], ..settings };
    let op = ConvGradInput { settings, image: (whole(h, ends[0]), whole(w, ends[1])) };
    let mut y = pad(&grad_input(op, &image, &kernel, None)?, &[ends[1], ends[0]], Scalar::Float(0.0))?;
    if let Some(bias) = bias {
        y = add(&y, &reshape(bias, &[-1, 1, 1])?)?;
    }
    unflat(y, dims, x.ndim())
}

//! Activations.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::along;
use crate::error::Result;
use crate::kernels::activation::{Activation, GELU_CUBIC, SELU_ALPHA, SELU_SCALE, SQRT_2_OVER_PI};
use crate::ops::activation::{sigmoid, softplus, tanh};
use crate::ops::{
    add, add_scalar, clamp, erf, exp, ge_scalar, gt_scalar, le_scalar, logical_or, masked_fill, mul, mul_scalar,
    rsub_scalar, square, sum_to, where_,
};
use crate::tensor::Tensor;

/// g · f′; inputs g, and x or y, whichever f′ is taken from.
pub(in crate::ops) fn activation(f: Activation, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let g = &inputs[0];
    let kept = inputs.last().unwrap_or(g);
    let below = || le_scalar(kept, 0.0);
    let grad = match f {
        Activation::Relu => masked_fill(g, &below()?, 0.0)?,
        Activation::LeakyRelu { negative_slope } => where_(&gt_scalar(kept, 0.0)?, g, &mul_scalar(g, negative_slope)?)?,
        Activation::Elu { alpha } if alpha >= 0.0 => where_(&below()?, &mul(g, &add_scalar(kept, alpha)?)?, g)?,
        Activation::Elu { alpha } => {
            // Held to 0: what the exponential does above would be infinite times 0.
            let slope = mul_scalar(&exp(&clamp(kept, None, Some(0.0.into()))?)?, alpha)?;
            where_(&below()?, &mul(g, &slope)?, g)?
        }
        Activation::Selu => {
            let low = mul(g, &add_scalar(kept, SELU_SCALE * SELU_ALPHA)?)?;
            where_(&below()?, &low, &mul_scalar(g, SELU_SCALE)?)?
        }
        Activation::Sigmoid => mul(g, &mul(&rsub_scalar(kept, 1.0)?, kept)?)?,
        Activation::Tanh => mul(g, &rsub_scalar(&square(kept)?, 1.0)?)?,
        Activation::Hardtanh { min_val, max_val } => masked_fill(g, &outside(kept, min_val, max_val)?, 0.0)?,
        Activation::Relu6 => masked_fill(g, &outside(kept, 0.0, 6.0)?, 0.0)?,
        Activation::GeluErf => {
            let cdf = mul_scalar(&add_scalar(&erf(&mul_scalar(kept, FRAC_1_SQRT_2)?)?, 1.0)?, 0.5)?;
            let pdf = exp(&mul_scalar(&square(kept)?, -0.5)?)?;
            let pdf = mul_scalar(&pdf, 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2)?;
            mul(g, &add(&cdf, &mul(kept, &pdf)?)?)?
        }
        Activation::GeluTanh => {
            let squared = square(kept)?;
            let inner = add(kept, &mul_scalar(&mul(&squared, kept)?, GELU_CUBIC)?)?;
            let t = tanh(&mul_scalar(&inner, SQRT_2_OVER_PI)?)?;
            let inner_grad = add_scalar(&mul_scalar(&squared, 3.0 * GELU_CUBIC)?, 1.0)?;
            let inner_grad = mul_scalar(&inner_grad, SQRT_2_OVER_PI)?;
            let right = mul(&mul(kept, &rsub_scalar(&square(&t)?, 1.0)?)?, &inner_grad)?;
            mul(g, &mul_scalar(&add(&add_scalar(&t, 1.0)?, &right)?, 0.5)?)?
        }
        Activation::Silu => {
            let s = sigmoid(kept)?;
            mul(g, &mul(&s, &add_scalar(&mul(kept, &rsub_scalar(&s, 1.0)?)?, 1.0)?)?)?
        }
        Activation::Mish => {
            let t = tanh(&softplus(kept, 1.0, 40.0)?)?;
            let right = mul(&mul(kept, &sigmoid(kept)?)?, &rsub_scalar(&square(&t)?, 1.0)?)?;
            mul(g, &add(&t, &right)?)?
        }
        Activation::Hardswish => {
            let inside = mul(g, &add_scalar(&mul_scalar(kept, 1.0 / 3.0)?, 0.5)?)?;
            let above = where_(&ge_scalar(kept, 3.0)?, g, &inside)?;
            masked_fill(&above, &le_scalar(kept, -3.0)?, 0.0)?
        }
        Activation::Softplus { beta, threshold } => {
            let scaled = mul_scalar(kept, beta)?;
            where_(&gt_scalar(&scaled, threshold)?, g, &mul(g, &sigmoid(&scaled)?)?)?
        }
    };
    Ok(vec![grad])
}

fn outside(y: &Tensor, min: f64, max: f64) -> Result<Tensor> {
    logical_or(&le_scalar(y, min)?, &ge_scalar(y, max)?)
}

/// Inputs g, x, weight.
pub(in crate::ops) fn prelu(inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let [g, x, weight] = inputs else { unreachable!("three inputs") };
    let positive = gt_scalar(x, 0.0)?;
    let slopes = if weight.numel() == 1 && x.ndim() < 2 { weight.clone() } else { along(weight, x, 1)? };
    let grad_x = where_(&positive, g, &mul(g, &slopes)?)?;
    let grad_slopes = sum_to(&masked_fill(&mul(g, x)?, &positive, 0.0)?, slopes.shape())?;
    Ok(vec![grad_x, crate::ops::shape::reshape_to(&grad_slopes, weight.shape())?])
}

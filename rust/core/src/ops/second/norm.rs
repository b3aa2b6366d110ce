//! Normalization of every sample by itself.

use crate::error::Result;
use crate::ops::shape::reshape_to;
use crate::ops::{add_scalar, mean, mul, rsqrt, square, sub, sum_to};
use crate::tensor::Tensor;

/// Of layer, RMS, group and instance norm.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct GroupNorm {
    /// Groups of all samples.
    pub rows: usize,
    /// Added to the variance.
    pub eps: f64,
    /// True if about the mean.
    pub centered: bool,
}

/// Inputs g, x, mean, `inv_std`, and weight if there is one; mean and `inv_std` are functions of x, and are computed from
/// it once more. `affine` is the shape of weight and bias as it broadcasts to x, and as it is.
pub(in crate::ops) fn group_norm(
    op: GroupNorm,
    affine: Option<(&[usize], &[usize])>,
    inputs: &[Tensor],
) -> Result<Vec<Tensor>> {
    let [g, x, _, _, weight @ ..] = inputs else { unreachable!("four inputs") };
    let matrix = [op.rows, x.numel() / op.rows.max(1)];
    let average = |x: &Tensor| mean(x, Some(&[1]), true);
    let rows = reshape_to(x, &matrix)?;
    let centered = if op.centered { sub(&rows, &average(&rows)?)? } else { rows };
    let inv_std = rsqrt(&add_scalar(&average(&square(&centered)?)?, op.eps)?)?;
    let normed = mul(&centered, &inv_std)?;
    let h = match (weight.first(), affine) {
        (Some(w), Some((shape, _))) => mul(g, &reshape_to(w, shape)?)?,
        _ => g.clone(),
    };
    let h = reshape_to(&h, &matrix)?;
    let inner = sub(&h, &mul(&normed, &average(&mul(&h, &normed)?)?)?)?;
    let inner = if op.centered { sub(&inner, &average(&h)?)? } else { inner };
    let mut grads = vec![reshape_to(&mul(&inner, &inv_std)?, x.shape())?];
    if let Some((broad, shape)) = affine {
        for sum in [&mul(g, &reshape_to(&normed, x.shape())?)?, g] {
            grads.push(reshape_to(&sum_to(sum, broad)?, shape)?);
        }
    }
    Ok(grads)
}

//! Products, normalization, softmax and reductions.

use super::along;
use crate::error::Result;
use crate::kernels::reduce::Axis;
use crate::ops::batch_norm::BatchNormGrad;
use crate::ops::matmul::matmul;
use crate::ops::shape::reshape_to;
use crate::ops::{
    add_scalar, cat, div, div_scalar, eq_scalar, exp, masked_fill, mean, mul, mul_scalar, narrow, ones, rsqrt, square,
    sub, sum, t, transpose, unsqueeze,
};
use crate::tensor::Tensor;

/// The matrices of a stack, rows and columns exchanged.
fn transposed(x: &Tensor) -> Result<Tensor> {
    transpose(x, -2, -1)
}

/// g · bᵀ; inputs g, b.
pub(in crate::ops) fn matmul_left(a_is_vector: bool, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let [g, b] = inputs else { unreachable!("two inputs") };
    let g = if b.ndim() == 1 { unsqueeze(g, -1)? } else { g.clone() };
    let g = if a_is_vector { unsqueeze(&g, -2)? } else { g };
    let b = if b.ndim() == 1 { unsqueeze(b, -1)? } else { b.clone() };
    let grad = matmul(&g, &transposed(&b)?)?;
    let row = grad.ndim() - 2;
    if !a_is_vector {
        return Ok(vec![grad]);
    }
    let shape: Vec<usize> = grad.shape().iter().enumerate().filter(|&(d, _)| d != row).map(|(_, &n)| n).collect();
    Ok(vec![reshape_to(&grad, &shape)?])
}

/// aᵀ · g; inputs a, g.
pub(in crate::ops) fn matmul_right(b_ndim: usize, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let [a, g] = inputs else { unreachable!("two inputs") };
    if b_ndim > 2 {
        let row = |x: &Tensor| if a.ndim() == 1 { unsqueeze(x, -2) } else { Ok(x.clone()) };
        return Ok(vec![matmul(&transposed(&row(a)?)?, &row(g)?)?]);
    }
    let (leading, k) = (&a.shape()[..a.ndim() - 1], a.shape()[a.ndim() - 1]);
    let rows: usize = leading.iter().product();
    let n = if b_ndim == 1 { 1 } else { g.shape()[g.ndim() - 1] };
    let grad = matmul(&t(&reshape_to(a, &[rows, k])?)?, &reshape_to(g, &[rows, n])?)?;
    Ok(vec![if b_ndim == 1 { reshape_to(&grad, &[k])? } else { grad }])
}

/// Inputs g (*, n · m), a (*, n), b (*, m).
pub(in crate::ops) fn outer_rows(inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let [g, a, b] = inputs else { unreachable!("three inputs") };
    let last = a.ndim() - 1;
    let mut shape = a.shape().to_vec();
    shape.push(b.shape()[last]);
    let g = reshape_to(g, &shape)?;
    let grad_a = sum(&mul(&g, &unsqueeze(b, -2)?)?, Some(&[-1]), false)?;
    let grad_b = sum(&mul(&g, &unsqueeze(a, -1)?)?, Some(&[-2]), false)?;
    Ok(vec![grad_a, grad_b])
}

/// Inputs g, x, mean, `inv_std`, and weight if there is one. While training, mean and `inv_std` are functions of x, and are
/// computed from it once more.
pub(in crate::ops) fn batch_norm(op: BatchNormGrad, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let [g, x, old_mean, old_inv_std, weight @ ..] = inputs else { unreachable!("four inputs") };
    let dims: Vec<i64> = (0..x.ndim() as i64).filter(|&dim| dim != 1).collect();
    let average = |x: &Tensor| mean(x, Some(&dims), true);
    let (centered, inv_std) = if op.training {
        let centered = sub(x, &average(x)?)?;
        let inv_std = rsqrt(&add_scalar(&average(&square(&centered)?)?, op.eps)?)?;
        (centered, inv_std)
    } else {
        (sub(x, &along(&old_mean.detach(), x, 1)?)?, along(&old_inv_std.detach(), x, 1)?)
    };
    let normed = mul(&centered, &inv_std)?;
    let product = mul(g, &normed)?;
    let inner = if op.training { sub(&sub(g, &average(g)?)?, &mul(&normed, &average(&product)?)?)? } else { g.clone() };
    let grad_x = mul(&inner, &inv_std)?;
    let grad_x = weight.first().map_or(Ok(grad_x.clone()), |w| mul(&grad_x, &along(w, x, 1)?))?;
    Ok(vec![grad_x, sum(&product, Some(&dims), false)?, sum(g, Some(&dims), false)?])
}

/// Σ along a dimension, which stays; of a tensor without dimensions, itself.
fn total(x: &Tensor, dim: usize) -> Result<Tensor> {
    if x.ndim() == 0 { Ok(x.clone()) } else { sum(x, Some(&[dim as i64]), true) }
}

/// Inputs g, y.
pub(in crate::ops) fn softmax(dim: usize, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let [g, y] = inputs else { unreachable!("two inputs") };
    Ok(vec![mul(y, &sub(g, &total(&mul(g, y)?, dim)?)?)?])
}

/// Inputs g, y.
pub(in crate::ops) fn log_softmax(dim: usize, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let [g, y] = inputs else { unreachable!("two inputs") };
    Ok(vec![sub(g, &mul(&exp(y)?, &total(g, dim)?)?)?])
}

/// Inputs g, x, y, of which g and y may lack the dimension.
pub(in crate::ops) fn logsumexp(dim: usize, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let [g, x, y] = inputs else { unreachable!("three inputs") };
    let mut kept = x.shape().to_vec();
    if let Some(size) = kept.get_mut(dim) {
        *size = 1;
    }
    let (g, y) = (reshape_to(g, &kept)?, reshape_to(y, &kept)?);
    Ok(vec![mul(&g, &exp(&sub(x, &y)?)?)?])
}

/// g · Π of the others; inputs g, x. Right at zeros: products of what stands before and of what stands after.
pub(in crate::ops) fn prod(axis: Axis, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let [g, x] = inputs else { unreachable!("two inputs") };
    let lines = reshape_to(x, &[axis.outer, axis.len, axis.inner])?;
    let entry = |i: usize| narrow(&lines, 1, i as i64, 1);
    let one = ones(&[axis.outer, 1, axis.inner], x.dtype());
    let (mut before, mut after) = (vec![one.clone()], vec![one]);
    for i in 1..axis.len {
        before.push(mul(&before[i - 1], &entry(i - 1)?)?);
        after.push(mul(&after[i - 1], &entry(axis.len - i)?)?);
    }
    if axis.len == 0 {
        return Ok(vec![x.clone()]);
    }
    after.reverse();
    let join = |parts: &[Tensor]| cat(&parts.iter().collect::<Vec<_>>(), 1);
    let others = mul(&join(&before)?, &join(&after)?)?;
    let grad = mul(&others, &reshape_to(g, &[axis.outer, 1, axis.inner])?)?;
    Ok(vec![reshape_to(&grad, x.shape())?])
}

/// Inputs g, x (rows, len), y, means; the means are functions of x, and are computed from it once more.
pub(in crate::ops) fn variance(freedom: f64, root: bool, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let [g, x, y, _] = inputs else { unreachable!("four inputs") };
    let centered = sub(x, &mean(x, Some(&[1]), true)?)?;
    let scale = if root {
        let none = eq_scalar(y, 0.0)?;
        // Without spread, nothing may be divided by it, not even masked values.
        masked_fill(&div(g, &mul_scalar(&masked_fill(y, &none, 1.0)?, freedom)?)?, &none, 0.0)?
    } else {
        div_scalar(&mul_scalar(g, 2.0)?, freedom)?
    };
    Ok(vec![mul(&unsqueeze(&scale, 1)?, &centered)?])
}

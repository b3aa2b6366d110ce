//! Second derivatives: gradient ops once more, composed of ops that have a backward themselves.
//!
//! A gradient is computed by one fused op. When that is differentiated in turn, [`through`] runs its formula again in the
//! form that stands here, and walks back through that. Speed matters less there than that any order of derivative is
//! right. Each function takes the inputs of its gradient op, and returns its outputs.
//!
//! [`through`]: crate::tensor::tape::through

mod dense;
mod elementwise;
mod loss;
mod norm;

pub(super) use dense::{
    batch_norm, log_softmax, logsumexp, matmul_left, matmul_right, outer_rows, prod, softmax, variance,
};
pub(super) use elementwise::{activation, prelu};
pub(super) use loss::{cross_entropy, cross_entropy_soft, nll_loss, point_loss};
pub(super) use norm::{GroupNorm, group_norm};

use super::shape::reshape_to;
use crate::error::Result;
use crate::tensor::{Dims, Tensor};

/// One value for each entry of dimension `dim` of `like`, as a tensor that broadcasts to it.
fn along(vector: &Tensor, like: &Tensor, dim: usize) -> Result<Tensor> {
    let mut shape: Dims = Dims::from_elem(1, like.ndim());
    shape[dim] = vector.numel();
    reshape_to(vector, &shape)
}

#[cfg(test)]
mod tests;

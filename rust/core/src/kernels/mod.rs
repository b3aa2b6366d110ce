//! Loops over slices: no shapes, no graph, no allocation.

// A loop that evaluates both sides needs no branch.
#![allow(clippy::needless_bitwise_bool)]

pub mod activation;
pub mod conv;
pub mod dropout;
pub mod elementwise;
pub mod frame;
pub mod gibbs;
pub mod image;
pub mod integer;
pub mod loss;
pub mod matmul;
pub mod max_pool;
pub mod norm;
pub mod penalty;
pub mod position;
pub mod reduce;
pub mod separable;
pub mod softmax;
pub mod transpose;
pub mod unary;
pub(crate) mod vector;
pub mod winograd;

#[cfg(test)]
pub(crate) mod testing;

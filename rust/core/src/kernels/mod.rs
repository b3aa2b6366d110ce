//! Loops over slices: no shapes, no graph, no allocation.

pub mod activation;
pub mod binary;
pub mod dropout;
pub mod elementwise;
pub mod integer;
pub mod loss;
pub mod math;
pub mod matmul;
pub mod norm;
pub mod reduce;
pub mod softmax;
pub mod transpose;
pub mod unary;

#[cfg(test)]
pub(crate) mod testing;

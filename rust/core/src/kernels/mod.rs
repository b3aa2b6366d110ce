//! Loops over slices: no shapes, no graph, no allocation.

pub mod activation;
pub mod elementwise;
pub mod integer;
pub mod math;
pub mod reduce;
pub mod unary;

#[cfg(test)]
pub(crate) mod testing;

//! Loops over slices: no shapes, no graph, no allocation.

pub mod math;
pub mod matmul;

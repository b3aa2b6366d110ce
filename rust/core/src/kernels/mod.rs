//! Loops over slices: no shapes, no graph, no allocation.

pub mod dropout;
pub mod math;

//! Changes of data on the way into a step.

pub mod augment;

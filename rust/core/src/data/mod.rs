//! What happens to data on the way into a step.

pub mod augment;

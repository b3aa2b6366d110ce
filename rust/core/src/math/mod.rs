//! Elementary functions, as fixed sequences of correctly rounded operations.

pub mod f32;
pub mod f64;

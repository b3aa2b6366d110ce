//! Losses and their gradients.

mod cross_entropy;
mod point;

pub use cross_entropy::{
    CrossEntropy, SampleLosses, SampleScales, cross_entropy_columns, cross_entropy_columns_backward,
    cross_entropy_rows, cross_entropy_rows_backward, soft_cross_entropy_rows, soft_cross_entropy_rows_backward,
    soft_cross_entropy_rows_backward_target,
};
pub use point::PointLoss;

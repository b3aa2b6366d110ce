//! `y[f] += bias[f]`, behind the product of a linear layer, which adds it.

use super::super::program::{BufferId, Features, Touches};
use super::{Block, RowWork};
use crate::element::Float;
use crate::simd;

/// `y[f] += bias[f]`
#[derive(Clone, Debug)]
pub struct Bias {
    /// The rows.
    pub y: Features,
    /// A number for each.
    pub bias: BufferId,
}

impl RowWork for Bias {
    fn name(&self) -> &'static str {
        "bias"
    }

    fn touches(&self, t: &mut Touches) {
        t.read([self.bias]);
        t.write([self.y.buffer]);
    }

    unsafe fn run<T: Float>(&self, at: &Block<'_>) {
        // SAFETY: rows are this member's; the bias is another buffer.
        unsafe {
            let bias = at.numbers::<T>(self.bias);
            for (f, &b) in at.rows.clone().zip(bias) {
                add_scalar(b, at.row_mut(self.y, f));
            }
        }
    }
}

simd! {
    /// y ← y + b
    fn add_scalar<T: Float>(b: T, y: &mut [T]) {
        for y in y {
            *y += b;
        }
    }
}

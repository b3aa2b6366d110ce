//! Sums of two matrices: what goes round a residual block, and gradients that meet.

use super::super::fuse::{Lowering, downcast};
use super::super::graph::{GraphNode, NodeId};
use super::super::program::{Features, Touches};
use super::{Block, RowWork};
use crate::element::Float;
use crate::ops::{Arithmetic, Binary};
use crate::simd;

/// y = a + b
#[derive(Clone, Debug)]
pub struct Add {
    a: Features,
    b: Features,
    y: Features,
}

impl RowWork for Add {
    fn recognize(lowering: &mut Lowering<'_>, _n: NodeId, node: &GraphNode) -> Option<()> {
        let Binary(Arithmetic::Add) = downcast(node)? else { return None };
        let ([first, second], out) = ([node.inputs[0], node.inputs[1]], node.outputs[0]);
        let (a, b) = (lowering.held(first)?, lowering.held(second)?);
        if lowering.shape(first) != lowering.shape(second) {
            return None;
        }
        let stage = lowering.row_stage(&node.inputs);
        let y = lowering.features_like(out);
        lowering.add_row_op(stage, Self { a, b, y }, Some((out, y)));
        Some(())
    }

    fn name(&self) -> &'static str {
        "add"
    }

    fn touches(&self, t: &mut Touches) {
        t.read([self.a.buffer, self.b.buffer]);
        t.write([self.y.buffer]);
    }

    unsafe fn run<T: Float>(&self, at: &Block<'_>) {
        // SAFETY: rows are this member's; y is another buffer than a and b.
        unsafe {
            for f in at.rows.clone() {
                add::<T>(at.row(self.a, f), at.row(self.b, f), at.row_mut(self.y, f));
            }
        }
    }
}

simd! {
    /// y = a + b
    fn add<T: Float>(a: &[T], b: &[T], y: &mut [T]) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = a + b;
        }
    }
}

//! The gradient of a rectifier and of the dropout behind it together; see [`rewrite::MaskGrad`].

use super::super::fuse::{Lowering, downcast};
use super::super::graph::{GraphNode, NodeId};
use super::super::program::{Features, Touches};
use super::super::rewrite::{self, mask_grad, mask_grad_in_place};
use super::{Block, RowWork};
use crate::element::Float;

/// out = y > 0 ? g · scale : 0
#[derive(Clone, Debug)]
pub struct MaskGrad {
    scale: f64,
    g: Features,
    y: Features,
    out: Features,
}

impl RowWork for MaskGrad {
    fn recognize(lowering: &mut Lowering<'_>, n: NodeId, node: &GraphNode) -> Option<()> {
        let &rewrite::MaskGrad { scale } = downcast(node)?;
        let (gradient, out) = (node.inputs[0], node.outputs[0]);
        let (g, y) = (lowering.held(gradient)?, lowering.held(node.inputs[1])?);
        let stage = lowering.row_stage(&node.inputs);
        let result = lowering.in_place_or_new(gradient, n, out);
        lowering.add_row_op(stage, Self { scale, g, y, out: result }, Some((out, result)));
        Some(())
    }

    fn name(&self) -> &'static str {
        "relu and dropout gradient"
    }

    fn touches(&self, t: &mut Touches) {
        t.read([self.g.buffer, self.y.buffer]);
        t.write([self.out.buffer]);
    }

    unsafe fn run<T: Float>(&self, at: &Block<'_>) {
        let (scale, &Self { g, y, out, .. }) = (T::from_f64(self.scale), self);
        // SAFETY: rows are this member's; the same row is not taken twice.
        unsafe {
            for f in at.rows.clone() {
                if g == out {
                    mask_grad_in_place(scale, at.row_mut(g, f), at.row(y, f));
                } else {
                    mask_grad(scale, at.row(g, f), at.row(y, f), at.row_mut(out, f));
                }
            }
        }
    }
}

//! Dropout, and its gradient, which is dropout with the same draw.

use super::super::fuse::{Lowering, downcast};
use super::super::graph::{GraphNode, NodeId};
use super::super::program::{Features, Touches};
use super::{Block, RowWork};
use crate::element::Float;
use crate::kernels::dropout;
use crate::ops::dropout as op;
use crate::rng::Draw;

/// y = x · mask / (1 − p)
#[derive(Clone, Debug)]
pub struct Dropout {
    draw: Draw,
    threshold: u32,
    scale: f64,
    x: Features,
    y: Features,
}

impl RowWork for Dropout {
    fn recognize(lowering: &mut Lowering<'_>, n: NodeId, node: &GraphNode) -> Option<()> {
        let &op::Dropout { draw, threshold, scale } = downcast(node)?;
        let (input, out) = (node.inputs[0], node.outputs[0]);
        let x = lowering.held(input)?;
        let stage = lowering.row_stage(&[input]);
        let y = lowering.in_place_or_new(input, n, out);
        lowering.add_row_op(stage, Self { draw, threshold, scale, x, y }, Some((out, y)));
        Some(())
    }

    fn name(&self) -> &'static str {
        "dropout"
    }

    fn touches(&self, t: &mut Touches) {
        t.read([self.x.buffer]);
        t.write([self.y.buffer]);
    }

    unsafe fn run<T: Float>(&self, at: &Block<'_>) {
        let (x, y) = (self.x, self.y);
        let draw = Draw { call: self.draw.call.wrapping_add(at.replay), ..self.draw };
        let mask = dropout::Mask { draw, threshold: self.threshold, scale: T::from_f64(self.scale) };
        // SAFETY: rows are this member's; the same row is not taken twice.
        unsafe {
            if x != y {
                at.rows.clone().for_each(|f| at.row_mut::<T>(y, f).copy_from_slice(at.row(x, f)));
            }
            let area =
                dropout::Features { c: at.features, features: at.rows.clone(), samples: 0..at.samples, stride: y.ld };
            let len = (at.rows.len() - 1) * y.ld + at.samples;
            dropout::features_in_place(mask, &area, at.memory.slice_mut::<T>(y.buffer, at.rows.start * y.ld, len));
        }
    }
}

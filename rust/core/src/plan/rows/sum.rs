//! Sums of rows: the gradient of a bias.

use super::super::fuse::{Lowering, downcast};
use super::super::graph::{GraphNode, NodeId};
use super::super::program::{BufferId, Features, Touches};
use super::{Block, RowWork};
use crate::element::Float;
use crate::kernels::reduce;
use crate::ops::linear::SumRows;

/// `sums[f] = Σ g[f]`
#[derive(Clone, Debug)]
pub struct Sum {
    g: Features,
    sums: BufferId,
}

impl RowWork for Sum {
    fn recognize(lowering: &mut Lowering<'_>, _n: NodeId, node: &GraphNode) -> Option<()> {
        downcast::<SumRows>(node)?;
        let g = lowering.held(node.inputs[0])?;
        let stage = lowering.row_stage(&node.inputs);
        let sums = lowering.new_vector(node.outputs[0]);
        lowering.add_row_op(stage, Self { g, sums }, None);
        Some(())
    }

    fn name(&self) -> &'static str {
        "sum"
    }

    fn touches(&self, t: &mut Touches) {
        t.read([self.g.buffer]);
        t.write([self.sums]);
    }

    unsafe fn run<T: Float>(&self, at: &Block<'_>) {
        // SAFETY: rows are this member's, and so are the numbers for each.
        unsafe {
            for (f, sum) in at.rows.clone().zip(at.numbers_mut::<T>(self.sums)) {
                *sum = reduce::sum(at.row(self.g, f));
            }
        }
    }
}

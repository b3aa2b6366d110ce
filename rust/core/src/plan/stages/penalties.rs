//! Penalties of weights from those of their rows, and the sums that take them up.

use super::super::fuse::Lowering;
use super::super::graph::{GraphNode, NodeId};
use super::super::program::{BufferId, Touches};
use super::{At, Work};
use crate::element::{DType, Float};
use crate::error::Result;
use crate::ops::penalty;
use crate::with_float;

/// The penalties of weights from those of their rows, and the sums that take them up.
#[derive(Clone, Debug)]
pub struct Penalties {
    /// Buffers of the rows' penalties, and their lengths.
    pub rows: Vec<(BufferId, usize)>,
    /// Buffer of their sum.
    pub to: BufferId,
    /// Sums of two scalars after that, up to the loss: c = a + b, each a buffer's first element.
    pub sums: Vec<[BufferId; 3]>,
    /// The type of all.
    pub dtype: DType,
}

impl Work for Penalties {
    fn recognize(lowering: &mut Lowering<'_>, _n: NodeId, node: &GraphNode) -> Option<()> {
        lowering.penalty(node).or_else(|| lowering.penalty_gradient(node))
    }

    fn describe(&self) -> String {
        format!("penalty of {} weights", self.rows.len())
    }

    fn touches(&self, t: &mut Touches) {
        t.read(self.rows.iter().map(|r| r.0));
        t.write([self.to]);
        for &[a, b, c] in &self.sums {
            t.read([a, b]);
            t.write([c]);
        }
    }

    fn run<T: Float>(&self, at: &At<'_>) -> Result<()> {
        if at.team.rank() == 0 {
            with_float!(self.dtype, T => self.run_all::<T>(at));
        }
        Ok(())
    }
}

impl Penalties {
    fn run_all<T: Float>(&self, at: &At<'_>) {
        let memory = at.memory;
        // SAFETY: one member; all was complete before the last barrier.
        unsafe {
            let rows = self.rows.iter().map(|&(sums, n)| memory.slice::<T>(sums, 0, n));
            memory.slice_mut::<T>(self.to, 0, 1)[0] = penalty::total(rows);
            for &[a, b, c] in &self.sums {
                let sum = memory.slice::<T>(a, 0, 1)[0] + memory.slice::<T>(b, 0, 1)[0];
                memory.slice_mut::<T>(c, 0, 1)[0] = sum;
            }
        }
    }
}

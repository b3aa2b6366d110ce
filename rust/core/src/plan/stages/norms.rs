//! Squared norms of the rows of gradients that no product makes.

use super::super::fuse::Lowering;
use super::super::program::{BufferId, Touches};
use super::super::update::run_norms;
use super::{At, Work};
use crate::element::{DType, Float};
use crate::error::Result;
use crate::ops::penalty::rows;

/// The rows of a finished gradient whose squared norms are wanted.
#[derive(Clone, Debug)]
pub struct RowNorms {
    /// The gradient.
    pub grad: BufferId,
    /// Its type.
    pub dtype: DType,
    /// Number of rows.
    pub rows: usize,
    /// Elements of each.
    pub cols: usize,
    /// Buffer of their norms, in f64.
    pub norms: BufferId,
}

/// The squared norms of the rows of gradients.
#[derive(Clone, Debug)]
pub struct Norms(pub Vec<RowNorms>);

impl Work for Norms {
    fn describe(&self) -> String {
        format!("norms of {} gradients", self.0.len())
    }

    fn touches(&self, t: &mut Touches) {
        t.read(self.0.iter().map(|n| n.grad));
        t.write(self.0.iter().map(|n| n.norms));
    }

    fn run<T: Float>(&self, at: &At<'_>) -> Result<()> {
        run_norms(&self.0, at.memory, at.team, at.step.update_options);
        Ok(())
    }
}

impl Lowering<'_> {
    /// A stage for the norms that no product made; where all are, in the parameters' order.
    pub fn finish_norms(&mut self) -> Vec<(BufferId, usize)> {
        let Some(made) = self.norms.take() else { return Vec::new() };
        let (mut all, mut missing) = (Vec::new(), Vec::new());
        for (update, grad) in self.updates.clone() {
            let rows = rows(self.trained[update.param].value.shape()).0;
            let norms = made[update.param].unwrap_or_else(|| {
                let norms = self.arena(rows, DType::F64);
                missing.push(RowNorms { grad, dtype: update.dtype, rows, cols: update.cols, norms });
                norms
            });
            all.push((norms, rows));
        }
        if !missing.is_empty() {
            self.push(Norms(missing));
        }
        all
    }
}

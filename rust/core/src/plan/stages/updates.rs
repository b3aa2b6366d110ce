//! Updates of parameters.

use super::super::fuse::Lowering;
use super::super::program::{BufferId, Touches};
use super::super::update::run_updates;
use super::{At, Work};
use crate::element::{DType, Float};
use crate::error::Result;
use crate::ops::penalty::rows;

/// Update of a parameter.
#[derive(Clone, Debug)]
pub struct Update {
    /// Number of the parameter in the optimizer.
    pub param: usize,
    /// The parameter's memory.
    pub value: BufferId,
    /// The optimizer's memories for it.
    pub state: Vec<BufferId>,
    /// Elements.
    pub len: usize,
    /// Their type.
    pub dtype: DType,
    /// Elements of a row.
    pub cols: usize,
    /// The place of its first element among those of all parameters.
    pub position: usize,
    /// The greatest norm of a row.
    pub max_norm: Option<f64>,
    /// The memory of its average.
    pub average: Option<BufferId>,
}

impl Update {
    /// Note the buffers that it writes.
    pub fn touches(&self, t: &mut Touches) {
        t.write([self.value]);
        t.write(self.state.iter().copied().chain(self.average));
    }
}

/// All updates that no product does, with finished gradients.
#[derive(Clone, Debug)]
pub struct Updates {
    /// Each with its gradient's buffer.
    pub items: Vec<(Update, BufferId)>,
    /// Buffers of the squared norms of every gradient's rows, and their lengths, if the norm of all is limited.
    pub norms: Vec<(BufferId, usize)>,
}

impl Work for Updates {
    fn describe(&self) -> String {
        format!("update {} parameters", self.items.len())
    }

    fn touches(&self, t: &mut Touches) {
        t.read(self.norms.iter().map(|n| n.0));
        for (update, grad) in &self.items {
            t.read([*grad]);
            update.touches(t);
        }
    }

    fn updates(&self) -> bool {
        true
    }

    fn run<T: Float>(&self, at: &At<'_>) -> Result<()> {
        run_updates(self, at.memory, at.team, at.step);
        Ok(())
    }
}

impl Lowering<'_> {
    /// The update of a parameter.
    pub fn update_of(&mut self, param: usize) -> Update {
        let trained = &self.trained[param];
        let value = self.outside(&trained.value);
        let state = trained.state.iter().map(|s| self.outside(s)).collect();
        let average = trained.average.as_ref().map(|a| self.outside(a));
        Update {
            param,
            value,
            state,
            len: trained.value.numel(),
            dtype: trained.value.dtype(),
            cols: rows(trained.value.shape()).1,
            position: trained.position,
            max_norm: trained.max_norm,
            average,
        }
    }
}

//! Penalties of a weight's rows, added up where the product has just read them; `fuse/penalties.rs` finds that stage.

use super::super::program::{BufferId, Touches};
use super::{Block, RowWork};
use crate::element::Float;
use crate::kernels::penalty::{self, is_small};

/// `sums[f]` = penalty of row f of a weight
#[derive(Clone, Debug)]
pub struct Penalty {
    /// The penalty.
    pub kind: penalty::Penalty,
    /// The weight.
    pub weight: BufferId,
    /// Elements of a row of it.
    pub cols: usize,
    /// The sums of the rows.
    pub sums: BufferId,
    /// True if a row that is small has 0 here, until the penalty's gradient brings the sum.
    pub late: bool,
}

impl RowWork for Penalty {
    fn name(&self) -> &'static str {
        "penalty"
    }

    fn touches(&self, t: &mut Touches) {
        t.read([self.weight]);
        t.write([self.sums]);
    }

    unsafe fn run<T: Float>(&self, at: &Block<'_>) {
        // SAFETY: the numbers for each row are this member's; nobody writes the weight before its update.
        unsafe {
            for (f, sum) in at.rows.clone().zip(at.numbers_mut::<T>(self.sums)) {
                let row = at.memory.slice::<T>(self.weight, f * self.cols, self.cols);
                *sum = if self.late && is_small(row) { T::ZERO } else { self.kind.row(row) };
            }
        }
    }
}

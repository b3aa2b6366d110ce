//! Row-major matrices turned feature-major, and back.

use super::super::program::{BufferId, Features, Operand, Touches};
use super::super::run::LINE;
use super::{At, Work};
use crate::element::Float;
use crate::error::Result;
use crate::kernels::transpose;

/// Row-major (n × c) to feature-major.
#[derive(Clone, Debug)]
pub struct ToFeatures {
    /// The rows.
    pub from: Operand,
    /// The features.
    pub to: Features,
    /// n
    pub samples: usize,
    /// c
    pub features: usize,
}

/// Feature-major to row-major (n × c).
#[derive(Clone, Debug)]
pub struct ToRows {
    /// The features.
    pub from: Features,
    /// The rows.
    pub to: BufferId,
    /// n
    pub samples: usize,
    /// c
    pub features: usize,
}

impl Work for ToFeatures {
    fn describe(&self) -> String {
        format!("to features ({}, {})", self.samples, self.features)
    }

    fn touches(&self, t: &mut Touches) {
        t.read([self.from.buffer]);
        t.write([self.to.buffer]);
    }

    fn run<T: Float>(&self, at: &At<'_>) -> Result<()> {
        let share = at.team.share_aligned(self.features, LINE);
        // SAFETY: shares of features are disjoint rows of `to`.
        unsafe {
            let x = at.memory.view(&self.from).ptr::<T>().add(share.start);
            let y = at.memory.ptr_mut::<T>(self.to.buffer).add(share.start * self.to.ld);
            turn(x, self.features, self.samples, share.len(), y, self.to.ld);
        }
        Ok(())
    }
}

impl Work for ToRows {
    fn describe(&self) -> String {
        format!("to rows ({}, {})", self.samples, self.features)
    }

    fn touches(&self, t: &mut Touches) {
        t.read([self.from.buffer]);
        t.write([self.to]);
    }

    fn run<T: Float>(&self, at: &At<'_>) -> Result<()> {
        let share = at.team.share_aligned(self.samples, LINE);
        // SAFETY: shares of samples are disjoint rows of `to`.
        unsafe {
            let x = at.memory.ptr::<T>(self.from.buffer).add(share.start);
            let y = at.memory.ptr_mut::<T>(self.to).add(share.start * self.features);
            turn(x, self.from.ld, self.features, share.len(), y, self.features);
        }
        Ok(())
    }
}

/// `dst[c · ld_dst + r] = src[r · ld_src + c]`
///
/// # Safety
/// These elements exist, and nobody else uses those of `dst`; what lies between its rows may be others'.
pub unsafe fn turn<T: Float>(src: *const T, ld_src: usize, rows: usize, cols: usize, dst: *mut T, ld_dst: usize) {
    if rows == 0 || cols == 0 {
        return;
    }
    // SAFETY: from the first to the last element of each.
    unsafe {
        let src = std::slice::from_raw_parts(src, (rows - 1) * ld_src + cols);
        let dst = std::slice::from_raw_parts_mut(dst, (cols - 1) * ld_dst + rows);
        transpose::transpose(src, transpose::Matrix { rows, cols, stride: ld_src }, dst, ld_dst);
    }
}

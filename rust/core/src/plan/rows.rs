//! Rows of features: an optional product that makes them, then ops on each row while it is in cache.
//!
//! To fuse an op into rows: a file in `rows/` with its [`RowWork`] (the pattern that it takes the place of, the buffers that it touches,
//! its name, its loop), and its line in `row_ops!` below.

mod product;

use std::ops::Range;

pub use product::RowProduct;

use super::fuse::Lowering;
use super::graph::{GraphNode, NodeId};
use super::memory::Memory;
use super::program::{BufferId, Features, Touches};
use super::run::{ROW_GRANULE, share_of_rows};
use super::stages::{At, Work, turn};
use crate::element::Float;
use crate::error::Result;
use crate::kernels::matmul;

/// Work on one feature's samples at a time, with few numbers besides. Input and output may be the same features.
pub trait RowWork: Sized {
    /// Add row ops that do what a node does, if this is one of the nodes that they are for. The node has inputs and outputs.
    fn recognize(lowering: &mut Lowering<'_>, n: NodeId, node: &GraphNode) -> Option<()> {
        let _ = (lowering, n, node);
        None
    }

    /// Its name in a plan's description.
    fn name(&self) -> &'static str;

    /// Note the buffers that it reads and writes.
    fn touches(&self, t: &mut Touches);

    /// Do it for some rows.
    ///
    /// # Safety
    /// The rows are this member's alone, and exist in all buffers.
    unsafe fn run<T: Float>(&self, at: &Block<'_>);
}

/// The list of row ops: the files in `rows/`, and the ops in each.
macro_rules! row_ops {
    ($($file:ident: $($op:ident),+;)+) => {
        $(mod $file;)+
        $(pub use $file::{$($op),+};)+

        /// Something done to one feature's samples at a time.
        #[derive(Clone, Debug)]
        pub enum RowOp {
            $($(#[doc = concat!("[`", stringify!($op), "`].")] $op($op),)+)+
        }

        $($(impl From<$op> for RowOp {
            fn from(op: $op) -> Self {
                Self::$op(op)
            }
        })+)+

        impl RowOp {
            fn recognize(lowering: &mut Lowering<'_>, n: NodeId, node: &GraphNode) -> Option<()> {
                None$($(.or_else(|| $op::recognize(lowering, n, node)))+)+
            }

            fn name(&self) -> &'static str {
                match self { $($(Self::$op(op) => op.name(),)+)+ }
            }

            fn touches(&self, t: &mut Touches) {
                match self { $($(Self::$op(op) => op.touches(t),)+)+ }
            }

            /// # Safety
            /// As [`RowWork::run`].
            unsafe fn run<T: Float>(&self, at: &Block<'_>) {
                // SAFETY: by this function's contract.
                match self { $($(Self::$op(op) => unsafe { op.run::<T>(at) },)+)+ }
            }
        }
    };
}

row_ops! {
    bias: Bias;
    activation: Activate, ActivateGrad;
    dropout: Dropout;
    mask_grad: MaskGrad;
    batch_norm: Norm, NormGrad;
    sum: Sum;
    add: Add;
    penalty: Penalty;
}

/// Rows of one width: an optional product, then ops on each row while it is hot, then row-major copies.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Number of rows.
    pub features: usize,
    /// Samples in each.
    pub samples: usize,
    /// The product that makes the rows.
    pub product: Option<RowProduct>,
    /// Ops on the rows, in order.
    pub ops: Vec<RowOp>,
    /// Rows that are copied to sample-major memory, for the products that make weights' gradients.
    pub copies: Vec<(Features, BufferId)>,
}

impl Rows {
    /// Rows on which nothing is done yet.
    #[must_use]
    pub fn new(features: usize, samples: usize, product: Option<RowProduct>) -> Self {
        Self { features, samples, product, ops: Vec::new(), copies: Vec::new() }
    }
}

impl Work for Rows {
    fn recognize(lowering: &mut Lowering<'_>, n: NodeId, node: &GraphNode) -> Option<()> {
        RowProduct::recognize(lowering, node).or_else(|| RowOp::recognize(lowering, n, node))
    }

    fn describe(&self) -> String {
        let product = self.product.map_or(String::new(), |p| format!(" product over {}", p.inner));
        let ops: Vec<&str> = self.ops.iter().map(RowOp::name).collect();
        format!("rows ({}, {}){product} {}", self.features, self.samples, ops.join(" + "))
    }

    fn touches(&self, t: &mut Touches) {
        if let Some(product) = &self.product {
            product.touches(t);
        }
        for op in &self.ops {
            op.touches(t);
        }
        // Copied rows were made by the product or an op.
        t.write(self.copies.iter().map(|c| c.1));
    }

    fn run<T: Float>(&self, at: &At<'_>) -> Result<()> {
        let (memory, share) = (at.memory, share_of_rows(at.team, self.features));
        let mut finish = |rows: Range<usize>| {
            let block = Block { memory, rows, samples: self.samples, features: self.features, replay: at.step.replay };
            for op in &self.ops {
                // SAFETY: rows are one member's share; the buffers were lowered for these sizes.
                unsafe { op.run::<T>(&block) };
            }
        };
        match &self.product {
            Some(product) => {
                let product = product.of::<T>(self, memory);
                // SAFETY: operands have the sizes they were lowered for; members write disjoint rows.
                unsafe { matmul::block(&product, share.clone(), 0..self.samples, &mut finish) };
            }
            None => {
                for start in share.clone().step_by(ROW_GRANULE) {
                    finish(start..(start + ROW_GRANULE).min(share.end));
                }
            }
        }
        for (from, to) in &self.copies {
            // SAFETY: shares of features are disjoint columns of `to`.
            unsafe {
                let x = memory.ptr::<T>(from.buffer).add(share.start * from.ld);
                let y = memory.ptr_mut::<T>(*to).add(share.start);
                turn(x, from.ld, share.len(), self.samples, y, self.features);
            }
        }
        Ok(())
    }
}

/// Some rows of a stage, on which its ops run one after the other.
#[derive(Debug)]
pub struct Block<'a> {
    /// The plan's memory.
    pub memory: &'a Memory<'a>,
    /// The rows.
    pub rows: Range<usize>,
    /// Elements of each.
    pub samples: usize,
    /// Number of all rows of the stage.
    pub features: usize,
    /// Added to the call number of every draw.
    pub replay: u64,
}

impl<'a> Block<'a> {
    /// One feature's samples.
    ///
    /// # Safety
    /// As [`Memory::slice`].
    #[inline]
    #[must_use]
    pub unsafe fn row<T: Float>(&self, x: Features, f: usize) -> &'a [T] {
        // SAFETY: by this function's contract.
        unsafe { self.memory.row(x, f, self.samples) }
    }

    /// One feature's samples, to be written.
    ///
    /// # Safety
    /// As [`Memory::slice_mut`].
    #[inline]
    #[must_use]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn row_mut<T: Float>(&self, x: Features, f: usize) -> &'a mut [T] {
        // SAFETY: by this function's contract.
        unsafe { self.memory.row_mut(x, f, self.samples) }
    }

    /// One number for each of the rows.
    ///
    /// # Safety
    /// As [`Memory::slice`].
    #[inline]
    #[must_use]
    pub unsafe fn numbers<T: Float>(&self, buffer: BufferId) -> &'a [T] {
        // SAFETY: by this function's contract.
        unsafe { self.memory.slice(buffer, self.rows.start, self.rows.len()) }
    }

    /// One number for each of the rows, to be written.
    ///
    /// # Safety
    /// As [`Memory::slice_mut`].
    #[inline]
    #[must_use]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn numbers_mut<T: Float>(&self, buffer: BufferId) -> &'a mut [T] {
        // SAFETY: by this function's contract.
        unsafe { self.memory.slice_mut(buffer, self.rows.start, self.rows.len()) }
    }
}

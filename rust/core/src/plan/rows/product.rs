//! A product that makes rows: that of a linear layer, or of the gradient of its input.

use super::super::fuse::{Lowering, Made, downcast};
use super::super::graph::{GraphNode, ValueId};
use super::super::memory::Memory;
use super::super::program::{BufferId, Features, Touches};
use super::{Bias, Rows};
use crate::element::Float;
use crate::kernels::matmul::{MatRef, Product};
use crate::ops::linear::{Linear, LinearGradInput};

/// A product that makes the rows of a stage: rows of C = A · B with B feature-major.
#[derive(Clone, Copy, Debug)]
pub struct RowProduct {
    /// The weight (out × in), row-major.
    pub weight: BufferId,
    /// Its first element.
    pub weight_offset: usize,
    /// Elements between rows and between columns of A: (in, 1) forward, (1, in) for the gradient of the input.
    pub strides: (usize, usize),
    /// The inner dimension.
    pub inner: usize,
    /// The features multiplied.
    pub x: Features,
    /// The features made.
    pub y: Features,
}

impl RowProduct {
    /// Push the rows of a linear layer, or of the gradient of its input.
    pub fn recognize(lowering: &mut Lowering<'_>, node: &GraphNode) -> Option<()> {
        let forward = downcast::<Linear>(node).is_some();
        if !forward && downcast::<LinearGradInput>(node).is_none() {
            return None;
        }
        let (x, weight, y) = (node.inputs[0], node.inputs[1], node.outputs[0]);
        if !(lowering.is_matrix(x) && lowering.is_matrix(y)) {
            return None;
        }
        let [out, width] = *lowering.shape(weight) else { return None };
        let bias = match node.inputs.get(2) {
            Some(&b) => Some(lowering.vector(b)?),
            None => None,
        };
        let (strides, inner) = if forward { ((width, 1), width) } else { ((1, width), out) };
        let product = Self::new(lowering, weight, (strides, inner), x, y)?;
        let [samples, features] = *lowering.shape(y) else { return None };
        lowering.program.work += samples * features * inner / 30;
        let stage = lowering.push(Rows::new(features, samples, Some(product)));
        lowering.features_of[y] = Some(Made { features: product.y, stage });
        if let Some(bias) = bias {
            lowering.add_row_op(stage, Bias { y: product.y, bias }, None);
        }
        Some(())
    }

    fn new(
        lowering: &mut Lowering<'_>,
        weight: ValueId,
        (strides, inner): ((usize, usize), usize),
        x: ValueId,
        y: ValueId,
    ) -> Option<Self> {
        let (buffer, weight_offset) = lowering.plain(weight)?;
        let x = lowering.features(x);
        let [samples, features] = *lowering.shape(y) else { return None };
        let y = lowering.new_features(samples, features, lowering.graph.values[y].meta.dtype);
        Some(Self { weight: buffer, weight_offset, strides, inner, x, y })
    }

    /// Note the buffers that it reads and writes.
    pub fn touches(&self, t: &mut Touches) {
        t.read([self.weight, self.x.buffer]);
        t.write([self.y.buffer]);
    }

    /// The product in memory.
    pub fn of<T: Float>(&self, stage: &Rows, memory: &Memory<'_>) -> Product<T> {
        Product {
            m: stage.features,
            n: stage.samples,
            k: self.inner,
            a: MatRef {
                // SAFETY: the weight begins inside its buffer.
                ptr: unsafe { memory.ptr::<T>(self.weight).add(self.weight_offset) },
                row_stride: self.strides.0 as isize,
                col_stride: self.strides.1 as isize,
            },
            b: MatRef { ptr: memory.ptr::<T>(self.x.buffer), row_stride: self.x.ld as isize, col_stride: 1 },
            c: memory.ptr_mut::<T>(self.y.buffer),
            ldc: self.y.ld,
            accumulate: false,
            one_block: false,
        }
    }
}

//! Batch norm while training, and its gradients.

use super::super::fuse::{Lowering, downcast};
use super::super::graph::{GraphNode, NodeId};
use super::super::program::{BufferId, Features, Touches};
use super::{Block, RowWork};
use crate::element::Float;
use crate::kernels::norm;
use crate::ops::batch_norm::{BatchNorm, BatchNormGrad};

/// Batch norm while training.
#[derive(Clone, Debug)]
pub struct Norm {
    eps: f64,
    momentum: f64,
    /// Weight and bias.
    affine: Option<(BufferId, BufferId)>,
    /// Running mean and variance.
    running: Option<(BufferId, BufferId)>,
    x: Features,
    y: Features,
    mean: BufferId,
    inv_std: BufferId,
}

/// The gradients of batch norm while training.
#[derive(Clone, Debug)]
pub struct NormGrad {
    weight: Option<BufferId>,
    g: Features,
    x: Features,
    mean: BufferId,
    inv_std: BufferId,
    out: Features,
    grad_weight: BufferId,
    grad_bias: BufferId,
}

impl RowWork for Norm {
    fn recognize(lowering: &mut Lowering<'_>, n: NodeId, node: &GraphNode) -> Option<()> {
        let op = downcast::<BatchNorm>(node).filter(|b| b.training)?;
        let (input, out) = (node.inputs[0], node.outputs[0]);
        let x = lowering.held(input)?;
        let affine = match node.inputs[1..] {
            [w, b] => Some((lowering.vector(w)?, lowering.vector(b)?)),
            _ => None,
        };
        let running = op.running.as_ref().map(|(m, v)| (lowering.outside(m), lowering.outside(v)));
        let stage = lowering.row_stage_with(&[input], &node.inputs[1..]);
        let y = lowering.in_place_or_new(input, n, out);
        let (mean, inv_std) = (lowering.new_vector(node.outputs[1]), lowering.new_vector(node.outputs[2]));
        let norm = Self { eps: op.eps, momentum: op.momentum, affine, running, x, y, mean, inv_std };
        lowering.add_row_op(stage, norm, Some((out, y)));
        Some(())
    }

    fn name(&self) -> &'static str {
        "batch norm"
    }

    fn touches(&self, t: &mut Touches) {
        t.read([self.x.buffer]);
        t.read(self.affine.iter().flat_map(|&(w, b)| [w, b]));
        t.write([self.y.buffer, self.mean, self.inv_std]);
        t.write(self.running.iter().flat_map(|&(m, v)| [m, v]));
    }

    unsafe fn run<T: Float>(&self, at: &Block<'_>) {
        let (x, y, memory) = (self.x, self.y, at.memory);
        // SAFETY: rows are this member's, and so are the numbers for each; the same row is not taken twice.
        unsafe {
            let means = at.numbers_mut::<T>(self.mean);
            let inv_stds = at.numbers_mut::<T>(self.inv_std);
            for (i, f) in at.rows.clone().enumerate() {
                let (weight, bias) = match self.affine {
                    Some((w, b)) => (memory.slice::<T>(w, f, 1)[0], memory.slice::<T>(b, f, 1)[0]),
                    None => (T::ONE, T::ZERO),
                };
                let eps = T::from_f64(self.eps);
                let moments = if x == y {
                    norm::forward_feature_in_place(at.row_mut(x, f), weight, bias, eps)
                } else {
                    norm::forward_feature(at.row(x, f), weight, bias, eps, at.row_mut(y, f))
                };
                (means[i], inv_stds[i]) = (moments.mean, moments.inv_std);
                if let Some((running_mean, running_var)) = self.running {
                    let momentum = T::from_f64(self.momentum);
                    let running_mean = &mut memory.slice_mut::<T>(running_mean, f, 1)[0];
                    *running_mean = norm::moving_average(*running_mean, moments.mean, momentum);
                    let running_var = &mut memory.slice_mut::<T>(running_var, f, 1)[0];
                    *running_var = norm::moving_average(*running_var, moments.var_unbiased, momentum);
                }
            }
        }
    }
}

impl RowWork for NormGrad {
    fn recognize(lowering: &mut Lowering<'_>, n: NodeId, node: &GraphNode) -> Option<()> {
        downcast::<BatchNormGrad>(node).filter(|b| b.training)?;
        let [gradient, input, mean, inv_std] = node.inputs[..4] else { return None };
        let g = lowering.held(gradient)?;
        let x = lowering.resident(input)?.features;
        let (mean, inv_std) = (lowering.vector(mean)?, lowering.vector(inv_std)?);
        let weight = match node.inputs.get(4) {
            Some(&w) => Some(lowering.vector(w)?),
            None => None,
        };
        let vectors = node.inputs.get(4..).unwrap_or_default();
        let stage = lowering.row_stage_with(&[gradient, input], vectors);
        let out = lowering.in_place_or_new(gradient, n, node.outputs[0]);
        let (grad_weight, grad_bias) = (lowering.new_vector(node.outputs[1]), lowering.new_vector(node.outputs[2]));
        let op = Self { weight, g, x, mean, inv_std, out, grad_weight, grad_bias };
        lowering.add_row_op(stage, op, Some((node.outputs[0], out)));
        Some(())
    }

    fn name(&self) -> &'static str {
        "batch norm gradient"
    }

    fn touches(&self, t: &mut Touches) {
        t.read([self.g.buffer, self.x.buffer, self.mean, self.inv_std]);
        t.read(self.weight);
        t.write([self.out.buffer, self.grad_weight, self.grad_bias]);
    }

    unsafe fn run<T: Float>(&self, at: &Block<'_>) {
        let (g, out, memory) = (self.g, self.out, at.memory);
        // SAFETY: rows are this member's, and so are the numbers for each; the same row is not taken twice.
        unsafe {
            for f in at.rows.clone() {
                let number = |buffer: BufferId| memory.slice::<T>(buffer, f, 1)[0];
                let (mean, inv_std) = (number(self.mean), number(self.inv_std));
                let (x, weight) = (at.row(self.x, f), self.weight.map_or(T::ONE, number));
                let (grad_weight, grad_bias) = if g == out {
                    norm::backward_feature_in_place(at.row_mut(g, f), x, mean, inv_std, weight)
                } else {
                    norm::backward_feature(at.row(g, f), x, mean, inv_std, weight, at.row_mut(out, f))
                };
                memory.slice_mut::<T>(self.grad_weight, f, 1)[0] = grad_weight;
                memory.slice_mut::<T>(self.grad_bias, f, 1)[0] = grad_bias;
            }
        }
    }
}

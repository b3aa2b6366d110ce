//! Rewrites of the graph before it is lowered: fewer numbers drawn, fewer values kept.

mod norms;

use std::any::Any;
use std::sync::Arc;

use smallvec::smallvec;

use super::graph::{Graph, GraphNode, NodeId, Source, ValueId};
use crate::element::Float;
use crate::error::Result;
use crate::kernels::activation::Activation;
use crate::ops::activation::{Activate, ActivateGrad};
use crate::ops::dropout::Dropout;
use crate::ops::{Op, Outputs, Run};
use crate::tensor::{Meta, View};
use crate::{simd, with_float};

pub use norms::{merge_norm_and_relu, merge_relu_and_norm_gradients};

/// The gradient of dropout after `ReLU`: `y > 0` is both masks at once, so backward draws nothing.
///
/// ```text
/// out = y > 0 ? g · scale : 0,    y = dropout(relu(x))
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MaskGrad {
    /// 1 / (1 − p)
    pub scale: f64,
}

impl Op for MaskGrad {
    fn name(&self) -> &'static str {
        "mask_grad"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![inputs[0].clone()])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_float!(inputs[0].dtype(), T => {
            let share = run.team.share(outputs[0].numel());
            let (g, y) = (&inputs[0].slice::<T>()[share.clone()], &inputs[1].slice::<T>()[share.clone()]);
            // SAFETY: shares are disjoint.
            let out = unsafe { outputs[0].part::<T>(share) };
            mask_grad(self.scale as T, g, y, out);
        });
    }
}

simd! {
    /// out = y > 0 ? g · scale : 0
    pub fn mask_grad<T: Float>(scale: T, g: &[T], y: &[T], out: &mut [T]) {
        for ((out, &g), &y) in out.iter_mut().zip(g).zip(y) {
            *out = if y > T::ZERO { g * scale } else { T::ZERO };
        }
    }

    /// g ← y > 0 ? g · scale : 0
    pub fn mask_grad_in_place<T: Float>(scale: T, g: &mut [T], y: &[T]) {
        for (g, &y) in g.iter_mut().zip(y) {
            *g = if y > T::ZERO { *g * scale } else { T::ZERO };
        }
    }
}

fn downcast<T: 'static>(node: &GraphNode) -> Option<&T> {
    (&*node.op as &dyn Any).downcast_ref()
}

fn maker(graph: &Graph, v: ValueId) -> Option<NodeId> {
    match graph.values[v].source {
        Source::Made(n) => Some(n),
        _ => None,
    }
}

/// `ActivateGrad(ReLU)(dropout(g), relu)` becomes `MaskGrad(g, dropout(relu))`.
pub fn merge_relu_and_dropout_gradients(graph: &mut Graph) {
    for n in 0..graph.nodes.len() {
        if let Some((g, kept, scale)) = relu_behind_dropout(graph, n) {
            let node = &mut graph.nodes[n];
            node.op = Arc::new(MaskGrad { scale });
            node.inputs = vec![g, kept];
        }
    }
}

/// The gradient that reached the dropout, the dropout's output, and its scale, if node `n` is the gradient of the `ReLU`
/// before it.
fn relu_behind_dropout(graph: &Graph, n: NodeId) -> Option<(ValueId, ValueId, f64)> {
    let relu_grad = &graph.nodes[n];
    downcast::<ActivateGrad>(relu_grad).filter(|a| a.0 == Activation::Relu)?;
    let [dropped_grad, relu] = relu_grad.inputs[..] else { return None };
    downcast::<Activate>(&graph.nodes[maker(graph, relu)?]).filter(|a| a.0 == Activation::Relu)?;
    let backward = &graph.nodes[maker(graph, dropped_grad)?];
    let drawn = downcast::<Dropout>(backward)?;
    let forward = graph.nodes.iter().find(|f| {
        f.inputs == [relu]
            && downcast::<Dropout>(f).is_some_and(|d| d.draw == drawn.draw && d.threshold == drawn.threshold)
    })?;
    // With p = 1 the scale is 0 and the output says nothing about the mask, but then every gradient is 0 anyway.
    Some((backward.inputs[0], forward.outputs[0], drawn.scale))
}

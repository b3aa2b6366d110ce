//! Batch norm of images joins the rectifier behind it, and an addition in between: one pass over memory instead of three.
//! Matrices are left to the rows of features, where the rectifier finds its input in cache anyway.

use std::sync::Arc;

use super::super::graph::{Graph, GraphNode, NodeId, Source, ValueId};
use super::{downcast, maker};
use crate::kernels::activation::Activation;
use crate::ops::activation::{Activate, ActivateGrad};
use crate::ops::batch_norm::{BatchNorm, BatchNormGrad, BatchNormRelu, BatchNormReluGrad, Mask};
use crate::ops::{Arithmetic, Binary, Op};

/// True if batch norm of this shape goes over planes.
fn is_image(shape: &[usize]) -> bool {
    shape.len() > 2 && shape[2..].iter().product::<usize>() > 1
}

/// True if `node` alone reads this value.
fn read_only_by(graph: &Graph, v: ValueId, node: NodeId, wanted: &[ValueId]) -> bool {
    !graph.is_among(v, wanted) && graph.readers(v) == [node]
}

/// Let `node` be this op, and `idle` one whose output nobody reads.
fn replace(
    graph: &mut Graph,
    (node, idle): (NodeId, NodeId),
    op: Arc<dyn Op>,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
) {
    let old = std::mem::replace(&mut graph.nodes[node].op, op);
    for &v in &outputs {
        graph.values[v].source = Source::Made(node);
    }
    (graph.nodes[node].inputs, graph.nodes[node].outputs) = (inputs, outputs);
    graph.nodes[idle].op = old;
    (graph.nodes[idle].inputs, graph.nodes[idle].outputs) = (Vec::new(), Vec::new());
}

/// `relu(batch_norm(x))` and `relu(batch_norm(x) + added)` become one op each, where the rectifier was.
pub fn merge_norm_and_relu(graph: &mut Graph, wanted: &[ValueId]) {
    for relu in 0..graph.nodes.len() {
        let Some((norm, added)) = norm_behind(graph, relu, wanted) else { continue };
        let Some(op) = downcast::<BatchNorm>(&graph.nodes[norm]).cloned() else { continue };
        let mut inputs = graph.nodes[norm].inputs.clone();
        inputs.extend(added);
        let mut outputs = graph.nodes[norm].outputs.clone();
        outputs[0] = graph.nodes[relu].outputs[0];
        let op = Arc::new(BatchNormRelu { norm: op, added: added.is_some() });
        replace(graph, (relu, norm), op, inputs, outputs);
    }
}

/// The batch norm whose output, maybe with something added, `relu` alone rectifies; and what is added.
fn norm_behind(graph: &Graph, relu: NodeId, wanted: &[ValueId]) -> Option<(NodeId, Option<ValueId>)> {
    let node = &graph.nodes[relu];
    downcast::<Activate>(node).filter(|a| a.0 == Activation::Relu)?;
    // One that was replaced has no input.
    let [input] = node.inputs[..] else { return None };
    let before = maker(graph, input)?;
    if !read_only_by(graph, input, relu, wanted) {
        return None;
    }
    let fits = |v: ValueId, reader: NodeId| {
        let norm = maker(graph, v).filter(|&n| downcast::<BatchNorm>(&graph.nodes[n]).is_some())?;
        let whole = graph.nodes[norm].outputs[0] == v && is_image(&graph.values[v].meta.shape);
        (whole && read_only_by(graph, v, reader, wanted) && may_move(graph, norm, relu)).then_some(norm)
    };
    if let Some(norm) = fits(input, relu) {
        return Some((norm, None));
    }
    downcast::<Binary>(&graph.nodes[before]).filter(|b| matches!(b.0, Arithmetic::Add))?;
    let [a, b] = graph.nodes[before].inputs[..] else { return None };
    let (left, right) = (&graph.values[a], &graph.values[b]);
    let alike = left.meta.shape == right.meta.shape && left.meta.dtype == right.meta.dtype;
    if a == b || !alike || !left.layout.is_contiguous() || !right.layout.is_contiguous() {
        return None;
    }
    // The sum has the same bits either way round. Of two norms the later one joins: its input is still in cache.
    let found = [(b, a), (a, b)].into_iter().filter_map(|(normed, added)| Some((fits(normed, before)?, added)));
    found.max_by_key(|&(norm, _)| norm).map(|(norm, added)| (norm, Some(added)))
}

/// The memory of a value from outside.
fn outside(graph: &Graph, v: ValueId) -> Option<*mut u8> {
    match &graph.values[graph.root(v)].source {
        Source::Outside(tensor) => Some(tensor.storage().ptr()),
        _ => None,
    }
}

/// True if this op changes some of this memory from outside.
fn changes(graph: &Graph, node: &GraphNode, memory: &[*mut u8]) -> bool {
    let target = node.inputs.first().filter(|_| node.op.in_place()).and_then(|&v| outside(graph, v));
    let mut changed = node.op.changed_outside().into_iter().map(|t| t.storage().ptr()).chain(target);
    changed.any(|ptr| memory.contains(&ptr))
}

/// True if a norm may run as late as `until`: nothing in between reads what it makes, or changes what it reads or changes.
fn may_move(graph: &Graph, norm: NodeId, until: NodeId) -> bool {
    let node = &graph.nodes[norm];
    let Some(BatchNorm { running, .. }) = downcast::<BatchNorm>(node) else { return false };
    let running = running.iter().flat_map(|(mean, var)| [mean.storage().ptr(), var.storage().ptr()]);
    let mine: Vec<_> = running.chain(node.inputs.iter().filter_map(|&v| outside(graph, v))).collect();
    graph.nodes[norm + 1..until].iter().all(|other| {
        let reads = other.inputs.iter().any(|v| node.outputs[1..].contains(v));
        !reads && !changes(graph, other, &mine)
    })
}

/// The gradients of the rectifier and of the batch norm before it become one op. It also makes the gradient between them
/// where another op wants it: what was added has it as its own.
pub fn merge_relu_and_norm_gradients(graph: &mut Graph, wanted: &[ValueId]) {
    for relu in 0..graph.nodes.len() {
        let Some(norm) = norm_gradient_after(graph, relu) else { continue };
        let Some(op) = downcast::<BatchNormGrad>(&graph.nodes[norm]).copied() else { continue };
        let [grad, y] = graph.nodes[relu].inputs[..] else { continue };
        let between = graph.nodes[relu].outputs[0];
        let added = !read_only_by(graph, between, norm, wanted);
        let mut inputs = graph.nodes[norm].inputs.clone();
        inputs[0] = grad;
        let mask = if let Some(bias) = bias_behind(graph, norm, y) {
            inputs.extend(bias);
            Mask::Bias
        } else {
            inputs.push(y);
            Mask::Output
        };
        let mut outputs = graph.nodes[norm].outputs.clone();
        outputs.extend(added.then_some(between));
        replace(graph, (relu, norm), Arc::new(BatchNormReluGrad { norm: op, mask, added }), inputs, outputs);
    }
}

/// The bias, if there is one, of the norm with which y was made from nothing else, if the gradient `norm` could make y again.
fn bias_behind(graph: &Graph, norm: NodeId, y: ValueId) -> Option<Vec<ValueId>> {
    let (made, gradient) = (maker(graph, y)?, &graph.nodes[norm]);
    let forward = &graph.nodes[made];
    downcast::<BatchNormRelu>(forward).filter(|op| !op.added)?;
    let [_, x, mean, inv_std, weight @ ..] = &gradient.inputs[..] else { return None };
    let same = forward.inputs[0] == *x && forward.outputs[1..3] == [*mean, *inv_std];
    if !same || forward.inputs.get(1) != weight.first() {
        return None;
    }
    let bias = forward.inputs.iter().skip(2).copied().collect();
    let memory: Vec<_> = forward.inputs.iter().filter_map(|&v| outside(graph, v)).collect();
    graph.nodes[made + 1..norm].iter().all(|other| !changes(graph, other, &memory)).then_some(bias)
}

/// The gradient of a batch norm of images that `relu` hands its gradient to, if it may run as early as that.
fn norm_gradient_after(graph: &Graph, relu: NodeId) -> Option<NodeId> {
    let node = &graph.nodes[relu];
    downcast::<ActivateGrad>(node).filter(|a| a.0 == Activation::Relu)?;
    let [between] = node.outputs[..] else { return None };
    if !is_image(&graph.values[between].meta.shape)
        || !node.inputs.iter().all(|&v| graph.values[v].layout.is_contiguous())
    {
        return None;
    }
    graph.readers(between).into_iter().find(|&n| {
        let taker = &graph.nodes[n];
        let early = taker.inputs[1..].iter().all(|&v| maker(graph, graph.root(v)).is_none_or(|made| made < relu));
        downcast::<BatchNormGrad>(taker).is_some() && taker.inputs[0] == between && early
    })
}

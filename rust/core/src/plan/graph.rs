//! A trace as a graph: values instead of tensors, and only the ops whose results somebody needs.

use std::collections::HashMap;
use std::sync::Arc;

use super::repeat::Renewed;
use crate::error::{Error, Result};
use crate::ops::Op;
use crate::tensor::trace::Trace;
use crate::tensor::{Layout, Meta, Tensor};

/// Index of a value in [`Graph::values`].
pub type ValueId = usize;
/// Index of an op in [`Graph::nodes`].
pub type NodeId = usize;

/// Source of a value.
#[derive(Clone, Debug)]
pub enum Source {
    /// The caller hands it over at every step: tensor number so-and-so of the batch.
    Batch(usize),
    /// It lives outside the plan: a parameter, a running statistic, a constant.
    Outside(Tensor),
    /// An op makes it.
    Made(NodeId),
    /// It looks at another value's memory in another layout.
    Alias(ValueId),
}

/// A tensor of the step.
#[derive(Clone, Debug)]
pub struct Value {
    /// Shape and element type.
    pub meta: Meta,
    /// The layout within the memory of the value it comes from, first element of that memory at offset 0.
    pub layout: Layout,
    /// Source of the value.
    pub source: Source,
}

/// An op of the step.
#[derive(Clone, Debug)]
pub struct GraphNode {
    /// The op that runs.
    pub op: Arc<dyn Op>,
    /// On what.
    pub inputs: Vec<ValueId>,
    /// Its outputs.
    pub outputs: Vec<ValueId>,
}

/// A step as values and ops.
#[derive(Debug, Default)]
pub struct Graph {
    /// All tensors.
    pub values: Vec<Value>,
    /// All ops that are needed, in the order in which they ran.
    pub nodes: Vec<GraphNode>,
}

impl Graph {
    /// Build it from a trace, keeping only what the `wanted` tensors and in-place changes need. Returns the values of
    /// the wanted tensors with it.
    pub fn new(trace: &Trace, batch: &[Tensor], wanted: &[Tensor]) -> Result<(Self, Vec<ValueId>)> {
        let mut builder = Builder { trace, graph: Self::default(), ids: HashMap::new(), renewed: Renewed::default() };
        for (i, tensor) in batch.iter().enumerate() {
            let id = builder.push(tensor, Layout::contiguous(tensor.shape()), Source::Batch(i));
            builder.ids.insert(tensor.id(), id);
        }
        for step in &trace.steps {
            builder.step(step)?;
        }
        let wanted: Vec<ValueId> = wanted.iter().map(|t| builder.value(t)).collect();
        let mut graph = builder.graph;
        super::rewrite::merge_relu_and_dropout_gradients(&mut graph);
        graph.drop_unneeded(&wanted);
        // Readers of values matter here, so unneeded ops must be gone before; afterwards there are new ones.
        super::rewrite::merge_norm_and_relu(&mut graph, &wanted);
        super::rewrite::merge_relu_and_norm_gradients(&mut graph, &wanted);
        graph.drop_unneeded(&wanted);
        Ok((graph, wanted))
    }

    /// The value whose memory `id` looks at: itself, unless it is an alias.
    #[must_use]
    pub fn root(&self, mut id: ValueId) -> ValueId {
        while let Source::Alias(base) = self.values[id].source {
            id = base;
        }
        id
    }

    /// Forget ops whose outputs nobody reads, last first.
    fn drop_unneeded(&mut self, wanted: &[ValueId]) {
        let mut needed = vec![false; self.values.len()];
        for &id in wanted {
            needed[id] = true;
            needed[self.root(id)] = true;
        }
        let mut keep = vec![false; self.nodes.len()];
        for (n, node) in self.nodes.iter().enumerate().rev() {
            if node.op.changes_outside() || node.outputs.iter().any(|&v| needed[v]) {
                keep[n] = true;
                for &v in &node.inputs {
                    needed[v] = true;
                    needed[self.root(v)] = true;
                }
            }
        }
        // Sources name ops by number, and the numbers change.
        let mut renamed = vec![usize::MAX; self.nodes.len()];
        let mut kept = Vec::new();
        for (n, node) in std::mem::take(&mut self.nodes).into_iter().enumerate() {
            if keep[n] {
                renamed[n] = kept.len();
                kept.push(node);
            }
        }
        self.nodes = kept;
        for value in &mut self.values {
            if let Source::Made(n) = &mut value.source {
                // One whose op has gone before has no number.
                *n = renamed.get(*n).copied().unwrap_or(usize::MAX);
            }
        }
    }

    /// True if a value, or an alias of it, is one of these.
    #[must_use]
    pub fn is_among(&self, id: ValueId, values: &[ValueId]) -> bool {
        values.iter().any(|&v| v == id || self.root(v) == id)
    }

    /// The ops that read a value, or an alias of it.
    #[must_use]
    pub fn readers(&self, id: ValueId) -> Vec<NodeId> {
        (0..self.nodes.len()).filter(|&n| self.nodes[n].inputs.iter().any(|&v| v == id || self.root(v) == id)).collect()
    }
}

struct Builder<'a> {
    trace: &'a Trace,
    graph: Graph,
    /// Tensor id → value.
    ids: HashMap<u64, ValueId>,
    renewed: Renewed,
}

impl Builder<'_> {
    fn push(&mut self, tensor: &Tensor, layout: Layout, source: Source) -> ValueId {
        self.graph.values.push(Value { meta: tensor.meta(), layout, source });
        self.graph.values.len() - 1
    }

    /// The value of a tensor; one seen for the first time lives outside.
    fn value(&mut self, tensor: &Tensor) -> ValueId {
        let original = self.trace.original(tensor.id());
        if let Some(&id) = self.ids.get(&original) {
            return id;
        }
        let id = self.push(tensor, tensor.layout().clone(), Source::Outside(tensor.clone()));
        self.ids.insert(original, id);
        id
    }

    fn step(&mut self, step: &crate::tensor::trace::Step) -> Result<()> {
        let inputs: Vec<ValueId> = step.inputs.iter().map(|t| self.value(t)).collect();
        let values = &self.graph.values;
        let is_outside = |i: usize| matches!(values[inputs[i]].source, Source::Outside(_));
        self.renewed.check(self.trace, step, is_outside)?;
        // An op that draws a tensor of random numbers has no inputs.
        if let ([output], [from, ..]) = (step.outputs.as_slice(), step.inputs.as_slice())
            && step.op.view(from.layout()).is_some()
        {
            let base = self.graph.root(inputs[0]);
            // Offsets count from the storage's start; the base of a batch tensor begins at its first element.
            let mut layout = output.layout().clone();
            let base_offset = self.graph.values[inputs[0]].layout.offset;
            let moved = layout.offset as isize - from.layout().offset as isize + base_offset as isize;
            layout.offset = usize::try_from(moved).expect("a view stays inside its base");
            if from.layout().strides != self.graph.values[inputs[0]].layout.strides {
                // The batch may come with other strides than the traced one; plans take it contiguous.
                layout = step.op.view(&self.graph.values[inputs[0]].layout).ok_or_else(|| {
                    Error::state(format!("{}: a view of the batch that needs its strides", step.op.name()))
                })?;
            }
            let source = match &self.graph.values[base].source {
                Source::Outside(_) => Source::Outside(output.clone()),
                _ => Source::Alias(base),
            };
            if matches!(source, Source::Outside(_)) {
                layout = output.layout().clone();
            }
            let id = self.push(output, layout, source);
            self.ids.insert(output.id(), id);
            return Ok(());
        }
        let node = self.graph.nodes.len();
        if step.op.in_place() && !matches!(self.graph.values[inputs[0]].source, Source::Outside(_)) {
            return Err(Error::state(format!("{}: a value of the step is changed in place", step.op.name())));
        }
        let outputs = step
            .outputs
            .iter()
            .map(|t| {
                let id = self.push(t, Layout::contiguous(t.shape()), Source::Made(node));
                self.ids.insert(t.id(), id);
                id
            })
            .collect();
        self.graph.nodes.push(GraphNode { op: Arc::clone(&step.op), inputs, outputs });
        Ok(())
    }
}

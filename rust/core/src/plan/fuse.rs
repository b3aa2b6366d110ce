//! From a graph to stages: dense layers become products with everything about a feature done to its hot row; a weight's
//! update joins the product that makes its gradient; whatever is not recognized runs as it is, on row-major memory.
//!
//! Here stands what the recognizers share, which are those of the [stages](super::stages) and of the [row ops](super::rows).

mod penalties;

use std::any::Any;
use std::collections::HashMap;

use super::graph::{Graph, GraphNode, NodeId, Source, ValueId};
use super::program::{Buffer, BufferId, Features, Home, Operand, Program};
use super::rows::{RowOp, Rows};
use super::stages::{Stage, ToFeatures, ToRows, Update, Updates, Weight};
use crate::element::DType;
use crate::kernels::penalty::Penalty;
use crate::ops::linear::Linear;
use crate::tensor::Tensor;

/// A parameter that the step updates.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The parameter.
    pub value: Tensor,
    /// The optimizer's state for it.
    pub state: Vec<Tensor>,
    /// The value of its gradient.
    pub grad: ValueId,
    /// The place of its first element among those of all parameters.
    pub position: usize,
    /// The greatest norm of a row.
    pub max_norm: Option<f64>,
    /// Its average.
    pub average: Option<Tensor>,
}

/// Lower a graph whose loss is `loss`, updating `trained`; with `norms`, after all gradients' norms are known.
#[must_use]
pub fn lower(graph: &Graph, loss: ValueId, trained: &[Trained], norms: bool) -> Program {
    let mut lowering = Lowering {
        graph,
        trained,
        program: Program::new(feature_dtype(graph)),
        rows_of: vec![None; graph.values.len()],
        features_of: vec![None; graph.values.len()],
        outside: HashMap::new(),
        done: vec![false; graph.nodes.len()],
        updates: Vec::new(),
        norms: norms.then(|| vec![None; trained.len()]),
        penalized: HashMap::new(),
        wanted: trained.iter().map(|t| t.grad).chain([loss]).collect(),
    };
    for n in 0..graph.nodes.len() {
        if !lowering.done[n] {
            lowering.node(n);
        }
    }
    lowering.finish(loss)
}

/// The dtype of the first dense layer: its features are what is kept feature-major.
fn feature_dtype(graph: &Graph) -> Option<DType> {
    graph.nodes.iter().find(|n| downcast::<Linear>(n).is_some()).map(|n| graph.values[n.inputs[0]].meta.dtype)
}

/// The node's op, if it is of this type.
pub fn downcast<T: 'static>(node: &GraphNode) -> Option<&T> {
    (&*node.op as &dyn Any).downcast_ref()
}

/// A feature-major value, and the stage that made it.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// Its memory.
    pub features: Features,
    /// Number of the stage.
    pub stage: usize,
}

/// A program in the making.
#[derive(Debug)]
pub struct Lowering<'a> {
    /// The step.
    pub graph: &'a Graph,
    /// The parameters that it updates.
    pub trained: &'a [Trained],
    /// The program so far.
    pub program: Program,
    /// The row-major memory of each value, where it has one.
    pub rows_of: Vec<Option<BufferId>>,
    /// The feature-major memory of each value, where it has one.
    pub features_of: Vec<Option<Made>>,
    /// Storage address → buffer, for tensors outside.
    outside: HashMap<usize, BufferId>,
    /// Nodes that are lowered.
    pub done: Vec<bool>,
    /// Updates that no product does: the parameter, and its gradient's buffer.
    pub updates: Vec<(Update, BufferId)>,
    /// Buffers of the squared norms of each parameter's gradient, if they are wanted and a stage makes them.
    pub norms: Option<Vec<Option<BufferId>>>,
    /// Gradients that are to be completed by a penalty's: the parameter and the penalty.
    pub penalized: HashMap<ValueId, (usize, Penalty)>,
    /// Values read after the last op.
    pub wanted: Vec<ValueId>,
}

impl Lowering<'_> {
    fn buffer(&mut self, bytes: usize, home: Home) -> BufferId {
        self.program.buffers.push(Buffer { bytes, home });
        self.program.buffers.len() - 1
    }

    /// A buffer of the plan's own.
    pub fn arena(&mut self, elements: usize, dtype: DType) -> BufferId {
        self.buffer(elements * dtype.size(), Home::Arena(0))
    }

    /// The buffer of a tensor's storage.
    pub fn outside(&mut self, tensor: &Tensor) -> BufferId {
        let key = tensor.storage().ptr() as usize;
        if let Some(&id) = self.outside.get(&key) {
            return id;
        }
        let id = self.buffer(tensor.storage().bytes(), Home::Outside(tensor.clone()));
        self.outside.insert(key, id);
        id
    }

    /// Append a stage; returns its number.
    pub fn push(&mut self, stage: impl Into<Stage>) -> usize {
        self.program.stages.push((false, stage.into()));
        self.program.stages.len() - 1
    }

    /// Sizes of the dimensions of a value.
    pub fn shape(&self, v: ValueId) -> &[usize] {
        &self.graph.values[v].meta.shape
    }

    /// True if a value can be held feature-major.
    pub fn is_matrix(&self, v: ValueId) -> bool {
        let meta = &self.graph.values[v].meta;
        meta.shape.len() == 2 && Some(meta.dtype) == self.program.dtype && meta.shape.iter().all(|&n| n > 0)
    }

    /// The stage that made a value feature-major, if it is held so.
    pub fn resident(&self, v: ValueId) -> Option<Made> {
        self.features_of[v]
    }

    /// The features of a matrix that is held feature-major.
    #[must_use]
    pub fn held(&self, v: ValueId) -> Option<Features> {
        self.resident(v).filter(|_| self.is_matrix(v)).map(|made| made.features)
    }

    /// True if `node` alone reads the value, so that its memory may be written over.
    pub fn sole_reader(&self, v: ValueId, node: NodeId) -> bool {
        !self.graph.is_among(v, &self.wanted) && self.graph.readers(v) == [node]
    }

    /// The row-major operand of a value.
    pub fn operand(&mut self, v: ValueId) -> Operand {
        let value = &self.graph.values[v];
        let (layout, dtype) = (value.layout.clone(), value.meta.dtype);
        let root = self.graph.root(v);
        let buffer = match (&self.graph.values[root].source, self.rows_of[root]) {
            (_, Some(buffer)) => buffer,
            (Source::Outside(tensor), None) => {
                let tensor = tensor.clone();
                self.outside(&tensor)
            }
            (Source::Batch(i), None) => {
                let (i, bytes) = (*i, self.graph.values[root].meta.numel() * dtype.size());
                self.buffer(bytes, Home::Batch(i))
            }
            (_, None) => self.copy_to_rows(root),
        };
        self.rows_of[root] = Some(buffer);
        Operand { buffer, layout, dtype }
    }

    /// Make the row-major copy of a feature-major value: in the stage that makes it, if its rows are made there.
    fn copy_to_rows(&mut self, v: ValueId) -> BufferId {
        let made = self.features_of[v].expect("a value is somewhere before it is read");
        let [samples, features] = *self.shape(v) else { unreachable!("feature-major values are matrices") };
        let to = self.arena(samples * features, self.graph.values[v].meta.dtype);
        if let Stage::Rows(rows) = &mut self.program.stages[made.stage].1 {
            rows.copies.push((made.features, to));
        } else {
            self.push(ToRows { from: made.features, to, samples, features });
        }
        to
    }

    /// The feature-major form of a matrix, made from its rows if need be.
    pub fn features(&mut self, v: ValueId) -> Features {
        if let Some(made) = self.features_of[v] {
            return made.features;
        }
        let root = self.graph.root(v);
        if root != v
            && let Some(made) = self.features_of[root]
            && self.graph.values[v].layout == self.graph.values[root].layout
        {
            return made.features;
        }
        let [samples, features] = *self.shape(v) else { unreachable!("feature-major values are matrices") };
        let from = self.operand(v);
        let to = self.new_features(samples, features, from.dtype);
        let stage = self.push(ToFeatures { from, to, samples, features });
        self.features_of[v] = Some(Made { features: to, stage });
        to
    }

    /// Memory for features.
    pub fn new_features(&mut self, samples: usize, features: usize, dtype: DType) -> Features {
        let ld = leading_dimension(samples);
        Features { buffer: self.arena(ld * features, dtype), ld }
    }

    /// A contiguous parameter-like vector or matrix: its buffer, if it begins at an offset that stages can use.
    pub fn plain(&mut self, v: ValueId) -> Option<(BufferId, usize)> {
        let value = &self.graph.values[v];
        if !value.layout.is_contiguous() {
            return None;
        }
        let operand = self.operand(v);
        Some((operand.buffer, operand.layout.offset))
    }

    /// As [`plain`](Self::plain), beginning at the buffer's start.
    pub fn vector(&mut self, v: ValueId) -> Option<BufferId> {
        self.plain(v).and_then(|(buffer, offset)| (offset == 0).then_some(buffer))
    }

    /// The stage of rows to which an op over these values can be added: the one that made the last of them, or a new one.
    pub fn row_stage(&mut self, inputs: &[ValueId]) -> usize {
        let [samples, features] = *self.shape(inputs[0]) else { unreachable!("rows come from matrices") };
        let last = inputs.iter().filter_map(|&v| self.resident(v)).map(|m| m.stage).max();
        if let Some(stage) = last
            && let Stage::Rows(rows) = &self.program.stages[stage].1
            && rows.features == features
        {
            return stage;
        }
        self.push(Rows::new(features, samples, None))
    }

    /// As [`row_stage`](Self::row_stage), but a new one if one of these vectors is made in the step: maybe after that.
    pub fn row_stage_with(&mut self, inputs: &[ValueId], vectors: &[ValueId]) -> usize {
        if vectors.iter().all(|&v| matches!(self.graph.values[self.graph.root(v)].source, Source::Outside(_))) {
            return self.row_stage(inputs);
        }
        let [samples, features] = *self.shape(inputs[0]) else { unreachable!("rows come from matrices") };
        self.push(Rows::new(features, samples, None))
    }

    /// Let an op join a stage of rows. If it makes a value, that is held in these features.
    pub fn add_row_op(&mut self, stage: usize, op: impl Into<RowOp>, made: Option<(ValueId, Features)>) {
        let Stage::Rows(rows) = &mut self.program.stages[stage].1 else { unreachable!("row ops join stages of rows") };
        rows.ops.push(op.into());
        if let Some((v, features)) = made {
            self.features_of[v] = Some(Made { features, stage });
        }
    }

    /// Output of an elementwise op: its input if nothing else reads that, else new memory.
    pub fn in_place_or_new(&mut self, input: ValueId, node: NodeId, output: ValueId) -> Features {
        let features = self.features(input);
        // A row-major copy is taken at the end of the stage, when the row has changed.
        if self.sole_reader(input, node) && self.rows_of[input].is_none() {
            return features;
        }
        self.features_like(output)
    }

    /// New memory for a matrix that is made feature-major.
    pub fn features_like(&mut self, v: ValueId) -> Features {
        let [samples, features] = *self.shape(v) else { unreachable!("rows make matrices") };
        self.new_features(samples, features, self.graph.values[v].meta.dtype)
    }

    fn node(&mut self, n: NodeId) {
        let graph = self.graph;
        let node = &graph.nodes[n];
        self.done[n] = true;
        // An op that draws has no inputs, and one that changes a tensor in place no outputs: nothing to be fused.
        let plain = node.inputs.is_empty() || node.outputs.is_empty();
        if plain || Stage::recognize(self, n, node).is_none() {
            self.any_op(n, node);
        }
    }

    /// New row-major memory for a value.
    pub fn new_vector(&mut self, v: ValueId) -> BufferId {
        let meta = &self.graph.values[v].meta;
        let (len, dtype) = (meta.numel(), meta.dtype);
        let buffer = self.arena(len, dtype);
        self.rows_of[v] = Some(buffer);
        buffer
    }

    /// True if a value is the constant 1 with which backward begins.
    pub fn is_one(&self, v: ValueId) -> bool {
        match &self.graph.values[v].source {
            Source::Outside(t) => t.numel() == 1 && !t.is_view() && t.to_vec_f64() == [1.0],
            _ => false,
        }
    }

    /// Updates that no product did, the loss, and the order of stages.
    fn finish(mut self, loss: ValueId) -> Program {
        let fused: Vec<usize> = self.program.stages.iter().filter_map(|(_, s)| fused_param(s)).collect();
        for param in 0..self.trained.len() {
            if !fused.contains(&param) {
                let grad = self.row_major(self.trained[param].grad);
                let update = self.update_of(param);
                self.updates.push((update, grad));
            }
        }
        let norms = self.finish_norms();
        let loss = self.operand(loss);
        self.program.loss = (loss.buffer, loss.layout.offset, loss.dtype);
        let items = std::mem::take(&mut self.updates);
        self.program.work += self.trained.iter().map(|t| t.value.numel()).sum::<usize>() / 2;
        let late = self.late_penalties();
        let mut stages = order(std::mem::take(&mut self.program.stages));
        if !items.is_empty() {
            stages.push((false, Updates { items, norms }.into()));
        }
        stages.extend(late.into_iter().map(|penalties| (false, penalties.into())));
        self.program.stages = stages;
        self.program
    }
}

fn fused_param(stage: &Stage) -> Option<usize> {
    match stage {
        Stage::Weight(Weight { update: Some(update), .. }) => Some(update.param),
        _ => None,
    }
}

/// Put the stages that update weights last: whatever reads a weight has then run, and they need no barrier among them.
fn order(stages: Vec<(bool, Stage)>) -> Vec<(bool, Stage)> {
    let (last, mut ordered): (Vec<_>, Vec<_>) = stages.into_iter().partition(|(_, stage)| fused_param(stage).is_some());
    ordered.extend(last);
    ordered
}

/// Elements between the features of a batch: whole cache lines, and never a power of two that fills few cache sets.
fn leading_dimension(samples: usize) -> usize {
    let lines = samples.div_ceil(16);
    (if lines >= 16 && lines.is_multiple_of(16) { lines + 1 } else { lines }) * 16
}

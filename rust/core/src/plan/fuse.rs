//! From a graph to stages: dense layers become products with everything about a feature done to its hot row; a weight's
//! update joins the product that makes its gradient; whatever is not recognised runs as it is, on row-major memory.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use super::graph::{Graph, GraphNode, NodeId, Source, ValueId};
use super::program::{
    Buffer, BufferId, CrossEntropyStage, Features, Home, Operand, Program, RowOp, RowProduct, Rows, Stage, Update,
    Weight,
};
use super::rewrite::MaskGrad;
use crate::element::DType;
use crate::ops::activation::{Activate, ActivateGrad};
use crate::ops::batch_norm::{BatchNorm, BatchNormGrad};
use crate::ops::cross_entropy::{CrossEntropy, CrossEntropyGrad, Reduction};
use crate::ops::dropout::Dropout;
use crate::ops::linear::{Linear, LinearGradInput, LinearGradWeight, SumRows};
use crate::ops::{Arithmetic, Binary, Copy};
use crate::tensor::{Layout, Tensor};

/// A parameter that the step updates.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The parameter.
    pub value: Tensor,
    /// The optimizer's state for it.
    pub state: Vec<Tensor>,
    /// The value of its gradient.
    pub grad: ValueId,
}

/// Lower a graph whose loss is `loss`, updating `trained`.
#[must_use]
pub fn lower(graph: &Graph, loss: ValueId, trained: &[Trained]) -> Program {
    let mut lowering = Lowering {
        graph,
        trained,
        program: Program::new(feature_dtype(graph)),
        rows_of: vec![None; graph.values.len()],
        features_of: vec![None; graph.values.len()],
        outside: HashMap::new(),
        done: vec![false; graph.nodes.len()],
        updates: Vec::new(),
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

fn downcast<T: 'static>(node: &GraphNode) -> Option<&T> {
    (&*node.op as &dyn Any).downcast_ref()
}

/// A feature-major value, and the stage that made it.
#[derive(Clone, Copy)]
struct Made {
    features: Features,
    stage: usize,
}

struct Lowering<'a> {
    graph: &'a Graph,
    trained: &'a [Trained],
    program: Program,
    /// The row-major memory of each value, where it has one.
    rows_of: Vec<Option<BufferId>>,
    /// The feature-major memory of each value, where it has one.
    features_of: Vec<Option<Made>>,
    /// Storage address → buffer, for tensors outside.
    outside: HashMap<usize, BufferId>,
    done: Vec<bool>,
    /// Updates that no product does: the parameter, and its gradient's buffer.
    updates: Vec<(Update, BufferId)>,
    /// Values read after the last op.
    wanted: Vec<ValueId>,
}

impl Lowering<'_> {
    fn buffer(&mut self, bytes: usize, home: Home) -> BufferId {
        self.program.buffers.push(Buffer { bytes, home });
        self.program.buffers.len() - 1
    }

    fn arena(&mut self, elements: usize, dtype: DType) -> BufferId {
        self.buffer(elements * dtype.size(), Home::Arena(0))
    }

    /// The buffer of a tensor's storage.
    fn outside(&mut self, tensor: &Tensor) -> BufferId {
        let key = tensor.storage().ptr() as usize;
        if let Some(&id) = self.outside.get(&key) {
            return id;
        }
        let id = self.buffer(tensor.storage().bytes(), Home::Outside(tensor.clone()));
        self.outside.insert(key, id);
        id
    }

    fn push(&mut self, stage: Stage) -> usize {
        self.program.stages.push((false, stage));
        self.program.stages.len() - 1
    }

    fn shape(&self, v: ValueId) -> &[usize] {
        &self.graph.values[v].meta.shape
    }

    fn is_matrix(&self, v: ValueId) -> bool {
        let meta = &self.graph.values[v].meta;
        meta.shape.len() == 2 && Some(meta.dtype) == self.program.dtype && meta.shape.iter().all(|&n| n > 0)
    }

    /// The stage that made a value feature-major, if it is held so.
    fn resident(&self, v: ValueId) -> Option<Made> {
        self.features_of[v]
    }

    /// Whether `node` alone reads the value, so that its memory may be written over.
    fn sole_reader(&self, v: ValueId, node: NodeId) -> bool {
        !self.wanted.contains(&v) && self.graph.readers(v) == [node]
    }

    /// The row-major operand of a value.
    fn operand(&mut self, v: ValueId) -> Operand {
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
            self.push(Stage::ToRows { from: made.features, to, samples, features });
        }
        to
    }

    /// The feature-major form of a matrix, made from its rows if need be.
    fn features(&mut self, v: ValueId) -> Features {
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
        let stage = self.push(Stage::ToFeatures { from, to, samples, features });
        self.features_of[v] = Some(Made { features: to, stage });
        to
    }

    fn new_features(&mut self, samples: usize, features: usize, dtype: DType) -> Features {
        let ld = leading_dimension(samples);
        Features { buffer: self.arena(ld * features, dtype), ld }
    }

    /// A contiguous parameter-like vector or matrix: its buffer, if it begins at an offset that stages can use.
    fn plain(&mut self, v: ValueId) -> Option<(BufferId, usize)> {
        let value = &self.graph.values[v];
        if !value.layout.is_contiguous() {
            return None;
        }
        let operand = self.operand(v);
        Some((operand.buffer, operand.layout.offset))
    }

    /// As [`plain`](Self::plain), beginning at the buffer's start.
    fn vector(&mut self, v: ValueId) -> Option<BufferId> {
        self.plain(v).and_then(|(buffer, offset)| (offset == 0).then_some(buffer))
    }

    /// The stage of rows to which an op over these values can be added: the one that made the last of them, or a new one.
    fn row_stage(&mut self, inputs: &[ValueId]) -> usize {
        let [samples, features] = *self.shape(inputs[0]) else { unreachable!("rows come from matrices") };
        let last = inputs.iter().filter_map(|&v| self.resident(v)).map(|m| m.stage).max();
        if let Some(stage) = last
            && let Stage::Rows(rows) = &self.program.stages[stage].1
            && rows.features == features
        {
            return stage;
        }
        self.push(Stage::Rows(Rows { features, samples, product: None, ops: Vec::new(), copies: Vec::new() }))
    }

    /// As [`row_stage`](Self::row_stage), but a new one if one of these vectors is made in the step: maybe after that.
    fn row_stage_with(&mut self, inputs: &[ValueId], vectors: &[ValueId]) -> usize {
        if vectors.iter().all(|&v| matches!(self.graph.values[self.graph.root(v)].source, Source::Outside(_))) {
            return self.row_stage(inputs);
        }
        let [samples, features] = *self.shape(inputs[0]) else { unreachable!("rows come from matrices") };
        self.push(Stage::Rows(Rows { features, samples, product: None, ops: Vec::new(), copies: Vec::new() }))
    }

    fn add_row_op(&mut self, stage: usize, op: RowOp, made: &[(ValueId, Features)]) {
        let Stage::Rows(rows) = &mut self.program.stages[stage].1 else { unreachable!("row ops join stages of rows") };
        rows.ops.push(op);
        for &(v, features) in made {
            self.features_of[v] = Some(Made { features, stage });
        }
    }

    /// Where an elementwise op writes: over its input if nobody else reads that, else new memory.
    fn in_place_or_new(&mut self, input: ValueId, node: NodeId, output: ValueId) -> Features {
        let features = self.features(input);
        // A row-major copy is taken at the end of the stage, when the row has changed.
        if self.sole_reader(input, node) && self.rows_of[input].is_none() {
            return features;
        }
        let [samples, width] = *self.shape(output) else { unreachable!("rows make matrices") };
        self.new_features(samples, width, self.graph.values[output].meta.dtype)
    }

    fn node(&mut self, n: NodeId) {
        let graph = self.graph;
        let node = &graph.nodes[n];
        self.done[n] = true;
        let fused = self.dense(n, node).or_else(|| self.elementwise(n, node)).or_else(|| self.norm(n, node));
        if fused.or_else(|| self.cross_entropy(n, node)).is_none() {
            self.any_op(node);
        }
    }

    /// Linear layers and their gradients.
    fn dense(&mut self, n: NodeId, node: &GraphNode) -> Option<()> {
        let _ = n;
        let matrix = self.is_matrix(node.inputs[0]) && self.is_matrix(node.outputs[0]);
        if downcast::<Linear>(node).is_some() && matrix {
            let [x, weight] = node.inputs[..2] else { return None };
            let inner = self.shape(weight)[1];
            let bias = match node.inputs.get(2) {
                Some(&b) => Some(self.vector(b)?),
                None => None,
            };
            let (product, y) = self.product(weight, (inner, 1), inner, x, node.outputs[0])?;
            let ops = bias.map(|bias| RowOp::Bias { y, bias }).into_iter().collect();
            self.push_rows(node.outputs[0], product, ops);
            return Some(());
        }
        if downcast::<LinearGradInput>(node).is_some() && matrix {
            let [g, weight] = node.inputs[..] else { return None };
            let [inner, width] = *self.shape(weight) else { return None };
            let (product, _) = self.product(weight, (1, width), inner, g, node.outputs[0])?;
            self.push_rows(node.outputs[0], product, Vec::new());
            return Some(());
        }
        if downcast::<LinearGradWeight>(node).is_some()
            && self.is_matrix(node.inputs[0])
            && self.is_matrix(node.inputs[1])
        {
            return self.weight(node);
        }
        if downcast::<SumRows>(node).is_some() && self.is_matrix(node.inputs[0]) {
            let g = node.inputs[0];
            self.resident(g)?;
            let (features, stage) = (self.features(g), self.row_stage(&[g]));
            let sums = self.new_vector(node.outputs[0]);
            self.add_row_op(stage, RowOp::Sum { g: features, sums }, &[]);
            return Some(());
        }
        None
    }

    fn new_vector(&mut self, v: ValueId) -> BufferId {
        let meta = &self.graph.values[v].meta;
        let (len, dtype) = (meta.numel(), meta.dtype);
        let buffer = self.arena(len, dtype);
        self.rows_of[v] = Some(buffer);
        buffer
    }

    fn product(
        &mut self,
        weight: ValueId,
        strides: (usize, usize),
        inner: usize,
        x: ValueId,
        y: ValueId,
    ) -> Option<(RowProduct, Features)> {
        let (buffer, weight_offset) = self.plain(weight)?;
        let x = self.features(x);
        let [samples, features] = *self.shape(y) else { return None };
        let y = self.new_features(samples, features, self.graph.values[y].meta.dtype);
        Some((RowProduct { weight: buffer, weight_offset, strides, inner, x, y }, y))
    }

    fn push_rows(&mut self, v: ValueId, product: RowProduct, ops: Vec<RowOp>) {
        let [samples, features] = *self.shape(v) else { unreachable!("rows make matrices") };
        self.program.work += samples * features * product.inner / 30;
        let stage = self.push(Stage::Rows(Rows { features, samples, product: Some(product), ops, copies: Vec::new() }));
        self.features_of[v] = Some(Made { features: product.y, stage });
    }

    /// A weight's gradient; its update joins if nobody else reads the gradient, and nobody the weight afterwards.
    fn weight(&mut self, node: &GraphNode) -> Option<()> {
        let ([g, x], out) = ([node.inputs[0], node.inputs[1]], node.outputs[0]);
        let (g_features, x_rows) = (self.features(g), self.operand(x));
        if !x_rows.layout.is_contiguous() {
            return None;
        }
        let ([rows, cols], samples) = ([self.shape(out)[0], self.shape(out)[1]], self.shape(g)[0]);
        self.program.work += samples * rows * cols / 30;
        let grad = self.new_vector(out);
        let alone = self.graph.readers(out).is_empty();
        let mut of_this = self.trained.iter().enumerate().filter(|(_, t)| t.grad == out);
        let update = match (of_this.next(), of_this.next()) {
            (Some((param, _)), None) if alone => Some(self.update_of(param)),
            _ => None,
        };
        self.push(Stage::Weight(Weight { rows, cols, samples, g: g_features, x: x_rows, grad, update }));
        Some(())
    }

    fn update_of(&mut self, param: usize) -> Update {
        let trained = &self.trained[param];
        let value = self.outside(&trained.value);
        let state = trained.state.iter().map(|s| self.outside(s)).collect();
        Update { param, value, state, len: trained.value.numel(), dtype: trained.value.dtype() }
    }

    /// Activations, dropout and sums of features that are feature-major already.
    fn elementwise(&mut self, n: NodeId, node: &GraphNode) -> Option<()> {
        let first = node.inputs[0];
        if !self.is_matrix(first) || self.resident(first).is_none() {
            return None;
        }
        let out = node.outputs[0];
        if let Some(Activate(act)) = downcast::<Activate>(node) {
            let (x, stage) = (self.features(first), self.row_stage(&[first]));
            let y = self.in_place_or_new(first, n, out);
            self.add_row_op(stage, RowOp::Activate { act: *act, x, y }, &[(out, y)]);
        } else if let Some(ActivateGrad(act)) = downcast::<ActivateGrad>(node) {
            if node.inputs.iter().any(|&v| self.resident(v).is_none()) {
                return None;
            }
            let stage = self.row_stage(&node.inputs);
            let g = self.features(first);
            let mut saved = node.inputs[1..].iter().map(|&v| self.resident(v).map(|m| m.features));
            let x = if act.needs_input() { saved.next()? } else { None };
            let y = if act.needs_output() { saved.next()? } else { None };
            let result = self.in_place_or_new(first, n, out);
            self.add_row_op(stage, RowOp::ActivateGrad { act: *act, g, x, y, out: result }, &[(out, result)]);
        } else if let Some(&Dropout { draw, threshold, scale }) = downcast::<Dropout>(node) {
            let (x, stage) = (self.features(first), self.row_stage(&[first]));
            let y = self.in_place_or_new(first, n, out);
            self.add_row_op(stage, RowOp::Dropout { draw, threshold, scale, x, y }, &[(out, y)]);
        } else if let Some(&MaskGrad { scale }) = downcast::<MaskGrad>(node) {
            let kept = self.resident(node.inputs[1])?.features;
            let (g, stage) = (self.features(first), self.row_stage(&node.inputs));
            let result = self.in_place_or_new(first, n, out);
            self.add_row_op(stage, RowOp::MaskGrad { scale, g, y: kept, out: result }, &[(out, result)]);
        } else if let Some(Binary(Arithmetic::Add)) = downcast::<Binary>(node) {
            let second = node.inputs[1];
            if self.resident(second).is_none() || self.shape(first) != self.shape(second) {
                return None;
            }
            let (a, b, stage) = (self.features(first), self.features(second), self.row_stage(&node.inputs));
            let [samples, width] = *self.shape(out) else { return None };
            let y = self.new_features(samples, width, self.graph.values[out].meta.dtype);
            self.add_row_op(stage, RowOp::Add { a, b, y }, &[(out, y)]);
        } else {
            return None;
        }
        Some(())
    }

    /// Batch norm while training, and its gradients.
    fn norm(&mut self, n: NodeId, node: &GraphNode) -> Option<()> {
        let first = node.inputs[0];
        if !self.is_matrix(first) || self.resident(first).is_none() {
            return None;
        }
        if let Some(norm) = downcast::<BatchNorm>(node).filter(|b| b.training) {
            let affine = match node.inputs[1..] {
                [w, b] => Some((self.vector(w)?, self.vector(b)?)),
                _ => None,
            };
            let running = norm.running.as_ref().map(|(m, v)| (self.outside(m), self.outside(v)));
            let (x, stage) = (self.features(first), self.row_stage_with(&[first], &node.inputs[1..]));
            let y = self.in_place_or_new(first, n, node.outputs[0]);
            let (mean, inv_std) = (self.new_vector(node.outputs[1]), self.new_vector(node.outputs[2]));
            let (eps, momentum) = (norm.eps, norm.momentum);
            let op = RowOp::Norm { eps, momentum, affine, running, x, y, mean, inv_std };
            self.add_row_op(stage, op, &[(node.outputs[0], y)]);
            return Some(());
        }
        if downcast::<BatchNormGrad>(node).is_some_and(|b| b.training) {
            let [_, x, mean, inv_std] = node.inputs[..4] else { return None };
            let x_features = self.resident(x)?.features;
            let (mean, inv_std) = (self.vector(mean)?, self.vector(inv_std)?);
            let weight = match node.inputs.get(4) {
                Some(&w) => Some(self.vector(w)?),
                None => None,
            };
            let vectors = node.inputs.get(4..).unwrap_or_default();
            let (g, stage) = (self.features(first), self.row_stage_with(&[first, x], vectors));
            let out = self.in_place_or_new(first, n, node.outputs[0]);
            let (grad_weight, grad_bias) = (self.new_vector(node.outputs[1]), self.new_vector(node.outputs[2]));
            let op = RowOp::NormGrad { weight, g, x: x_features, mean, inv_std, out, grad_weight, grad_bias };
            self.add_row_op(stage, op, &[(node.outputs[0], out)]);
            return Some(());
        }
        None
    }

    /// Cross entropy with class labels together with its gradient, where the gradient of the loss itself is 1.
    fn cross_entropy(&mut self, n: NodeId, node: &GraphNode) -> Option<()> {
        let _ = n;
        let op = downcast::<CrossEntropy>(node)?;
        let logits = node.inputs[0];
        if !self.is_matrix(logits) || self.resident(logits).is_none() || op.reduction == Reduction::None {
            return None;
        }
        let [samples, classes] = *self.shape(logits) else { return None };
        let weight = match node.inputs.get(2) {
            Some(&w) => Some(self.vector(w)?),
            None => None,
        };
        let labels = self.operand(node.inputs[1]);
        if !labels.layout.is_contiguous() {
            return None;
        }
        let dtype = self.graph.values[logits].meta.dtype;
        let features = self.features(logits);
        let backward = self.graph.nodes.iter().position(|m| {
            downcast::<CrossEntropyGrad>(m).is_some() && m.inputs[1..] == node.inputs[..] && self.is_one(m.inputs[0])
        });
        let grad = backward.map(|_| self.new_features(samples, classes, dtype));
        let stage = CrossEntropyStage {
            classes,
            samples,
            logits: features,
            labels_checked: self.is_whole_batch_of(node.inputs[1], samples),
            labels,
            weight,
            ignore_index: op.ignore_index,
            label_smoothing: op.label_smoothing,
            mean: op.reduction == Reduction::Mean,
            losses: self.arena(samples, dtype),
            max: self.arena(samples, dtype),
            sum: self.arena(samples, dtype),
            scale: self.arena(samples, dtype),
            grad,
            loss: self.new_vector(node.outputs[0]),
        };
        let made = self.push(Stage::CrossEntropy(stage.clone()));
        if let (Some(m), Some(features)) = (backward, grad) {
            self.done[m] = true;
            self.features_of[self.graph.nodes[m].outputs[0]] = Some(Made { features, stage: made });
        }
        self.push(Stage::Loss(stage));
        Some(())
    }

    /// Whether a value is a tensor of the batch as it comes, one element a sample.
    fn is_whole_batch_of(&self, v: ValueId, samples: usize) -> bool {
        let root = &self.graph.values[self.graph.root(v)];
        matches!(root.source, Source::Batch(_))
            && root.meta.shape.first() == Some(&samples)
            && root.meta.numel() == samples
            && self.graph.values[v].layout.offset == 0
    }

    /// Whether a value is the constant 1 with which backward begins.
    fn is_one(&self, v: ValueId) -> bool {
        match &self.graph.values[v].source {
            Source::Outside(t) => t.numel() == 1 && !t.is_view() && t.to_vec_f64() == [1.0],
            _ => false,
        }
    }

    /// An op as it is, on row-major operands.
    fn any_op(&mut self, node: &GraphNode) {
        let inputs: Vec<Operand> = node.inputs.iter().map(|&v| self.operand(v)).collect();
        let outputs: Vec<Operand> = node
            .outputs
            .iter()
            .map(|&v| {
                let buffer = self.new_vector(v);
                let meta = &self.graph.values[v].meta;
                Operand { buffer, layout: Layout::contiguous(&meta.shape), dtype: meta.dtype }
            })
            .collect();
        let metas = |ids: &[ValueId]| ids.iter().map(|&v| self.graph.values[v].meta.clone()).collect::<Vec<_>>();
        self.program.work += node.op.work(&metas(&node.inputs), &metas(&node.outputs));
        self.push(Stage::Op { op: Arc::clone(&node.op), inputs, outputs });
    }

    /// A value's elements in a row from the start of a buffer: a copy, if it is a view such as a transpose or a stretched sum.
    fn row_major(&mut self, v: ValueId) -> BufferId {
        let operand = self.operand(v);
        if operand.layout.is_contiguous() && operand.layout.offset == 0 {
            return operand.buffer;
        }
        let meta = self.graph.values[v].meta.clone();
        let (buffer, layout) = (self.arena(meta.numel(), meta.dtype), Layout::contiguous(&meta.shape));
        let output = Operand { buffer, layout, dtype: meta.dtype };
        self.push(Stage::Op { op: Arc::new(Copy { dtype: meta.dtype }), inputs: vec![operand], outputs: vec![output] });
        buffer
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
        let loss = self.operand(loss);
        self.program.loss = (loss.buffer, loss.layout.offset, loss.dtype);
        let updates = std::mem::take(&mut self.updates);
        self.program.work += self.trained.iter().map(|t| t.value.numel()).sum::<usize>() / 2;
        let mut stages = order(std::mem::take(&mut self.program.stages));
        if !updates.is_empty() {
            stages.push((false, Stage::Update(updates)));
        }
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

//! Patterns that are fused: dense layers and their gradients, ops on features, batch norm, cross entropy.

use super::super::graph::{GraphNode, NodeId, Source, ValueId};
use super::super::program::{CrossEntropyStage, Features, RowOp, RowProduct, Rows, Stage, Weight, WeightPenalty};
use super::super::rewrite::MaskGrad;
use super::{Lowering, Made, downcast};
use crate::element::DType;
use crate::ops::activation::{Activate, ActivateGrad};
use crate::ops::batch_norm::{BatchNorm, BatchNormGrad};
use crate::ops::cross_entropy::{CrossEntropy, CrossEntropyGrad, Reduction};
use crate::ops::dropout::Dropout;
use crate::ops::linear::{Linear, LinearGradInput, LinearGradWeight, SumRows};
use crate::ops::{Arithmetic, Binary};

impl Lowering<'_> {
    /// Linear layers and their gradients.
    pub(super) fn dense(&mut self, n: NodeId, node: &GraphNode) -> Option<()> {
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
        // With a penalty, the product and the penalty's gradient make the parameter's together.
        let (whole, penalty) = match self.penalized.get(&out).cloned() {
            Some((param, penalty)) => (self.trained[param].grad, Some((param, penalty))),
            None => (out, None),
        };
        let alone = self.graph.readers(whole).is_empty();
        let mut of_this = self.trained.iter().enumerate().filter(|(_, t)| t.grad == whole);
        let param = match (of_this.next(), of_this.next()) {
            (Some((param, _)), None) if alone => Some(param),
            _ => None,
        };
        let penalty = penalty.map(|(param, penalty)| {
            self.rows_of[whole] = Some(grad);
            WeightPenalty { penalty, weight: self.outside(&self.trained[param].value), sums: None }
        });
        let (mut update, mut norms) = (None, None);
        if self.norms.is_none() {
            update = param.map(|param| self.update_of(param));
        } else if let Some(param) = param {
            norms = Some(self.arena(rows, DType::F64));
            self.norms.as_mut().expect("just found")[param] = norms;
        }
        self.push(Stage::Weight(Weight {
            rows,
            cols,
            samples,
            g: g_features,
            x: x_rows,
            grad,
            penalty,
            norms,
            update,
        }));
        Some(())
    }

    /// Activations, dropout and sums of features that are feature-major already.
    pub(super) fn elementwise(&mut self, n: NodeId, node: &GraphNode) -> Option<()> {
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
    pub(super) fn norm(&mut self, n: NodeId, node: &GraphNode) -> Option<()> {
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
    pub(super) fn cross_entropy(&mut self, n: NodeId, node: &GraphNode) -> Option<()> {
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

    /// True if a value is a tensor of the batch as it comes, one element a sample.
    fn is_whole_batch_of(&self, v: ValueId, samples: usize) -> bool {
        let root = &self.graph.values[self.graph.root(v)];
        matches!(root.source, Source::Batch(_))
            && root.meta.shape.first() == Some(&samples)
            && root.meta.numel() == samples
            && self.graph.values[v].layout.offset == 0
    }

    /// True if a value is the constant 1 with which backward begins.
    pub(super) fn is_one(&self, v: ValueId) -> bool {
        match &self.graph.values[v].source {
            Source::Outside(t) => t.numel() == 1 && !t.is_view() && t.to_vec_f64() == [1.0],
            _ => false,
        }
    }
}

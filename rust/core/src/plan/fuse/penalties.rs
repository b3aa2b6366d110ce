//! Penalties on weights: their value is summed up row by row where a product has just read the row, their gradient joins
//! the product that makes the weight's gradient.

use super::super::graph::{GraphNode, Source, ValueId};
use super::super::program::{BufferId, RowOp, Stage};
use super::{Lowering, downcast};
use crate::ops::linear::LinearGradWeight;
use crate::ops::penalty::{Penalties, PenaltyGrad};
use crate::ops::{Arithmetic, Binary};

impl Lowering<'_> {
    /// The penalties, if each is of the weight of a layer.
    pub(super) fn penalty(&mut self, node: &GraphNode) -> Option<()> {
        let Penalties(penalties) = downcast::<Penalties>(node)?;
        let stages: Vec<(usize, BufferId)> = node.inputs.iter().map(|&w| self.product_of(w)).collect::<Option<_>>()?;
        let dtype = self.graph.values[node.outputs[0]].meta.dtype;
        let mut sums = Vec::new();
        for ((&penalty, (stage, weight)), (&w, &out)) in
            penalties.iter().zip(stages).zip(node.inputs.iter().zip(&node.outputs[1..]))
        {
            let [rows, cols] = *self.shape(w) else { unreachable!("weights of products are matrices") };
            let to = self.new_vector(out);
            self.add_row_op(stage, RowOp::Penalty { penalty, weight, cols, sums: to }, &[]);
            self.program.work += rows * cols * penalty.work() / 16;
            sums.push((to, rows));
        }
        let to = self.new_vector(node.outputs[0]);
        self.push(Stage::Penalty { rows: sums, to, dtype });
        Some(())
    }

    /// The stage whose product reads the rows of this weight as its own, if the weight does not change in the step.
    fn product_of(&mut self, w: ValueId) -> Option<(usize, BufferId)> {
        let Source::Outside(tensor) = &self.graph.values[w].source else { return None };
        let address = tensor.storage().ptr();
        let here =
            |v: ValueId| matches!(&self.graph.values[v].source, Source::Outside(t) if t.storage().ptr() == address);
        if self.graph.nodes.iter().any(|n| n.op.changes_outside() && n.inputs.iter().any(|&v| here(v))) {
            return None;
        }
        let (matrix, buffer) = (self.is_matrix(w), self.vector(w)?);
        let reads = |stage: &Stage| match stage {
            Stage::Rows(rows) => rows.product.is_some_and(|p| {
                (p.weight, p.weight_offset, p.strides.1) == (buffer, 0, 1) && [rows.features, p.inner] == self.shape(w)
            }),
            _ => false,
        };
        let stage = self.program.stages.iter().position(|(_, stage)| reads(stage)).filter(|_| matrix)?;
        Some((stage, buffer))
    }

    /// The gradient of a penalty on a weight, if all it meets is the gradient that a product makes: nothing is left to
    /// do but to tell the product.
    pub(super) fn penalty_gradient(&mut self, node: &GraphNode) -> Option<()> {
        let &PenaltyGrad(penalty) = downcast::<PenaltyGrad>(node)?;
        let ([scale, w], out) = ([node.inputs[0], node.inputs[1]], node.outputs[0]);
        let [sum] = self.graph.readers(out)[..] else { return None };
        let add = &self.graph.nodes[sum];
        let Some(Binary(Arithmetic::Add)) = downcast::<Binary>(add) else { return None };
        let product = *add.inputs.iter().find(|&&v| v != out)?;
        let Source::Made(maker) = self.graph.values[product].source else { return None };
        let maker_node = &self.graph.nodes[maker];
        let [g, x] = *downcast::<LinearGradWeight>(maker_node).map(|_| &maker_node.inputs[..])? else { return None };
        let plain = self.is_matrix(g) && self.is_matrix(x) && self.graph.values[x].layout.is_contiguous();
        let param = self.trained.iter().position(|t| t.grad == add.outputs[0])?;
        let Source::Outside(weight) = &self.graph.values[w].source else { return None };
        let same = weight.storage().ptr() == self.trained[param].value.storage().ptr();
        let alone = self.sole_reader(product, sum) && !self.wanted.contains(&out);
        let fits = self.shape(product) == self.shape(w) && self.shape(add.outputs[0]) == self.shape(w);
        if !(plain && same && alone && fits && self.is_one(scale) && self.vector(w).is_some()) || self.done[maker] {
            return None;
        }
        self.penalised.insert(product, (param, penalty));
        self.done[sum] = true;
        Some(())
    }
}

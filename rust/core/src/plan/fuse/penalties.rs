//! Penalties on weights: their gradient joins the product that makes the weight's gradient, and so does their value where it
//! can; else it is summed up row by row where a product has just read the row.

use std::any::Any;

use super::super::graph::{GraphNode, Source, ValueId};
use super::super::program::{BufferId, Operand};
use super::super::rows::{self, RowOp};
use super::super::stages::{self, AnyOp, Stage, Weight};
use super::{Lowering, downcast};
use crate::ops::linear::LinearGradWeight;
use crate::ops::penalty::{Penalties, PenaltyGrad};
use crate::ops::{Arithmetic, Binary};

impl Lowering<'_> {
    /// The penalties, if each is of the weight of a layer.
    pub fn penalty(&mut self, node: &GraphNode) -> Option<()> {
        let Penalties(penalties) = downcast::<Penalties>(node)?;
        let stages: Vec<(usize, BufferId)> = node.inputs.iter().map(|&w| self.product_of(w)).collect::<Option<_>>()?;
        let dtype = self.graph.values[node.outputs[0]].meta.dtype;
        let mut sums = Vec::new();
        for ((penalty, (stage, weight)), (&w, &out)) in
            penalties.iter().zip(stages).zip(node.inputs.iter().zip(&node.outputs[1..]))
        {
            let [rows, cols] = *self.shape(w) else { unreachable!("weights of products are matrices") };
            let to = self.new_vector(out);
            let op = rows::Penalty { kind: penalty.clone(), weight, cols, sums: to, late: false };
            self.add_row_op(stage, op, None);
            self.program.work += rows * cols * penalty.work() / 16;
            sums.push((to, rows));
        }
        let to = self.new_vector(node.outputs[0]);
        self.push(stages::Penalties { rows: sums, to, sums: Vec::new(), dtype });
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
    pub fn penalty_gradient(&mut self, node: &GraphNode) -> Option<()> {
        let PenaltyGrad(penalty) = downcast::<PenaltyGrad>(node)?;
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
        let alone = self.sole_reader(product, sum) && !self.graph.is_among(out, &self.wanted);
        let fits = self.shape(product) == self.shape(w) && self.shape(add.outputs[0]) == self.shape(w);
        if !(plain && same && alone && fits && self.is_one(scale) && self.vector(w).is_some()) || self.done[maker] {
            return None;
        }
        self.penalized.insert(product, (param, penalty.clone()));
        self.done[sum] = true;
        Some(())
    }

    /// Leave the sums over rows to the products that make the gradients, which take the same powers. Weights are updated by
    /// then, which depends on whether the loss is finite: for that it is enough to see that a row is small.
    /// Returns what is to be done after the updates.
    pub fn late_penalties(&mut self) -> Vec<stages::Penalties> {
        let (mut late, mut moved) = (Vec::new(), Vec::new());
        for (_, stage) in &self.program.stages {
            let Stage::Penalties(penalties) = stage else { continue };
            let Some(sums) = self.sums_to_loss(penalties) else { continue };
            let before = moved.len();
            moved.extend(penalties.rows.iter().filter(|(rows, _)| self.gradient_of(*rows).is_some()).map(|r| r.0));
            if moved.len() > before {
                late.push(stages::Penalties { sums, ..penalties.clone() });
            }
        }
        for rows in moved {
            let Some(gradient) = self.gradient_of(rows) else { continue };
            for (i, (_, stage)) in self.program.stages.iter_mut().enumerate() {
                match stage {
                    Stage::Weight(Weight { penalty: Some(penalty), .. }) if gradient == i => penalty.sums = Some(rows),
                    Stage::Rows(stage) => {
                        for op in &mut stage.ops {
                            if let RowOp::Penalty(op) = op {
                                op.late |= op.sums == rows;
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        late
    }

    /// The stage that makes the gradient to which the penalty belongs that is summed up here, and uses it up.
    fn gradient_of(&self, rows: BufferId) -> Option<usize> {
        let (penalty, weight) = self.program.stages.iter().find_map(|(_, stage)| {
            let Stage::Rows(stage) = stage else { return None };
            stage.ops.iter().find_map(|op| match op {
                RowOp::Penalty(op) => (op.sums == rows && op.kind.is_negligible(stage.features * op.cols))
                    .then_some((&op.kind, op.weight)),
                _ => None,
            })
        })?;
        self.program.stages.iter().position(|(_, stage)| match stage {
            Stage::Weight(Weight { penalty: Some(p), update: Some(_), .. }) => {
                (&p.penalty, p.weight, p.sums) == (penalty, weight, None)
            }
            _ => false,
        })
    }

    /// The sums that take up a penalty on the way to the loss, if nothing else does.
    fn sums_to_loss(&self, penalties: &stages::Penalties) -> Option<Vec<[BufferId; 3]>> {
        let (mut value, mut sums) = (penalties.to, Vec::new());
        let readers =
            |value| self.program.stages.iter().filter(move |(_, stage)| stage.touches().reads.contains(&value));
        let scalar = |x: &Operand| x.layout.shape.is_empty() && x.layout.offset == 0 && x.dtype == penalties.dtype;
        while value != self.program.loss.0 {
            let mut readers = readers(value);
            let (Some((_, Stage::AnyOp(AnyOp { op, inputs, outputs, .. }))), None) = (readers.next(), readers.next())
            else {
                return None;
            };
            let add = (&**op as &dyn Any).downcast_ref().is_some_and(|Binary(kind)| matches!(kind, Arithmetic::Add));
            let ([a, b], [sum]) = (&inputs[..], &outputs[..]) else { return None };
            if !(add && [a, b, sum].into_iter().all(scalar)) {
                return None;
            }
            value = sum.buffer;
            sums.push([a.buffer, b.buffer, value]);
        }
        (self.program.loss.1 == 0 && readers(value).next().is_none()).then_some(sums)
    }
}

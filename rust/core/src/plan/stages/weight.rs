//! Gradient of a weight, a product over the samples; with it the weight's penalty, norms and update, while its rows are hot.

use super::super::fuse::{Lowering, downcast};
use super::super::graph::{GraphNode, NodeId};
use super::super::program::{BufferId, Features, Operand, Touches};
use super::super::update::run_weight;
use super::{At, Update, Work};
use crate::element::{DType, Float};
use crate::error::Result;
use crate::kernels::penalty::Penalty;
use crate::ops::linear::LinearGradWeight;

/// The penalty whose gradient joins that of a weight.
#[derive(Clone, Debug)]
pub struct WeightPenalty {
    /// The penalty.
    pub penalty: Penalty,
    /// The weight.
    pub weight: BufferId,
    /// Buffer of the penalties of its rows, if they are summed up here.
    pub sums: Option<BufferId>,
}

/// The gradient of a weight, and the update with it.
#[derive(Clone, Debug)]
pub struct Weight {
    /// Rows of the weight.
    pub rows: usize,
    /// Columns of the weight.
    pub cols: usize,
    /// The inner dimension: samples.
    pub samples: usize,
    /// The gradient of the layer's output.
    pub g: Features,
    /// The layer's input, sample-major.
    pub x: Operand,
    /// Buffer of the gradient, if no update uses it up.
    pub grad: BufferId,
    /// A penalty on the weight, whose gradient belongs to this one.
    pub penalty: Option<WeightPenalty>,
    /// Buffer of the squared norms of the gradient's rows.
    pub norms: Option<BufferId>,
    /// The update to do while the gradient's rows are hot.
    pub update: Option<Update>,
}

impl Work for Weight {
    /// The update joins if nobody else reads the gradient, and nobody the weight afterwards.
    fn recognize(lowering: &mut Lowering<'_>, _n: NodeId, node: &GraphNode) -> Option<()> {
        downcast::<LinearGradWeight>(node)?;
        let ([g, x], out) = ([node.inputs[0], node.inputs[1]], node.outputs[0]);
        if !(lowering.is_matrix(g) && lowering.is_matrix(x)) {
            return None;
        }
        let (g_features, x_rows) = (lowering.features(g), lowering.operand(x));
        if !x_rows.layout.is_contiguous() {
            return None;
        }
        let ([rows, cols], samples) = ([lowering.shape(out)[0], lowering.shape(out)[1]], lowering.shape(g)[0]);
        lowering.program.work += samples * rows * cols / 30;
        let grad = lowering.new_vector(out);
        // With a penalty, the product and the penalty's gradient make the parameter's together.
        let (whole, penalty) = match lowering.penalized.get(&out).cloned() {
            Some((param, penalty)) => (lowering.trained[param].grad, Some((param, penalty))),
            None => (out, None),
        };
        let alone = lowering.graph.readers(whole).is_empty();
        let mut of_this = lowering.trained.iter().enumerate().filter(|(_, t)| t.grad == whole);
        let param = match (of_this.next(), of_this.next()) {
            (Some((param, _)), None) if alone => Some(param),
            _ => None,
        };
        let penalty = penalty.map(|(param, penalty)| {
            lowering.rows_of[whole] = Some(grad);
            WeightPenalty { penalty, weight: lowering.outside(&lowering.trained[param].value), sums: None }
        });
        let (mut update, mut norms) = (None, None);
        if lowering.norms.is_none() {
            update = param.map(|param| lowering.update_of(param));
        } else if let Some(param) = param {
            norms = Some(lowering.arena(rows, DType::F64));
            lowering.norms.as_mut().expect("just found")[param] = norms;
        }
        lowering.push(Self { rows, cols, samples, g: g_features, x: x_rows, grad, penalty, norms, update });
        Some(())
    }

    fn describe(&self) -> String {
        let penalty = if self.penalty.is_some() { " + penalty" } else { "" };
        let norms = if self.norms.is_some() { " + norms" } else { "" };
        let update = if self.update.is_some() { " + update" } else { "" };
        format!("weight ({}, {}) over {}{penalty}{norms}{update}", self.rows, self.cols, self.samples)
    }

    fn touches(&self, t: &mut Touches) {
        t.read([self.g.buffer, self.x.buffer]);
        t.read(self.penalty.as_ref().map(|p| p.weight));
        t.write(self.penalty.as_ref().and_then(|p| p.sums));
        t.write(self.norms);
        match &self.update {
            Some(update) => update.touches(t),
            None => t.write([self.grad]),
        }
    }

    fn updates(&self) -> bool {
        self.update.is_some()
    }

    fn run<T: Float>(&self, at: &At<'_>) -> Result<()> {
        run_weight::<T>(self, at.memory, at.team, at.step);
        Ok(())
    }
}

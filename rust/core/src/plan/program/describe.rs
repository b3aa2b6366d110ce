//! A program in words, and the labels it takes.

use super::{Home, Program, RowOp, Stage};
use crate::error::Result;
use crate::ops::cross_entropy;

/// Labels of a cross entropy.
#[derive(Clone, Copy, Debug)]
pub struct LabelLimits {
    /// Number of the batch's tensor that holds them.
    pub batch_tensor: usize,
    classes: usize,
    ignore_index: i64,
}

impl LabelLimits {
    /// Refuse a label outside.
    pub fn check(&self, label: i64, position: usize) -> Result<()> {
        if label == self.ignore_index || (0..self.classes as i64).contains(&label) {
            return Ok(());
        }
        Err(cross_entropy::label_error("cross_entropy", label, position, self.classes, self.ignore_index))
    }
}

/// The limits on labels that are checked before a step.
pub fn labels(program: &Program) -> impl Iterator<Item = LabelLimits> + '_ {
    program.stages.iter().filter_map(|(_, stage)| match stage {
        Stage::CrossEntropy(c) if c.labels_checked => match program.buffers[c.labels.buffer].home {
            Home::Batch(batch_tensor) => {
                Some(LabelLimits { batch_tensor, classes: c.classes, ignore_index: c.ignore_index })
            }
            _ => None,
        },
        _ => None,
    })
}

/// The stages, a line each.
#[must_use]
pub fn describe(program: &Program) -> String {
    let mut text = String::new();
    for (barrier, stage) in &program.stages {
        if *barrier {
            text.push_str("---\n");
        }
        let line = match stage {
            Stage::Op { op, .. } => format!("op {}", op.name()),
            Stage::ToFeatures { samples, features, .. } => format!("to features ({samples}, {features})"),
            Stage::ToRows { samples, features, .. } => format!("to rows ({samples}, {features})"),
            Stage::Rows(rows) => {
                let product = rows.product.map_or(String::new(), |p| format!(" product over {}", p.inner));
                let ops: Vec<&str> = rows.ops.iter().map(RowOp::name).collect();
                format!("rows ({}, {}){product} {}", rows.features, rows.samples, ops.join(" + "))
            }
            Stage::Weight(w) => {
                let penalty = if w.penalty.is_some() { " + penalty" } else { "" };
                let norms = if w.norms.is_some() { " + norms" } else { "" };
                let update = if w.update.is_some() { " + update" } else { "" };
                format!("weight ({}, {}) over {}{penalty}{norms}{update}", w.rows, w.cols, w.samples)
            }
            Stage::CrossEntropy(c) => format!("cross entropy ({}, {})", c.samples, c.classes),
            Stage::Loss(_) => "loss".to_owned(),
            Stage::Penalty(p) => format!("penalty of {} weights", p.rows.len()),
            Stage::Norms(norms) => format!("norms of {} gradients", norms.len()),
            Stage::Update(updates) => format!("update {} parameters", updates.items.len()),
        };
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

impl RowOp {
    fn name(&self) -> &'static str {
        match self {
            Self::Bias { .. } => "bias",
            Self::Activate { act, .. } => act.name(),
            Self::ActivateGrad { .. } => "activation gradient",
            Self::Dropout { .. } => "dropout",
            Self::MaskGrad { .. } => "relu and dropout gradient",
            Self::Norm { .. } => "batch norm",
            Self::NormGrad { .. } => "batch norm gradient",
            Self::Sum { .. } => "sum",
            Self::Add { .. } => "add",
            Self::Penalty { .. } => "penalty",
        }
    }
}

//! Cross entropy of feature-major logits with class labels: losses and the gradient at once.

use super::super::fuse::{Lowering, Made, downcast};
use super::super::graph::{GraphNode, NodeId, Source, ValueId};
use super::super::memory::Memory;
use super::super::program::{BufferId, Features, Home, Operand, Program, Touches};
use super::super::run::LINE;
use super::{At, Stage, Work};
use crate::element::Float;
use crate::error::Result;
use crate::kernels::loss as losses;
use crate::kernels::reduce;
use crate::ops::cross_entropy::{self, CrossEntropyGrad, Reduction};

/// The losses of the samples, and their gradient.
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    /// Classes.
    pub classes: usize,
    /// Samples.
    pub samples: usize,
    /// The logits.
    pub logits: Features,
    /// The labels, i64.
    pub labels: Operand,
    /// True if they are a tensor of the batch as it is, one a sample, and so are checked before the step.
    pub labels_checked: bool,
    /// Class weights.
    pub weight: Option<BufferId>,
    /// The label that does not count.
    pub ignore_index: i64,
    /// ε
    pub label_smoothing: f64,
    /// Divide by the sum of the samples' weights.
    pub mean: bool,
    /// The loss of every sample.
    pub losses: BufferId,
    /// The greatest logit of every sample.
    pub max: BufferId,
    /// Σ e^(logit − max) of every sample.
    pub sum: BufferId,
    /// The gradient of every sample's loss.
    pub scale: BufferId,
    /// The gradient of the logits, unless only the loss is asked for.
    pub grad: Option<Features>,
    /// The loss.
    pub loss: BufferId,
}

/// The loss from the samples' losses.
#[derive(Clone, Debug)]
pub struct Loss(pub CrossEntropy);

impl Work for CrossEntropy {
    /// The gradient joins where that of the loss itself is 1.
    fn recognize(lowering: &mut Lowering<'_>, _n: NodeId, node: &GraphNode) -> Option<()> {
        let op = downcast::<cross_entropy::CrossEntropy>(node)?;
        let logits = node.inputs[0];
        lowering.held(logits)?;
        if op.reduction == Reduction::None {
            return None;
        }
        let [samples, classes] = *lowering.shape(logits) else { return None };
        let weight = match node.inputs.get(2) {
            Some(&w) => Some(lowering.vector(w)?),
            None => None,
        };
        let labels = lowering.operand(node.inputs[1]);
        if !labels.layout.is_contiguous() {
            return None;
        }
        let dtype = lowering.graph.values[logits].meta.dtype;
        let features = lowering.features(logits);
        let backward = lowering.graph.nodes.iter().position(|m| {
            downcast::<CrossEntropyGrad>(m).is_some()
                && m.inputs[1..] == node.inputs[..]
                && lowering.is_one(m.inputs[0])
        });
        let grad = backward.map(|_| lowering.new_features(samples, classes, dtype));
        let stage = Self {
            classes,
            samples,
            logits: features,
            labels_checked: lowering.is_whole_batch_of(node.inputs[1], samples),
            labels,
            weight,
            ignore_index: op.ignore_index,
            label_smoothing: op.label_smoothing,
            mean: op.reduction == Reduction::Mean,
            losses: lowering.arena(samples, dtype),
            max: lowering.arena(samples, dtype),
            sum: lowering.arena(samples, dtype),
            scale: lowering.arena(samples, dtype),
            grad,
            loss: lowering.new_vector(node.outputs[0]),
        };
        let made = lowering.push(stage.clone());
        if let (Some(m), Some(features)) = (backward, grad) {
            lowering.done[m] = true;
            lowering.features_of[lowering.graph.nodes[m].outputs[0]] = Some(Made { features, stage: made });
        }
        lowering.push(Loss(stage));
        Some(())
    }

    fn describe(&self) -> String {
        format!("cross entropy ({}, {})", self.samples, self.classes)
    }

    fn touches(&self, t: &mut Touches) {
        t.read([self.logits.buffer, self.labels.buffer]);
        t.read(self.weight);
        t.write([self.losses, self.max, self.sum, self.scale]);
        t.write(self.grad.map(|g| g.buffer));
    }

    fn run<T: Float>(&self, at: &At<'_>) -> Result<()> {
        if !self.labels_checked {
            let check = || {
                let labels = at.memory.view(&self.labels);
                cross_entropy::check_labels("cross_entropy", labels.slice(), self.classes, self.ignore_index)
            };
            if at.program.is_in_arena(self.labels.buffer) { check()? } else { at.agree(check)? }
        }
        self.run_share::<T>(at);
        Ok(())
    }
}

impl CrossEntropy {
    fn run_share<T: Float>(&self, at: &At<'_>) {
        let (memory, share) = (at.memory, at.team.share_aligned(self.samples, LINE));
        if share.is_empty() {
            return;
        }
        let (start, len, stride) = (share.start, share.len(), self.logits.ld);
        let span = (self.classes - 1) * stride + len;
        // SAFETY: shares of samples are disjoint columns of the logits, their gradient, and the vectors over samples. The
        // gradient's columns of members interleave, so its slice spans others' elements, which the kernel does not touch.
        unsafe {
            let rule = self.rule::<T>(memory);
            let logits = memory.slice::<T>(self.logits.buffer, start, span);
            let labels = memory.slice::<i64>(self.labels.buffer, self.labels.layout.offset + start, len);
            let mut samples = losses::SampleLosses {
                loss: memory.slice_mut(self.losses, start, len),
                max: memory.slice_mut(self.max, start, len),
                sum: memory.slice_mut(self.sum, start, len),
            };
            losses::cross_entropy_columns(rule, logits, stride, labels, &mut samples);
            let Some(grad) = self.grad else { return };
            // Every member finds the divisor for itself: it is a sum over labels, which are at hand.
            let scale = if self.mean { T::ONE / self.divisor(rule.weight, memory) } else { T::ONE };
            let scales = memory.slice_mut::<T>(self.scale, start, len);
            scales.fill(scale);
            let samples = losses::SampleScales { scale: scales, max: samples.max, sum: samples.sum };
            let out = memory.slice_mut::<T>(grad.buffer, start, span);
            losses::cross_entropy_columns_backward(rule, logits, stride, labels, samples, out);
        }
    }

    /// # Safety
    /// Nobody writes the class weights meanwhile.
    unsafe fn rule<'a, T: Float>(&self, memory: &Memory<'a>) -> losses::CrossEntropy<'a, T> {
        losses::CrossEntropy {
            classes: self.classes,
            // SAFETY: by this function's contract.
            weight: self.weight.map_or(&[], |w| unsafe { memory.slice(w, 0, self.classes) }),
            smoothing: self.label_smoothing,
            ignore_index: self.ignore_index,
        }
    }

    /// The sum of the weights of all labels.
    ///
    /// # Safety
    /// Nobody writes the labels meanwhile.
    unsafe fn divisor<T: Float>(&self, weight: &[T], memory: &Memory<'_>) -> T {
        // SAFETY: by this function's contract.
        let labels = unsafe { memory.slice::<i64>(self.labels.buffer, self.labels.layout.offset, self.samples) };
        cross_entropy::label_weight(weight, self.ignore_index, labels)
    }
}

impl Work for Loss {
    fn describe(&self) -> String {
        "loss".to_owned()
    }

    fn touches(&self, t: &mut Touches) {
        t.read([self.0.losses, self.0.labels.buffer]);
        t.read(self.0.weight);
        t.write([self.0.loss]);
    }

    fn run<T: Float>(&self, at: &At<'_>) -> Result<()> {
        if at.team.rank() != 0 {
            return Ok(());
        }
        let (stage, memory) = (&self.0, at.memory);
        // SAFETY: one member; the losses were complete before the last barrier.
        unsafe {
            let sum = reduce::sum_flat(memory.slice::<T>(stage.losses, 0, stage.samples));
            let weight = stage.rule::<T>(memory).weight;
            let divisor = if stage.mean { stage.divisor(weight, memory) } else { T::ONE };
            memory.slice_mut::<T>(stage.loss, 0, 1)[0] = sum / divisor;
        }
        Ok(())
    }
}

impl Lowering<'_> {
    /// True if a value is a tensor of the batch as it comes, one element a sample.
    fn is_whole_batch_of(&self, v: ValueId, samples: usize) -> bool {
        let root = &self.graph.values[self.graph.root(v)];
        matches!(root.source, Source::Batch(_))
            && root.meta.shape.first() == Some(&samples)
            && root.meta.numel() == samples
            && self.graph.values[v].layout.offset == 0
    }
}

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

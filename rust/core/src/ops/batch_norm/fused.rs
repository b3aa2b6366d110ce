//! Batch normalization of images with what follows it: `relu(batch_norm(x))` and `relu(batch_norm(x) + added)`, with the bits
//! of the ops one by one. Only plans make these.

use smallvec::SmallVec;

use super::images;
use super::{BatchNorm, BatchNormGrad, affine, nothing};
use crate::error::Result;
use crate::kernels::norm::Scaling;
use crate::kernels::norm::planes::{Forward, Gate, Gradient, Then};
use crate::ops::{Op, Outputs, Run};
use crate::tensor::{Meta, Tensor, View};
use crate::with_float;

/// Inputs as of [`BatchNorm`], then what is added, if anything; outputs as of [`BatchNorm`].
#[derive(Clone, Debug)]
pub struct BatchNormRelu {
    /// The norm, which comes first.
    pub norm: BatchNorm,
    /// True if something is added before the rectifier.
    pub added: bool,
}

/// Source of the mask: where [`BatchNormRelu`] returned 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// Its output.
    Output,
    /// Its bias, if it has one: nothing was added, and so the output follows from what the gradient reads anyway.
    Bias,
}

/// Inputs as of [`BatchNormGrad`], then the mask; outputs as of [`BatchNormGrad`], then the gradient of what was added, if that
/// is wanted.
#[derive(Clone, Copy, Debug)]
pub struct BatchNormReluGrad {
    /// The norm, which comes last.
    pub norm: BatchNormGrad,
    /// Source of the mask.
    pub mask: Mask,
    /// True if the gradient of what was added is wanted.
    pub added: bool,
}

impl Op for BatchNormRelu {
    fn name(&self) -> &'static str {
        if self.added { "batch_norm + add + relu" } else { "batch_norm + relu" }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        self.norm.infer(&inputs[..inputs.len() - usize::from(self.added)])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        if self.norm.training && inputs[0].numel() == 0 {
            return nothing(run.team, &outputs[1..]);
        }
        let planes = images::planes(inputs[0].shape()).expect("only images are fused");
        let (inputs, added) = inputs.split_at(inputs.len() - usize::from(self.added));
        with_float!(outputs[0].dtype(), T => {
            let added = added.first().map(View::slice::<T>);
            let forward = Forward { x: inputs[0].slice::<T>(), added, then: Then::Relu };
            self.norm.run_images(run.team, planes, &forward, affine(&inputs[1..]), outputs);
        });
        self.norm.bump(run.team);
    }

    fn changed_outside(&self) -> SmallVec<[&Tensor; 2]> {
        self.norm.changed_outside()
    }

    fn work(&self, inputs: &[Meta], outputs: &[Meta]) -> usize {
        self.norm.work(inputs, outputs)
    }
}

impl Op for BatchNormReluGrad {
    fn name(&self) -> &'static str {
        if self.added { "batch_norm + add + relu gradient" } else { "batch_norm + relu gradient" }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let mut outputs = self.norm.infer(inputs)?;
        outputs.extend(self.added.then(|| inputs[0].clone()));
        Ok(outputs)
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let (outputs, added) = outputs.split_at(outputs.len() - usize::from(self.added));
        if inputs[1].numel() == 0 {
            return nothing(run.team, &outputs[1..]);
        }
        let planes = images::planes(inputs[1].shape()).expect("only images are fused");
        with_float!(outputs[0].dtype(), T => {
            let slices: SmallVec<[&[T]; 6]> = inputs.iter().map(View::slice::<T>).collect();
            let [dy, x, mean, inv_std, rest @ ..] = &slices[..] else { unreachable!("four inputs and the mask") };
            let (weight, gate): (&[T], _) = match (self.mask, rest) {
                (Mask::Output, [weight @ .., y]) => (weight.first().copied().unwrap_or_default(), Gate::Output(y)),
                (Mask::Bias, [weight, bias]) => (weight, Gate::Bias(bias)),
                (Mask::Bias, []) => (&[], Gate::Bias(&[])),
                _ => unreachable!("weight and bias come together"),
            };
            let gradient = Gradient { dy, x, gate };
            let scaling = Scaling { mean, inv_std, weight };
            let given = (scaling, !self.norm.training);
            images::gradients(run.team, planes, &gradient, given, outputs, added.first());
        });
    }

    fn overwrites(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn work(&self, inputs: &[Meta], outputs: &[Meta]) -> usize {
        self.norm.work(inputs, outputs)
    }
}

//! Cross entropy with a target of probabilities.
//!
//! ```text
//! l = −Σⱼ wⱼ · tⱼ · pⱼ        t = (1 − ε) · target + ε/c,  p = log_softmax(logits)
//! ```
//! The ops take rows of logits, a row a sample; logits of (n, c, d…) are turned so that the classes come last.

use smallvec::smallvec;

use super::{BLOCK, Reduction, blocks, classes, losses, reduce, scales, shared_scale, smoothing_fits, weight_fits};
use crate::element::Float;
use crate::error::{Error, Result};
use crate::kernels::loss::{self, SampleLosses, SampleScales};
use crate::ops::shape::permute;
use crate::ops::{Grads, Op, Outputs, Run, Saves, apply_many, float_dtype, second, shape_error};
use crate::tensor::layout::{Dims, show};
use crate::tensor::tape::{Backward, through};
use crate::tensor::{Meta, Tensor, View};
use crate::with_float;

/// Inputs logits (…, c), the classes last, target of that shape, and class weights; outputs as those of [`super::CrossEntropy`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropySoft {
    /// Reduction of the losses.
    pub reduction: Reduction,
    /// As [`super::CrossEntropy::label_smoothing`].
    pub label_smoothing: f64,
}

/// The gradients with respect to logits and target: inputs g, then those of [`CrossEntropySoft`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropySoftGrad {
    /// As [`CrossEntropySoft::reduction`].
    pub reduction: Reduction,
    /// As [`super::CrossEntropy::label_smoothing`].
    pub label_smoothing: f64,
}

/// Logits of which each row is a sample, as (samples, classes, 1).
fn sample_rows(logits: &[usize]) -> [usize; 3] {
    let [samples @ .., c] = logits else { unreachable!("the shape rule asks for a dimension") };
    [samples.iter().product(), *c, 1]
}

fn kernel<'a, T: Float>(inputs: &[View<'a>], label_smoothing: f64) -> (loss::CrossEntropy<'a, T>, [usize; 3]) {
    let dims = sample_rows(inputs[0].shape());
    let weight = inputs.get(2).map(View::slice::<T>).unwrap_or_default();
    (loss::CrossEntropy { classes: dims[1], weight, smoothing: label_smoothing, ignore_index: -1 }, dims)
}

/// The shape rule of a target of probabilities: logits and target as they were given, and class weights.
fn check(logits: &Tensor, target: &Tensor, weight: Option<&Tensor>, ignore_index: i64) -> Result<()> {
    let op = "cross_entropy";
    if logits.ndim() == 0 {
        return Err(shape_error(op, "input of shape (n, c)", logits.shape()));
    }
    if logits.shape() != target.shape() {
        return Err(shape_error(op, &format!("target of shape {}", show(logits.shape())), target.shape()));
    }
    if ignore_index >= 0 {
        return Err(Error::value(format!(
            "{op}: expected ignore_index below 0 with a target of probabilities; got {ignore_index}"
        )));
    }
    weight_fits(op, weight.map(Tensor::meta).as_ref(), classes(logits.shape())[1])
}

impl Op for CrossEntropySoft {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        smoothing_fits(self.label_smoothing)?;
        let dtype = float_dtype("cross_entropy", inputs)?;
        let logits = &inputs[0].shape;
        Ok(losses(Dims::from_slice(&logits[..logits.len() - 1]), dtype, self.reduction))
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let each = outputs.last().expect("one output at least");
        with_float!(inputs[0].dtype(), T => {
            let (ce, dims) = kernel::<T>(inputs, self.label_smoothing);
            let (x, target) = (inputs[0].slice::<T>(), inputs[1].slice::<T>());
            let (mut max, mut sums) = ([T::default(); BLOCK], [T::default(); BLOCK]);
            blocks(run.team, dims, |first, samples| {
                let (n, range) = (samples.len(), first..first + samples.len() * dims[1]);
                // SAFETY: members have different samples.
                let loss = unsafe { each.part::<T>(samples) };
                let mut out = SampleLosses { loss, max: &mut max[..n], sum: &mut sums[..n] };
                loss::soft_cross_entropy_rows(ce, &x[range.clone()], &target[range], &mut out);
            });
            reduce(run.team, self.reduction, || dims[0] as T, outputs);
        });
    }

    fn saves(&self) -> Saves {
        Saves::inputs(0b111)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let Self { reduction, label_smoothing } = *self;
        let mut inputs = vec![cx.grad()];
        inputs.extend((0..cx.input_meta.len()).map(|i| cx.input(i)));
        let both = apply_many(std::sync::Arc::new(CrossEntropySoftGrad { reduction, label_smoothing }), &inputs)?;
        let mut grads: Grads = both.into_iter().map(Some).collect();
        grads.extend((2..cx.input_meta.len()).map(|_| None));
        Ok(grads)
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel() * 3
    }
}

impl Op for CrossEntropySoftGrad {
    fn name(&self) -> &'static str {
        "cross_entropy_soft_grad"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![inputs[1].clone(), inputs[2].clone()])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_float!(outputs[0].dtype(), T => {
            let (ce, dims) = kernel::<T>(&inputs[1..], self.label_smoothing);
            let [g, x, target] = [0, 1, 2].map(|i| inputs[i].slice::<T>());
            let shared = shared_scale(g, self.reduction, || dims[0] as T);
            let [mut unused, mut max, mut sums, mut scale] = [[T::default(); BLOCK]; 4];
            blocks(run.team, dims, |first, samples| {
                let (n, range) = (samples.len(), first..first + samples.len() * dims[1]);
                scales(g, shared, samples, &mut scale[..n]);
                let (x, target) = (&x[range.clone()], &target[range.clone()]);
                // SAFETY: members have different rows.
                let (gx, gt) = unsafe { (outputs[0].part::<T>(range.clone()), outputs[1].part::<T>(range)) };
                let mut found = SampleLosses { loss: &mut unused[..n], max: &mut max[..n], sum: &mut sums[..n] };
                loss::soft_cross_entropy_rows(ce, x, target, &mut found);
                let found = SampleScales { scale: &scale[..n], max: &max[..n], sum: &sums[..n] };
                loss::soft_cross_entropy_rows_backward(ce, x, target, found, gx);
                loss::soft_cross_entropy_rows_backward_target(ce, x, found, gt);
            });
        });
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        through(cx, |t| second::cross_entropy_soft(*self, t))
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[1].numel() * 5
    }
}

/// (n, c, d…) as (n, d…, c).
fn classes_last(x: &Tensor) -> Result<Tensor> {
    let order: Vec<i64> = std::iter::once(0).chain(2..x.ndim() as i64).chain(std::iter::once(1)).collect();
    permute(x, &order)
}

/// The loss of a target of probabilities, of the shape of the logits.
pub(super) fn cross_entropy(
    logits: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    reduction: Reduction,
    ignore_index: i64,
    label_smoothing: f64,
) -> Result<Tensor> {
    check(logits, target, weight, ignore_index)?;
    let op = std::sync::Arc::new(CrossEntropySoft { reduction, label_smoothing });
    if logits.ndim() <= 2 {
        let inputs: Vec<&Tensor> = [logits, target].into_iter().chain(weight).collect();
        return Ok(apply_many(op, &inputs)?.swap_remove(0));
    }
    let (x, t) = (classes_last(logits)?, classes_last(target)?);
    let inputs: Vec<&Tensor> = [&x, &t].into_iter().chain(weight).collect();
    Ok(apply_many(op, &inputs)?.swap_remove(0))
}

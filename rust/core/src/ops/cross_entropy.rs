//! Cross entropy from logits, with class labels or with probabilities as target.
//!
//! ```text
//! p = log_softmax(logits)        logits: (n, c), (n, c, d…) or (c); labels: the same without c; probabilities: the same
//! l = (1 − ε) · (−w_y · p_y) + ε/c · Σⱼ (−wⱼ · pⱼ)              y the label, w the class weights, ε the smoothing
//! l = −Σⱼ wⱼ · tⱼ · pⱼ,  t = (1 − ε) · target + ε/c             with probabilities
//! ```
//! The result is l, its sum, or its mean: Σ l / Σ `w_y` with labels, and Σ l over the number of samples with
//! probabilities. A sample whose label is `ignore_index` has no part in either sum; with none left, the mean is NaN, as in
//! `PyTorch`.

use std::ops::Range;

use smallvec::smallvec;

use super::{Grads, Op, Outputs, Run, Saves, apply, apply_many, contiguous, float_dtype, second, shape_error};
use crate::element::{DType, Float};
use crate::error::{Error, Result};
use crate::kernels::loss::{self, SampleLosses, SampleScales};
use crate::kernels::position::{read_ref, within};
use crate::kernels::reduce::{Running, sum_flat};
use crate::tensor::layout::{Dims, show};
use crate::tensor::tape::{Backward, through};
use crate::tensor::{Meta, Tensor, View};
use crate::threads::Team;
use crate::with_float;

mod probabilities;

pub use probabilities::{CrossEntropySoft, CrossEntropySoftGrad};

/// Reduction of the losses of all samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Each stays.
    None,
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
}

/// Inputs logits, labels, and class weights if there are some; outputs the loss and, if it is reduced, each sample's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropy {
    /// Reduction of the losses.
    pub reduction: Reduction,
    /// The label of samples to leave out.
    pub ignore_index: i64,
    /// ε, the share of the target that is spread over all classes, in [0, 1].
    pub label_smoothing: f64,
}

/// The gradient with respect to the logits: inputs g, then those of [`CrossEntropy`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropyGrad {
    /// As [`CrossEntropy::reduction`].
    pub reduction: Reduction,
    /// As [`CrossEntropy::ignore_index`].
    pub ignore_index: i64,
    /// As [`CrossEntropy::label_smoothing`].
    pub label_smoothing: f64,
}

/// A label is neither a class nor to be left out.
#[must_use]
pub fn label_error(op: &str, label: i64, position: usize, classes: usize, ignore_index: i64) -> Error {
    Error::value(format!(
        "{op}: expected labels in [0, {classes}) or ignore_index {ignore_index}; got {label} at position {position}"
    ))
}

/// Refuse labels outside.
pub fn check_labels(op: &str, labels: &[i64], classes: usize, ignore_index: i64) -> Result<()> {
    let outside = |label: i64| label != ignore_index && within(label, classes).is_none();
    match labels.iter().map(read_ref).enumerate().find(|&(_, label)| outside(label)) {
        Some((position, label)) => Err(label_error(op, label, position, classes, ignore_index)),
        None => Ok(()),
    }
}

/// Logits as (outer, classes, inner).
pub(super) fn classes(logits: &[usize]) -> [usize; 3] {
    match *logits {
        [c] => [1, c, 1],
        [n, c, ref rest @ ..] => [n, c, rest.iter().product()],
        [] => unreachable!("the shape rule asks for a dimension"),
    }
}

/// The shape rule of losses with class labels: logits, labels, weights.
pub(super) fn infer_labels(op: &'static str, inputs: &[Meta], reduction: Reduction) -> Result<Outputs> {
    let floats: Vec<Meta> = inputs.iter().enumerate().filter(|(i, _)| *i != 1).map(|(_, m)| m.clone()).collect();
    let dtype = float_dtype(op, &floats)?;
    let (logits, labels) = (&inputs[0].shape, &inputs[1]);
    if logits.is_empty() {
        return Err(shape_error(op, "input of shape (n, c)", logits));
    }
    if labels.dtype != DType::I64 {
        return Err(Error::dtype(format!("{op}: expected labels of dtype int64; got {}", labels.dtype)));
    }
    let mut expected = logits.clone();
    expected.remove(usize::from(logits.len() > 1));
    if labels.shape != expected {
        return Err(shape_error(op, &format!("target of shape {}", show(&expected)), &labels.shape));
    }
    weight_fits(op, inputs.get(2), classes(logits)[1])?;
    Ok(losses(expected, dtype, reduction))
}

fn weight_fits(op: &'static str, weight: Option<&Meta>, c: usize) -> Result<()> {
    if c == 0 {
        return Err(Error::value(format!("{op}: expected at least 1 class; got 0")));
    }
    match weight {
        Some(weight) if weight.shape[..] != [c] => {
            Err(shape_error(op, &format!("weight of shape {}", show(&[c])), &weight.shape))
        }
        _ => Ok(()),
    }
}

/// The outputs: losses of all samples, or their reduction and they.
fn losses(samples: Dims, dtype: DType, reduction: Reduction) -> Outputs {
    let each = Meta { shape: samples, dtype };
    if reduction == Reduction::None { smallvec![each] } else { smallvec![Meta::new(&[], dtype), each] }
}

/// Σ `w_y` over the samples that count: the divisor of a mean.
#[must_use]
pub fn label_weight<T: Float>(weight: &[T], ignore_index: i64, labels: &[i64]) -> T {
    let counted = labels.iter().filter(|&&label| label != ignore_index);
    if weight.is_empty() {
        return T::from_f64(counted.count() as f64);
    }
    let mut total = Running::default();
    for label in labels.iter().map(read_ref).filter(|label| *label != ignore_index) {
        // Others may have changed the label since it was checked.
        total.add(within(label, weight.len()).map_or(T::ZERO, |class| weight[class]));
    }
    total.total()
}

/// Reduce the losses, complete once all have come here.
pub(super) fn reduce<T: Float>(team: &Team, reduction: Reduction, divisor: impl FnOnce() -> T, outputs: &[View<'_>]) {
    if reduction == Reduction::None {
        return;
    }
    team.barrier();
    if team.rank() == 0 {
        let total = sum_flat(outputs[1].slice::<T>());
        let loss = if reduction == Reduction::Mean { total / divisor() } else { total };
        // SAFETY: the other members write nothing here.
        let out = unsafe { outputs[0].part::<T>(0..1) };
        out[0] = loss;
    }
}

/// The gradient of each sample's loss, for a range of samples.
pub(super) fn scales<T: Float>(g: &[T], shared: Option<T>, samples: Range<usize>, out: &mut [T]) {
    match shared {
        Some(scale) => out.fill(scale),
        None => out.copy_from_slice(&g[samples]),
    }
}

/// The scale that all samples share, if the losses are reduced.
pub(super) fn shared_scale<T: Float>(g: &[T], reduction: Reduction, divisor: impl FnOnce() -> T) -> Option<T> {
    match reduction {
        Reduction::None => None,
        Reduction::Sum => Some(g[0]),
        Reduction::Mean => Some(g[0] / divisor()),
    }
}

/// Samples that are done at once: as many maxima and sums stand on the stack.
const BLOCK: usize = 256;

/// Call `f(block's first logit, samples)` for this member's samples, which are rows if `inner` is 1, else columns.
fn blocks(team: &Team, [outer, c, inner]: [usize; 3], mut f: impl FnMut(usize, Range<usize>)) {
    if inner == 1 {
        let mine = team.share(outer);
        for start in mine.clone().step_by(BLOCK) {
            f(start * c, start..mine.end.min(start + BLOCK));
        }
        return;
    }
    for i in team.share(outer) {
        for start in (0..inner).step_by(BLOCK) {
            f(i * c * inner + start, i * inner + start..i * inner + inner.min(start + BLOCK));
        }
    }
}

fn kernel<'a, T: Float>(
    inputs: &[View<'a>],
    ignore_index: i64,
    label_smoothing: f64,
) -> (loss::CrossEntropy<'a, T>, [usize; 3]) {
    let dims = classes(inputs[0].shape());
    let weight = inputs.get(2).map(View::slice::<T>).unwrap_or_default();
    (loss::CrossEntropy { classes: dims[1], weight, smoothing: label_smoothing, ignore_index }, dims)
}

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        smoothing_fits(self.label_smoothing)?;
        infer_labels("cross_entropy", inputs, self.reduction)
    }

    fn checks(&self) -> bool {
        true
    }

    fn check(&self, inputs: &[View<'_>]) -> Result<()> {
        check_labels("cross_entropy", inputs[1].slice(), classes(inputs[0].shape())[1], self.ignore_index)
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let each = outputs.last().expect("one output at least");
        with_float!(inputs[0].dtype(), T => {
            let (ce, dims) = kernel::<T>(inputs, self.ignore_index, self.label_smoothing);
            let (x, labels) = (inputs[0].slice::<T>(), inputs[1].slice::<i64>());
            let (mut max, mut sums) = ([T::default(); BLOCK], [T::default(); BLOCK]);
            blocks(run.team, dims, |first, samples| {
                let n = samples.len();
                // SAFETY: members have different samples.
                let loss = unsafe { each.part::<T>(samples.clone()) };
                let mut out = SampleLosses { loss, max: &mut max[..n], sum: &mut sums[..n] };
                if dims[2] == 1 {
                    loss::cross_entropy_rows(ce, &x[first..first + n * dims[1]], &labels[samples], &mut out);
                } else {
                    loss::cross_entropy_columns(ce, &x[first..], dims[2], &labels[samples], &mut out);
                }
            });
            reduce(run.team, self.reduction, || label_weight(ce.weight, self.ignore_index, labels), outputs);
        });
    }

    fn saves(&self) -> Saves {
        Saves::inputs(0b111)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let Self { reduction, ignore_index, label_smoothing } = *self;
        let mut inputs = vec![cx.grad()];
        inputs.extend((0..cx.input_meta.len()).map(|i| cx.input(i)));
        let mut grads: Grads = smallvec![None; cx.input_meta.len()];
        if cx.needs(0) {
            // The memory of labels may be another's, who has changed them since.
            let labels = contiguous(cx.input(1))?;
            check_labels("cross_entropy", labels.view().slice(), classes(&cx.input_meta[0].shape)[1], ignore_index)?;
            grads[0] = Some(apply(CrossEntropyGrad { reduction, ignore_index, label_smoothing }, &inputs)?);
        }
        Ok(grads)
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel() * 2
    }
}

impl Op for CrossEntropyGrad {
    fn name(&self) -> &'static str {
        "cross_entropy_grad"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![inputs[1].clone()])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_float!(outputs[0].dtype(), T => {
            let (ce, dims) = kernel::<T>(&inputs[1..], self.ignore_index, self.label_smoothing);
            let (g, x, labels) = (inputs[0].slice::<T>(), inputs[1].slice::<T>(), inputs[2].slice::<i64>());
            let shared = shared_scale(g, self.reduction, || label_weight(ce.weight, self.ignore_index, labels));
            let [mut unused, mut max, mut sums, mut scale] = [[T::default(); BLOCK]; 4];
            blocks(run.team, dims, |first, samples| {
                let n = samples.len();
                scales(g, shared, samples.clone(), &mut scale[..n]);
                let labels = &labels[samples];
                let mut found = SampleLosses { loss: &mut unused[..n], max: &mut max[..n], sum: &mut sums[..n] };
                if dims[2] == 1 {
                    let range = first..first + n * dims[1];
                    // SAFETY: members have different rows.
                    let out = unsafe { outputs[0].part::<T>(range.clone()) };
                    loss::cross_entropy_rows(ce, &x[range.clone()], labels, &mut found);
                    let found = SampleScales { scale: &scale[..n], max: &max[..n], sum: &sums[..n] };
                    loss::cross_entropy_rows_backward(ce, &x[range], labels, found, out);
                } else {
                    let range = first..first + (dims[1] - 1) * dims[2] + n;
                    // SAFETY: a member has all columns of its matrices, one block of them after another.
                    let out = unsafe { outputs[0].part::<T>(range.clone()) };
                    loss::cross_entropy_columns(ce, &x[range.clone()], dims[2], labels, &mut found);
                    let found = SampleScales { scale: &scale[..n], max: &max[..n], sum: &sums[..n] };
                    loss::cross_entropy_columns_backward(ce, &x[range], dims[2], labels, found, out);
                }
            });
        });
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        through(cx, |t| second::cross_entropy(*self, t))
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[1].numel() * 3
    }
}

fn smoothing_fits(label_smoothing: f64) -> Result<()> {
    if (0.0..=1.0).contains(&label_smoothing) {
        return Ok(());
    }
    Err(Error::value(format!("cross_entropy: expected label_smoothing in [0, 1]; got {label_smoothing}")))
}

/// The loss of class labels (int64), or of a float target of probabilities.
pub fn cross_entropy(
    logits: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    reduction: Reduction,
    ignore_index: i64,
    label_smoothing: f64,
) -> Result<Tensor> {
    if target.dtype().is_float() {
        return probabilities::cross_entropy(logits, target, weight, reduction, ignore_index, label_smoothing);
    }
    let inputs: Vec<&Tensor> = [logits, target].into_iter().chain(weight).collect();
    let op = CrossEntropy { reduction, ignore_index, label_smoothing };
    Ok(apply_many(std::sync::Arc::new(op), &inputs)?.swap_remove(0))
}

#[cfg(test)]
mod tests;

//! Negative log-likelihood: cross entropy of log-probabilities.
//!
//! ```text
//! l = −w_y · x_y        x: (n, c), (n, c, d…) or (c), log-probabilities; y the label, w the class weights
//! ```
//! Reduced as [`super::cross_entropy`] is.

use smallvec::smallvec;

use super::cross_entropy::{Reduction, check_labels, classes, infer_labels, label_weight, reduce, shared_scale};
use super::{Grads, Op, Outputs, Run, Saves, apply, apply_many, contiguous, second};
use crate::element::Float;
use crate::error::Result;
use crate::kernels::position::{read_ref, within};
use crate::tensor::tape::{Backward, through};
use crate::tensor::{Meta, Tensor, View};
use crate::with_float;

/// Inputs log-probabilities, labels, and class weights; outputs the loss and, if it is reduced, each sample's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NllLoss {
    /// Reduction of the losses.
    pub reduction: Reduction,
    /// The label of samples to leave out.
    pub ignore_index: i64,
}

/// The gradient with respect to the log-probabilities: inputs g, then those of [`NllLoss`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NllLossGrad {
    /// The loss.
    pub loss: NllLoss,
}

fn weight_at<T: Float>(weight: &[T], label: usize) -> T {
    if weight.is_empty() { T::ONE } else { weight[label] }
}

impl NllLoss {
    /// The class of a sample that counts. Others may have changed the label since it was checked.
    #[allow(clippy::trivially_copy_pass_by_ref)] // read where it lies, for another thread may write it
    fn class(&self, label: &i64, classes: usize) -> Option<usize> {
        let label = read_ref(label);
        within(label, classes).filter(|_| label != self.ignore_index)
    }
}

impl Op for NllLoss {
    fn name(&self) -> &'static str {
        "nll_loss"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        infer_labels("nll_loss", inputs, self.reduction)
    }

    fn checks(&self) -> bool {
        true
    }

    fn check(&self, inputs: &[View<'_>]) -> Result<()> {
        check_labels("nll_loss", inputs[1].slice(), classes(inputs[0].shape())[1], self.ignore_index)
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let [outer, c, inner] = classes(inputs[0].shape());
        let each = outputs.last().expect("one output at least");
        with_float!(inputs[0].dtype(), T => {
            let (x, labels) = (inputs[0].slice::<T>(), inputs[1].slice::<i64>());
            let weight = inputs.get(2).map(View::slice::<T>).unwrap_or_default();
            let mine = run.team.share(outer * inner);
            // SAFETY: members have different samples.
            let losses = unsafe { each.part::<T>(mine.clone()) };
            for (i, loss) in mine.zip(losses) {
                *loss = match self.class(&labels[i], c) {
                    Some(class) => -(weight_at(weight, class) * x[(i / inner * c + class) * inner + i % inner]),
                    None => 0.0,
                };
            }
            reduce(run.team, self.reduction, || label_weight(weight, self.ignore_index, labels), outputs);
        });
    }

    fn saves(&self) -> Saves {
        // The log-probabilities are read for their shape alone.
        Saves::inputs(0b111)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let mut inputs = vec![cx.grad()];
        inputs.extend((0..cx.input_meta.len()).map(|i| cx.input(i)));
        let mut grads: Grads = smallvec![None; cx.input_meta.len()];
        if cx.needs(0) {
            // The memory of labels may be another's, who has changed them since.
            let labels = contiguous(cx.input(1))?;
            check_labels("nll_loss", labels.view().slice(), classes(&cx.input_meta[0].shape)[1], self.ignore_index)?;
            grads[0] = Some(apply(NllLossGrad { loss: *self }, &inputs)?);
        }
        Ok(grads)
    }
}

impl Op for NllLossGrad {
    fn name(&self) -> &'static str {
        "nll_loss_grad"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![inputs[1].clone()])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let [outer, c, inner] = classes(inputs[1].shape());
        with_float!(outputs[0].dtype(), T => {
            let (g, labels) = (inputs[0].slice::<T>(), inputs[2].slice::<i64>());
            let weight = inputs.get(3).map(View::slice::<T>).unwrap_or_default();
            let shared = shared_scale(g, self.loss.reduction, || label_weight(weight, self.loss.ignore_index, labels));
            for block in run.team.share(outer) {
                // SAFETY: members have different blocks.
                let out = unsafe { outputs[0].part::<T>(block * c * inner..(block + 1) * c * inner) };
                out.fill(T::ZERO);
                for k in 0..inner {
                    let i = block * inner + k;
                    if let Some(class) = self.loss.class(&labels[i], c) {
                        out[class * inner + k] = -(weight_at(weight, class) * shared.unwrap_or(g[i % g.len()]));
                    }
                }
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        through(cx, |t| second::nll_loss(self.loss, t))
    }
}

/// −`w_y` · `x_y`, reduced.
pub fn nll_loss(
    log_probabilities: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    reduction: Reduction,
    ignore_index: i64,
) -> Result<Tensor> {
    let inputs: Vec<&Tensor> = [log_probabilities, target].into_iter().chain(weight).collect();
    let mut outputs = apply_many(std::sync::Arc::new(NllLoss { reduction, ignore_index }), &inputs)?;
    Ok(outputs.swap_remove(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::cross_entropy::cross_entropy;
    use crate::ops::gradcheck_nn::{close, gradcheck, message, noise, same_bits_for_any_team, to};
    use crate::ops::softmax::log_softmax;

    #[test]
    fn of_a_log_softmax_it_is_cross_entropy() {
        for (shape, kept) in [(&[6, 4][..], &[6][..]), (&[4], &[]), (&[3, 4, 2], &[3, 2])] {
            let (x, w) = (noise(shape, 1), Tensor::from_slice(&[0.5, 1.0, 2.0, 0.25], &[4]));
            let y: Vec<i64> =
                (0..kept.iter().product::<usize>()).map(|i| if i == 1 { -7 } else { (i * 3 % 4) as i64 }).collect();
            let y = Tensor::from_slice(&y, kept);
            for reduction in [Reduction::None, Reduction::Mean, Reduction::Sum] {
                let p = log_softmax(&x, i64::from(shape.len() > 1)).unwrap();
                let expected = cross_entropy(&x, &y, Some(&w), reduction, -7, 0.0).unwrap().to_vec_f64();
                close(&nll_loss(&p, &y, Some(&w), reduction, -7).unwrap(), &expected, 1e-13);
                gradcheck(std::slice::from_ref(&p), |t| {
                    nll_loss(&t[0], &y, Some(&to(&w, t[0].dtype())), reduction, -7)
                });
                same_bits_for_any_team(&NllLoss { reduction, ignore_index: -7 }, &[p, y.clone()]);
            }
        }
        let wrong = nll_loss(&noise(&[1, 3], 1), &Tensor::from_slice(&[3_i64], &[1]), None, Reduction::Mean, -100);
        assert_eq!(message(wrong), "nll_loss: expected labels in [0, 3) or ignore_index -100; got 3 at position 0");
    }
}

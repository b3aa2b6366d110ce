//! Losses of one input and one target at a time: mean squared error and its kin, binary cross entropy, Kullback–Leibler.
//!
//! ```text
//! lᵢ = weightᵢ · loss(inputᵢ, targetᵢ)        the result is l, its mean or its sum
//! ```
//! The formulas stand with the kernels. Where `PyTorch` differs: it warns where shapes differ, and broadcasts; here they
//! must be the same.

use smallvec::smallvec;

pub use crate::kernels::loss::PointLoss;

use super::cross_entropy::Reduction;
use super::{Grads, Op, Outputs, Run, Saves, apply, apply_many, div, float_dtype, second};
use crate::element::Float;
use crate::error::{Error, Result};
use crate::kernels::reduce::{CHUNK, sum, sum_flat};
use crate::tensor::layout::{broadcast, show};
use crate::tensor::tape::{Backward, through};
use crate::tensor::{Meta, Tensor, View};
use crate::with_float;

/// Inputs input, target, then weight and `pos_weight` as far as the flags say, all of one shape; outputs the loss and,
/// if it is reduced, the sums of chunks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PointLossOp {
    /// Kind of the loss.
    pub kind: PointLoss,
    /// Reduction of the losses.
    pub reduction: Reduction,
    /// True if each loss has a weight.
    pub weight: bool,
    /// True if each positive class has a weight, for [`PointLoss::BceWithLogits`].
    pub pos_weight: bool,
}

/// The gradient with respect to the input, or to the target: inputs g, then those of [`PointLossOp`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PointLossGrad {
    /// The loss.
    pub loss: PointLossOp,
    /// True if with respect to the target.
    pub target: bool,
}

impl PointLossOp {
    fn named(self) -> &'static str {
        match self.kind {
            PointLoss::Mse => "mse_loss",
            PointLoss::L1 => "l1_loss",
            PointLoss::SmoothL1 { .. } => "smooth_l1_loss",
            PointLoss::Huber { .. } => "huber_loss",
            PointLoss::Bce => "binary_cross_entropy",
            PointLoss::BceWithLogits { .. } => "binary_cross_entropy_with_logits",
            PointLoss::KlDiv { .. } => "kl_div",
        }
    }

    /// Weight and `pos_weight` among the inputs that follow the target.
    fn weights<'a, T: Float>(self, rest: &[View<'a>]) -> [Option<&'a [T]>; 2] {
        let mut rest = rest.iter().map(View::slice::<T>);
        let weight = if self.weight { rest.next() } else { None };
        [weight, if self.pos_weight { rest.next() } else { None }]
    }

    /// The kernels for one element with its own positive weight.
    fn at(self, pos_weight: f64) -> PointLoss {
        if self.pos_weight { PointLoss::BceWithLogits { pos_weight } } else { self.kind }
    }

    /// Losses of a range of elements, weighted.
    fn losses<T: Float>(self, inputs: &[View<'_>], range: std::ops::Range<usize>, out: &mut [T]) {
        let (x, t) = (&inputs[0].slice::<T>()[range.clone()], &inputs[1].slice::<T>()[range.clone()]);
        let [weight, pos_weight] = self.weights::<T>(&inputs[2..]);
        match pos_weight.map(|p| &p[range.clone()]) {
            None => self.kind.forward(x, t, out),
            Some(pos_weight) => {
                for (i, &p) in pos_weight.iter().enumerate() {
                    self.at(p.to_f64()).forward(&x[i..=i], &t[i..=i], &mut out[i..=i]);
                }
            }
        }
        for (out, &w) in out.iter_mut().zip(weight.map_or(&[][..], |w| &w[range])) {
            *out = *out * w;
        }
    }
}

impl Op for PointLossOp {
    fn name(&self) -> &'static str {
        self.named()
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        let shape = &inputs[0].shape;
        if inputs[1].shape != *shape {
            let (expected, got) = (show(shape), show(&inputs[1].shape));
            return Err(Error::value(format!("{}: expected target of shape {expected}; got {got}", self.name())));
        }
        if self.reduction == Reduction::None {
            return Ok(smallvec![Meta { shape: shape.clone(), dtype }]);
        }
        Ok(smallvec![Meta::new(&[], dtype), Meta::new(&[inputs[0].numel().div_ceil(CHUNK)], dtype)])
    }

    fn checks(&self) -> bool {
        self.kind == PointLoss::Bce
    }

    fn check(&self, inputs: &[View<'_>]) -> Result<()> {
        if !self.checks() {
            return Ok(());
        }
        with_float!(inputs[0].dtype(), T => {
            match inputs[0].slice::<T>().iter().find(|x| !(0.0..=1.0).contains(*x)) {
                Some(x) => Err(Error::value(format!("{}: expected input in [0, 1]; got {x}", self.name()))),
                None => Ok(()),
            }
        })
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let n = inputs[0].numel();
        with_float!(inputs[0].dtype(), T => {
            if self.reduction == Reduction::None {
                let share = run.team.share(n);
                // SAFETY: members have different shares.
                return self.losses::<T>(inputs, share.clone(), unsafe { outputs[0].part(share) });
            }
            // A chunk stays in L1.
            #[allow(clippy::large_stack_arrays)]
            let mut losses = [T::default(); CHUNK];
            for chunk in run.team.share(n.div_ceil(CHUNK)) {
                let range = chunk * CHUNK..n.min((chunk + 1) * CHUNK);
                let losses = &mut losses[..range.len()];
                self.losses(inputs, range, losses);
                // SAFETY: members have different chunks.
                let out = unsafe { outputs[1].part::<T>(chunk..chunk + 1) };
                out[0] = sum(losses);
            }
            run.team.barrier();
            if run.team.rank() == 0 {
                let total = sum_flat(outputs[1].slice::<T>());
                let loss = if self.reduction == Reduction::Mean { total / n as T } else { total };
                // SAFETY: the other members write nothing here.
                let out = unsafe { outputs[0].part::<T>(0..1) };
                out[0] = loss;
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves::inputs(0b1111)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let mut grads: Grads = smallvec![None; cx.input_meta.len()];
        for (i, grad) in grads.iter_mut().enumerate().take(2) {
            if cx.needs(i) {
                let mut inputs = vec![cx.grad()];
                inputs.extend((0..cx.input_meta.len()).map(|j| cx.input(j)));
                *grad = Some(apply(PointLossGrad { loss: *self, target: i == 1 }, &inputs)?);
            }
        }
        Ok(grads)
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel()
    }
}

impl Op for PointLossGrad {
    fn name(&self) -> &'static str {
        "point_loss_grad"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        Ok(smallvec![Meta { shape: inputs[1].shape.clone(), dtype }])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let n = inputs[1].numel();
        with_float!(outputs[0].dtype(), T => {
            let [g, x, t] = [0, 1, 2].map(|i| inputs[i].slice::<T>());
            let [weight, pos_weight] = self.loss.weights::<T>(&inputs[3..]);
            let scale = match self.loss.reduction {
                Reduction::None => None,
                Reduction::Sum => Some(g[0]),
                Reduction::Mean => Some(g[0] / n as T),
            };
            let mut buffer = [T::default(); BUFFER];
            let share = run.team.share(n);
            for start in share.clone().step_by(BUFFER) {
                let range = start..share.end.min(start + BUFFER);
                let scales = &mut buffer[..range.len()];
                match scale {
                    Some(scale) => scales.fill(scale),
                    None => scales.copy_from_slice(&g[range.clone()]),
                }
                for (scale, &w) in scales.iter_mut().zip(weight.map_or(&[][..], |w| &w[range.clone()])) {
                    *scale *= w;
                }
                // SAFETY: members have different shares.
                let out = unsafe { outputs[0].part::<T>(range.clone()) };
                let (x, t) = (&x[range.clone()], &t[range.clone()]);
                let grad = |kind: PointLoss, i: std::ops::Range<usize>, out: &mut [T]| {
                    if self.target {
                        kind.grad_target(&scales[i.clone()], &x[i.clone()], &t[i], out);
                    } else {
                        kind.grad_input(&scales[i.clone()], &x[i.clone()], &t[i], out);
                    }
                };
                match pos_weight {
                    None => grad(self.loss.kind, 0..out.len(), out),
                    Some(p) => {
                        for (i, &p) in p[range].iter().enumerate() {
                            grad(self.loss.at(p.to_f64()), i..i + 1, &mut out[i..=i]);
                        }
                    }
                }
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        through(cx, |t| second::point_loss(*self, t))
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[1].numel()
    }
}

/// Elements whose scales are made at once.
const BUFFER: usize = 512;

/// The loss of `input` and `target`, reduced.
pub fn point_loss(input: &Tensor, target: &Tensor, kind: PointLoss, reduction: Reduction) -> Result<Tensor> {
    weighted(input, target, kind, reduction, [None, None])
}

/// With weights, which broadcast to the input's shape; no gradient flows to them.
fn weighted(
    input: &Tensor,
    target: &Tensor,
    kind: PointLoss,
    reduction: Reduction,
    [weight, pos_weight]: [Option<&Tensor>; 2],
) -> Result<Tensor> {
    let op = PointLossOp { kind, reduction, weight: weight.is_some(), pos_weight: pos_weight.is_some() };
    let mut stretched = Vec::new();
    for (name, w) in [("weight", weight), ("pos_weight", pos_weight)] {
        let Some(w) = w else { continue };
        if !broadcast(op.named(), w.shape(), input.shape()).is_ok_and(|shape| shape[..] == *input.shape()) {
            let (expected, got) = (show(input.shape()), show(w.shape()));
            return Err(Error::value(format!(
                "{}: expected {name} that broadcasts to {expected}; got {got}",
                op.named()
            )));
        }
        stretched.push(w.alias(w.layout().expand(input.shape())));
    }
    let inputs: Vec<&Tensor> = [input, target].into_iter().chain(&stretched).collect();
    let mut outputs = apply_many(std::sync::Arc::new(op), &inputs)?;
    Ok(outputs.swap_remove(0))
}

/// (input − target)².
pub fn mse_loss(input: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    point_loss(input, target, PointLoss::Mse, reduction)
}

/// |input − target|.
pub fn l1_loss(input: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    point_loss(input, target, PointLoss::L1, reduction)
}

/// Quadratic below `beta`, which is at least 0, and linear above.
pub fn smooth_l1_loss(input: &Tensor, target: &Tensor, beta: f64, reduction: Reduction) -> Result<Tensor> {
    if beta.is_nan() || beta < 0.0 {
        return Err(Error::value(format!("smooth_l1_loss: expected beta >= 0; got {beta}")));
    }
    point_loss(input, target, PointLoss::SmoothL1 { beta }, reduction)
}

/// Quadratic below `delta`, which is above 0, and linear above.
pub fn huber_loss(input: &Tensor, target: &Tensor, delta: f64, reduction: Reduction) -> Result<Tensor> {
    if delta.is_nan() || delta <= 0.0 {
        return Err(Error::value(format!("huber_loss: expected delta > 0; got {delta}")));
    }
    point_loss(input, target, PointLoss::Huber { delta }, reduction)
}

/// −target · ln input − (1 − target) · ln(1 − input), times a weight that broadcasts.
pub fn binary_cross_entropy(
    input: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Tensor> {
    weighted(input, target, PointLoss::Bce, reduction, [weight, None])
}

/// Binary cross entropy of sigmoid(input), times a weight; `pos_weight` multiplies the positive term. Both broadcast.
pub fn binary_cross_entropy_with_logits(
    input: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    pos_weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Tensor> {
    weighted(input, target, PointLoss::BceWithLogits { pos_weight: 1.0 }, reduction, [weight, pos_weight])
}

/// target · (ln target − input), the input being log-probabilities, and the target too if `log_target`.
pub fn kl_div(input: &Tensor, target: &Tensor, log_target: bool, reduction: Reduction) -> Result<Tensor> {
    point_loss(input, target, PointLoss::KlDiv { log_target }, reduction)
}

/// The sum of [`kl_div`] over the number of rows: its `batchmean`.
pub fn kl_div_batchmean(input: &Tensor, target: &Tensor, log_target: bool) -> Result<Tensor> {
    let total = kl_div(input, target, log_target, Reduction::Sum)?;
    let rows = input.shape().first().copied().unwrap_or(1);
    div(&total, &Tensor::full(&[], rows as f64, total.dtype()))
}

#[cfg(test)]
mod tests;

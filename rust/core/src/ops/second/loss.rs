//! Losses.

use super::along;
use crate::element::DType;
use crate::error::Result;
use crate::kernels::loss::PointLoss;
use crate::ops::activation::{sigmoid, softplus};
use crate::ops::cross_entropy::{CrossEntropyGrad, CrossEntropySoftGrad, Reduction};
use crate::ops::nll_loss::NllLoss;
use crate::ops::point_loss::PointLossGrad;
use crate::ops::softmax::{log_softmax, softmax};
use crate::ops::{
    abs, add, add_scalar, arange, cast, clamp, div, div_scalar, eq, exp, log, log1p, lt_scalar, mul, mul_scalar,
    ne_scalar, neg, sign, sub, sum, unsqueeze, where_,
};
use crate::tensor::Tensor;

/// Constants that follow from a target of labels, no functions of the logits.
struct Labels {
    /// 1 at the label of a sample that counts, else 0, in the shape of the logits.
    hot: Tensor,
    /// 1 for samples that count, with a dimension for the classes.
    counts: Tensor,
    /// The class weights, in a shape that broadcasts.
    weight: Option<Tensor>,
    /// The dimension of the classes.
    dim: usize,
}

impl Labels {
    fn new(logits: &Tensor, labels: &Tensor, weight: Option<&Tensor>, ignore_index: i64) -> Result<Self> {
        let dim = usize::from(logits.ndim() > 1);
        let dtype = logits.dtype();
        let labels = unsqueeze(labels, dim as i64)?;
        let counts = cast(&ne_scalar(&labels, ignore_index)?, dtype)?;
        let classes = arange(0, logits.shape()[dim] as i64, 1, Some(DType::I64))?;
        let hot = mul(&cast(&eq(&labels, &along(&classes, logits, dim)?)?, dtype)?, &counts)?;
        Ok(Self { hot, counts, weight: weight.map(|w| along(&w.detach(), logits, dim)).transpose()?, dim })
    }

    fn weighted(&self, x: &Tensor) -> Result<Tensor> {
        self.weight.as_ref().map_or(Ok(x.clone()), |w| mul(x, w))
    }

    /// The gradient of each sample's loss, with a dimension for the classes.
    fn scale(&self, g: &Tensor, reduction: Reduction) -> Result<Tensor> {
        match reduction {
            Reduction::None => unsqueeze(g, self.dim as i64),
            Reduction::Sum => Ok(g.clone()),
            Reduction::Mean => div(g, &sum(&self.weighted(&self.hot)?, None, false)?),
        }
    }
}

/// Inputs g, logits, labels, and class weights if there are some.
pub(in crate::ops) fn cross_entropy(op: CrossEntropyGrad, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let [g, x, labels, weight @ ..] = inputs else { unreachable!("three inputs") };
    let labels = Labels::new(x, labels, weight.first(), op.ignore_index)?;
    let spread = op.label_smoothing / x.shape()[labels.dim] as f64;
    // Weight of each class: the loss is −Σ share · log_softmax.
    let sharp = mul_scalar(&labels.hot, 1.0 - op.label_smoothing)?;
    let share = labels.weighted(&add(&sharp, &mul_scalar(&labels.counts, spread)?)?)?;
    let dim = labels.dim as i64;
    let grad = sub(&mul(&softmax(x, dim)?, &sum(&share, Some(&[dim]), true)?)?, &share)?;
    Ok(vec![mul(&grad, &labels.scale(g, op.reduction)?)?])
}

/// Inputs g, log-probabilities, labels, and class weights if there are some.
pub(in crate::ops) fn nll_loss(op: NllLoss, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let [g, x, labels, weight @ ..] = inputs else { unreachable!("three inputs") };
    let labels = Labels::new(x, labels, weight.first(), op.ignore_index)?;
    Ok(vec![neg(&mul(&labels.weighted(&labels.hot)?, &labels.scale(g, op.reduction)?)?)?])
}

/// Inputs g, logits, target, and class weights if there are some; outputs `grad_logits`, `grad_target`.
pub(in crate::ops) fn cross_entropy_soft(op: CrossEntropySoftGrad, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let [g, x, target, weight @ ..] = inputs else { unreachable!("three inputs") };
    let dim = x.ndim() - 1;
    let weight = weight.first().map(|w| along(&w.detach(), x, dim)).transpose()?;
    let weighted = |t: &Tensor| weight.as_ref().map_or(Ok(t.clone()), |w| mul(t, w));
    let spread = op.label_smoothing / x.shape()[dim] as f64;
    let share = weighted(&add_scalar(&mul_scalar(target, 1.0 - op.label_smoothing)?, spread)?)?;
    let scale = match op.reduction {
        Reduction::None => unsqueeze(g, -1)?,
        Reduction::Sum => g.clone(),
        Reduction::Mean => div_scalar(g, (x.numel() / x.shape()[dim]) as f64)?,
    };
    let total = sum(&share, Some(&[-1]), true)?;
    let grad_x = sub(&mul(&softmax(x, -1)?, &total)?, &share)?;
    let grad_target = weighted(&mul_scalar(&log_softmax(x, -1)?, op.label_smoothing - 1.0)?)?;
    Ok(vec![mul(&grad_x, &scale)?, mul(&grad_target, &scale)?])
}

/// d held to `−limit..=limit`, with derivative 0 at both ends.
fn held(d: &Tensor, limit: f64) -> Result<Tensor> {
    where_(&lt_scalar(&abs(d)?, limit)?, d, &mul_scalar(&sign(d)?, limit)?)
}

/// Inputs g, input, target, then weight and `pos_weight` as far as there are some.
pub(in crate::ops) fn point_loss(op: PointLossGrad, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let [g, x, t, rest @ ..] = inputs else { unreachable!("three inputs") };
    let weight = op.loss.weight.then(|| rest[0].detach());
    let pos_weight = op.loss.pos_weight.then(|| rest[rest.len() - 1].detach());
    let d = || if op.target { sub(t, x) } else { sub(x, t) };
    let slope = match op.loss.kind {
        PointLoss::Mse => mul_scalar(&d()?, 2.0)?,
        PointLoss::L1 | PointLoss::SmoothL1 { beta: 0.0 } => sign(&d()?)?,
        PointLoss::SmoothL1 { beta } => div_scalar(&held(&d()?, beta)?, beta)?,
        PointLoss::Huber { delta } => held(&d()?, delta)?,
        PointLoss::Bce if op.target => sub(&log1p(&neg(x)?)?, &log(x)?)?,
        PointLoss::Bce => {
            let variance = mul(&add_scalar(&neg(x)?, 1.0)?, x)?;
            div(&sub(x, t)?, &clamp(&variance, Some(1e-12.into()), None)?)?
        }
        PointLoss::BceWithLogits { pos_weight: shared } => {
            let times = |x: &Tensor| pos_weight.as_ref().map_or_else(|| mul_scalar(x, shared), |p| mul(x, p));
            // (p − 1) · x
            let more = |x: &Tensor| sub(&times(x)?, x);
            if op.target {
                // From 40 on, ln(1 + eˣ) is x, and eˣ still finite in float32.
                sub(&more(&softplus(&neg(x)?, 1.0, 40.0)?)?, x)?
            } else {
                sub(&mul(&add_scalar(&more(t)?, 1.0)?, &sigmoid(x)?)?, &times(t)?)?
            }
        }
        PointLoss::KlDiv { log_target: false } if op.target => sub(&add_scalar(&log(t)?, 1.0)?, x)?,
        PointLoss::KlDiv { log_target: false } => neg(t)?,
        PointLoss::KlDiv { log_target: true } if op.target => mul(&exp(t)?, &add_scalar(&sub(t, x)?, 1.0)?)?,
        PointLoss::KlDiv { log_target: true } => neg(&exp(t)?)?,
    };
    let slope = weight.map_or(Ok(slope.clone()), |w| mul(&slope, &w))?;
    let scale = if op.loss.reduction == Reduction::Mean { div_scalar(g, x.numel() as f64)? } else { g.clone() };
    Ok(vec![mul(&slope, &scale)?])
}

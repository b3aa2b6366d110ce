//! Batch normalization.
//!
//! ```text
//! x̂ = (x − mean) · inv_std         inv_std = 1 / √(var + ε)
//! y = weight · x̂ + bias            x: (n, c, *), everything else: (c)
//! while training: mean and var are the batch's, and
//!     running ← (1 − momentum) · running + momentum · batch      the variance here being the unbiased one
//! while evaluating: they are the running ones
//! grad_x = weight · inv_std · (g − mean(g) − x̂ · mean(g · x̂))    while evaluating: weight · inv_std · g
//! grad_weight = Σ g · x̂,  grad_bias = Σ g
//! ```
//! Source: Ioffe & Szegedy 2015, <https://arxiv.org/abs/1502.03167>, Algorithms 1 and 2.

mod fused;
mod images;

use std::ops::Range;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::{Grads, Op, Outputs, Run, Saves, apply_many, float_dtype, second, shape_error};
use crate::element::{DType, Float};
use crate::error::{Error, Result};
use crate::kernels::norm::planes::{Forward, Gate, Gradient, Planes, Then};
use crate::kernels::norm::{self, Affine, AffineGrad, Moments, MomentsMut, Rows, Scaling};
use crate::tensor::layout::show;
use crate::tensor::overlap;
use crate::tensor::tape::{Backward, through};
use crate::tensor::{Meta, Tensor, View};
use crate::threads::Team;
use crate::with_float;

pub use fused::{BatchNormRelu, BatchNormReluGrad, Mask};

/// Features that are done at once: as many variances stand on the stack.
const BLOCK: usize = 256;

/// Inputs x, or x, weight, bias; outputs y, mean, `inv_std`, and of images what members tell each other.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    /// The share of the newest batch in the running statistics.
    pub momentum: f64,
    /// Added to the variance.
    pub eps: f64,
    /// True if the batch's statistics are used, or the running ones.
    pub training: bool,
    /// Running mean and variance, updated in place while training.
    pub running: Option<(Tensor, Tensor)>,
}

/// Inputs g, x, mean, `inv_std`, and weight if there is one; outputs `grad_x`, `grad_weight`, `grad_bias`,
/// and of images what members tell each other.
#[derive(Clone, Copy, Debug)]
pub struct BatchNormGrad {
    /// As [`BatchNorm::eps`].
    pub eps: f64,
    /// As [`BatchNorm::training`].
    pub training: bool,
}

/// All of an output of which members write different columns.
///
/// # Safety
/// Members must write different elements, and read none that another writes.
unsafe fn interleaved<'a, T: Float>(y: &View<'a>, start: usize) -> &'a mut [T] {
    // SAFETY: inside the output, `start` being a column of it. The slices of members overlap, but no element is
    // accessed through two of them.
    unsafe { std::slice::from_raw_parts_mut(y.ptr::<T>().add(start), y.numel() - start) }
}

/// This member's blocks of columns.
fn blocks(team: &Team, cols: usize) -> impl Iterator<Item = Range<usize>> {
    let mine = team.share_aligned(cols, 16);
    mine.clone().step_by(BLOCK).map(move |start| start..mine.end.min(start + BLOCK))
}

impl BatchNorm {
    /// Running mean and variance of features, as slices that this member alone writes.
    ///
    /// # Safety
    /// As for [`View::part`].
    #[allow(clippy::mut_from_ref)]
    unsafe fn running<T: Float>(&self, features: Range<usize>) -> Option<(&mut [T], &mut [T])> {
        let (mean, var) = self.running.as_ref()?;
        // SAFETY: this function's contract; the shape rule has checked sizes.
        unsafe { Some((mean.view().part(features.clone()), var.view().part(features))) }
    }

    fn update<T: Float>(&self, features: Range<usize>, mean: &[T], var_unbiased: &[T]) {
        // SAFETY: members have different features, and nobody reads the statistics while training.
        let Some((running_mean, running_var)) = (unsafe { self.running::<T>(features) }) else { return };
        let momentum = T::from_f64(self.momentum);
        for (running, batch) in [(running_mean, mean), (running_var, var_unbiased)] {
            for (running, &batch) in running.iter_mut().zip(batch) {
                *running = norm::moving_average(*running, batch, momentum);
            }
        }
    }

    /// Normalize the columns of a matrix by the batch's statistics.
    fn train<T: Float>(&self, team: &Team, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let [n, c] = [inputs[0].shape()[0], inputs[0].shape()[1]];
        let x = inputs[0].slice::<T>();
        let (all, eps) = (affine::<T>(&inputs[1..]), T::from_f64(self.eps));
        for features in blocks(team, c) {
            let mut var_unbiased = [T::ZERO; BLOCK];
            let var_unbiased = &mut var_unbiased[..features.len()];
            // SAFETY: members have different features.
            let (y, mean, inv_std) = unsafe {
                (
                    interleaved::<T>(&outputs[0], features.start),
                    outputs[1].part::<T>(features.clone()),
                    outputs[2].part::<T>(features.clone()),
                )
            };
            let affine = Affine { weight: some(all.weight, &features), bias: some(all.bias, &features) };
            let rows = Rows { rows: n, cols: features.len(), stride: c };
            let moments = &mut MomentsMut { mean, inv_std, var_unbiased };
            norm::forward_columns(&x[features.start..], rows, affine, eps, y, moments);
            self.update(features, moments.mean, moments.var_unbiased);
        }
    }

    /// Write the statistics that are given, and wait until all members see them.
    fn given<'a, T: Float>(&self, team: &Team, outputs: &[View<'a>], weight: &'a [T]) -> Scaling<'a, T> {
        if team.rank() == 0 {
            let all = 0..outputs[1].numel();
            // SAFETY: the other members write no statistics.
            let (mean, inv_std) = unsafe { (outputs[1].part::<T>(all.clone()), outputs[2].part::<T>(all)) };
            let (running_mean, running_var) = self.running.as_ref().expect("the constructor trains without them");
            mean.copy_from_slice(running_mean.view().slice());
            let eps = T::from_f64(self.eps);
            for (inv_std, &var) in inv_std.iter_mut().zip(running_var.view().slice::<T>()) {
                *inv_std = T::ONE / (var + eps).sqrt();
            }
        }
        team.barrier();
        Scaling { mean: outputs[1].slice(), inv_std: outputs[2].slice(), weight }
    }

    /// Normalize the columns of a matrix by the running statistics.
    fn evaluate<T: Float>(&self, team: &Team, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let c = inputs[0].shape()[1];
        let affine = affine::<T>(&inputs[1..]);
        let scaling = self.given(team, outputs, affine.weight);
        if inputs[0].numel() == 0 {
            return;
        }
        let mine = team.share(inputs[0].shape()[0]);
        let range = mine.start * c..mine.end * c;
        // SAFETY: members have different samples.
        let y = unsafe { outputs[0].part::<T>(range.clone()) };
        let rows = Rows { rows: mine.len(), cols: c, stride: c };
        norm::apply_columns(&inputs[0].slice::<T>()[range], rows, scaling, affine.bias, y);
    }

    /// Normalize images, and do to them what comes next.
    fn run_images<T: Float>(
        &self,
        team: &Team,
        planes: Planes,
        forward: &Forward<'_, T>,
        affine: Affine<'_, T>,
        outputs: &[View<'_>],
    ) {
        if self.training {
            images::train(team, planes, forward, affine, T::from_f64(self.eps), outputs, |j, moments: Moments<T>| {
                self.update(j..j + 1, &[moments.mean], &[moments.var_unbiased]);
            });
        } else {
            let scaling = self.given(team, outputs, affine.weight);
            images::evaluate(team, planes, forward, scaling, affine.bias, &outputs[0]);
        }
    }

    /// Note that the running statistics have changed, once all is done.
    fn bump(&self, team: &Team) {
        if self.training
            && team.rank() == 0
            && let Some((mean, var)) = &self.running
        {
            mean.storage().bump();
            var.storage().bump();
        }
    }
}

/// Zeros for all features of an empty batch.
fn nothing(team: &Team, outputs: &[View<'_>]) {
    if team.rank() == 0 {
        for output in outputs {
            with_float!(output.dtype(), T => {
                // SAFETY: the other members write nothing.
                unsafe { output.part::<T>(0..output.numel()) }.fill(0.0);
            });
        }
    }
}

/// The weight and bias, if there are both.
fn affine<'a, T: Float>(inputs: &[View<'a>]) -> Affine<'a, T> {
    match inputs {
        [weight, bias, ..] => Affine { weight: weight.slice(), bias: bias.slice() },
        _ => Affine { weight: &[], bias: &[] },
    }
}

/// These features of a vector that may be absent.
fn some<'a, T>(vector: &'a [T], features: &Range<usize>) -> &'a [T] {
    vector.get(features.clone()).unwrap_or_default()
}

/// True if running mean and variance are vectors of `c` elements that can be read, and `written`.
pub(super) fn check_running(op: &str, running: [&Tensor; 2], c: usize, dtype: DType, written: bool) -> Result<()> {
    for (name, running) in ["running_mean", "running_var"].into_iter().zip(running) {
        if running.shape() != [c] {
            return Err(shape_error(op, &format!("{name} of shape {}", show(&[c])), running.shape()));
        }
        if running.dtype() != dtype {
            let got = running.dtype();
            return Err(Error::dtype(format!("{op}: expected {name} of dtype {dtype}; got {got}")));
        }
        if !running.layout().is_contiguous() || (written && !running.storage().writable()) {
            return Err(Error::value(format!("{op}: expected a contiguous, writable {name}")));
        }
    }
    if written && overlap::share(running[0], running[1]) {
        return Err(Error::value(format!(
            "{op}: expected running_mean and running_var to share no memory; got two that do"
        )));
    }
    Ok(())
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype("batch_norm", inputs)?;
        let x = &inputs[0].shape;
        let known = inputs.get(1).map(|w| w.shape.clone()).or(self.running.as_ref().map(|r| r.0.shape().into()));
        let c = known.as_ref().and_then(|shape: &SmallVec<[usize; 4]>| shape.first()).copied();
        if x.len() < 2 || c.is_some_and(|c| c != x[1]) {
            let c = c.map_or("c".to_owned(), |c| c.to_string());
            return Err(shape_error("batch_norm", &format!("input of shape (n, {c}, *)"), x));
        }
        let c = x[1];
        for (name, vector) in ["weight", "bias"].iter().zip(&inputs[1..]) {
            if vector.shape[..] != [c] {
                return Err(shape_error("batch_norm", &format!("{name} of shape {}", show(&[c])), &vector.shape));
            }
        }
        if let Some((mean, var)) = &self.running {
            check_running("batch_norm", [mean, var], c, dtype, self.training)?;
        }
        if self.training && x[0] * x[2..].iter().product::<usize>() == 1 {
            return Err(Error::value(format!(
                "batch_norm: expected more than 1 value per channel when training; got input of shape {}",
                show(x)
            )));
        }
        let vector = Meta::new(&[c], dtype);
        let mut outputs: Outputs = smallvec![Meta { shape: x.clone(), dtype }, vector.clone(), vector];
        outputs.extend(images::scratch(x).filter(|_| self.training).map(|shape| Meta::new(&shape, dtype)));
        Ok(outputs)
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        if self.training && inputs[0].numel() == 0 {
            // As in PyTorch, an empty batch leaves the running statistics alone.
            return nothing(run.team, &outputs[1..]);
        }
        with_float!(outputs[0].dtype(), T => match images::planes(inputs[0].shape()) {
            Some(planes) => {
                let forward = Forward { x: inputs[0].slice::<T>(), added: None, then: Then::Nothing };
                self.run_images(run.team, planes, &forward, affine(&inputs[1..]), outputs);
            }
            None if self.training => self.train::<T>(run.team, inputs, outputs),
            None => self.evaluate::<T>(run.team, inputs, outputs),
        });
        self.bump(run.team);
    }

    fn changed_outside(&self) -> SmallVec<[&Tensor; 2]> {
        self.running.iter().filter(|_| self.training).flat_map(|(mean, var)| [mean, var]).collect()
    }

    fn saves(&self) -> Saves {
        Saves { inputs: 0b011, outputs: 0b110 }
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let op = Arc::new(BatchNormGrad { eps: self.eps, training: self.training });
        let (g, x, mean, inv_std) = (cx.grad(), cx.input(0), cx.output(1), cx.output(2));
        if cx.input_meta.len() == 1 {
            return Ok(smallvec![Some(apply_many(op, &[g, x, mean, inv_std])?.swap_remove(0))]);
        }
        Ok(apply_many(op, &[g, x, mean, inv_std, cx.input(1)])?.into_iter().take(3).map(Some).collect())
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel() / 2
    }
}

impl Op for BatchNormGrad {
    fn name(&self) -> &'static str {
        "batch_norm_grad"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        let vector = Meta { shape: inputs[2].shape.clone(), dtype };
        let x = &inputs[1].shape;
        let mut outputs: Outputs = smallvec![Meta { shape: x.clone(), dtype }, vector.clone(), vector];
        outputs.extend(images::scratch(x).map(|shape| Meta::new(&shape, dtype)));
        Ok(outputs)
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        if inputs[1].numel() == 0 {
            return nothing(run.team, &outputs[1..]);
        }
        with_float!(outputs[0].dtype(), T => {
            let [g, x, mean, inv_std] = [0, 1, 2, 3].map(|i| inputs[i].slice::<T>());
            let weight = inputs.get(4).map(View::slice::<T>).unwrap_or_default();
            let scaling = Scaling { mean, inv_std, weight };
            if let Some(planes) = images::planes(inputs[1].shape()) {
                let gradient = Gradient { dy: g, x, gate: Gate::Open };
                return images::gradients(run.team, planes, &gradient, (scaling, !self.training), outputs, None);
            }
            let [n, c] = [inputs[1].shape()[0], inputs[1].shape()[1]];
            let backward = if self.training { norm::backward_columns } else { norm::apply_columns_backward };
            for features in blocks(run.team, c) {
                // SAFETY: members have different features.
                let (gx, gw, gb) = unsafe {
                    (
                        interleaved::<T>(&outputs[0], features.start),
                        outputs[1].part::<T>(features.clone()),
                        outputs[2].part::<T>(features.clone()),
                    )
                };
                let scaling = Scaling {
                    mean: &mean[features.clone()],
                    inv_std: &inv_std[features.clone()],
                    weight: some(weight, &features),
                };
                let rows = Rows { rows: n, cols: features.len(), stride: c };
                let grads = &mut AffineGrad { weight: gw, bias: gb };
                backward(&g[features.start..], &x[features.start..], rows, scaling, gx, grads);
            }
        });
    }

    /// Of images, whose sums are complete before anything is written.
    fn overwrites(&self, inputs: &[Meta]) -> bool {
        images::planes(&inputs[1].shape).is_some()
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        through(cx, |t| second::batch_norm(*self, t))
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel() / 2
    }
}

/// The settings of [`batch_norm`].
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// True if the batch's statistics are used, and the running ones updated.
    pub training: bool,
    /// The share of the newest batch in the running statistics.
    pub momentum: f64,
    /// Added to the variance.
    pub eps: f64,
}

/// Normalize each feature, then scale and shift it. Without running statistics the batch's are used in both modes.
pub fn batch_norm(
    x: &Tensor,
    running: Option<(&Tensor, &Tensor)>,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    settings: Settings,
) -> Result<Tensor> {
    let Settings { training, momentum, eps } = settings;
    let op = Arc::new(BatchNorm {
        momentum,
        eps,
        training: training || running.is_none(),
        running: running.map(|(mean, var)| (mean.clone(), var.clone())),
    });
    let filled = |other: &Tensor, value| Tensor::full(other.shape(), value, other.dtype());
    let mut outputs = match (weight, bias) {
        (None, None) => apply_many(op, &[x])?,
        (Some(weight), None) => apply_many(op, &[x, weight, &filled(weight, 0.0)])?,
        (None, Some(bias)) => apply_many(op, &[x, &filled(bias, 1.0), bias])?,
        (Some(weight), Some(bias)) => apply_many(op, &[x, weight, bias])?,
    };
    Ok(outputs.swap_remove(0))
}

#[cfg(test)]
mod tests;

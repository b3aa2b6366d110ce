//! Layer, RMS, group and instance normalization: every sample by itself.
//!
//! ```text
//! x̂ = (x − mean) · inv_std          inv_std = 1 / √(var + ε), var being the biased one, over one group of a sample
//! y = weight · x̂ + bias             RMS norm: mean = 0 and var = Σ x² / k, and no bias
//! layer, RMS   a group is all of the last dimensions; weight and bias have their shape
//! group        x is (n, c, *), a group is c / groups channels; weight and bias: (c)
//! instance     x is (n, c, *) or (c, l), a group is one channel; weight and bias: (c)
//! grad_x = inv_std · (h − Σ h / k − x̂ · Σ h·x̂ / k)          h = weight · g, k elements in a group; RMS: without Σ h
//! grad_weight = Σ g · x̂,  grad_bias = Σ g                    Σ over samples, in the fixed order of all sums
//! ```
//! Sources: Ba, Kiros & Hinton 2016, <https://arxiv.org/abs/1607.06450>; Zhang & Sennrich 2019,
//! <https://arxiv.org/abs/1910.07467>; Wu & He 2018, <https://arxiv.org/abs/1803.08494>; Ulyanov, Vedaldi & Lempitsky
//! 2016, <https://arxiv.org/abs/1607.08022>.

use std::ops::Range;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::{Grads, Op, Outputs, Run, Saves, apply_many, batch_norm, float_dtype, second, shape_error};
use crate::element::{DType, Float};
use crate::error::{Error, Result};
use crate::kernels::norm::{self, Affine, AffineGrad, Groups, Measure, MomentsMut, Scaling};
use crate::kernels::reduce;
use crate::reserve;
use crate::tensor::layout::{Dims, show};
use crate::tensor::tape::{Backward, through};
use crate::tensor::{Meta, Tensor, View};
use crate::with_float;

/// The elements that are normalized together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All of the last dimensions, which are these.
    Layer(Dims),
    /// Likewise, about 0.
    Rms(Dims),
    /// So many groups of channels.
    Group(usize),
    /// Every channel.
    Instance,
}

/// Inputs x, then weight and bias as far as there are; outputs y, mean, `inv_std`, and the unbiased variance if there are
/// running statistics.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    /// The elements that are normalized together.
    pub kind: Kind,
    /// Added to the variance.
    pub eps: f64,
    /// True if there is a weight.
    pub weight: bool,
    /// True if there is a bias.
    pub bias: bool,
    /// Of an instance norm that trains: mean and variance (c), updated in place, and the share of the newest batch.
    pub running: Option<(Tensor, Tensor, f64)>,
}

/// Inputs g, x, mean, `inv_std`, and weight if there is one; outputs `grad_x`, and `grad_weight` and `grad_bias` if
/// either is wanted, and then, of channels longer than 1, both of every sample.
#[derive(Clone, Debug)]
pub struct GroupNormGrad {
    kind: Kind,
    /// As [`GroupNorm::eps`].
    eps: f64,
    /// The shape of weight and bias, if there is either.
    affine: Option<Dims>,
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Layer(_) => "layer_norm",
            Self::Rms(_) => "rms_norm",
            Self::Group(_) => "group_norm",
            Self::Instance => "instance_norm",
        }
    }

    fn centered(&self) -> bool {
        !matches!(self, Self::Rms(_))
    }

    /// The shape of weight and bias for this x.
    fn affine(&self, x: &[usize]) -> Dims {
        match self {
            Self::Layer(shape) | Self::Rms(shape) => shape.clone(),
            Self::Group(_) => smallvec![x[1]],
            Self::Instance => smallvec![x[channel_dim(x)]],
        }
    }

    /// The groups of an x that fits. Where no channel differs from the next, a group is one channel.
    fn groups(&self, x: &[usize], affine: bool) -> Groups {
        let size = |dims: &[usize]| dims.iter().product::<usize>();
        let groups = match self {
            Self::Layer(shape) | Self::Rms(shape) => {
                Groups { n: size(&x[..x.len() - shape.len()]), c: size(shape), l: 1, groups: 1 }
            }
            Self::Group(groups) => Groups { n: x[0], c: x[1], l: size(&x[2..]), groups: *groups },
            Self::Instance => {
                let dim = channel_dim(x);
                Groups { n: size(&x[..dim]), c: x[dim], l: size(&x[dim + 1..]), groups: x[dim] }
            }
        };
        if affine { groups } else { Groups { c: groups.groups, l: groups.row(), ..groups } }
    }

    /// True if x can be cut into groups.
    fn check(&self, x: &[usize]) -> Result<()> {
        let single = |what: &str| {
            Err(Error::value(format!("{}: expected more than 1 {what}; got input of shape {}", self.name(), show(x))))
        };
        match self {
            Self::Layer(shape) | Self::Rms(shape) => {
                if shape.is_empty() {
                    return Err(Error::value(format!(
                        "{}: expected a normalized_shape of 1 or more sizes; got ()",
                        self.name()
                    )));
                }
                if !x.ends_with(shape) {
                    let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
                    let expected = format!("input of shape (*, {})", sizes.join(", "));
                    return Err(shape_error(self.name(), &expected, x));
                }
            }
            Self::Group(groups) => {
                if x.len() < 2 || *groups == 0 || x[1] == 0 || !x[1].is_multiple_of(*groups) {
                    let expected = format!("input of shape (n, c, *) with c a multiple of {groups}");
                    return Err(shape_error(self.name(), &expected, x));
                }
                if x[0] * (x[1] / groups) * x[2..].iter().product::<usize>() == 1 {
                    return single("value per channel");
                }
            }
            Self::Instance => {
                if x.len() < 2 {
                    return Err(shape_error(self.name(), "input of shape (n, c, *) or (c, l)", x));
                }
                if x[channel_dim(x) + 1..].iter().product::<usize>() == 1 {
                    return single("spatial element");
                }
            }
        }
        Ok(())
    }
}

/// Dimension of instance norm's channels: (c, l) has no samples.
fn channel_dim(x: &[usize]) -> usize {
    usize::from(x.len() > 2)
}

/// One vector of rows or channels; `None` stands for one that is absent.
fn vector<'a, T: Float>(view: Option<&View<'a>>) -> &'a [T] {
    view.map(View::slice::<T>).unwrap_or_default()
}

/// The elements of some rows.
fn elements(shape: Groups, rows: &Range<usize>) -> Range<usize> {
    rows.start * shape.row()..rows.end * shape.row()
}

impl GroupNorm {
    fn normalize<T: Float>(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let shape = self.kind.groups(inputs[0].shape(), self.weight || self.bias);
        let rows = run.team.share(shape.rows());
        let at = elements(shape, &rows);
        // SAFETY: members have different rows.
        let (y, mean, inv_std, var_unbiased) = unsafe {
            (
                outputs[0].part::<T>(at.clone()),
                outputs[1].part::<T>(rows.clone()),
                outputs[2].part::<T>(rows.clone()),
                outputs.get(3).map(|var| var.part::<T>(rows.clone())).unwrap_or_default(),
            )
        };
        let weight = vector(self.weight.then(|| &inputs[1]));
        let affine = Affine { weight, bias: vector(self.bias.then(|| &inputs[1 + usize::from(self.weight)])) };
        let measure = Measure { eps: T::from_f64(self.eps), centered: self.kind.centered() };
        let out = &mut MomentsMut { mean, inv_std, var_unbiased };
        norm::forward_groups(&inputs[0].slice::<T>()[at], shape, rows.start, affine, measure, y, out);
    }

    /// Move the running statistics toward the mean of the samples' own.
    fn update<T: Float>(&self, n: usize, outputs: &[View<'_>]) {
        let Some((running_mean, running_var, momentum)) = &self.running else { return };
        for (running, batch) in [(running_mean, &outputs[1]), (running_var, &outputs[3])] {
            let c = running.numel();
            let mut means = reserve::filled(c, T::ZERO);
            reduce::sum_columns(batch.slice::<T>(), n, c, c, &mut means);
            // SAFETY: the shape rule has checked its size; one member alone comes here, and nobody reads it meanwhile.
            let running_values = unsafe { running.view().part::<T>(0..c) };
            for (running, &sum) in running_values.iter_mut().zip(&means) {
                *running = norm::moving_average(*running, sum / T::from_f64(n as f64), T::from_f64(*momentum));
            }
            running.storage().bump();
        }
    }
}

impl Op for GroupNorm {
    fn name(&self) -> &'static str {
        self.kind.name()
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        let x = &inputs[0].shape;
        self.kind.check(x)?;
        let affine = self.kind.affine(x);
        let names = [("weight", self.weight), ("bias", self.bias)];
        for ((name, _), given) in names.iter().filter(|(_, there)| *there).zip(&inputs[1..]) {
            if given.shape != affine {
                return Err(shape_error(self.name(), &format!("{name} of shape {}", show(&affine)), &given.shape));
            }
        }
        if let Some((mean, var, _)) = &self.running {
            batch_norm::check_running(self.name(), [mean, var], affine[0], dtype, true)?;
        }
        let groups = self.kind.groups(x, self.weight || self.bias);
        let moments = Meta::new(&[groups.rows()], dtype);
        let mut outputs: Outputs = smallvec![Meta { shape: x.clone(), dtype }, moments.clone(), moments.clone()];
        if self.running.is_some() {
            outputs.push(moments);
        }
        Ok(outputs)
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_float!(outputs[0].dtype(), T => {
            // Rows of no elements have no moments. As in batch norm, an empty batch leaves running statistics alone.
            if inputs[0].numel() == 0 {
                if run.team.rank() == 0 {
                    for output in &outputs[1..] {
                        // SAFETY: the other members write nothing.
                        unsafe { output.part::<T>(0..output.numel()) }.fill(0.0);
                    }
                }
                return;
            }
            self.normalize::<T>(run, inputs, outputs);
            if self.running.is_some() {
                run.team.barrier();
                if run.team.rank() == 0 {
                    self.update::<T>(self.kind.groups(inputs[0].shape(), true).n, outputs);
                }
            }
        });
    }

    fn changed_outside(&self) -> SmallVec<[&Tensor; 2]> {
        self.running.iter().flat_map(|(mean, var, _)| [mean, var]).collect()
    }

    fn saves(&self) -> Saves {
        Saves { inputs: 0b01 | u32::from(self.weight) << 1, outputs: 0b110 }
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let affine = (self.weight || self.bias).then(|| self.kind.affine(&cx.input_meta[0].shape));
        let op = Arc::new(GroupNormGrad { kind: self.kind.clone(), eps: self.eps, affine });
        let mut inputs: SmallVec<[&Tensor; 5]> = smallvec![cx.grad(), cx.input(0), cx.output(1), cx.output(2)];
        if self.weight {
            inputs.push(cx.input(1));
        }
        let mut found = apply_many(op, &inputs)?.into_iter();
        let mut grads: Grads = smallvec![found.next()];
        let (grad_weight, grad_bias) = (found.next(), found.next());
        if self.weight {
            grads.push(grad_weight);
        }
        if self.bias {
            grads.push(grad_bias);
        }
        Ok(grads)
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel() / 2
    }
}

impl Op for GroupNormGrad {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Layer(_) => "layer_norm_grad",
            Kind::Rms(_) => "rms_norm_grad",
            Kind::Group(_) => "group_norm_grad",
            Kind::Instance => "instance_norm_grad",
        }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        let mut outputs: Outputs = smallvec![Meta { shape: inputs[1].shape.clone(), dtype }];
        if let Some(shape) = &self.affine {
            let groups = self.kind.groups(&inputs[1].shape, true);
            let vector = Meta { shape: shape.clone(), dtype };
            outputs.extend([vector.clone(), vector]);
            if groups.l > 1 {
                outputs.push(Meta::new(&[2, groups.n, groups.c], dtype));
            }
        }
        Ok(outputs)
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let shape = self.kind.groups(inputs[1].shape(), self.affine.is_some());
        with_float!(outputs[0].dtype(), T => {
            let [g, x, mean, inv_std] = [0, 1, 2, 3].map(|i| inputs[i].slice::<T>());
            if x.is_empty() {
                if run.team.rank() == 0 {
                    for output in &outputs[1..] {
                        // SAFETY: the other members write nothing.
                        unsafe { output.part::<T>(0..output.numel()) }.fill(0.0);
                    }
                }
                return;
            }
            let rows = run.team.share(shape.rows());
            let at = elements(shape, &rows);
            let scaling = Scaling {
                mean: &mean[rows.clone()],
                inv_std: &inv_std[rows.clone()],
                weight: vector(inputs.get(4)),
            };
            // Of channels longer than 1, both sums are taken anyway; without weight and bias they go nowhere.
            let mut scratch = Vec::new();
            let mine = rows.start * shape.channels()..rows.end * shape.channels();
            let (weight, bias) = match outputs.get(3) {
                // SAFETY: members have different rows.
                Some(sums) => unsafe {
                    let half = sums.numel() / 2;
                    (sums.part::<T>(mine.clone()), sums.part::<T>(half + mine.start..half + mine.end))
                },
                None if shape.l > 1 => {
                    reserve::resize(&mut scratch, 2 * mine.len(), T::ZERO);
                    scratch.split_at_mut(mine.len())
                }
                None => Default::default(),
            };
            let sums = &mut AffineGrad { weight, bias };
            // SAFETY: members have different rows.
            let grad_x = unsafe { outputs[0].part::<T>(at.clone()) };
            let centered = self.kind.centered();
            norm::backward_groups(&g[at.clone()], &x[at], shape, rows.start, scaling, centered, grad_x, sums);
            if self.affine.is_none() {
                return;
            }

            let channels = run.team.share_aligned(shape.c, 16);
            // SAFETY: members have different channels.
            let (weight, bias) = unsafe { (outputs[1].part::<T>(channels.clone()), outputs[2].part::<T>(channels.clone())) };
            if let Some(sums) = outputs.get(3) {
                run.team.barrier();
                let (of_weight, of_bias) = sums.slice::<T>().split_at(sums.numel() / 2);
                for (of, out) in [(of_weight, weight), (of_bias, bias)] {
                    reduce::sum_columns(&of[channels.start..], shape.n, channels.len(), shape.c, out);
                }
            } else {
                norm::weight_gradients(g, x, shape, channels.start, mean, inv_std, &mut AffineGrad { weight, bias });
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let x = &cx.input_meta[1].shape;
        let groups = self.kind.groups(x, true);
        let op = second::GroupNorm { rows: groups.rows(), eps: self.eps, centered: self.kind.centered() };
        let affine = match &self.kind {
            // Channels stand before what is within them.
            Kind::Group(_) | Kind::Instance => {
                let after = if self.kind == Kind::Instance { x.len() - 1 - channel_dim(x) } else { x.len() - 2 };
                let mut shape = self.kind.affine(x);
                shape.resize(1 + after, 1);
                shape
            }
            Kind::Layer(shape) | Kind::Rms(shape) => shape.clone(),
        };
        through(cx, |t| second::group_norm(op, self.affine.as_ref().map(|shape| (&affine[..], &shape[..])), t))
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel()
    }
}

fn apply(kind: Kind, x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    let op = GroupNorm { kind, eps, weight: weight.is_some(), bias: bias.is_some(), running: None };
    run_op(op, x, weight, bias)
}

fn run_op(op: GroupNorm, x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>) -> Result<Tensor> {
    let inputs: SmallVec<[&Tensor; 3]> = std::iter::once(x).chain(weight).chain(bias).collect();
    Ok(apply_many(Arc::new(op), &inputs)?.swap_remove(0))
}

/// Normalize over the last dimensions, which must be `normalized_shape`.
pub fn layer_norm(
    x: &Tensor,
    normalized_shape: &[usize],
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    apply(Kind::Layer(normalized_shape.into()), x, weight, bias, eps)
}

/// Divide by the root mean square over the last dimensions. Without `eps`, that is the rounding unit of x's dtype.
pub fn rms_norm(x: &Tensor, normalized_shape: &[usize], weight: Option<&Tensor>, eps: Option<f64>) -> Result<Tensor> {
    let unit = if x.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
    apply(Kind::Rms(normalized_shape.into()), x, weight, None, eps.unwrap_or(unit))
}

/// Normalize groups of channels.
pub fn group_norm(
    x: &Tensor,
    groups: usize,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    apply(Kind::Group(groups), x, weight, bias, eps)
}

/// Normalize every channel of every sample; or, where `settings.training` is false, by running statistics.
pub fn instance_norm(
    x: &Tensor,
    running: Option<(&Tensor, &Tensor)>,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    settings: batch_norm::Settings,
) -> Result<Tensor> {
    match running {
        Some(_) if !settings.training => {
            if x.shape().len() != 2 {
                return batch_norm::batch_norm(x, running, weight, bias, settings);
            }
            let y = batch_norm::batch_norm(&super::unsqueeze(x, 0)?, running, weight, bias, settings)?;
            super::squeeze(&y, Some(&[0]))
        }
        _ => {
            let running = running.map(|(mean, var)| (mean.clone(), var.clone(), settings.momentum));
            let (there, eps) = ((weight.is_some(), bias.is_some()), settings.eps);
            let op = GroupNorm { kind: Kind::Instance, eps, weight: there.0, bias: there.1, running };
            run_op(op, x, weight, bias)
        }
    }
}

#[cfg(test)]
mod tests;

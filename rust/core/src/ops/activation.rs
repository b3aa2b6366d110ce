//! Activations, elementwise.
//!
//! ```text
//! y = f(x)        grad_x = g · f′(x)
//! prelu           y = x if x > 0 else w · x       grad_w = Σ g · x over x ≤ 0, for each channel
//! ```
//! The formulas, and the derivatives at kinks, stand with the kernels.

use smallvec::smallvec;

use super::{Grads, Op, Outputs, Run, Saves, apply, apply_many, float_dtype, is_over, second, shape_error};
use crate::element::Float;
use crate::error::{Error, Result};
use crate::kernels::activation::Activation;
use crate::kernels::reduce::Running;
use crate::tensor::layout::show;
use crate::tensor::tape::{Backward, through};
use crate::tensor::{Meta, Tensor, View};
use crate::{activations, with_float};

/// y = f(x): input x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activate(pub Activation);

/// `grad_x`: inputs g, then x and y as far as [`Activation::needs_input`] and [`Activation::needs_output`] say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActivateGrad(pub Activation);

impl Op for Activate {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        Ok(smallvec![Meta { shape: inputs[0].shape.clone(), dtype }])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_float!(outputs[0].dtype(), T => {
            let share = run.team.share(outputs[0].numel());
            // SAFETY: members have different shares.
            let y = unsafe { outputs[0].part::<T>(share.clone()) };
            if is_over(inputs, outputs) {
                return self.0.forward_in_place(y);
            }
            self.0.forward(&inputs[0].slice::<T>()[share], y);
        });
    }

    fn overwrites(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn saves(&self) -> Saves {
        Saves { inputs: u32::from(self.0.needs_input()), outputs: u32::from(self.0.needs_output()) }
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let op = ActivateGrad(self.0);
        let g = cx.grad();
        let grad = match (self.0.needs_input(), self.0.needs_output()) {
            (false, false) => apply(op, &[g]),
            (true, false) => apply(op, &[g, cx.input(0)]),
            (false, true) => apply(op, &[g, cx.output(0)]),
            (true, true) => apply(op, &[g, cx.input(0), cx.output(0)]),
        };
        Ok(smallvec![Some(grad?)])
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel() * self.0.cost() / 10
    }
}

impl Op for ActivateGrad {
    fn name(&self) -> &'static str {
        "activation_grad"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        if let Some(other) = inputs.iter().find(|m| m.shape != inputs[0].shape) {
            return Err(shape_error(
                self.name(),
                &format!("gradient of shape {}", show(&other.shape)),
                &inputs[0].shape,
            ));
        }
        Ok(smallvec![Meta { shape: inputs[0].shape.clone(), dtype }])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_float!(outputs[0].dtype(), T => {
            let share = run.team.share(outputs[0].numel());
            // SAFETY: members have different shares.
            let out = unsafe { outputs[0].part::<T>(share.clone()) };
            let mut saved = inputs[1..].iter().map(|v| &v.slice::<T>()[share.clone()]);
            let x = if self.0.needs_input() { saved.next() } else { None };
            let y = if self.0.needs_output() { saved.next() } else { None };
            let (x, y) = (x.unwrap_or_default(), y.unwrap_or_default());
            if is_over(inputs, outputs) {
                return self.0.backward_in_place(out, x, y);
            }
            self.0.backward(&inputs[0].slice::<T>()[share.clone()], x, y, out);
        });
    }

    fn overwrites(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        through(cx, |t| second::activation(self.0, t))
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel() * (self.0.cost() + 1) / 10
    }
}

/// The leaky rectifier whose slopes are learned: inputs x, weight of shape (1) or (c), c being dimension 1 of x.
#[derive(Clone, Copy, Debug)]
pub struct Prelu;

/// Both gradients of [`Prelu`]: inputs g, x, weight; outputs `grad_x`, `grad_weight`.
#[derive(Clone, Copy, Debug)]
pub struct PreluGrad;

/// (outer, channels, inner) of x, one channel if there is one weight.
fn channels(x: &[usize], weights: usize) -> [usize; 3] {
    if weights == 1 {
        return [1, 1, x.iter().product()];
    }
    [x[0], weights, x[2..].iter().product()]
}

/// Call `f(channel, range)` for every run of elements of one channel, among those of `runs`.
fn each_run([_, c, inner]: [usize; 3], runs: std::ops::Range<usize>, mut f: impl FnMut(usize, std::ops::Range<usize>)) {
    for r in runs {
        f(r % c, r * inner..(r + 1) * inner);
    }
}

impl Op for Prelu {
    fn name(&self) -> &'static str {
        "prelu"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype("prelu", inputs)?;
        let (x, weight) = (&inputs[0].shape, &inputs[1].shape);
        // As in PyTorch, a vector has one channel.
        let c = if x.len() < 2 { 1 } else { x[1] };
        let fits = weight.iter().product::<usize>() == 1 && weight.len() < 2 || weight[..] == [c];
        if !fits {
            let expected =
                if c == 1 { "weight of shape (1,)".to_owned() } else { format!("weight of shape (1,) or ({c},)") };
            return Err(shape_error("prelu", &expected, weight));
        }
        Ok(smallvec![Meta { shape: x.clone(), dtype }])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_float!(outputs[0].dtype(), T => {
            let (x, w) = (inputs[0].slice::<T>(), inputs[1].slice::<T>());
            let dims = channels(inputs[0].shape(), w.len());
            let rectify = |channel: usize, range: std::ops::Range<usize>| {
                // SAFETY: members have different elements.
                let y = unsafe { outputs[0].part::<T>(range.clone()) };
                Activation::LeakyRelu { negative_slope: w[channel].to_f64() }.forward(&x[range], y);
            };
            if w.len() == 1 {
                rectify(0, run.team.share(x.len()));
            } else {
                each_run(dims, run.team.share(dims[0] * dims[1]), rectify);
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves::inputs(0b11)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let both = apply_many(std::sync::Arc::new(PreluGrad), &[cx.grad(), cx.input(0), cx.input(1)])?;
        Ok(both.into_iter().map(Some).collect())
    }
}

impl Op for PreluGrad {
    fn name(&self) -> &'static str {
        "prelu_grad"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        let meta = |i: usize| Meta { shape: inputs[i].shape.clone(), dtype };
        Ok(smallvec![meta(1), meta(2)])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_float!(outputs[0].dtype(), T => {
            let (g, x, w) = (inputs[0].slice::<T>(), inputs[1].slice::<T>(), inputs[2].slice::<T>());
            let [outer, c, inner] = channels(inputs[1].shape(), w.len());
            // Whole channels, so that the order of a sum is fixed.
            for channel in run.team.share(c) {
                let mut slope = Running::default();
                for i in 0..outer {
                    let start = (i * c + channel) * inner;
                    // SAFETY: members have different channels.
                    let gx = unsafe { outputs[0].part::<T>(start..start + inner) };
                    for (out, (&g, &x)) in gx.iter_mut().zip(g[start..].iter().zip(&x[start..])) {
                        *out = if x > T::ZERO { g } else { g * w[channel] };
                        if x <= T::ZERO || x.is_nan() {
                            slope.add_product(g, x);
                        }
                    }
                }
                // SAFETY: as above.
                let gw = unsafe { outputs[1].part::<T>(channel..channel + 1) };
                gw[0] = slope.total();
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        through(cx, second::prelu)
    }
}

/// f(x), elementwise.
pub fn activate(x: &Tensor, f: Activation) -> Result<Tensor> {
    apply(Activate(f), &[x])
}

/// A function for each row of the table of activations that names one.
macro_rules! functions {
    ($(
        $variant:ident $({ $($setting:ident),+ })? $name:literal $(fn $function:ident)?, $cost:literal
        $(, require $low:ident <= $high:ident)?
        => $([$condition:expr => $first:ident $first_fields:tt])? $kernel:ident $({ $($field:ident: $value:expr),+ })?;
    )+) => {
        $(functions!(@one $variant { $($($setting),+)? } $name ($($function)?) ($($low, $high)?));)+
    };
    (@one $variant:ident $settings:tt $name:literal () $range:tt) => {};
    (@one $variant:ident { $($setting:ident),* } $name:literal ($function:ident) ($($low:ident, $high:ident)?)) => {
        #[doc = concat!("`", $name, "`, elementwise; [`Activation::", stringify!($variant), "`].")]
        pub fn $function(x: &Tensor $(, $setting: f64)*) -> Result<Tensor> {
            $(if $low > $high {
                let (low, high) = (stringify!($low), stringify!($high));
                return Err(Error::value(format!("{}: expected {low} <= {high}; got {} and {}", $name, $low, $high)));
            })?
            activate(x, Activation::$variant { $($setting),* })
        }
    };
}
activations!(functions);

/// x · Φ(x); with `tanh`, by the formula that approximates Φ.
pub fn gelu(x: &Tensor, tanh: bool) -> Result<Tensor> {
    activate(x, if tanh { Activation::GeluTanh } else { Activation::GeluErf })
}

/// x where positive, otherwise the channel's `weight` · x. `weight` is (1), or (c) for x of shape (n, c, …).
pub fn prelu(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    apply(Prelu, &[x, weight])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::DType;
    use crate::ops::gradcheck_nn::{close, gradcheck, message, noise, same_bits_for_any_team, to};

    const ALL: &[Activation] = &[
        Activation::Relu,
        Activation::LeakyRelu { negative_slope: 0.25 },
        Activation::LeakyRelu { negative_slope: -0.25 },
        Activation::Elu { alpha: 0.5 },
        Activation::Elu { alpha: -0.5 },
        Activation::Selu,
        Activation::GeluErf,
        Activation::GeluTanh,
        Activation::Silu,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Softplus { beta: 2.0, threshold: 30.0 },
        Activation::Hardtanh { min_val: -0.5, max_val: 0.75 },
        Activation::Relu6,
    ];

    #[test]
    fn every_activation_has_its_gradient_and_the_same_bits_for_any_team() {
        for &f in ALL {
            let x = noise(&[3, 7], 1);
            gradcheck(std::slice::from_ref(&x), |t| activate(&t[0], f));
            same_bits_for_any_team(&Activate(f), &[x]);
        }
    }

    #[test]
    fn values_come_from_the_chosen_function() {
        let x = noise(&[50], 2);
        let expected: Vec<f64> = x.to_vec_f64().iter().map(|x| if *x > 0.0 { *x } else { 0.25 * x }).collect();
        close(&leaky_relu(&x, 0.25).unwrap(), &expected, 0.0);
        let expected: Vec<f64> = x.to_vec_f64().iter().map(|x| x.tanh()).collect();
        close(&tanh(&to(&x, DType::F32)).unwrap(), &expected, 1e-6);
    }

    #[test]
    fn prelu_has_a_slope_for_each_channel() {
        let x = noise(&[2, 3, 5], 1);
        let w = Tensor::from_slice(&[0.5, -0.25, 0.0], &[3]);
        let slopes = w.to_vec_f64();
        let expected: Vec<f64> =
            (0..).zip(x.to_vec_f64()).map(|(i, x)| if x > 0.0 { x } else { slopes[i / 5 % 3] * x }).collect();
        close(&prelu(&x, &w).unwrap(), &expected, 0.0);
        gradcheck(&[x.clone(), w.clone()], |t| prelu(&t[0], &t[1]));
        gradcheck(&[x.clone(), noise(&[1], 3)], |t| prelu(&t[0], &t[1]));
        gradcheck(&[noise(&[4], 1), noise(&[1], 3)], |t| prelu(&t[0], &t[1]));
        same_bits_for_any_team(&Prelu, &[x.clone(), w.clone()]);
        same_bits_for_any_team(&PreluGrad, &[noise(&[2, 3, 5], 4), x.clone(), w]);
        let wrong = prelu(&x, &noise(&[4], 1));
        assert_eq!(message(wrong), "prelu: expected weight of shape (1,) or (3,); got (4,)");
    }

    #[test]
    fn integers_are_refused() {
        let wrong = relu(&Tensor::zeros(&[2], DType::I64));
        assert_eq!(message(wrong), "relu: expected a floating-point tensor; got int64");
    }
}

//! Softmax, its logarithm, and the logarithm of a sum of exponentials, along one dimension.
//!
//! ```text
//! softmax       y = eˣ / Σ eˣ          grad_x = y · (g − Σ g·y)
//! log_softmax   y = x − ln Σ eˣ        grad_x = g − e^y · Σ g
//! logsumexp     y = ln Σ eˣ            grad_x = g · e^(x − y)
//! ```

use std::ops::Range;

use smallvec::smallvec;

use super::{Grads, Op, Outputs, Run, Saves, apply, float_dtype, second};
use crate::error::Result;
use crate::kernels::reduce::Axis;
use crate::kernels::softmax as kernel;
use crate::tensor::layout::dim_index;
use crate::tensor::tape::{Backward, through};
use crate::tensor::{Meta, Tensor, View};
use crate::threads::Team;
use crate::with_float;

macro_rules! ops {
    ($($(#[$meta:meta])* $name:ident;)+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name {
            /// The dimension, from 0.
            pub dim: usize,
        }
    )+};
}
ops! {
    /// Input x.
    Softmax;
    /// Inputs g, y.
    SoftmaxGrad;
    /// Input x.
    LogSoftmax;
    /// Inputs g, y.
    LogSoftmaxGrad;
    /// Inputs g, x, y; g and y have size 1 along the dimension, or lack it.
    LogSumExpGrad;
}

/// Input x.
#[derive(Clone, Copy, Debug)]
pub struct LogSumExp {
    /// The dimension, from 0.
    pub dim: usize,
    /// True if it stays, with size 1.
    pub keepdim: bool,
}

/// The dimension of a shape; a scalar is one element along dimension 0.
fn axis(shape: &[usize], dim: usize) -> Axis {
    if shape.is_empty() {
        return Axis::new(1, 1, 1);
    }
    Axis::new(shape[..dim].iter().product(), shape[dim], shape[dim + 1..].iter().product())
}

/// This member's blocks of the axis, and where they are.
fn share(team: &Team, axis: Axis) -> (Axis, Range<usize>) {
    let mine = team.share(axis.outer);
    (Axis { outer: mine.len(), ..axis }, mine.start * axis.block()..mine.end * axis.block())
}

fn same(op: &'static str, inputs: &[Meta], like: usize) -> Result<Outputs> {
    let dtype = float_dtype(op, inputs)?;
    Ok(smallvec![Meta { shape: inputs[like].shape.clone(), dtype }])
}

/// An op whose output is like its last input, and which works block by block.
macro_rules! blockwise {
    ($op:ident, $name:literal, $work:literal, |$inputs:ident, $axis:ident, $range:ident, $out:ident, $t:ident| $kernel:expr; $($rest:tt)*) => {
        impl Op for $op {
            fn name(&self) -> &'static str {
                $name
            }

            fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
                same($name, inputs, 0)
            }

            fn run(&self, run: &Run<'_>, $inputs: &[View<'_>], outputs: &[View<'_>]) {
                with_float!(outputs[0].dtype(), $t => {
                    let ($axis, $range) = share(run.team, axis(outputs[0].shape(), self.dim));
                    // SAFETY: members have different blocks.
                    let $out = unsafe { outputs[0].part::<$t>($range.clone()) };
                    $kernel;
                });
            }

            fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
                inputs[0].numel() * $work
            }

            $($rest)*
        }
    };
}

blockwise! {
    Softmax,
    "softmax",
    2,
    |inputs, axis, range, out, T| kernel::softmax(&inputs[0].slice::<T>()[range], axis, out);
    fn saves(&self) -> Saves {
        Saves::outputs(1)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        Ok(smallvec![Some(apply(SoftmaxGrad { dim: self.dim }, &[cx.grad(), cx.output(0)])?)])
    }
}
blockwise! {
    SoftmaxGrad,
    "softmax_grad",
    1,
    |inputs, axis, range, out, T| {
        kernel::softmax_backward(&inputs[0].slice::<T>()[range.clone()], &inputs[1].slice::<T>()[range], axis, out);
    };
    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        through(cx, |t| second::softmax(self.dim, t))
    }
}
blockwise! {
    LogSoftmax,
    "log_softmax",
    2,
    |inputs, axis, range, out, T| kernel::log_softmax(&inputs[0].slice::<T>()[range], axis, out);
    fn saves(&self) -> Saves {
        Saves::outputs(1)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        Ok(smallvec![Some(apply(LogSoftmaxGrad { dim: self.dim }, &[cx.grad(), cx.output(0)])?)])
    }
}
blockwise! {
    LogSoftmaxGrad,
    "log_softmax_grad",
    2,
    |inputs, axis, range, out, T| {
        kernel::log_softmax_backward(&inputs[0].slice::<T>()[range.clone()], &inputs[1].slice::<T>()[range], axis, out);
    };
    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        through(cx, |t| second::log_softmax(self.dim, t))
    }
}

impl Op for LogSumExp {
    fn name(&self) -> &'static str {
        "logsumexp"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype("logsumexp", inputs)?;
        let mut shape = inputs[0].shape.clone();
        if self.keepdim && !shape.is_empty() {
            shape[self.dim] = 1;
        } else if !shape.is_empty() {
            shape.remove(self.dim);
        }
        Ok(smallvec![Meta { shape, dtype }])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_float!(outputs[0].dtype(), T => {
            let whole = axis(inputs[0].shape(), self.dim);
            let (axis, range) = share(run.team, whole);
            let mine = run.team.share(whole.outer);
            // SAFETY: members have different blocks.
            let out = unsafe { outputs[0].part::<T>(mine.start * axis.inner..mine.end * axis.inner) };
            kernel::logsumexp(&inputs[0].slice::<T>()[range], axis, out);
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: 1, outputs: 1 }
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        Ok(smallvec![Some(apply(LogSumExpGrad { dim: self.dim }, &[cx.grad(), cx.input(0), cx.output(0)])?)])
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel() * 2
    }
}

impl Op for LogSumExpGrad {
    fn name(&self) -> &'static str {
        "logsumexp_grad"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        same(self.name(), inputs, 1)
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_float!(outputs[0].dtype(), T => {
            let whole = axis(inputs[1].shape(), self.dim);
            let (axis, range) = share(run.team, whole);
            let mine = run.team.share(whole.outer);
            let results = mine.start * axis.inner..mine.end * axis.inner;
            // SAFETY: members have different blocks.
            let out = unsafe { outputs[0].part::<T>(range.clone()) };
            let (g, y) = (&inputs[0].slice::<T>()[results.clone()], &inputs[2].slice::<T>()[results]);
            kernel::logsumexp_backward(g, &inputs[1].slice::<T>()[range], y, axis, out);
        });
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        through(cx, |t| second::logsumexp(self.dim, t))
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[1].numel() * 2
    }
}

/// eˣ / Σ eˣ along `dim`, which may count from the end.
pub fn softmax(x: &Tensor, dim: i64) -> Result<Tensor> {
    apply(Softmax { dim: dim_index("softmax", dim, x.ndim())? }, &[x])
}

/// x − ln Σ eˣ along `dim`, which may count from the end.
pub fn log_softmax(x: &Tensor, dim: i64) -> Result<Tensor> {
    apply(LogSoftmax { dim: dim_index("log_softmax", dim, x.ndim())? }, &[x])
}

/// ln Σ eˣ along `dim`, which may count from the end, and stays with size 1 if `keepdim`.
pub fn logsumexp(x: &Tensor, dim: i64, keepdim: bool) -> Result<Tensor> {
    apply(LogSumExp { dim: dim_index("logsumexp", dim, x.ndim())?, keepdim }, &[x])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::DType;
    use crate::ops::gradcheck_nn::{close, gradcheck, message, noise, same_bits_for_any_team, to};

    /// The middle dimension of (2, 3, 5) in f64: softmax and logsumexp.
    fn reference(x: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let sum = |i: usize, k: usize| (0..3).map(|j| x[i * 15 + j * 5 + k].exp()).sum::<f64>();
        let y = (0..30).map(|at| x[at].exp() / sum(at / 15, at % 5)).collect();
        (y, (0..10).map(|at| sum(at / 5, at % 5).ln()).collect())
    }

    #[test]
    fn values_are_those_of_the_formulas_along_any_dimension() {
        let x = noise(&[2, 3, 5], 1);
        let (y, lse) = reference(&x.to_vec_f64());
        let log: Vec<f64> = y.iter().map(|y| y.ln()).collect();
        for (x, tolerance) in [(x.clone(), 1e-14), (to(&x, DType::F32), 1e-6)] {
            close(&softmax(&x, 1).unwrap(), &y, tolerance);
            close(&log_softmax(&x, -2).unwrap(), &log, tolerance);
            let kept = logsumexp(&x, 1, true).unwrap();
            assert_eq!(kept.shape(), [2, 1, 5]);
            close(&kept, &lse, tolerance);
            assert_eq!(logsumexp(&x, 1, false).unwrap().shape(), [2, 5]);
        }
        assert_eq!(softmax(&Tensor::full(&[], 3.0, DType::F32), 0).unwrap().to_vec_f64(), [1.0]);
        assert_eq!(softmax(&Tensor::zeros(&[0, 3], DType::F32), 1).unwrap().shape(), [0, 3]);
    }

    #[test]
    fn gradients_are_right_and_bits_do_not_depend_on_the_team() {
        let x = noise(&[4, 3, 5], 1);
        for dim in 0..3 {
            gradcheck(std::slice::from_ref(&x), |t| softmax(&t[0], dim));
            gradcheck(std::slice::from_ref(&x), |t| log_softmax(&t[0], dim));
            gradcheck(std::slice::from_ref(&x), |t| logsumexp(&t[0], dim, false));
            gradcheck(std::slice::from_ref(&x), |t| logsumexp(&t[0], dim, true));
            let dim = dim as usize;
            same_bits_for_any_team(&Softmax { dim }, std::slice::from_ref(&x));
            same_bits_for_any_team(&LogSoftmax { dim }, std::slice::from_ref(&x));
            same_bits_for_any_team(&LogSumExp { dim, keepdim: false }, std::slice::from_ref(&x));
            same_bits_for_any_team(&SoftmaxGrad { dim }, &[noise(&[4, 3, 5], 2), x.clone()]);
            same_bits_for_any_team(&LogSoftmaxGrad { dim }, &[noise(&[4, 3, 5], 2), x.clone()]);
        }
    }

    #[test]
    fn a_wrong_dimension_is_named() {
        assert_eq!(message(softmax(&noise(&[2, 3], 1), 2)), "softmax: expected dim in [-2, 1]; got 2");
    }
}

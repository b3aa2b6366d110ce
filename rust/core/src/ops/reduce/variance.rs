//! Variance and standard deviation.

use super::dims::{reduced, result_shapes};

use smallvec::{SmallVec, smallvec};

use crate::element::Float;
use crate::error::Result;
use crate::kernels::reduce::{self, Fold};
use crate::ops::shape::reshape_to;
use crate::ops::{Grads, Op, Outputs, Run, Saves, apply, float_dtype, permute, second};
use crate::tensor::tape::{Backward, through};
use crate::tensor::{Meta, Tensor, View};
use crate::with_float;

/// Variance, or standard deviation, of every row of a matrix; the means are the second output.
#[derive(Clone, Copy, Debug)]
struct Variance {
    rows: usize,
    len: usize,
    correction: f64,
    root: bool,
}

/// Σ (x − mean)²
#[derive(Clone, Copy, Debug)]
struct Deviations<T>(T);

impl<T: Float> Fold<T> for Deviations<T> {
    const SUMS: bool = true;
    #[inline(always)]
    fn start(self) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn step(self, acc: T, x: T) -> T {
        (x - self.0).mul_add(x - self.0, acc)
    }
    #[inline(always)]
    fn merge(self, a: T, b: T) -> T {
        a + b
    }
}

impl Op for Variance {
    fn name(&self) -> &'static str {
        if self.root { "std" } else { "var" }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let meta = Meta::new(&[self.rows], inputs[0].dtype);
        Ok([meta.clone(), meta].into_iter().collect())
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let rows = run.team.share(self.rows);
        with_float!(inputs[0].dtype(), T => {
            let x = inputs[0].slice::<T>();
            // SAFETY: shares of a team do not overlap.
            let (vars, means) = unsafe { (outputs[0].part::<T>(rows.clone()), outputs[1].part::<T>(rows.clone())) };
            let freedom = (self.len as f64 - self.correction).max(0.0);
            for ((row, var), mean) in rows.zip(vars).zip(means) {
                let x = &x[row * self.len..][..self.len];
                *mean = reduce::sum_flat(x) / T::from_f64(self.len as f64);
                *var = reduce::fold(Deviations(*mean), x) / T::from_f64(freedom);
                if self.root {
                    *var = var.sqrt();
                }
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves { inputs: 1, outputs: 0b11 }
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let grad = apply(VarianceGrad(*self), &[cx.grad(), cx.input(0), cx.output(0), cx.output(1)])?;
        Ok(smallvec![Some(grad)])
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel() / 2
    }
}

/// The gradient of [`Variance`]; inputs g, x, y and the means.
#[derive(Clone, Copy, Debug)]
struct VarianceGrad(Variance);

impl Op for VarianceGrad {
    fn name(&self) -> &'static str {
        "var_backward"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![inputs[1].clone()])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let Variance { rows, len, correction, root } = self.0;
        with_float!(outputs[0].dtype(), T => {
            let [g, x, y, means] = [0, 1, 2, 3].map(|i: usize| inputs[i].slice::<T>());
            for row in run.team.share(rows) {
                let freedom = T::from_f64(len as f64 - correction);
                let scale = match root {
                    false => g[row] * T::from_f64(2.0) / freedom,
                    true if y[row] == T::ZERO => T::ZERO,
                    true => g[row] / (freedom * y[row]),
                };
                // SAFETY: shares of a team do not overlap.
                let out = unsafe { outputs[0].part::<T>(row * len..(row + 1) * len) };
                for (out, &x) in out.iter_mut().zip(&x[row * len..]) {
                    *out = scale * (x - means[row]);
                }
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        through(cx, |t| second::variance(self.0.len as f64 - self.0.correction, self.0.root, t))
    }
}

fn spread(root: bool, x: &Tensor, dims: Option<&[i64]>, correction: f64, keepdim: bool) -> Result<Tensor> {
    let name = if root { "std" } else { "var" };
    float_dtype(name, &[x.meta()])?;
    let flags = reduced(name, x, dims)?;
    let (_, out) = result_shapes(x.shape(), &flags, keepdim);
    let rows = out.iter().product();
    let len = x.shape().iter().zip(&flags).filter(|(_, gone)| **gone).map(|(n, _)| n).product();
    let stay = (0..x.ndim()).filter(|&d| !flags[d]);
    let order: SmallVec<[i64; 4]> = stay.chain((0..x.ndim()).filter(|&d| flags[d])).map(|d| d as i64).collect();
    let last = order.iter().enumerate().all(|(i, &d)| i as i64 == d);
    let turned = if last { x.clone() } else { permute(x, &order)? };
    let matrix = reshape_to(&turned, &[rows, len])?;
    reshape_to(&apply(Variance { rows, len, correction, root }, &[&matrix])?, &out)
}

/// Σ (x − mean)² / (n − correction) over the dimensions `dims`, all if None; NaN if n is not above the correction.
/// Correction 1, the default in Python, is the unbiased estimate.
pub fn var(x: &Tensor, dims: Option<&[i64]>, correction: f64, keepdim: bool) -> Result<Tensor> {
    spread(false, x, dims, correction, keepdim)
}

/// The root of [`var`]; its gradient is 0 where it is 0.
pub fn std(x: &Tensor, dims: Option<&[i64]>, correction: f64, keepdim: bool) -> Result<Tensor> {
    spread(true, x, dims, correction, keepdim)
}

//! A bilinear layer.
//!
//! ```text
//! y[o] = Σᵢⱼ x1[i] · weight[o, i, j] · x2[j] + bias[o]      for every row of x1 (*, in1) and x2 (*, in2)
//! ```
//! It is a linear layer of the rows' outer products.

use smallvec::smallvec;

use super::linear::{linear, rows_cols};
use super::{Grads, Op, Outputs, Run, Saves, apply, apply_many, float_dtype, reshape, second, shape_error};
use crate::element::Float;
use crate::error::{Error, Result};
use crate::kernels::reduce;
use crate::tensor::layout::show;
use crate::tensor::tape::{Backward, through};
use crate::tensor::{Meta, Tensor, View};
use crate::with_float;

/// `z[i · in2 + j] = a[i] · b[j]`: inputs a (*, in1), b (*, in2).
#[derive(Clone, Copy, Debug)]
pub struct OuterRows;

/// Inputs g (*, in1 · in2), a, b; outputs `grad_a`, `grad_b`.
#[derive(Clone, Copy, Debug)]
pub struct OuterRowsGrad;

impl Op for OuterRows {
    fn name(&self) -> &'static str {
        "outer_rows"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        let mut shape = inputs[0].shape.clone();
        let last = shape.len() - 1;
        shape[last] = shape[last].saturating_mul(inputs[1].shape[last]);
        Ok(smallvec![Meta { shape, dtype }])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let ((rows, n), (_, m)) = (rows_cols(inputs[0].shape()), rows_cols(inputs[1].shape()));
        with_float!(outputs[0].dtype(), T => {
            let (a, b) = (inputs[0].slice::<T>(), inputs[1].slice::<T>());
            for row in run.team.share(rows) {
                // SAFETY: members have different rows.
                let z = unsafe { outputs[0].part::<T>(row * n * m..(row + 1) * n * m) };
                let b = &b[row * m..(row + 1) * m];
                for (z, &a) in z.chunks_exact_mut(m.max(1)).zip(&a[row * n..]) {
                    for (z, &b) in z.iter_mut().zip(b) {
                        *z = a * b;
                    }
                }
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves::inputs(0b11)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let both = apply_many(std::sync::Arc::new(OuterRowsGrad), &[cx.grad(), cx.input(0), cx.input(1)])?;
        Ok(both.into_iter().map(Some).collect())
    }
}

impl Op for OuterRowsGrad {
    fn name(&self) -> &'static str {
        "outer_rows_grad"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        float_dtype(self.name(), inputs)?;
        Ok(smallvec![inputs[1].clone(), inputs[2].clone()])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let ((rows, n), (_, m)) = (rows_cols(inputs[1].shape()), rows_cols(inputs[2].shape()));
        with_float!(outputs[0].dtype(), T => {
            let [g, a, b] = [0, 1, 2].map(|i| inputs[i].slice::<T>());
            for row in run.team.share(rows) {
                // SAFETY: members have different rows.
                let (ga, gb) = unsafe {
                    (outputs[0].part::<T>(row * n..(row + 1) * n), outputs[1].part::<T>(row * m..(row + 1) * m))
                };
                let b = &b[row * m..(row + 1) * m];
                gb.fill(T::ZERO);
                for (i, ga) in ga.iter_mut().enumerate() {
                    let g = &g[(row * n + i) * m..][..m];
                    *ga = reduce::dot(g, b);
                    for (gb, &g) in gb.iter_mut().zip(g) {
                        *gb = Float::mul_add(a[row * n + i], g, *gb);
                    }
                }
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        through(cx, second::outer_rows)
    }
}

/// `x1` is (*, in1), `x2` (*, in2), `weight` (out, in1, in2), `bias` (out); the result is (*, out).
pub fn bilinear(x1: &Tensor, x2: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let [out, n, m] = *weight.shape() else {
        return Err(shape_error("bilinear", "weight of shape (out, in1, in2)", weight.shape()));
    };
    for (x, width) in [(x1, n), (x2, m)] {
        if x.shape().last() != Some(&width) {
            return Err(shape_error("bilinear", &format!("input of shape (*, {width})"), x.shape()));
        }
    }
    if x1.shape()[..x1.ndim() - 1] != x2.shape()[..x2.ndim() - 1] {
        let (a, b) = (show(x1.shape()), show(x2.shape()));
        return Err(Error::value(format!("bilinear: expected inputs of the same leading dimensions; got {a} and {b}")));
    }
    let products = apply(OuterRows, &[x1, x2])?;
    linear(&products, &reshape(weight, &[out as i64, (n * m) as i64])?, bias)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradcheck_nn::{close, gradcheck, message, noise, same_bits_for_any_team};

    #[test]
    fn values_and_gradients_are_right() {
        let (x, y, w, b) = (noise(&[5, 3], 1), noise(&[5, 2], 2), noise(&[4, 3, 2], 3), noise(&[4], 4));
        let [xs, ys, ws, bs] = [&x, &y, &w, &b].map(Tensor::to_vec_f64);
        let at = |r: usize, o: usize| -> f64 {
            let terms = (0..6).map(|ij| xs[r * 3 + ij / 2] * ws[o * 6 + ij] * ys[r * 2 + ij % 2]);
            terms.sum::<f64>() + bs[o]
        };
        let expected: Vec<f64> = (0..20).map(|i| at(i / 4, i % 4)).collect();
        close(&bilinear(&x, &y, &w, Some(&b)).unwrap(), &expected, 1e-13);
        gradcheck(&[x.clone(), y.clone(), w.clone(), b], |t| bilinear(&t[0], &t[1], &t[2], Some(&t[3])));
        same_bits_for_any_team(&OuterRows, &[x.clone(), y.clone()]);
        same_bits_for_any_team(&OuterRowsGrad, &[noise(&[5, 6], 5), x.clone(), y]);
        let wrong = bilinear(&x, &x, &w, None);
        assert_eq!(message(wrong), "bilinear: expected input of shape (*, 2); got (5, 3)");
    }
}

//! A fully connected layer.
//!
//! ```text
//! y = x · weightᵀ + bias           x: (*, in), weight: (out, in), bias: (out), y: (*, out)
//! grad_x = g · weight
//! grad_weight = gᵀ · x             over all rows
//! grad_bias = Σ g                  over all rows
//! ```
//! The bias is added to the finished inner product, as in `PyTorch`.

use smallvec::smallvec;

use super::product::{Matrix, product, product_then, work};
use super::{Grads, Op, Outputs, Run, Saves, apply, expand, float_dtype, shape_error};
use crate::element::Float;
use crate::error::Result;
use crate::kernels::reduce;
use crate::tensor::layout::{Dims, show};
use crate::tensor::tape::Backward;
use crate::tensor::{Meta, Tensor, View};
use crate::with_float;

/// Columns of a share of [`SumRows`]: what its kernel takes at once.
const COLUMNS: usize = 64;

/// The op: inputs x, weight, and bias if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Linear;

/// `grad_x`: inputs g, weight.
#[derive(Clone, Copy, Debug)]
pub struct LinearGradInput;

/// `grad_weight`: inputs g, x.
#[derive(Clone, Copy, Debug)]
pub struct LinearGradWeight;

/// The sum over all dimensions but the last: input g of shape (*, c), output of shape (c).
#[derive(Clone, Copy, Debug)]
pub struct SumRows;

/// Rows and columns of (*, c) as a matrix; c may be 0, where the leading dimensions still count.
pub(super) fn rows_cols(shape: &[usize]) -> (usize, usize) {
    let (&cols, leading) = shape.split_last().expect("a shape rule asks for a dimension");
    (leading.iter().product(), cols)
}

/// A contiguous operand (*, c) as a matrix.
fn matrix<T: Float>(x: &View<'_>) -> Matrix<T> {
    let (rows, cols) = rows_cols(x.shape());
    Matrix::new(x.ptr(), rows, cols)
}

fn with_last(shape: &[usize], last: usize) -> Dims {
    let mut out = Dims::from_slice(shape);
    *out.last_mut().expect("a shape rule asks for a dimension") = last;
    out
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype("linear", inputs)?;
        let (x, weight) = (&inputs[0].shape, &inputs[1].shape);
        let [out, width] = weight[..] else {
            return Err(shape_error("linear", "weight of shape (out, in)", weight));
        };
        if x.last() != Some(&width) {
            return Err(shape_error("linear", &format!("input of shape (*, {width})"), x));
        }
        if let Some(bias) = inputs.get(2)
            && bias.shape[..] != [out]
        {
            return Err(shape_error("linear", &format!("bias of shape {}", show(&[out])), &bias.shape));
        }
        Ok(smallvec![Meta { shape: with_last(x, out), dtype }])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_float!(outputs[0].dtype(), T => {
            let (x, weight, y) = (matrix(&inputs[0]), matrix::<T>(&inputs[1]), matrix::<T>(&outputs[0]));
            let bias = inputs.get(2).map(View::slice::<T>);
            let add_bias = |rows: std::ops::Range<usize>, cols: std::ops::Range<usize>| {
                let Some(bias) = bias else { return };
                for i in rows {
                    // SAFETY: this member's part of the product, which is complete.
                    let y = unsafe { outputs[0].part::<T>(i * y.cols + cols.start..i * y.cols + cols.end) };
                    add(&bias[cols.clone()], y);
                }
            };
            // SAFETY: contiguous operands of the shapes that the shape rule has checked.
            unsafe { product_then(run.team, x, weight.t(), y, add_bias) };
        });
    }

    fn saves(&self) -> Saves {
        Saves::inputs(0b11)
    }

    fn saves_for(&self, wants: &[bool]) -> Saves {
        Saves::of_factors(wants)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let g = cx.grad();
        let mut grads: Grads = smallvec![None, None];
        if cx.needs(0) {
            grads[0] = Some(apply(LinearGradInput, &[g, cx.input(1)])?);
        }
        if cx.needs(1) {
            grads[1] = Some(apply(LinearGradWeight, &[g, cx.input(0)])?);
        }
        if cx.input_meta.len() == 3 {
            grads.push(if cx.needs(2) { Some(apply(SumRows, &[g])?) } else { None });
        }
        Ok(grads)
    }

    fn work(&self, inputs: &[Meta], outputs: &[Meta]) -> usize {
        let (m, n) = rows_cols(&outputs[0].shape);
        work(m, n, rows_cols(&inputs[0].shape).1)
    }
}

crate::simd! {
    /// y ← y + bias
    fn add<T: Float>(bias: &[T], y: &mut [T]) {
        for (y, &b) in y.iter_mut().zip(bias) {
            *y += b;
        }
    }
}

impl Op for LinearGradInput {
    fn name(&self) -> &'static str {
        "linear_grad_input"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        let [out, width] = inputs[1].shape[..] else {
            return Err(shape_error(self.name(), "weight of shape (out, in)", &inputs[1].shape));
        };
        if inputs[0].shape.last() != Some(&out) {
            return Err(shape_error(self.name(), &format!("gradient of shape (*, {out})"), &inputs[0].shape));
        }
        Ok(smallvec![Meta { shape: with_last(&inputs[0].shape, width), dtype }])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_float!(outputs[0].dtype(), T => {
            // SAFETY: contiguous operands of the shapes that the shape rule has checked.
            unsafe { product::<T>(run.team, matrix(&inputs[0]), matrix(&inputs[1]), matrix(&outputs[0])) };
        });
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let (h, g, weight) = (cx.grad(), cx.input(0), cx.input(1));
        let grad_g = cx.needs(0).then(|| linear(h, weight, None)).transpose()?;
        Ok(smallvec![grad_g, cx.needs(1).then(|| apply(LinearGradWeight, &[g, h])).transpose()?])
    }

    fn work(&self, inputs: &[Meta], outputs: &[Meta]) -> usize {
        let (m, n) = rows_cols(&outputs[0].shape);
        work(m, n, rows_cols(&inputs[0].shape).1)
    }
}

impl Op for LinearGradWeight {
    fn name(&self) -> &'static str {
        "linear_grad_weight"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        let (g, x) = (&inputs[0].shape, &inputs[1].shape);
        let ((rows, out), (x_rows, width)) = (rows_cols(g), rows_cols(x));
        if rows != x_rows {
            return Err(shape_error(self.name(), &format!("input of {rows} rows"), x));
        }
        Ok(smallvec![Meta::new(&[out, width], dtype)])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_float!(outputs[0].dtype(), T => {
            // SAFETY: contiguous operands of the shapes that the shape rule has checked.
            unsafe { product(run.team, matrix::<T>(&inputs[0]).t(), matrix(&inputs[1]), matrix(&outputs[0])) };
        });
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let (h, g, x) = (cx.grad(), cx.input(0), cx.input(1));
        let grad_g = cx.needs(0).then(|| linear(x, h, None)).transpose()?;
        Ok(smallvec![grad_g, cx.needs(1).then(|| apply(LinearGradInput, &[g, h])).transpose()?])
    }

    fn work(&self, inputs: &[Meta], outputs: &[Meta]) -> usize {
        let (m, n) = rows_cols(&outputs[0].shape);
        work(m, n, rows_cols(&inputs[0].shape).0)
    }
}

impl Op for SumRows {
    fn name(&self) -> &'static str {
        "sum_rows"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        match inputs[0].shape.last() {
            Some(&c) => Ok(smallvec![Meta::new(&[c], dtype)]),
            None => Err(shape_error(self.name(), "input of shape (*, c)", &inputs[0].shape)),
        }
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let (rows, cols) = rows_cols(inputs[0].shape());
        with_float!(outputs[0].dtype(), T => {
            let x = inputs[0].slice::<T>();
            let share = run.team.share(cols.div_ceil(COLUMNS));
            let (start, end) = ((share.start * COLUMNS).min(cols), (share.end * COLUMNS).min(cols));
            // SAFETY: members have different columns.
            let out = unsafe { outputs[0].part::<T>(start..end) };
            reduce::sum_columns(x.get(start..).unwrap_or_default(), rows, end - start, cols, out);
        });
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        Ok(smallvec![Some(expand(cx.grad(), &cx.input_meta[0].shape)?)])
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel() / 8
    }
}

/// x · weightᵀ + bias.
///
/// `x` is (*, in), `weight` (out, in), `bias` (out); the result is (*, out).
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    match bias {
        Some(bias) => apply(Linear, &[x, weight, bias]),
        None => apply(Linear, &[x, weight]),
    }
}

/// Σ x over all dimensions but the last.
pub fn sum_rows(x: &Tensor) -> Result<Tensor> {
    apply(SumRows, &[x])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::DType;
    use crate::ops::gradcheck_nn::{close, gradcheck, gradients, message, noise, same_bits_for_any_team, to};

    /// Rows, in, out: the least, odd ones, one past the vectors, an empty batch, no inputs.
    const SIZES: [[usize; 3]; 6] = [[1, 1, 1], [5, 3, 2], [7, 17, 33], [2, 1, 65], [0, 3, 2], [3, 0, 2]];

    #[test]
    fn values_are_those_of_the_formula() {
        for [n, c, out] in SIZES {
            let (x, w, b) = (noise(&[n, c], 1), noise(&[out, c], 2), noise(&[out], 3));
            let (xs, ws, bs) = (x.to_vec_f64(), w.to_vec_f64(), b.to_vec_f64());
            let plain = |i: usize, o: usize| (0..c).map(|j| xs[i * c + j] * ws[o * c + j]).sum::<f64>();
            let expected: Vec<f64> = (0..n * out).map(|i| plain(i / out, i % out) + bs[i % out]).collect();
            close(&linear(&x, &w, Some(&b)).unwrap(), &expected, 1e-13);
            let [x, w, b] = [x, w, b].map(|t| to(&t, DType::F32));
            close(&linear(&x, &w, Some(&b)).unwrap(), &expected, 2e-5);
            let expected: Vec<f64> = (0..n * out).map(|i| plain(i / out, i % out)).collect();
            close(&linear(&x, &w, None).unwrap(), &expected, 2e-5);
        }
    }

    #[test]
    fn gradients_are_right() {
        gradcheck(&[noise(&[5, 3], 1), noise(&[2, 3], 2), noise(&[2], 3)], |t| linear(&t[0], &t[1], Some(&t[2])));
        gradcheck(&[noise(&[3], 1), noise(&[2, 3], 2), noise(&[2], 3)], |t| linear(&t[0], &t[1], Some(&t[2])));
        gradcheck(&[noise(&[2, 2, 3], 1), noise(&[4, 3], 2)], |t| linear(&t[0], &t[1], None));
    }

    #[test]
    fn an_empty_batch_gives_zero_gradients() {
        let grads =
            gradients(&[noise(&[0, 3], 1), noise(&[2, 3], 2), noise(&[2], 3)], |t| linear(&t[0], &t[1], Some(&t[2])));
        close(&grads[1], &[0.0; 6], 0.0);
        close(&grads[2], &[0.0; 2], 0.0);
    }

    #[test]
    fn a_transposed_input_is_read_in_its_order() {
        let x = noise(&[3, 5], 1);
        let transposed = x.alias(x.layout().permute(&[1, 0]));
        let w = noise(&[2, 3], 2);
        let copied = Tensor::from_slice(&transposed.to_vec_f64(), &[5, 3]);
        close(&linear(&transposed, &w, None).unwrap(), &linear(&copied, &w, None).unwrap().to_vec_f64(), 0.0);
    }

    #[test]
    fn bits_do_not_depend_on_the_team() {
        let (x, w, b, g) = (noise(&[37, 19], 1), noise(&[83, 19], 2), noise(&[83], 3), noise(&[37, 83], 4));
        same_bits_for_any_team(&Linear, &[x.clone(), w.clone(), b]);
        same_bits_for_any_team(&LinearGradInput, &[g.clone(), w]);
        same_bits_for_any_team(&LinearGradWeight, &[g.clone(), x]);
        same_bits_for_any_team(&SumRows, &[g]);
    }

    #[test]
    fn wrong_shapes_are_named() {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32);
        let (x, w) = (zeros(&[32, 783]), zeros(&[256, 784]));
        assert_eq!(message(linear(&x, &w, None)), "linear: expected input of shape (*, 784); got (32, 783)");
        assert_eq!(message(linear(&x, &zeros(&[784]), None)), "linear: expected weight of shape (out, in); got (784,)");
        let wrong = linear(&zeros(&[2, 784]), &w, Some(&zeros(&[255])));
        assert_eq!(message(wrong), "linear: expected bias of shape (256,); got (255,)");
        let mixed = linear(&zeros(&[2, 784]), &Tensor::zeros(&[256, 784], DType::F64), None);
        assert_eq!(message(mixed), "linear: expected tensors of one dtype; got float32 and float64");
    }
}

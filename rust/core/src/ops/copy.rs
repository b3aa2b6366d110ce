//! Copies: to row-major order, and to another dtype.
//!
//! ```text
//! y = x        grad_x = grad_y, in the dtype of x
//! ```

use smallvec::smallvec;

use super::{Grads, Op, Outputs, Run, apply, walk};
use crate::element::DType;
use crate::error::Result;
use crate::kernels::elementwise::To;
use crate::tensor::tape::Backward;
use crate::tensor::{Meta, Tensor, View};
use crate::with_element;

/// A row-major copy, converted to a dtype.
#[derive(Clone, Copy, Debug)]
pub struct Copy {
    /// Of the copy.
    pub dtype: DType,
}

impl Op for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![Meta { shape: inputs[0].shape.clone(), dtype: self.dtype }])
    }

    fn strided(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let (x, y) = (&inputs[0], &outputs[0]);
        with_element!(x.dtype(), S => with_element!(y.dtype(), D => {
            walk::map::<S, _>(run.team, To(D::default()), x, y);
        }));
    }

    fn differentiable(&self) -> bool {
        self.dtype.is_float()
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        Ok(smallvec![Some(cast(cx.grad(), cx.input_meta[0].dtype)?)])
    }
}

/// A row-major copy on the tape.
pub fn copy(x: &Tensor) -> Result<Tensor> {
    apply(Copy { dtype: x.dtype() }, &[x])
}

/// The same values in another dtype; the tensor itself if it has that dtype.
pub fn cast(x: &Tensor, dtype: DType) -> Result<Tensor> {
    if x.dtype() == dtype { Ok(x.clone()) } else { apply(Copy { dtype }, &[x]) }
}

/// The tensor itself if it is row-major, else a copy that is.
pub fn contiguous(x: &Tensor) -> Result<Tensor> {
    if x.layout().is_contiguous() { Ok(x.clone()) } else { copy(x) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradcheck::{gradcheck, uniform};
    use crate::ops::{expand, permute};

    #[test]
    fn conversions_are_those_of_astype() {
        let x = Tensor::from_slice(&[-1.7_f32, 0.0, f32::NAN, 2.5], &[4]);
        assert_eq!(cast(&x, DType::I64).unwrap().to_vec_f64(), [-1.0, 0.0, 0.0, 2.0]);
        assert_eq!(cast(&x, DType::Bool).unwrap().to_vec_f64(), [1.0, 0.0, 1.0, 1.0]);
        assert_eq!(cast(&x, DType::F32).unwrap().id(), x.id());
        let mask = Tensor::from_slice(&[1_u8, 0], &[2]);
        assert_eq!(cast(&mask, DType::F64).unwrap().to_vec_f64(), [1.0, 0.0]);
    }

    #[test]
    fn copies_of_any_strides_are_row_major() {
        for shape in [vec![2, 3, 5], vec![0, 3, 2], vec![1, 17, 4], vec![33, 2, 1]] {
            let x = uniform(&shape, 1);
            let turned = permute(&x, &[2, 0, 1]).unwrap();
            let y = copy(&turned).unwrap();
            assert!(y.layout().is_contiguous());
            assert_eq!(y.to_vec_f64(), turned.to_vec_f64());
        }
        let stretched = expand(&uniform(&[3, 1], 2), &[2, 3, 4]).unwrap();
        assert_eq!(copy(&stretched).unwrap().to_vec_f64(), stretched.to_vec_f64());
    }

    #[test]
    fn gradients_come_back_in_the_dtype_of_the_input() {
        gradcheck(|x| copy(&x[0]), &[uniform(&[3, 5], 3)]);
        let x = Tensor::from_slice(&[1.0_f32], &[1]);
        x.set_requires_grad(true).unwrap();
        crate::tensor::tape::backward(&cast(&x, DType::F64).unwrap(), None, false).unwrap();
        assert_eq!(x.grad().unwrap().dtype(), DType::F32);
    }
}

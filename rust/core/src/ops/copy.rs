//! Copies: to row-major order, and to another dtype.
//!
//! ```text
//! y = x        grad_x = grad_y, in the dtype of x
//! ```

use smallvec::smallvec;

use super::walk::Walk;
use super::{Grads, Op, Outputs, Run, apply};
use crate::element::DType;
use crate::error::Result;
use crate::tensor::tape::Backward;
use crate::tensor::{Meta, Tensor, View};
use crate::with_element;

/// A row-major copy, converted to a dtype.
#[derive(Clone, Copy, Debug)]
struct Copy {
    dtype: DType,
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
        let walk = Walk::new(x.shape(), [x.strides(), y.strides()]);
        with_element!(x.dtype(), S => with_element!(y.dtype(), D => {
            let (from, to) = (x.ptr::<S>(), y.ptr::<D>());
            walk.run(run.team, |at, n, step| {
                // SAFETY: offsets of the two layouts; members of the team write different elements of y.
                unsafe { convert::<S, D>(from.offset(at[0]), step[0], to.offset(at[1]), step[1], n) };
            });
        }));
    }

    fn differentiable(&self) -> bool {
        self.dtype.is_float()
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        Ok(smallvec![Some(cast(cx.grad(), cx.input_meta[0].dtype)?)])
    }
}

/// Conversion between element types, as NumPy's `astype`.
pub(crate) trait Convert<D> {
    fn convert(self) -> D;
}

macro_rules! convert_as {
    ($($from:ty => $($to:ty),+;)+) => {$($(
        impl Convert<$to> for $from {
            #[inline(always)]
            #[allow(clippy::cast_lossless)]
            fn convert(self) -> $to {
                self as $to
            }
        }
    )+)+};
}
convert_as! {
    f32 => f32, f64, i64;
    f64 => f32, f64, i64;
    i64 => f32, f64, i64;
    u8 => f32, f64, i64, u8;
}
macro_rules! convert_to_bool {
    ($($from:ty, $zero:expr;)+) => {$(
        impl Convert<u8> for $from {
            #[inline(always)]
            fn convert(self) -> u8 {
                u8::from(self != $zero)
            }
        }
    )+};
}
convert_to_bool! { f32, 0.0; f64, 0.0; i64, 0; }

/// # Safety
/// `n` elements from `from` and `to`, `step` apart, must be valid, and `to`'s nobody else's.
unsafe fn convert<S: std::marker::Copy + Convert<D>, D>(
    from: *const S,
    from_step: isize,
    to: *mut D,
    to_step: isize,
    n: usize,
) {
    for i in 0..n as isize {
        // SAFETY: by this function's contract.
        unsafe { *to.offset(i * to_step) = (*from.offset(i * from_step)).convert() };
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

//! Arithmetic of two tensors that broadcast together.
//!
//! ```text
//! add      y = a + b        grad_a = g               grad_b = g
//! sub      y = a − b        grad_a = g               grad_b = −g
//! mul      y = a · b        grad_a = g · b           grad_b = g · a
//! div      y = a / b        grad_a = g / b           grad_b = −g · a / b²
//! ```
//! Gradients are summed over the dimensions along which an operand was stretched.

use smallvec::smallvec;

use super::walk::Walk;
use super::{Grads, Op, Outputs, Run, Saves, apply, float_dtype};
use crate::element::Float;
use crate::error::Result;
use crate::tensor::layout::broadcast;
use crate::tensor::tape::Backward;
use crate::tensor::{Meta, Tensor, View};
use crate::with_float;

/// Which arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// a + b
    Add,
    /// a − b
    Sub,
    /// a · b
    Mul,
    /// a / b
    Div,
}

#[derive(Clone, Copy, Debug)]
struct Binary(Arithmetic);

impl Op for Binary {
    fn name(&self) -> &'static str {
        match self.0 {
            Arithmetic::Add => "add",
            Arithmetic::Sub => "sub",
            Arithmetic::Mul => "mul",
            Arithmetic::Div => "div",
        }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        Ok(smallvec![Meta { shape: broadcast(self.name(), &inputs[0].shape, &inputs[1].shape)?, dtype }])
    }

    fn strided(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let y = &outputs[0];
        let (a, b) = (inputs[0].layout().expand(y.shape()), inputs[1].layout().expand(y.shape()));
        let walk = Walk::new(y.shape(), [&a.strides, &b.strides, y.strides()]);
        with_float!(y.dtype(), T => {
            let (pa, pb, py) = (inputs[0].ptr::<T>(), inputs[1].ptr::<T>(), y.ptr::<T>());
            walk.run(run.team, |at, n, step| {
                // SAFETY: offsets of the three layouts; members of the team write different elements of y.
                unsafe {
                    let row = Row { a: pa.offset(at[0]), b: pb.offset(at[1]), y: py.offset(at[2]), n, step };
                    match self.0 {
                        Arithmetic::Add => row.each(|a, b| a + b),
                        Arithmetic::Sub => row.each(|a, b| a - b),
                        Arithmetic::Mul => row.each(|a, b| a * b),
                        Arithmetic::Div => row.each(|a, b| a / b),
                    }
                }
            });
        });
    }

    fn saves(&self) -> Saves {
        match self.0 {
            Arithmetic::Add | Arithmetic::Sub => Saves::NONE,
            Arithmetic::Mul | Arithmetic::Div => Saves::inputs(0b11),
        }
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let g = cx.grad();
        let grad_a = || match self.0 {
            Arithmetic::Add | Arithmetic::Sub => Ok(g.clone()),
            Arithmetic::Mul => mul(g, cx.input(1)),
            Arithmetic::Div => div(g, cx.input(1)),
        };
        let grad_b = || match self.0 {
            Arithmetic::Add => Ok(g.clone()),
            Arithmetic::Sub => sub(&Tensor::zeros(&[], g.dtype()), g),
            Arithmetic::Mul => mul(g, cx.input(0)),
            Arithmetic::Div => {
                let b = cx.input(1);
                sub(&Tensor::zeros(&[], g.dtype()), &div(&mul(g, cx.input(0))?, &mul(b, b)?)?)
            }
        };
        let a = if cx.needs(0) { Some(super::sum_to(&grad_a()?, &cx.input_meta[0].shape)?) } else { None };
        let b = if cx.needs(1) { Some(super::sum_to(&grad_b()?, &cx.input_meta[1].shape)?) } else { None };
        Ok(smallvec![a, b])
    }
}

struct Row<T> {
    a: *const T,
    b: *const T,
    y: *mut T,
    n: usize,
    step: [isize; 3],
}

impl<T: Float> Row<T> {
    /// # Safety
    /// The row's elements must be valid, and y's nobody else's.
    unsafe fn each(&self, f: impl Fn(T, T) -> T) {
        for i in 0..self.n as isize {
            // SAFETY: by this function's contract.
            unsafe {
                *self.y.offset(i * self.step[2]) =
                    f(*self.a.offset(i * self.step[0]), *self.b.offset(i * self.step[1]));
            }
        }
    }
}

/// a + b
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    apply(Binary(Arithmetic::Add), &[a, b])
}

/// a − b
pub fn sub(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    apply(Binary(Arithmetic::Sub), &[a, b])
}

/// a · b
pub fn mul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    apply(Binary(Arithmetic::Mul), &[a, b])
}

/// a / b
pub fn div(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    apply(Binary(Arithmetic::Div), &[a, b])
}

use smallvec::smallvec;

use crate::element::DType;
use crate::error::Result;
use crate::ops::activation::tanh;
use crate::ops::gradcheck_nn::message;
use crate::ops::{Grads, Op, Outputs, Run, apply, matmul, mul, sum};
use crate::tensor::tape::{self, Backward, Keep};
use crate::tensor::{Meta, Tensor, View};

const CREATE: Keep = Keep { retain: true, create: true };

/// An op whose backward is of another kind of op: one that says it has no derivative, or one that lacks it.
#[derive(Clone, Copy, Debug)]
enum Odd {
    Forward { says: bool },
    Grad { says: bool },
}

impl Op for Odd {
    fn name(&self) -> &'static str {
        if matches!(self, Self::Forward { .. }) { "odd" } else { "odd_grad" }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![inputs[0].clone()])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        if run.team.rank() == 0 {
            // SAFETY: one member writes.
            unsafe { outputs[0].part::<f64>(0..outputs[0].numel()) }.copy_from_slice(inputs[0].slice());
        }
    }

    fn differentiable(&self) -> bool {
        !matches!(self, Self::Grad { says: true })
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        match *self {
            Self::Forward { says } => Ok(smallvec![Some(apply(Self::Grad { says }, &[cx.grad()])?)]),
            Self::Grad { .. } => Err(super::super::no_derivative(self.name())),
        }
    }
}

#[test]
fn a_gradient_without_a_derivative_is_named_and_no_constant() {
    const MESSAGE: &str = "odd_grad: expected an op that has a derivative; this one has none";
    let x = Tensor::full(&[2], 3.0, DType::F64);
    x.set_requires_grad(true).unwrap();
    let gradient = |says: bool, keep: Keep| {
        let y = apply(Odd::Forward { says }, &[&mul(&x, &x)?])?;
        // Squared, so that what reaches the odd op depends on x.
        tape::grad(&[sum(&mul(&y, &y)?, None, false)?], &[None], std::slice::from_ref(&x), keep)
    };
    assert_eq!(message(gradient(true, CREATE)), MESSAGE);
    let first = gradient(false, CREATE).unwrap().swap_remove(0).unwrap();
    assert_eq!(first.to_vec_f64(), [108.0, 108.0]);
    let total = sum(&first, None, false).unwrap();
    assert_eq!(message(tape::grad(&[total], &[None], std::slice::from_ref(&x), false)), MESSAGE);
    // The first derivative alone asks for no second.
    for says in [true, false] {
        assert_eq!(gradient(says, false.into()).unwrap()[0].as_ref().unwrap().to_vec_f64(), [108.0, 108.0]);
    }
    assert!(!tape::is_deriving());
}

#[test]
fn bits_do_not_depend_on_who_walks() {
    let a = Tensor::from_slice(&crate::kernels::testing::random::<f64>(12, 1), &[3, 4]);
    let b = Tensor::from_slice(&crate::kernels::testing::random::<f64>(20, 2), &[4, 5]);
    a.set_requires_grad(true).unwrap();
    let y = sum(&tanh(&matmul::matmul(&a, &b).unwrap()).unwrap(), None, false).unwrap();
    let (y, a) = ([y], [a]);
    let once = tape::grad(&y, &[None], &a, true).unwrap().swap_remove(0).unwrap();
    let kept = tape::grad(&y, &[None], &a, CREATE).unwrap().swap_remove(0).unwrap();
    assert_eq!(once.to_vec_f64(), kept.to_vec_f64());
    assert!(kept.requires_grad() && !once.requires_grad());
}

//! Helpers of the tests of ops: inputs, and gradients against central differences.

use crate::element::DType;
use crate::error::Result;
use crate::ops::{Op, Run};
use crate::tensor::{Meta, Tensor, View, tape};
use crate::threads::Team;

/// Numbers of [−2, 2) in float64, a pure function of shape and seed; no two are equal.
pub(crate) fn uniform(shape: &[usize], seed: u64) -> Tensor {
    Tensor::from_slice(&crate::kernels::testing::random::<f64>(shape.iter().product(), seed), shape)
}

/// Numbers of [low, high).
pub(crate) fn between(low: f64, high: f64, shape: &[usize], seed: u64) -> Tensor {
    let x: Vec<f64> = uniform(shape, seed).to_vec_f64().iter().map(|x| low + (x + 2.0) / 4.0 * (high - low)).collect();
    Tensor::from_slice(&x, shape)
}

/// Hold the gradients of `f`, with respect to each float64 input, to central differences. Element `i` of the output has
/// a weight of its own, so that a gradient that is sent to the wrong place shows.
#[track_caller]
pub(crate) fn gradcheck(f: impl Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor]) {
    const STEP: f64 = 1e-6;
    let fresh = |changed: Option<(usize, usize, f64)>| -> Vec<Tensor> {
        let copies = inputs.iter().enumerate().map(|(i, input)| {
            if input.dtype() != DType::F64 {
                return input.clone();
            }
            let mut values = input.to_vec_f64();
            if let Some((which, at, by)) = changed
                && which == i
            {
                values[at] += by;
            }
            Tensor::from_slice(&values, input.shape())
        });
        copies.collect()
    };
    let weight = |i: usize| 0.3 + 0.7 * ((i * 7 + 3) % 11) as f64 / 11.0;
    let value = |changed| -> f64 {
        let y = tape::no_grad(|| f(&fresh(changed))).expect("f runs").to_vec_f64();
        y.iter().enumerate().map(|(i, y)| weight(i) * y).sum()
    };

    let leaves = fresh(None);
    for leaf in leaves.iter().filter(|t| t.dtype() == DType::F64) {
        leaf.set_requires_grad(true).expect("a float");
    }
    let y = f(&leaves).expect("f runs");
    let weights: Vec<f64> = (0..y.numel()).map(weight).collect();
    tape::backward(&y, Some(&Tensor::from_slice(&weights, y.shape())), false).expect("backward runs");
    for (which, leaf) in leaves.iter().enumerate().filter(|(_, t)| t.dtype() == DType::F64) {
        let grad = leaf.grad().unwrap_or_else(|| panic!("input {which} has a gradient"));
        assert_eq!(grad.shape(), leaf.shape(), "shape of the gradient of input {which}");
        for (at, found) in grad.to_vec_f64().into_iter().enumerate() {
            let expected = (value(Some((which, at, STEP))) - value(Some((which, at, -STEP)))) / (2.0 * STEP);
            assert!(
                (found - expected).abs() <= 1e-6 * expected.abs().max(1.0),
                "gradient of element {at} of input {which}: {found}, but the difference quotient is {expected}"
            );
        }
    }
}

/// Outputs of an op whose inputs' values are not checked, as if others had changed them since they were.
pub(crate) fn run_unchecked(op: &dyn Op, inputs: &[&Tensor]) -> Vec<Tensor> {
    let metas: Vec<Meta> = inputs.iter().map(|t| t.meta()).collect();
    let outputs: Vec<Tensor> =
        op.infer(&metas).unwrap().iter().map(|m| Tensor::full(&m.shape, 77.0, m.dtype)).collect();
    let views: Vec<View<'_>> = inputs.iter().map(|t| t.view()).collect();
    let targets: Vec<View<'_>> = outputs.iter().map(Tensor::view).collect();
    op.run(&Run { team: &Team::SOLO, replay: 0 }, &views, &targets);
    outputs
}

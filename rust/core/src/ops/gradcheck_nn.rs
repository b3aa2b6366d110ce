//! Helpers of the tests of the neural-network ops: the gradient check, and comparisons.

use crate::element::DType;
use crate::error::Result;
use crate::kernels::testing::{assert_close, random};
use crate::tensor::{Meta, Tensor, View, tape};
use crate::threads::{self, Team};

use super::{Op, Run};

/// Step of the central difference: the rounding of a value near 1 then costs 1e-10, the curvature as much.
const STEP: f64 = 1e-5;
const TOLERANCE: f64 = 2e-8;

/// A tensor of numbers in [−2, 2), a pure function of `seed`.
pub fn noise(shape: &[usize], seed: u64) -> Tensor {
    Tensor::from_slice(&random::<f64>(shape.iter().product(), seed), shape)
}

/// The same numbers as another float type; integers as they are.
pub fn to(x: &Tensor, dtype: DType) -> Tensor {
    let values = x.to_vec_f64();
    match dtype {
        _ if !x.dtype().is_float() => x.clone(),
        DType::F32 => Tensor::from_slice(&values.iter().map(|&v| v as f32).collect::<Vec<_>>(), x.shape()),
        _ => Tensor::from_slice(&values, x.shape()),
    }
}

/// Gradients of Σ v · f(inputs) with respect to the float inputs, v being noise.
pub fn gradients(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Vec<Tensor> {
    let leaves: Vec<Tensor> = inputs.iter().map(Tensor::detach).collect();
    for leaf in leaves.iter().filter(|t| t.dtype().is_float()) {
        leaf.set_requires_grad(true).unwrap();
    }
    let y = f(&leaves).unwrap();
    tape::backward(&y, Some(&to(&noise(y.shape(), 99), y.dtype())), false).unwrap();
    leaves.iter().filter_map(Tensor::grad).collect()
}

/// Compare gradients of `f` with central differences, for every element of every float input, and those in float32
/// with those in float64.
#[track_caller]
pub fn gradcheck(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    gradcheck_by(STEP, inputs, f);
}

/// [`gradcheck`] of what is linear in each input: a difference has no curvature then, and a long step costs the least rounding.
#[track_caller]
pub fn gradcheck_linear(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    gradcheck_by(1.0, inputs, f);
}

#[track_caller]
fn gradcheck_by(step: f64, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let found = gradients(inputs, &f);
    let floats: Vec<usize> = (0..inputs.len()).filter(|&i| inputs[i].dtype().is_float()).collect();
    assert_eq!(found.len(), floats.len(), "every float input gets a gradient");
    let objective = |inputs: &[Tensor]| {
        let y = f(inputs).unwrap();
        let weights = noise(y.shape(), 99).to_vec_f64();
        y.to_vec_f64().iter().zip(weights).map(|(y, v)| y * v).sum::<f64>()
    };
    for (&i, found) in floats.iter().zip(&found) {
        assert_eq!(found.shape(), inputs[i].shape());
        let values = inputs[i].to_vec_f64();
        let expected: Vec<f64> = (0..values.len())
            .map(|j| {
                let at = |by: f64| {
                    let mut moved = values.clone();
                    moved[j] += by;
                    let mut inputs = inputs.to_vec();
                    inputs[i] = Tensor::from_slice(&moved, inputs[i].shape());
                    objective(&inputs)
                };
                (at(step) - at(-step)) / (2.0 * step)
            })
            .collect();
        assert_close(&found.to_vec_f64(), &expected, TOLERANCE);
    }
    let narrow: Vec<Tensor> = inputs.iter().map(|t| to(t, DType::F32)).collect();
    for (narrow, wide) in gradients(&narrow, &f).iter().zip(&found) {
        assert_eq!(narrow.dtype(), DType::F32);
        assert_close(&narrow.to_vec_f64(), &wide.to_vec_f64(), 1e-4);
    }
}

/// Fail unless teams of 1, 2 and 3 give the same bits, in both float types.
#[track_caller]
pub fn same_bits_for_any_team(op: &dyn Op, inputs: &[Tensor]) {
    for dtype in [DType::F32, DType::F64] {
        let inputs: Vec<Tensor> = inputs.iter().map(|t| to(t, dtype)).collect();
        let metas: Vec<Meta> = inputs.iter().map(Tensor::meta).collect();
        let out = op.infer(&metas).unwrap();
        let run = |width: usize| {
            // Filled with something else, so that an element that nobody writes shows.
            let outputs: Vec<Tensor> = out.iter().map(|m| Tensor::full(&m.shape, width as f64, m.dtype)).collect();
            let views: Vec<View<'_>> = inputs.iter().map(Tensor::view).collect();
            let targets: Vec<View<'_>> = outputs.iter().map(Tensor::view).collect();
            if width == 1 {
                op.run(&Run { team: &Team::SOLO, replay: 0 }, &views, &targets);
            } else {
                threads::region(width, 0, &|team| op.run(&Run { team, replay: 0 }, &views, &targets));
            }
            outputs.iter().flat_map(Tensor::to_vec_f64).map(f64::to_bits).collect::<Vec<_>>()
        };
        let solo = run(1);
        assert_eq!(run(2), solo);
        assert_eq!(run(3), solo);
    }
}

/// Compare a tensor with its reference.
#[track_caller]
pub fn close(found: &Tensor, expected: &[f64], tolerance: f64) {
    assert_close(&found.to_vec_f64(), expected, tolerance);
}

/// The text of the error that was expected.
#[track_caller]
pub fn message<R>(result: Result<R>) -> String {
    match result {
        Err(error) => error.message().to_owned(),
        Ok(_) => panic!("expected an error"),
    }
}

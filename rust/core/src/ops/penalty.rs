//! Penalties on the size of weights: `Σ l1·|w| + l2·w²`, or `Σ strength·|w|ᵖ`.
//!
//! One op penalizes all weights, each in its own way, so that a plan finds them together.

use smallvec::smallvec;

use super::{Grads, Op, Outputs, Run, Saves, apply, apply_many, float_dtype};
use crate::error::Result;
use crate::kernels::penalty::Penalty;
use crate::kernels::reduce::sum_flat;
use crate::tensor::tape::Backward;
use crate::tensor::{Meta, Tensor, View};
use crate::with_float;
use std::sync::Arc;

/// The penalties of some tensors: their sum, and the sums over each tensor's rows.
#[derive(Clone, Debug)]
pub struct Penalties(pub Vec<Penalty>);

/// scale · ∂penalty/∂w
#[derive(Clone, Debug)]
pub struct PenaltyGrad(pub Penalty);

/// Rows and columns of a tensor for penalties and norms: the first axis, and all others. A vector is one row.
#[must_use]
pub fn rows(shape: &[usize]) -> (usize, usize) {
    match shape {
        [] => (1, 1),
        &[n] => (1, n),
        [rows, rest @ ..] => (*rows, rest.iter().product()),
    }
}

/// Σ of the sums over the rows of every tensor, in order.
pub fn total<'a, T: crate::Float>(sums: impl IntoIterator<Item = &'a [T]>) -> T {
    sums.into_iter().fold(T::ZERO, |total, sums| total + sum_flat(sums))
}

impl Op for Penalties {
    fn name(&self) -> &'static str {
        "penalty"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        let sums = inputs.iter().map(|m| Meta::new(&[rows(&m.shape).0], dtype));
        Ok(std::iter::once(Meta::new(&[], dtype)).chain(sums).collect())
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_float!(outputs[0].dtype(), T => {
            for ((penalty, w), sums) in self.0.iter().zip(inputs).zip(&outputs[1..]) {
                let (rows, cols) = rows(&w.layout().shape);
                let (w, share) = (w.slice::<T>(), run.team.share(rows));
                // SAFETY: members have different shares.
                let out = unsafe { sums.part::<T>(share.clone()) };
                for (row, out) in share.zip(out) {
                    *out = penalty.row(&w[row * cols..(row + 1) * cols]);
                }
            }
            run.team.barrier();
            if run.team.rank() == 0 {
                // SAFETY: the other members write nothing here.
                let out = unsafe { outputs[0].part::<T>(0..1) };
                out[0] = total(outputs[1..].iter().map(View::slice::<T>));
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves::inputs(u32::MAX)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let one = |(i, penalty): (usize, &Penalty)| {
            cx.needs(i).then(|| apply(PenaltyGrad(penalty.clone()), &[cx.grad(), cx.input(i)])).transpose()
        };
        self.0.iter().enumerate().map(one).collect()
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        self.0.iter().zip(inputs).map(|(penalty, w)| w.numel() * penalty.work() / 16).sum()
    }
}

impl Op for PenaltyGrad {
    fn name(&self) -> &'static str {
        "penalty_grad"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        Ok(smallvec![Meta { shape: inputs[1].shape.clone(), dtype }])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_float!(outputs[0].dtype(), T => {
            let share = run.team.share(inputs[1].numel());
            // SAFETY: members have different shares.
            let out = unsafe { outputs[0].part::<T>(share.clone()) };
            self.0.gradient(inputs[0].slice::<T>()[0], &inputs[1].slice::<T>()[share], out);
        });
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[1].numel() * self.0.work() / 16
    }
}

/// Most tensors that one op penalizes: with the sum, as many outputs as the tape can number.
const MOST: usize = 31;

/// The sum of the penalties of all tensors, each with its own.
pub fn penalty(tensors: &[&Tensor], penalties: &[Penalty]) -> Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for (tensors, penalties) in tensors.chunks(MOST).zip(penalties.chunks(MOST)) {
        let part = apply_many(Arc::new(Penalties(penalties.to_vec())), tensors)?.swap_remove(0);
        sum = Some(match sum {
            Some(sum) => super::add(&sum, &part)?,
            None => part,
        });
    }
    sum.map_or_else(|| Ok(Tensor::zeros(&[], crate::DType::F32)), Ok)
}

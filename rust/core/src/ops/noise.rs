//! Gaussian noise on a tensor, in one pass over it.
//!
//! ```text
//! y = x + std · z         z: normal numbers, by an element's row-major index
//! grad_x = g
//! ```

use smallvec::smallvec;

use super::random::{at_replay, next_draw};
use super::{Grads, Op, Outputs, Run, apply, float_dtype};
use crate::element::Float;
use crate::error::{Error, Result};
use crate::rng::{self, Draw};
use crate::tensor::tape::Backward;
use crate::tensor::{Meta, Tensor, View};
use crate::with_float;

/// Input x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianNoise {
    /// From what z is drawn.
    pub draw: Draw,
    /// The standard deviation, not negative.
    pub std: f64,
}

impl Op for GaussianNoise {
    fn name(&self) -> &'static str {
        "gaussian_noise"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        Ok(smallvec![Meta { shape: inputs[0].shape.clone(), dtype }])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let draw = at_replay(self.draw, run);
        let share = run.team.share(outputs[0].numel());
        with_float!(outputs[0].dtype(), T => {
            // SAFETY: members have different shares.
            let y = unsafe { outputs[0].part::<T>(share.clone()) };
            rng::add_normal(draw, T::from_f64(self.std), share.start, &inputs[0].slice::<T>()[share.clone()], y);
        });
    }

    fn draw(&self) -> Option<Draw> {
        Some(self.draw)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        Ok(smallvec![Some(cx.grad().clone())])
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel()
    }
}

/// x + std · z, with a new z for every element; the tensor itself if std is 0.
pub fn gaussian_noise(x: &Tensor, std: f64) -> Result<Tensor> {
    if !(std >= 0.0 && std.is_finite()) {
        return Err(Error::value(format!("gaussian_noise: expected std of at least 0; got {std}")));
    }
    float_dtype("gaussian_noise", &[x.meta()])?;
    if std == 0.0 {
        return Ok(x.clone());
    }
    apply(GaussianNoise { draw: next_draw(), std }, &[x])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::DType;
    use crate::ops::gradcheck_nn::{message, noise, same_bits_for_any_team};
    use crate::ops::random::{self, tests::seeded};
    use crate::tensor::tape;

    #[test]
    fn it_is_x_and_the_numbers_of_randn() {
        let _guard = seeded(3);
        let x = noise(&[37, 11], 1);
        x.set_requires_grad(true).unwrap();
        let state = random::state();
        let y = gaussian_noise(&x, 2.5).unwrap();
        random::set_state(state);
        let z = random::randn(&[37, 11], DType::F64).unwrap().to_vec_f64();
        for ((x, z), y) in x.to_vec_f64().into_iter().zip(z).zip(y.to_vec_f64()) {
            assert_eq!(y, 2.5_f64.mul_add(z, x));
        }
        let g = noise(&[37, 11], 2);
        tape::backward(&y, Some(&g), false).unwrap();
        assert_eq!(x.grad().unwrap().to_vec_f64(), g.to_vec_f64());
    }

    #[test]
    fn none_is_the_identity_and_what_is_no_deviation_is_refused() {
        let x = noise(&[5, 3], 1);
        assert_eq!(gaussian_noise(&x, 0.0).unwrap().id(), x.id());
        for std in [-1.0, f64::NAN, f64::INFINITY] {
            let expected = format!("gaussian_noise: expected std of at least 0; got {std}");
            assert_eq!(message(gaussian_noise(&x, std)), expected);
        }
    }

    #[test]
    fn bits_do_not_depend_on_the_team() {
        let draw = Draw { seed: 1, stream: 0, call: 2 };
        same_bits_for_any_team(&GaussianNoise { draw, std: 0.7 }, &[noise(&[4, 9, 21], 1)]);
    }
}

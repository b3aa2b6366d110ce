//! Dropout.
//!
//! ```text
//! y = x · mask · scale        mask: 1 with probability 1 − p, else 0;  scale = 1 / (1 − p)
//! grad_x = g · mask · scale   the mask is drawn again, not kept
//! ```
//! p counts in units of 1/65536. The mask is a function of the draw and of an element's row and column, the last
//! dimension being the columns; see [`crate::kernels::dropout`].

use smallvec::smallvec;

use super::random::{at_replay, next_draw};
use super::{Grads, Op, Outputs, Run, apply, float_dtype};
use crate::element::Float;
use crate::error::{Error, Result};
use crate::kernels::dropout::{self, Mask};
use crate::rng::Draw;
use crate::tensor::tape::Backward;
use crate::tensor::{Meta, Tensor, View};
use crate::with_float;

/// Input x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// From what the mask is drawn.
    pub draw: Draw,
    /// p in units of 1/65536: what the kernel drops below.
    pub threshold: u32,
    /// Factor of the kept elements.
    pub scale: f64,
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype("dropout", inputs)?;
        Ok(smallvec![Meta { shape: inputs[0].shape.clone(), dtype }])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let c = outputs[0].shape().last().copied().unwrap_or(1);
        if c == 0 {
            return;
        }
        with_float!(outputs[0].dtype(), T => {
            let draw = at_replay(self.draw, run);
            let mask = Mask { draw, threshold: self.threshold, scale: T::from_f64(self.scale) };
            let rows = run.team.share(outputs[0].numel() / c);
            let range = rows.start * c..rows.end * c;
            // SAFETY: members have different rows.
            let y = unsafe { outputs[0].part::<T>(range.clone()) };
            dropout::rows(mask, c, rows.start, &inputs[0].slice::<T>()[range], y);
        });
    }

    fn draw(&self) -> Option<Draw> {
        Some(self.draw)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        Ok(smallvec![Some(apply(*self, &[cx.grad()])?)])
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel() / 2
    }
}

/// Zero elements with probability `p`, and multiply the others by 1 or by what `Mask` says.
fn drop(x: &Tensor, p: f64, training: bool, rescale: bool) -> Result<Tensor> {
    if !(0.0..=1.0).contains(&p) {
        return Err(Error::value(format!("dropout: expected p in [0, 1]; got {p}")));
    }
    float_dtype("dropout", &[x.meta()])?;
    if !training || p == 0.0 {
        return Ok(x.clone());
    }
    let draw = next_draw();
    let Mask { threshold, scale, .. } = Mask::<f64>::new(draw, p);
    apply(Dropout { draw, threshold, scale: if rescale { scale } else { 1.0 } }, &[x])
}

/// Zero elements with probability `p` and scale the others up; the tensor itself if p is 0 or while not training.
pub fn dropout(x: &Tensor, p: f64, training: bool) -> Result<Tensor> {
    drop(x, p, training, true)
}

/// Zero the elements that [`dropout()`] would zero, and leave the others as they are.
pub fn mask(x: &Tensor, p: f64, training: bool) -> Result<Tensor> {
    drop(x, p, training, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::DType;
    use crate::ops::gradcheck_nn::{message, noise, same_bits_for_any_team};
    use crate::ops::random::tests::seeded;
    use crate::tensor::tape;

    #[test]
    fn backward_has_the_mask_of_forward() {
        let _guard = seeded(3);
        let x = Tensor::full(&[40, 13], 1.0, DType::F64);
        x.set_requires_grad(true).unwrap();
        let y = dropout(&x, 0.25, true).unwrap();
        tape::backward(&y, Some(&Tensor::full(&[40, 13], 2.0, DType::F64)), false).unwrap();
        let (y, g) = (y.to_vec_f64(), x.grad().unwrap().to_vec_f64());
        assert!(y.iter().zip(&g).all(|(y, g)| g == &(2.0 * y) && (*y == 0.0 || *y == 1.0 / 0.75)));
        let kept = y.iter().filter(|y| **y != 0.0).count();
        assert!((350..430).contains(&kept), "{kept} of 520");
        assert_ne!(dropout(&x, 0.25, true).unwrap().to_vec_f64(), y);
    }

    #[test]
    fn the_ends_are_exact_and_evaluation_is_the_identity() {
        let x = noise(&[5, 3], 1);
        assert_eq!(dropout(&x, 0.0, true).unwrap().id(), x.id());
        assert_eq!(dropout(&x, 0.5, false).unwrap().id(), x.id());
        assert_eq!(dropout(&x, 1.0, true).unwrap().to_vec_f64(), [0.0; 15]);
        assert_eq!(message(dropout(&x, 1.5, true)), "dropout: expected p in [0, 1]; got 1.5");
    }

    #[test]
    fn a_mask_drops_what_dropout_drops_and_keeps_the_rest_as_it_is() {
        let _guard = seeded(4);
        let x = noise(&[9, 21], 2);
        let state = crate::ops::random::state();
        let dropped = dropout(&x, 0.3, true).unwrap().to_vec_f64();
        crate::ops::random::set_state(state);
        let masked = mask(&x, 0.3, true).unwrap().to_vec_f64();
        for ((x, dropped), masked) in x.to_vec_f64().into_iter().zip(dropped).zip(masked) {
            assert_eq!(masked, if dropped == 0.0 { 0.0 } else { x });
        }
        assert_eq!(mask(&x, 0.3, false).unwrap().id(), x.id());
        assert_eq!(message(mask(&x, -1.0, true)), "dropout: expected p in [0, 1]; got -1");
    }

    #[test]
    fn bits_do_not_depend_on_the_team() {
        let draw = Draw { seed: 1, stream: 0, call: 2 };
        same_bits_for_any_team(&Dropout { draw, threshold: 20_000, scale: 1.5 }, &[noise(&[4, 9, 21], 1)]);
    }
}

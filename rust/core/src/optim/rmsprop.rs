//! RMSprop: steps divided by a moving root mean square of the gradient.
//!
//! Source: Hinton 2012, lecture 6e, <https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf>; the
//! centered form is Graves 2013, equations 38–45, <https://arxiv.org/abs/1308.0850>, with its constant outside the root.

use super::{Check, Floor, Gradient, Lerp, Scalars, Settings, SquareAverage, Update};
use crate::{Float, Result, simd};

/// Settings of RMSprop. For every element:
///
/// ```text
/// g ← ±∂ + weight_decay · θ                              (− to maximize)
/// v ← alpha · v + (1 − alpha) · g²
/// a ← alpha · a + (1 − alpha) · g                        (if centered; else a = 0)
/// d ← g / (√(v − a²) + eps)
/// b ← momentum · b + d                                   (with momentum; else b = d)
/// θ ← θ − lr · b
/// ```
///
/// ε stands outside the root, as in PyTorch; TensorFlow puts it inside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    /// Step size, at least 0.
    pub lr: f64,
    /// Share of the averages that is kept, at least 0; above 1 makes no sense, but PyTorch does not refuse it.
    pub alpha: f64,
    /// Added outside the root, at least 0.
    pub eps: f64,
    /// Factor of the L2 penalty's gradient, at least 0.
    pub weight_decay: f64,
    /// Share of the velocity that is kept, at least 0; 0 for none.
    pub momentum: f64,
    /// Divide by the standard deviation instead.
    pub centered: bool,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for RmsProp {
    fn default() -> Self {
        Self { lr: 1e-2, alpha: 0.99, eps: 1e-8, weight_decay: 0.0, momentum: 0.0, centered: false, maximize: false }
    }
}

impl Settings for RmsProp {
    type Step<T: Float> = RmsPropStep<T>;

    const NAME: &'static str = "RMSprop";

    fields!(lr, alpha, eps, weight_decay, momentum, centered, maximize);

    fn state_names(&self) -> &'static [&'static str] {
        match (self.momentum > 0.0, self.centered) {
            (false, false) => &["square_avg"],
            (true, false) => &["square_avg", "momentum_buffer"],
            (false, true) => &["square_avg", "grad_avg"],
            (true, true) => &["square_avg", "momentum_buffer", "grad_avg"],
        }
    }

    fn validate(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.at_least_0("lr", self.lr)?;
        check.at_least_0("eps", self.eps)?;
        check.at_least_0("momentum", self.momentum)?;
        check.at_least_0("weight_decay", self.weight_decay)?;
        check.at_least_0("alpha", self.alpha)
    }

    fn at<T: Float>(&self, _t: u64, _scalars: Scalars) -> RmsPropStep<T> {
        RmsPropStep {
            gradient: Gradient::new(self.weight_decay, self.maximize),
            // Centered, the square of the mean is taken off it: raising one and not the other could end below 0.
            squares: SquareAverage::new(self.alpha, if self.centered { 0.0 } else { self.eps }),
            mean: Lerp::new(self.alpha),
            eps: T::from_f64(self.eps),
            momentum: T::from_f64(self.momentum),
            floor: Floor::new(),
            centered: self.centered,
            minus_lr: T::from_f64(-self.lr),
        }
    }
}

/// The scalars of one step of RMSprop.
#[derive(Clone, Copy, Debug)]
pub struct RmsPropStep<T> {
    gradient: Gradient<T>,
    squares: SquareAverage<T>,
    mean: Lerp<T>,
    eps: T,
    momentum: T,
    floor: Floor<T>,
    centered: bool,
    minus_lr: T,
}

impl<T: Float> RmsPropStep<T> {
    /// `v`, updated, and from it `d`.
    #[inline(always)]
    fn scale(self, grad: T, square_avg: &mut T) -> T {
        *square_avg = self.squares.of(*square_avg, grad);
        grad / (square_avg.sqrt() + self.eps)
    }

    /// `v` and `a`, updated, and from them `d`.
    #[inline(always)]
    fn scale_centered(self, grad: T, square_avg: &mut T, grad_avg: &mut T) -> T {
        *square_avg = self.squares.of(*square_avg, grad);
        *grad_avg = self.mean.of(*grad_avg, grad);
        let variance = (-*grad_avg).mul_add(*grad_avg, *square_avg);
        grad / (variance.sqrt() + self.eps)
    }
}

impl<T: Float> Update<T> for RmsPropStep<T> {
    #[inline]
    fn update(&self, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        match state {
            [square_avg] => plain(*self, param, grad, square_avg),
            [square_avg, grad_avg] if self.centered => centered(*self, param, grad, square_avg, grad_avg),
            [square_avg, buffer] => with_momentum(*self, param, grad, square_avg, buffer),
            [square_avg, buffer, grad_avg] => {
                centered_with_momentum(*self, param, grad, square_avg, buffer, grad_avg);
            }
            _ => panic!("RMSprop: square_avg, momentum_buffer and grad_avg are all its state"),
        }
    }
}

simd! {
    fn plain<T: Float>(step: RmsPropStep<T>, param: &mut [T], grad: &[T], square_avg: &mut [T]) {
        for ((param, &grad), square_avg) in param.iter_mut().zip(grad).zip(square_avg) {
            let scaled = step.scale(step.gradient.of(grad, *param), square_avg);
            *param = step.minus_lr.mul_add(scaled, *param);
        }
    }

    fn centered<T: Float>(
        step: RmsPropStep<T>,
        param: &mut [T],
        grad: &[T],
        square_avg: &mut [T],
        grad_avg: &mut [T],
    ) {
        for (((param, &grad), square_avg), grad_avg) in param.iter_mut().zip(grad).zip(square_avg).zip(grad_avg) {
            let scaled = step.scale_centered(step.gradient.of(grad, *param), square_avg, grad_avg);
            *param = step.minus_lr.mul_add(scaled, *param);
        }
    }

    fn with_momentum<T: Float>(
        step: RmsPropStep<T>,
        param: &mut [T],
        grad: &[T],
        square_avg: &mut [T],
        buffer: &mut [T],
    ) {
        for (((param, &grad), square_avg), buffer) in param.iter_mut().zip(grad).zip(square_avg).zip(buffer) {
            let scaled = step.scale(step.gradient.of(grad, *param), square_avg);
            *buffer = step.floor.of(step.momentum.mul_add(*buffer, scaled));
            *param = step.minus_lr.mul_add(*buffer, *param);
        }
    }

    fn centered_with_momentum<T: Float>(
        step: RmsPropStep<T>,
        param: &mut [T],
        grad: &[T],
        square_avg: &mut [T],
        buffer: &mut [T],
        grad_avg: &mut [T],
    ) {
        let state = square_avg.iter_mut().zip(buffer).zip(grad_avg);
        for ((param, &grad), ((square_avg, buffer), grad_avg)) in param.iter_mut().zip(grad).zip(state) {
            let scaled = step.scale_centered(step.gradient.of(grad, *param), square_avg, grad_avg);
            *buffer = step.floor.of(step.momentum.mul_add(*buffer, scaled));
            *param = step.minus_lr.mul_add(*buffer, *param);
        }
    }
}

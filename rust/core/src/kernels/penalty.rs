//! Penalties on the size of weights, and their gradients.

use crate::element::{Float, LANES};
use crate::simd;

/// What one element w adds to the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Penalty {
    /// `l1 · |w| + l2 · w²`
    Elastic {
        /// Strength of the absolute value.
        l1: f64,
        /// Strength of the square.
        l2: f64,
    },
    /// `strength · |w|ᵖ`
    Power {
        /// The factor.
        strength: f64,
        /// The exponent, above 0.
        p: f64,
    },
}

impl Penalty {
    /// Its sum over a row.
    #[must_use]
    pub fn row<T: Float>(self, w: &[T]) -> T {
        match self {
            Self::Elastic { l1, l2 } => elastic_row(T::from_f64(l1), T::from_f64(l2), w),
            Self::Power { strength, p } => T::from_f64(strength) * power_row(T::from_f64(p), w),
        }
    }

    /// out = scale · ∂penalty/∂w; 0 where w is 0.
    pub fn gradient<T: Float>(self, scale: T, w: &[T], out: &mut [T]) {
        out.fill(T::ZERO);
        self.add_gradient(scale, w, out);
    }

    /// grad ← grad + scale · ∂penalty/∂w: the bits of adding what [`gradient`](Self::gradient) gives,
    /// in which no 0 is negative.
    pub fn add_gradient<T: Float>(self, scale: T, w: &[T], grad: &mut [T]) {
        match self {
            Self::Elastic { l1, l2 } => elastic_gradient(scale, T::from_f64(l1), T::from_f64(2.0 * l2), w, grad),
            Self::Power { strength, p } => {
                power_gradient(scale, T::from_f64(strength * p), T::from_f64(p - 1.0), w, grad);
            }
        }
    }

    /// Roughly how many nanoseconds 16 elements take.
    #[must_use]
    pub const fn work(self) -> usize {
        match self {
            Self::Elastic { .. } => 4,
            Self::Power { .. } => 32,
        }
    }
}

/// 1, −1 or 0 as w is.
#[inline(always)]
fn sign<T: Float>(w: T) -> T {
    if w > T::ZERO {
        T::ONE
    } else if w < T::ZERO {
        -T::ONE
    } else {
        // NaN stays what it is.
        w * T::ZERO
    }
}

/// The lanes' sum, as in [`reduce`](super::reduce).
#[inline(always)]
fn tree<T: Float>(mut lanes: [T; LANES]) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// |w|ᵖ; 0 at 0, which needs no logarithm.
#[inline(always)]
fn power<T: Float>(w: T, p: T) -> T {
    let size = w.abs();
    let raised = size.pow(p);
    if size == T::ZERO { T::ZERO } else { raised }
}

simd! {
    fn elastic_row<T: Float>(l1: T, l2: T, w: &[T]) -> T {
        let mut lanes = [T::ZERO; LANES];
        let (whole, tail) = w.as_chunks::<LANES>();
        for w in whole {
            for (lane, &w) in lanes.iter_mut().zip(w) {
                *lane = (l2 * w).mul_add(w, l1.mul_add(w.abs(), *lane));
            }
        }
        for (lane, &w) in lanes.iter_mut().zip(tail) {
            *lane = (l2 * w).mul_add(w, l1.mul_add(w.abs(), *lane));
        }
        tree(lanes)
    }

    fn power_row<T: Float>(p: T, w: &[T]) -> T {
        let mut lanes = [T::ZERO; LANES];
        let (whole, tail) = w.as_chunks::<LANES>();
        for w in whole {
            for (lane, &w) in lanes.iter_mut().zip(w) {
                *lane += power(w, p);
            }
        }
        for (lane, &w) in lanes.iter_mut().zip(tail) {
            *lane += power(w, p);
        }
        tree(lanes)
    }

    fn elastic_gradient<T: Float>(scale: T, l1: T, twice_l2: T, w: &[T], grad: &mut [T]) {
        for (grad, &w) in grad.iter_mut().zip(w) {
            *grad += T::ZERO + scale * twice_l2.mul_add(w, l1 * sign(w));
        }
    }

    fn power_gradient<T: Float>(scale: T, factor: T, exponent: T, w: &[T], grad: &mut [T]) {
        for (grad, &w) in grad.iter_mut().zip(w) {
            *grad += T::ZERO + scale * (factor * (sign(w) * power(w, exponent)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(n: usize) -> Vec<f64> {
        (0..n).map(|i| ((i * 37 % 23) as f64 - 11.0) / 7.0).collect()
    }

    fn textbook(penalty: Penalty, w: f64) -> (f64, f64) {
        match penalty {
            Penalty::Elastic { l1, l2 } => (l1 * w.abs() + l2 * w * w, l1 * sign(w) + 2.0 * l2 * w),
            Penalty::Power { .. } if w == 0.0 => (0.0, 0.0),
            Penalty::Power { strength, p } => {
                (strength * w.abs().powf(p), strength * p * w.abs().powf(p - 1.0) * sign(w))
            }
        }
    }

    #[test]
    fn values_and_gradients_are_the_textbooks() {
        let penalties = [
            Penalty::Elastic { l1: 0.3, l2: 0.7 },
            Penalty::Power { strength: 0.9, p: 0.5 },
            Penalty::Power { strength: 0.9, p: 3.3 },
            Penalty::Power { strength: 0.9, p: 1.0 },
        ];
        for penalty in penalties {
            for n in [0, 1, 15, 16, 53] {
                let w = weights(n);
                let expected: f64 = w.iter().map(|&w| textbook(penalty, w).0).sum();
                assert!((penalty.row(&w) - expected).abs() <= 1e-12 * (1.0 + expected), "{penalty:?}, {n} elements");
                let mut grad = vec![5.0; n];
                penalty.add_gradient(2.0, &w, &mut grad);
                for (&grad, &w) in grad.iter().zip(&w) {
                    let expected = 5.0 + 2.0 * textbook(penalty, w).1;
                    assert!((grad - expected).abs() <= 1e-12 * expected.abs(), "{penalty:?} at {w}");
                }
            }
        }
    }

    #[test]
    fn nan_is_kept() {
        for penalty in [Penalty::Elastic { l1: 1.0, l2: 0.0 }, Penalty::Power { strength: 1.0, p: 0.5 }] {
            let mut grad = [0.0_f32];
            penalty.gradient(1.0, &[f32::NAN], &mut grad);
            assert!(grad[0].is_nan() && penalty.row(&[f32::NAN]).is_nan(), "{penalty:?}");
        }
    }
}

//! Penalties on the size of weights, and their gradients.

mod power;

use std::sync::Arc;

use crate::element::{DType, Float, LANES};
use crate::simd;

/// Term that one element w adds to the loss.
#[derive(Clone, Debug, PartialEq)]
pub enum Penalty {
    /// `l1 · |w| + l2 · w²`
    Elastic {
        /// Strength of the absolute value.
        l1: f64,
        /// Strength of the square.
        l2: f64,
    },
    /// `strength · |w|ᵖ`
    Power(Arc<Power>),
}

/// A [`Penalty::power`].
#[derive(Debug, PartialEq)]
pub struct Power {
    strength: f64,
    p: f64,
    /// Its gradient in f32.
    slopes: power::Table<f32>,
}

impl Penalty {
    /// `strength · |w|ᵖ`, p being above 0. Of f32, the power is within 5e-6 of it, and 0 for |w| below 2⁻⁹⁵.
    #[must_use]
    pub fn power(strength: f64, p: f64) -> Self {
        Self::Power(Arc::new(Power { strength, p, slopes: power::Table::new(strength * p, p - 1.0) }))
    }

    /// Its sum over a row.
    #[must_use]
    pub fn row<T: Float>(&self, w: &[T]) -> T {
        with_term!(self, T, |term, factor| factor * term.sum(w))
    }

    /// out = scale · ∂penalty/∂w; 0 where w is 0.
    pub fn gradient<T: Float>(&self, scale: T, w: &[T], out: &mut [T]) {
        // To which a negative 0 can be added.
        out.fill(-T::ZERO);
        self.add_gradient(w, out);
        for out in out {
            *out = scale * *out;
        }
    }

    /// grad ← grad + ∂penalty/∂w. Returns the sum over the row, from the same powers: the bits of [`row`](Self::row).
    pub fn add_gradient<T: Float>(&self, w: &[T], grad: &mut [T]) -> T {
        with_term!(self, T, |term, factor| factor * term.add_gradient(w, grad))
    }

    /// True if `n` elements of [small rows](is_small) are sure to add nothing to a sum that is near the end of the numbers.
    #[must_use]
    pub fn is_negligible(&self, n: usize) -> bool {
        let most = match self {
            Self::Elastic { l1, l2 } => l1 * SMALL + l2 * SMALL * SMALL,
            Self::Power(power) => power.strength * Float::pow(SMALL, power.p),
        };
        most * n as f64 <= 1e15
    }

    /// Roughly how many nanoseconds 16 elements take.
    #[must_use]
    pub const fn work(&self) -> usize {
        match self {
            Self::Elastic { .. } => 2,
            Self::Power(_) => 3,
        }
    }
}

/// All elements of a small row are below this.
const SMALL: f64 = 16.0;

/// True if a look at a row is enough to know that all its elements are finite, and below 16.
#[must_use]
pub fn is_small<T: Float>(w: &[T]) -> bool {
    sums_below(T::from_f64(SMALL), w)
}

/// The penalty of one element.
trait Term<T>: Copy {
    /// The penalty by w, up to a factor, and its slope: 0 where w is 0, NaN where it is NaN.
    fn of(self, w: T) -> (T, T);
}

/// The penalty of a row.
trait Row<T> {
    /// The sum over w, up to a factor.
    fn sum(&self, w: &[T]) -> T;
    /// The same, and grad += slope.
    fn add_gradient(&self, w: &[T], grad: &mut [T]) -> T;
}

impl<T: Float, P: Term<T>> Row<T> for P {
    fn sum(&self, w: &[T]) -> T {
        total(w.chunks(BLOCK).map(|w| sum(*self, w)))
    }
    fn add_gradient(&self, w: &[T], grad: &mut [T]) -> T {
        total(w.chunks(BLOCK).zip(grad.chunks_mut(BLOCK)).map(|(w, grad)| add_gradient(*self, w, grad)))
    }
}

/// The sum of a row from those of its blocks, added in double precision.
fn total<T: Float>(blocks: impl Iterator<Item = T>) -> T {
    T::from_f64(blocks.map(Float::to_f64).sum())
}

#[derive(Clone, Copy)]
struct Elastic<T> {
    l1: T,
    l2: T,
    /// Twice what makes 1 of the smallest normal number.
    large: T,
}

impl<T: Float> Term<T> for Elastic<T> {
    #[inline(always)]
    fn of(self, w: T) -> (T, T) {
        // l1 with the sign of w; written so that NaN stays.
        let corner = w * self.large;
        let corner = if corner > self.l1 { self.l1 } else { corner };
        let corner = if corner < -self.l1 { -self.l1 } else { corner };
        (self.l2.mul_add(w, corner), (self.l2 + self.l2).mul_add(w, corner))
    }
}

#[derive(Clone, Copy)]
struct Square<T> {
    factor: T,
}

impl<T: Float> Term<T> for Square<T> {
    #[inline(always)]
    fn of(self, w: T) -> (T, T) {
        let power = w * w.abs();
        (power, self.factor * power)
    }
}

#[derive(Clone, Copy)]
struct Cube<T> {
    factor: T,
}

impl<T: Float> Term<T> for Cube<T> {
    #[inline(always)]
    fn of(self, w: T) -> (T, T) {
        let power = w * w * w;
        (power, self.factor * power)
    }
}

/// `|w|^exponent`, with the sign of w.
#[derive(Clone, Copy)]
struct Raised<T> {
    factor: T,
    exponent: T,
}

impl<T: Float> Term<T> for Raised<T> {
    #[inline(always)]
    fn of(self, w: T) -> (T, T) {
        let power = (self.exponent * w.abs().ln()).exp().copysign(w);
        let power = if w.abs() > T::ZERO { power } else { w };
        (power, self.factor * power)
    }
}

/// The term of a penalty, and the factor of its sum.
macro_rules! with_term {
    ($penalty:expr, $t:ident, |$term:ident, $factor:ident| $body:expr) => {{
        macro_rules! with {
            ($chosen:expr, $of_sum:expr) => {{
                let ($term, $factor) = ($chosen, $t::from_f64($of_sum));
                $body
            }};
        }
        match $penalty {
            &Penalty::Elastic { l1, l2 } => {
                let smallest = if $t::DTYPE == DType::F32 { f64::from(f32::MIN_POSITIVE) } else { f64::MIN_POSITIVE };
                with!(Elastic { l1: $t::from_f64(l1), l2: $t::from_f64(l2), large: $t::from_f64(2.0 / smallest) }, 1.0)
            }
            Penalty::Power(power) => {
                let (strength, factor) = (power.strength, $t::from_f64(power.strength * power.p));
                match power.p {
                    3.0 => with!(Square { factor }, strength),
                    4.0 => with!(Cube { factor }, strength),
                    _ if $t::DTYPE == DType::F32 => with!(&power.slopes, 1.0 / power.p),
                    p => with!(Raised { factor, exponent: $t::from_f64(p - 1.0) }, strength),
                }
            }
        }
    }};
}
use with_term;

/// Sums run in four times as many lanes as elsewhere, so that they do not wait for one another.
const SUMS: usize = 4 * LANES;
/// Elements of a block: 32 a lane, as in [`super::reduce`].
const BLOCK: usize = 32 * SUMS;

/// The lanes' sum.
#[inline(always)]
fn tree<T: Float>(mut lanes: [T; SUMS]) -> T {
    let mut half = SUMS / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

simd! {
    fn sum<T: Float, P: Term<T>>(term: P, w: &[T]) -> T {
        let mut lanes = [T::ZERO; SUMS];
        let (whole, tail) = w.as_chunks::<SUMS>();
        for w in whole {
            for (lane, &w) in lanes.iter_mut().zip(w) {
                *lane = w.mul_add(term.of(w).0, *lane);
            }
        }
        for (lane, &w) in lanes.iter_mut().zip(tail) {
            *lane = w.mul_add(term.of(w).0, *lane);
        }
        tree(lanes)
    }

    fn add_gradient<T: Float, P: Term<T>>(term: P, w: &[T], grad: &mut [T]) -> T {
        let mut lanes = [T::ZERO; SUMS];
        let ((whole, tail), (grads, last)) = (w.as_chunks::<SUMS>(), grad.as_chunks_mut::<SUMS>());
        for (w, grad) in whole.iter().zip(grads) {
            for ((lane, &w), grad) in lanes.iter_mut().zip(w).zip(grad) {
                let (value, slope) = term.of(w);
                *lane = w.mul_add(value, *lane);
                *grad += slope;
            }
        }
        for ((lane, &w), grad) in lanes.iter_mut().zip(tail).zip(last) {
            let (value, slope) = term.of(w);
            *lane = w.mul_add(value, *lane);
            *grad += slope;
        }
        tree(lanes)
    }

    fn sums_below<T: Float>(most: T, w: &[T]) -> bool {
        let mut lanes = [T::ZERO; SUMS];
        let (whole, tail) = w.as_chunks::<SUMS>();
        for w in whole {
            for (lane, &w) in lanes.iter_mut().zip(w) {
                *lane += w.abs();
            }
        }
        for (lane, &w) in lanes.iter_mut().zip(tail) {
            *lane += w.abs();
        }
        lanes.iter().all(|&lane| lane < most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(n: usize) -> Vec<f64> {
        (0..n).map(|i| ((i * 37 % 23) as f64 - 11.0) / 7.0).collect()
    }

    fn textbook(penalty: &Penalty, w: f64) -> (f64, f64) {
        match penalty {
            _ if w == 0.0 => (0.0, 0.0),
            Penalty::Elastic { l1, l2 } => (l1 * w.abs() + l2 * w * w, l1 * w.signum() + 2.0 * l2 * w),
            Penalty::Power(power) => {
                let (strength, p) = (power.strength, power.p);
                (strength * w.abs().powf(p), strength * p * w.abs().powf(p - 1.0) * w.signum())
            }
        }
    }

    #[test]
    fn values_and_gradients_are_the_textbooks() {
        let penalties = [
            Penalty::Elastic { l1: 0.3, l2: 0.7 },
            Penalty::power(0.9, 0.5),
            Penalty::power(0.9, 0.7),
            Penalty::power(0.9, 1.3),
            Penalty::power(0.9, 1.5),
            Penalty::power(0.9, 2.5),
            Penalty::power(0.9, 3.0),
            Penalty::power(0.9, 3.3),
            Penalty::power(0.9, 4.0),
            Penalty::power(0.9, 1.0),
        ];
        for penalty in penalties {
            for n in [0, 1, 15, 64, 153] {
                let w = weights(n);
                let expected: f64 = w.iter().map(|&w| textbook(&penalty, w).0).sum();
                assert!((penalty.row(&w) - expected).abs() <= 1e-12 * (1.0 + expected), "{penalty:?}, {n} elements");
                let mut grad = vec![5.0; n];
                let sum = penalty.add_gradient(&w, &mut grad);
                assert_eq!(sum, penalty.row(&w), "{penalty:?}, {n} elements");
                for (&grad, &w) in grad.iter().zip(&w) {
                    let expected = 5.0 + textbook(&penalty, w).1;
                    // If the two terms cancel, their magnitude decides.
                    assert!((grad - expected).abs() <= 1e-12 * (10.0 + expected.abs()), "{penalty:?} at {w}");
                }
            }
        }
    }

    /// f32 has roots and powers of its own: over 40 powers of two, and at 0, where there are none. What the exponent loses
    /// in f32 counts for 36 times as much in a power.
    #[test]
    fn singles_are_those_of_doubles() {
        let sizes = (0..4000).map(|i| 2_f32.powf(i as f32 / 100.0 - 36.0));
        let w: Vec<f32> = sizes.flat_map(|w| [w, -w]).chain([0.0, -0.0]).collect();
        let wide: Vec<f64> = w.iter().map(|&w| f64::from(w)).collect();
        for p in [0.5, 0.7, 1.0, 1.25, 1.5, 2.5, 2.7, 3.0, 3.7, 4.0] {
            let penalty = Penalty::power(0.9, p);
            let (mut single, mut double) = (vec![0.0_f32; w.len()], vec![0.0_f64; w.len()]);
            penalty.gradient(1.5_f32, &w, &mut single);
            penalty.gradient(1.5_f64, &wide, &mut double);
            for (i, (&single, &double)) in single.iter().zip(&double).enumerate() {
                assert!((f64::from(single) - double).abs() <= 5e-6 * double.abs(), "p = {p} at {}: {single}", w[i]);
                let (one, exact) = (penalty.row(&w[i..=i]), penalty.row(&wide[i..=i]));
                assert!((f64::from(one) - exact).abs() <= 5e-6 * exact + 5e-38, "p = {p} at {}: {one}", w[i]);
            }
        }
    }

    #[test]
    fn nan_is_kept() {
        let powers = [0.5, 1.0, 1.3, 1.5, 2.5, 3.0, 3.3, 4.0].map(|p| Penalty::power(1.0, p));
        for penalty in powers.into_iter().chain([Penalty::Elastic { l1: 1.0, l2: 0.0 }]) {
            let mut grad = [0.0_f32];
            penalty.gradient(1.0, &[f32::NAN], &mut grad);
            assert!(grad[0].is_nan() && penalty.row(&[f32::NAN]).is_nan(), "{penalty:?}");
        }
    }

    #[test]
    fn small_rows_are_finite() {
        assert!(is_small(&weights(153)));
        for last in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -16.0] {
            let row: Vec<f64> = weights(152).into_iter().chain([last]).collect();
            assert!(!is_small(&row), "{last}");
        }
        assert!(Penalty::power(0.1, 4.0).is_negligible(1000));
        assert!(!Penalty::power(0.1, 40.0).is_negligible(1000));
        assert!(!Penalty::Elastic { l1: 0.0, l2: 1e12 }.is_negligible(1000));
    }
}

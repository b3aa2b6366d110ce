//! Penalties on the size of weights, and their gradients.

use super::math::f32::positive;
use crate::element::{DType, Float, LANES};
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
            Self::Power { strength, p } => {
                let exponent = T::from_f64(p);
                let sum = match p {
                    0.5 => power_row(Root, exponent, w),
                    1.5 => power_row(RootCube, exponent, w),
                    3.0 => power_row(Cube, exponent, w),
                    4.0 => power_row(Fourth, exponent, w),
                    _ => power_row(Any, exponent, w),
                };
                T::from_f64(strength) * sum
            }
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
                let (factor, exponent) = (scale * T::from_f64(strength * p), T::from_f64(p - 1.0));
                match p {
                    0.5 => power_gradient(OneByRoot, factor, exponent, w, grad),
                    1.5 => power_gradient(Root, factor, exponent, w, grad),
                    3.0 => power_gradient(Square, factor, exponent, w, grad),
                    4.0 => power_gradient(Cube, factor, exponent, w, grad),
                    _ => power_gradient(Any, factor, exponent, w, grad),
                }
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

/// Sums run in four times as many lanes as elsewhere, so that they do not wait for one another.
const SUMS: usize = 4 * LANES;

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

/// A power of a magnitude. A type and no closure, which could not be made to inline.
trait Power: Copy {
    /// `sizeᵖ`; `p` is what the type says, if it says it.
    fn of<T: Float>(self, size: T, p: T) -> T;
}

/// An f32 as it is, where T is f32: a conversion that the compiler takes away.
#[inline(always)]
fn single<T: Float>(x: T) -> f32 {
    x.to_f64() as f32
}

#[inline(always)]
fn one_by_root<T: Float>(size: T) -> T {
    if T::DTYPE == DType::F32 { T::from_f64(f64::from(positive::rsqrt(single(size)))) } else { T::ONE / size.sqrt() }
}

#[inline(always)]
fn raised<T: Float>(size: T, p: T) -> T {
    if T::DTYPE == DType::F32 {
        T::from_f64(f64::from(positive::pow(single(size), single(p))))
    } else {
        (p * size.ln()).exp()
    }
}

macro_rules! powers {
    ($($name:ident = |$size:ident, $p:ident| $value:expr;)+) => {$(
        #[derive(Clone, Copy)]
        struct $name;
        impl Power for $name {
            #[inline(always)]
            fn of<T: Float>(self, $size: T, $p: T) -> T {
                $value
            }
        }
    )+};
}
// Those that need no logarithm are several times as quick.
powers! {
    OneByRoot = |size, _p| one_by_root(size);
    Root = |size, _p| size.sqrt();
    RootCube = |size, _p| size * size.sqrt();
    Square = |size, _p| size * size;
    Cube = |size, _p| size * size * size;
    Fourth = |size, _p| (size * size) * (size * size);
    Any = |size, p| raised(size, p);
}

/// |w|ᵖ; 0 at 0, which has no logarithm.
#[inline(always)]
fn power<T: Float, P: Power>(how: P, w: T, p: T) -> T {
    let size = w.abs();
    let raised = how.of(size, p);
    // NaN stays what it is.
    if size > T::ZERO { raised } else { size }
}

simd! {
    fn elastic_row<T: Float>(l1: T, l2: T, w: &[T]) -> T {
        let mut lanes = [T::ZERO; SUMS];
        let (whole, tail) = w.as_chunks::<SUMS>();
        for w in whole {
            for (lane, &w) in lanes.iter_mut().zip(w) {
                *lane += (l2 * w).mul_add(w, l1 * w.abs());
            }
        }
        for (lane, &w) in lanes.iter_mut().zip(tail) {
            *lane += (l2 * w).mul_add(w, l1 * w.abs());
        }
        tree(lanes)
    }

    fn power_row<T: Float, P: Power>(how: P, p: T, w: &[T]) -> T {
        let mut lanes = [T::ZERO; SUMS];
        let (whole, tail) = w.as_chunks::<SUMS>();
        for w in whole {
            for (lane, &w) in lanes.iter_mut().zip(w) {
                *lane += power(how, w, p);
            }
        }
        for (lane, &w) in lanes.iter_mut().zip(tail) {
            *lane += power(how, w, p);
        }
        tree(lanes)
    }

    fn elastic_gradient<T: Float>(scale: T, l1: T, twice_l2: T, w: &[T], grad: &mut [T]) {
        for (grad, &w) in grad.iter_mut().zip(w) {
            *grad += T::ZERO + scale * twice_l2.mul_add(w, l1 * sign(w));
        }
    }

    fn power_gradient<T: Float, P: Power>(how: P, factor: T, exponent: T, w: &[T], grad: &mut [T]) {
        for (grad, &w) in grad.iter_mut().zip(w) {
            let slope = power(how, w, exponent);
            *grad += T::ZERO + factor * if w < T::ZERO { -slope } else { slope };
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
            Penalty::Power { strength: 0.9, p: 1.5 },
            Penalty::Power { strength: 0.9, p: 3.0 },
            Penalty::Power { strength: 0.9, p: 3.3 },
            Penalty::Power { strength: 0.9, p: 4.0 },
            Penalty::Power { strength: 0.9, p: 1.0 },
        ];
        for penalty in penalties {
            for n in [0, 1, 15, 64, 153] {
                let w = weights(n);
                let expected: f64 = w.iter().map(|&w| textbook(penalty, w).0).sum();
                assert!((penalty.row(&w) - expected).abs() <= 1e-12 * (1.0 + expected), "{penalty:?}, {n} elements");
                let mut grad = vec![5.0; n];
                penalty.add_gradient(2.0, &w, &mut grad);
                for (&grad, &w) in grad.iter().zip(&w) {
                    let expected = 5.0 + 2.0 * textbook(penalty, w).1;
                    // Where the two terms cancel, what counts is their size.
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
        for p in [0.5, 0.7, 1.0, 1.25, 1.5, 3.0, 3.7, 4.0] {
            let penalty = Penalty::Power { strength: 0.9, p };
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
        let powers = [0.5, 1.0, 1.3, 1.5, 3.0].map(|p| Penalty::Power { strength: 1.0, p });
        for penalty in powers.into_iter().chain([Penalty::Elastic { l1: 1.0, l2: 0.0 }]) {
            let mut grad = [0.0_f32];
            penalty.gradient(1.0, &[f32::NAN], &mut grad);
            assert!(grad[0].is_nan() && penalty.row(&[f32::NAN]).is_nan(), "{penalty:?}");
        }
    }
}

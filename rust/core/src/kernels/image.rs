//! Images of c planes of h × w: resampling, colours, noise.

pub mod colour;
pub mod noise;
pub mod warp;

use crate::element::Float;
use crate::simd;

/// A number in which positions within an image are computed, and which becomes an index.
pub trait Sampled: Float {
    /// Without its fraction; 0 for NaN.
    fn index(self) -> i32;
}

impl Sampled for f32 {
    #[inline(always)]
    fn index(self) -> i32 {
        self as i32
    }
}

impl Sampled for f64 {
    #[inline(always)]
    fn index(self) -> i32 {
        self as i32
    }
}

/// What images are held in, and what they are computed in.
pub trait Pixel: Copy + Send + Sync + 'static {
    /// The type to compute in.
    type Compute: Sampled;
    /// White: 1 for floating point, 255 for bytes.
    const WHITE: f64;

    /// Its value.
    fn load(self) -> Self::Compute;
    /// The nearest one, ties going to the even.
    fn store(value: Self::Compute) -> Self;
}

macro_rules! float_pixel {
    ($t:ident) => {
        impl Pixel for $t {
            type Compute = $t;
            const WHITE: f64 = 1.0;

            #[inline(always)]
            fn load(self) -> $t {
                self
            }
            #[inline(always)]
            fn store(value: $t) -> $t {
                value
            }
        }
    };
}
float_pixel!(f32);
float_pixel!(f64);

impl Pixel for u8 {
    type Compute = f32;
    const WHITE: f64 = 255.0;

    #[inline(always)]
    fn load(self) -> f32 {
        f32::from(self)
    }

    #[inline(always)]
    fn store(value: f32) -> u8 {
        // Adding 1.5 · 2²³ leaves no room for a fraction, so that the sum rounds to an integer.
        const ROUND: f32 = 12_582_912.0;
        (at_least(at_most(value, 255.0), 0.0) + ROUND - ROUND) as u8
    }
}

/// min(x, high); high if x is NaN.
#[inline(always)]
pub(crate) fn at_most<T: Float>(x: T, high: T) -> T {
    if x < high { x } else { high }
}

/// max(x, low); low if x is NaN.
#[inline(always)]
pub(crate) fn at_least<T: Float>(x: T, low: T) -> T {
    if x > low { x } else { low }
}

simd! {
    /// The values of pixels.
    pub fn load<S: Pixel>(x: &[S], out: &mut [S::Compute]) {
        for (out, x) in out.iter_mut().zip(x) {
            *out = x.load();
        }
    }

    /// Pixels of values.
    pub fn store<S: Pixel>(x: &[S::Compute], out: &mut [S]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = S::store(x);
        }
    }

    /// out ← a·x + b·y
    pub fn blend<T: Float>(a: T, x: &[T], b: T, y: &[T], out: &mut [T]) {
        for ((out, &x), &y) in out.iter_mut().zip(x).zip(y) {
            *out = x.mul_add(a, y * b);
        }
    }
}

#[cfg(test)]
mod tests;

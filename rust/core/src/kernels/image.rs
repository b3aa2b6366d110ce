//! Images of c planes of h × w: resampling, colors, noise.

pub mod color;
pub mod noise;
pub mod warp;

use super::vector::Lanes;
use crate::element::Float;
use crate::simd;

/// A number in which positions within an image are computed, and which becomes an index.
pub trait Sampled: Lanes {
    /// The nearest integer, ties going to the even, as a number and as an index; of numbers between −2²⁰ and 2²⁰.
    fn nearest(self) -> (Self, i32);
}

impl Sampled for f32 {
    #[inline(always)]
    fn nearest(self) -> (Self, i32) {
        // Adding 1.5 · 2²³ leaves no room for a fraction: the low bits of the sum are the integer.
        const MAGIC: f32 = 12_582_912.0;
        let sum = self + MAGIC;
        (sum - MAGIC, sum.to_bits().wrapping_sub(MAGIC.to_bits()) as i32)
    }
}

impl Sampled for f64 {
    #[inline(always)]
    fn nearest(self) -> (Self, i32) {
        // As above, with 1.5 · 2⁵².
        const MAGIC: f64 = 6_755_399_441_055_744.0;
        let sum = self + MAGIC;
        (sum - MAGIC, sum.to_bits().wrapping_sub(MAGIC.to_bits()) as i32)
    }
}

/// A type of stored pixels, and the type that they are computed in.
pub trait Pixel: Copy + Send + Sync + 'static {
    /// The type to compute in.
    type Compute: Sampled;
    /// White: 1 for floating point, 255 for bytes.
    const WHITE: f64;

    /// Its value.
    fn load(self) -> Self::Compute;
    /// The nearest one, ties going to the even.
    fn store(value: Self::Compute) -> Self;
    /// Pixels that are values already.
    fn values(pixels: &[Self]) -> Option<&[Self::Compute]>;
    /// The same, to write.
    fn values_mut(pixels: &mut [Self]) -> Option<&mut [Self::Compute]>;
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
            fn values(pixels: &[$t]) -> Option<&[$t]> {
                Some(pixels)
            }
            fn values_mut(pixels: &mut [$t]) -> Option<&mut [$t]> {
                Some(pixels)
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
        let (value, _) = at_least(at_most(value, 255.0), 0.0).nearest();
        value as u8
    }

    fn values(_: &[u8]) -> Option<&[f32]> {
        None
    }

    fn values_mut(_: &mut [u8]) -> Option<&mut [f32]> {
        None
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

/// Numbers that are handled at once.
const CHUNK: usize = 16;

/// Starts of the chunks of a row of n: the last one ends with the row, and may overlap the one before.
#[inline(always)]
fn chunks(n: usize) -> impl Iterator<Item = usize> {
    (0..n.div_ceil(CHUNK)).map(move |i| (i * CHUNK).min(n.saturating_sub(CHUNK)))
}

/// out ← chunk, as much of it as there is room.
#[inline(always)]
fn put<T: Copy>(chunk: &[T; CHUNK], out: &mut [T]) {
    if let Some(out) = out.first_chunk_mut() {
        *out = *chunk;
    } else {
        for (out, &x) in out.iter_mut().zip(chunk) {
            *out = x;
        }
    }
}

/// out ← row, of the same length: rows are too short for a call of `memcpy`.
#[inline(always)]
fn copy<T: Copy>(row: &[T], out: &mut [T]) {
    let n = out.len();
    let row = &row[..n];
    if n < CHUNK {
        for (out, &x) in out.iter_mut().zip(row) {
            *out = x;
        }
        return;
    }
    for start in chunks(n) {
        if let (Some(row), Some(out)) = (row[start..].first_chunk::<CHUNK>(), out[start..].first_chunk_mut::<CHUNK>()) {
            *out = *row;
        }
    }
}

/// out ← row from its end, of the same length.
#[inline(always)]
fn reverse<T: Copy>(row: &[T], out: &mut [T]) {
    let n = out.len();
    let row = &row[..n];
    if n < CHUNK {
        for (out, &x) in out.iter_mut().zip(row.iter().rev()) {
            *out = x;
        }
        return;
    }
    for start in chunks(n) {
        let from = &row[n - CHUNK - start..];
        if let (Some(row), Some(out)) = (from.first_chunk::<CHUNK>(), out[start..].first_chunk_mut::<CHUNK>()) {
            for k in 0..CHUNK {
                out[k] = row[CHUNK - 1 - k];
            }
        }
    }
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

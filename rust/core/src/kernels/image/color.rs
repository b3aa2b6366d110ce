//! Colors of an image, each plane one of red, green and blue, or one of gray.

use super::{Sampled, at_least, at_most};
use crate::element::LANES;
use crate::simd;

/// Weights of red, green and blue in the gray of a pixel (ITU-R BT.601).
const GRAY: [f64; 3] = [0.2989, 0.587, 0.114];

#[inline(always)]
fn gray<T: Sampled>(r: T, g: T, b: T) -> T {
    b.mul_add(T::from_f64(GRAY[2]), g.mul_add(T::from_f64(GRAY[1]), r * T::from_f64(GRAY[0])))
}

#[inline(always)]
fn mixed<T: Sampled>(x: T, other: T, factor: T, white: T) -> T {
    at_most(at_least(x.mul_add(factor, other * (T::ONE - factor)), T::ZERO), white)
}

/// The three planes of an image.
#[inline(always)]
fn planes<T>(image: &mut [T]) -> (&mut [T], &mut [T], &mut [T]) {
    let n = image.len() / 3;
    let (r, rest) = image.split_at_mut(n);
    let (g, b) = rest.split_at_mut(n);
    (r, g, &mut b[..n])
}

simd! {
    /// x ← min(max(factor·x, 0), white)
    pub fn brightness<T: Sampled>(image: &mut [T], factor: T, white: T) {
        for x in image {
            *x = mixed(*x, T::ZERO, factor, white);
        }
    }

    /// x ← min(max(factor·x + (1 − factor)·m, 0), white), m being the mean of the gray of c = 1 or 3 planes.
    pub fn contrast<T: Sampled>(image: &mut [T], c: usize, factor: T, white: T) {
        let mut sums = [0.0_f64; LANES];
        let n = image.len() / c;
        if c == 3 {
            let (r, g, b) = planes(image);
            for (i, ((&r, &g), &b)) in r.iter().zip(&*g).zip(&*b).enumerate() {
                sums[i % LANES] += gray(r, g, b).to_f64();
            }
        } else {
            for (i, &x) in image.iter().enumerate() {
                sums[i % LANES] += x.to_f64();
            }
        }
        let mean = T::from_f64(sums.iter().sum::<f64>() / n as f64);
        for x in image {
            *x = mixed(*x, mean, factor, white);
        }
    }

    /// x ← min(max(factor·x + (1 − factor)·gray, 0), white) for three planes.
    pub fn saturation<T: Sampled>(image: &mut [T], factor: T, white: T) {
        let (r, g, b) = planes(image);
        for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
            let gray = gray(*r, *g, *b);
            *r = mixed(*r, gray, factor, white);
            *g = mixed(*g, gray, factor, white);
            *b = mixed(*b, gray, factor, white);
        }
    }

    /// Turn the hue of three planes by `turn`, in turns, saturation and value being what they are:
    ///
    /// ```text
    /// v = max(r, g, b), d = v − min(r, g, b), h = hue in sixths of a turn + 6·turn
    /// r, g, b ← v − d·max(0, min(k, 4 − k, 1)),  k = (5, 3, 1) + h mod 6
    /// ```
    pub fn hue<T: Sampled>(image: &mut [T], turn: T) {
        let six = T::from_f64(6.0);
        let (two, four) = (T::from_f64(2.0), T::from_f64(4.0));
        let turn = turn * six;
        let (r, g, b) = planes(image);
        for ((red, green), blue) in r.iter_mut().zip(g).zip(b) {
            let (r, g, b) = (*red, *green, *blue);
            let v = at_least(at_least(r, g), b);
            let d = v - at_most(at_most(r, g), b);
            let over = if d > T::ZERO { T::ONE / d } else { T::ZERO };
            let of_red = (g - b) * over;
            let of_green = (b - r).mul_add(over, two);
            let of_blue = (r - g).mul_add(over, four);
            let h = (if v == r { of_red } else if v == g { of_green } else { of_blue }) + turn;
            let part = |n: f64| {
                // The nearest of half less is the whole part; or one less, which leaves 6 in place of 0: their shares are 0.
                let k = h + T::from_f64(n);
                let k = k - (k / six - T::from_f64(0.5)).nearest().0 * six;
                let share = at_most(at_most(k, four - k), T::ONE);
                v - d * at_least(share, T::ZERO)
            };
            (*red, *green, *blue) = (part(5.0), part(3.0), part(1.0));
        }
    }

    /// x ← a·x + b
    pub fn scale<T: Sampled>(plane: &mut [T], a: T, b: T) {
        for x in plane {
            *x = x.mul_add(a, b);
        }
    }
}

//! The matrices of Winograd's convolutions, one dimension at a time.

// A kernel's parts must end up in a function that is compiled for the instruction set.
#![allow(clippy::inline_always)]

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};
use std::fmt::Debug;

use crate::element::Float;
use crate::kernels::vector::Vector;

/// Rows and columns of a tile's outputs.
pub const STEP: usize = 4;
/// Most rows and columns of a tile.
pub const MOST: usize = 6;
/// Most taps that look at a phase of the pixels along one dimension.
pub const MOST_TAPS: usize = 3;
/// Most taps of a kernel along one dimension.
pub const MOST_SIZE: usize = 4;

/// Along one dimension, every `stride`-th pixel from `offset` on, and the taps of the kernel that look at them.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    /// The first pixel.
    pub offset: usize,
    /// Taps of the kernel, in order.
    pub taps: &'static [usize],
}

/// Evaluation of tiles: F(4, r) for r taps at 3 + r points, the last of which is ∞.
///
/// A strided convolution is a sum of convolutions at every position, one for each phase of the pixels. Phases that have a tap
/// less than the others have 0 at ∞, and so no product there.
pub trait Scheme: Copy + Debug {
    /// Most taps that a phase has along a dimension.
    const TAPS: usize;
    /// From one position of the kernel to the next.
    const STRIDE: usize;

    /// Points: rows and columns of a tile.
    #[inline(always)]
    fn side(self) -> usize {
        STEP - 1 + Self::TAPS
    }
    /// As [`Scheme::TAPS`].
    #[inline(always)]
    fn taps(self) -> usize {
        Self::TAPS
    }
    /// As [`Scheme::STRIDE`].
    #[inline(always)]
    fn stride(self) -> usize {
        Self::STRIDE
    }
    /// Rows and columns of the kernel.
    fn size(self) -> usize;
    /// All phases, along both dimensions, in an order in which those that have a product in a place are neighbors.
    fn phases(self) -> &'static [[Phase; 2]];

    /// Bᵀ.
    ///
    /// # Safety
    /// Here and below, the machine has V's instruction set.
    unsafe fn input<V: Vector>(self, x: [V; MOST]) -> [V; MOST];
    /// Aᵀ.
    ///
    /// # Safety
    /// As above.
    unsafe fn output<V: Vector>(self, m: [V; MOST]) -> [V; STEP];
    /// A.
    ///
    /// # Safety
    /// As above.
    unsafe fn spread<V: Vector>(self, y: [V; STEP]) -> [V; MOST];
    /// G.
    ///
    /// # Safety
    /// As above.
    unsafe fn kernel<V: Vector>(self, w: [V; MOST_TAPS]) -> [V; MOST];
    /// Gᵀ.
    ///
    /// # Safety
    /// As above.
    unsafe fn kernel_grad<V: Vector>(self, s: [V; MOST]) -> [V; MOST_TAPS];
}

/// `x · factor`.
#[inline(always)]
unsafe fn times<V: Vector>(x: V, factor: f64) -> V {
    // SAFETY: here and below, the caller's promise.
    unsafe { x.mul(V::splat(V::Elem::from_f64(factor))) }
}

/// `x · factor + y`.
#[inline(always)]
unsafe fn add_times<V: Vector>(x: V, factor: f64, y: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { x.mul_add(V::splat(V::Elem::from_f64(factor)), y) }
}

/// A polynomial's even and odd part at a point and its opposite.
#[inline(always)]
unsafe fn both<V: Vector>(even: V, odd: V, point: f64) -> [V; 2] {
    // SAFETY: the caller's promise.
    unsafe { [add_times(odd, point, even), add_times(odd, -point, even)] }
}

/// F(4, 3) for kernels at every position, at 0, ±a, ±b and ∞ with a = 1/√2 and b = √2. Usual are ±1 and ±2, whose powers grow: with
/// 64 channels their largest error in f32 is 7e-6 of the largest output, and with these points 1.6e-6.
///
/// ```text
///      1   0  −5/2   0    1  0            1       0      0
///      0  −2a  −2    a    1  0          −2/3  −2/3 a   −1/3           1  1   1   1    1   0
/// Bᵀ = 0   2a  −2   −a    1  0      G = −2/3   2/3 a   −1/3     Aᵀ =  0  a  −a   b   −b   0
///      0  −b/2 −½    b    1  0           1/6   b/6      1/3           0  ½   ½   2    2   0
///      0   b/2 −½   −b    1  0           1/6  −b/6      1/3           0 a/2 −a/2 2b  −2b  1
///      0   1    0   −5/2  0  1            0      0       1
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Everywhere;

impl Everywhere {
    const A: f64 = FRAC_1_SQRT_2;
    const B: f64 = SQRT_2;
    const ALL: Phase = Phase { offset: 0, taps: &[0, 1, 2] };
}

impl Scheme for Everywhere {
    const TAPS: usize = 3;
    const STRIDE: usize = 1;

    #[inline(always)]
    fn size(self) -> usize {
        3
    }
    #[inline(always)]
    fn phases(self) -> &'static [[Phase; 2]] {
        &[[Self::ALL, Self::ALL]]
    }

    #[inline(always)]
    unsafe fn input<V: Vector>(self, x: [V; MOST]) -> [V; MOST] {
        // SAFETY: the caller's promise.
        unsafe {
            let [a, minus_a] = both(add_times(x[2], -2.0, x[4]), add_times(x[1], -2.0, x[3]), Self::A);
            let [b, minus_b] = both(add_times(x[2], -0.5, x[4]), add_times(x[1], -0.5, x[3]), Self::B);
            [add_times(x[2], -2.5, x[0].add(x[4])), a, minus_a, b, minus_b, add_times(x[3], -2.5, x[1].add(x[5]))]
        }
    }

    #[inline(always)]
    unsafe fn output<V: Vector>(self, m: [V; MOST]) -> [V; STEP] {
        // SAFETY: the caller's promise.
        unsafe {
            let (a, b) = (m[1].add(m[2]), m[3].add(m[4]));
            let (odd_a, odd_b) = (times(m[1].sub(m[2]), Self::A), times(m[3].sub(m[4]), Self::B));
            let last = add_times(odd_b, 2.0, add_times(odd_a, 0.5, m[5]));
            [m[0].add(a.add(b)), odd_a.add(odd_b), add_times(b, 2.0, times(a, 0.5)), last]
        }
    }

    #[inline(always)]
    unsafe fn spread<V: Vector>(self, y: [V; STEP]) -> [V; MOST] {
        // SAFETY: the caller's promise.
        unsafe {
            let [a, minus_a] = both(add_times(y[2], 0.5, y[0]), add_times(y[3], 0.5, y[1]), Self::A);
            let [b, minus_b] = both(add_times(y[2], 2.0, y[0]), add_times(y[3], 2.0, y[1]), Self::B);
            [y[0], a, minus_a, b, minus_b, y[3]]
        }
    }

    #[inline(always)]
    unsafe fn kernel<V: Vector>(self, w: [V; MOST_TAPS]) -> [V; MOST] {
        // SAFETY: the caller's promise.
        unsafe {
            let even_a = add_times(w[2], -1.0 / 3.0, times(w[0], -2.0 / 3.0));
            let [a, minus_a] = both(even_a, w[1], -2.0 / 3.0 * Self::A);
            let [b, minus_b] = both(add_times(w[2], 1.0 / 3.0, times(w[0], 1.0 / 6.0)), w[1], Self::B / 6.0);
            [w[0], a, minus_a, b, minus_b, w[2]]
        }
    }

    #[inline(always)]
    unsafe fn kernel_grad<V: Vector>(self, s: [V; MOST]) -> [V; MOST_TAPS] {
        // SAFETY: the caller's promise.
        unsafe {
            let (a, b) = (s[1].add(s[2]), s[3].add(s[4]));
            let (odd_a, odd_b) = (s[1].sub(s[2]), s[3].sub(s[4]));
            [
                add_times(b, 1.0 / 6.0, add_times(a, -2.0 / 3.0, s[0])),
                add_times(odd_b, Self::B / 6.0, times(odd_a, -2.0 / 3.0 * Self::A)),
                add_times(b, 1.0 / 3.0, add_times(a, -1.0 / 3.0, s[5])),
            ]
        }
    }
}

/// F(4, 2) for kernels of 3 or 4 taps at every second position, at ±a, ±b and ∞ with a = 1/2 and b = 5/4, whose powers f32 holds: with 64 channels
/// the largest error is 9e-7 of the largest output.
///
/// ```text
///      −a b²  −b²   a   1  0         −16/21  −8/21
///       a b²  −b²  −a   1  0          16/21  −8/21          1   1    1   1   0
/// Bᵀ = −a² b  −a²   b   1  0      G = 32/105  8/21    Aᵀ =  a  −a    b  −b   0
///       a² b  −a²  −b   1  0         −32/105  8/21          a²  a²   b²  b²  0
///      a² b²   0 −a²−b² 0  1             0      1           a³ −a³   b³ −b³  1
/// ```
#[derive(Clone, Copy, Debug)]
pub struct EverySecond {
    /// 3 or 4.
    pub size: usize,
}

impl EverySecond {
    const A: f64 = 0.5;
    const B: f64 = 1.25;
    const A2: f64 = Self::A * Self::A;
    const B2: f64 = Self::B * Self::B;
    const EVEN: Phase = Phase { offset: 0, taps: &[0, 2] };
    /// Of a kernel of 3 and of one of 4.
    const ODD: [Phase; 2] = [Phase { offset: 1, taps: &[1] }, Phase { offset: 1, taps: &[1, 3] }];

    const fn phases_with(odd: Phase) -> [[Phase; 2]; 4] {
        [[odd, odd], [odd, Self::EVEN], [Self::EVEN, Self::EVEN], [Self::EVEN, odd]]
    }
}

impl Scheme for EverySecond {
    const TAPS: usize = 2;
    const STRIDE: usize = 2;

    #[inline(always)]
    fn size(self) -> usize {
        self.size
    }
    #[inline(always)]
    fn phases(self) -> &'static [[Phase; 2]] {
        const PHASES: [[[Phase; 2]; 4]; 2] =
            [EverySecond::phases_with(EverySecond::ODD[0]), EverySecond::phases_with(EverySecond::ODD[1])];
        &PHASES[self.size - 3]
    }

    #[inline(always)]
    unsafe fn input<V: Vector>(self, x: [V; MOST]) -> [V; MOST] {
        // SAFETY: the caller's promise.
        unsafe {
            let [a, minus_a] = both(add_times(x[1], -Self::B2, x[3]), add_times(x[0], -Self::B2, x[2]), Self::A);
            let [b, minus_b] = both(add_times(x[1], -Self::A2, x[3]), add_times(x[0], -Self::A2, x[2]), Self::B);
            let last = add_times(x[0], Self::A2 * Self::B2, add_times(x[2], -Self::A2 - Self::B2, x[4]));
            [a, minus_a, b, minus_b, last, V::zero()]
        }
    }

    #[inline(always)]
    unsafe fn output<V: Vector>(self, m: [V; MOST]) -> [V; STEP] {
        // SAFETY: the caller's promise.
        unsafe {
            let (a, b) = (m[0].add(m[1]), m[2].add(m[3]));
            let (odd_a, odd_b) = (times(m[0].sub(m[1]), Self::A), times(m[2].sub(m[3]), Self::B));
            let last = add_times(odd_b, Self::B2, add_times(odd_a, Self::A2, m[4]));
            [a.add(b), odd_a.add(odd_b), add_times(b, Self::B2, times(a, Self::A2)), last]
        }
    }

    #[inline(always)]
    unsafe fn spread<V: Vector>(self, y: [V; STEP]) -> [V; MOST] {
        // SAFETY: the caller's promise.
        unsafe {
            let [a, minus_a] = both(add_times(y[2], Self::A2, y[0]), add_times(y[3], Self::A2, y[1]), Self::A);
            let [b, minus_b] = both(add_times(y[2], Self::B2, y[0]), add_times(y[3], Self::B2, y[1]), Self::B);
            [a, minus_a, b, minus_b, y[3], V::zero()]
        }
    }

    #[inline(always)]
    unsafe fn kernel<V: Vector>(self, w: [V; MOST_TAPS]) -> [V; MOST] {
        // SAFETY: the caller's promise.
        unsafe {
            let [a, minus_a] = both(times(w[1], -8.0 / 21.0), w[0], -16.0 / 21.0);
            let [b, minus_b] = both(times(w[1], 8.0 / 21.0), w[0], 32.0 / 105.0);
            [a, minus_a, b, minus_b, w[1], V::zero()]
        }
    }

    #[inline(always)]
    unsafe fn kernel_grad<V: Vector>(self, s: [V; MOST]) -> [V; MOST_TAPS] {
        // SAFETY: the caller's promise.
        unsafe {
            let (a, b) = (s[0].add(s[1]), s[2].add(s[3]));
            let (odd_a, odd_b) = (s[0].sub(s[1]), s[2].sub(s[3]));
            [
                add_times(odd_b, 32.0 / 105.0, times(odd_a, -16.0 / 21.0)),
                add_times(b, 8.0 / 21.0, add_times(a, -8.0 / 21.0, s[4])),
                V::zero(),
            ]
        }
    }
}

/// The phases that have a product in a place of a tile.
pub fn phases_at(scheme: impl Scheme, place: usize) -> std::ops::Range<usize> {
    let (side, phases) = (scheme.side(), scheme.phases());
    let at = [place / side, place % side];
    let has = |phase: &[Phase; 2]| (0..2).all(|d| at[d] + 1 < side || phase[d].taps.len() == scheme.taps());
    let first = phases.iter().position(has).unwrap_or(0);
    first..phases.iter().rposition(has).map_or(first, |last| last + 1)
}

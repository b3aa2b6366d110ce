//! Winograd's convolution with 3×3 kernels, F(4×4, 3×3): 36 multiplications for 16 outputs instead of 144.
//!
//! ```text
//! Y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ d B)] A          for every tile d of 6×6, which overlap by 2, and its 4×4 outputs Y
//! grad w = Gᵀ [Σ (A y Aᵀ) ⊙ (Bᵀ d B)] G   over all tiles, y being the gradient of Y
//! ```
//! Over channels, the products ⊙ are products of matrices, one for each of the 36 places in a tile. The matrices evaluate
//! polynomials at 0, ±a, ±b and ∞, with a = 1/√2 and b = √2. Usual are ±1 and ±2, whose powers grow: with 64 channels their
//! largest error in f32 is 7e-6 of the largest output, and with these points 1.6e-6.
//!
//! ```text
//!      1   0  −5/2   0    1  0            1       0      0
//!      0  −2a  −2    a    1  0          −2/3  −2/3 a   −1/3           1  1   1   1    1   0
//! Bᵀ = 0   2a  −2   −a    1  0      G = −2/3   2/3 a   −1/3     Aᵀ =  0  a  −a   b   −b   0
//!      0  −b/2 −½    b    1  0           1/6   b/6      1/3           0  ½   ½   2    2   0
//!      0   b/2 −½   −b    1  0           1/6  −b/6      1/3           0 a/2 −a/2 2b  −2b  1
//!      0   1    0   −5/2  0  1            0      0       1
//! ```
//! Channels lie side by side as lanes: pixels come and go in [frames](super::frame).
//!
//! Sources: Lavin & Gray 2016, <https://arxiv.org/abs/1509.09308>; points in pairs c and 1/c: Alam et al. 2022,
//! <https://arxiv.org/abs/2201.10369>.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use super::frame::LANES;
use crate::element::Float;
use crate::kernels::vector::{Vector, registers};

/// Places in a tile.
pub const PLACES: usize = SIDE * SIDE;
/// Rows and columns of a tile.
const SIDE: usize = 6;
/// Rows and columns of its outputs.
pub const STEP: usize = 4;
/// Taps of a kernel.
pub const TAPS: usize = 9;

/// Some rows of an image's tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// Rows of tiles.
    pub rows: usize,
    /// Tiles in a row.
    pub cols: usize,
}

impl Tiles {
    /// How many there are.
    #[must_use]
    pub fn count(self) -> usize {
        self.rows * self.cols
    }

    /// Rows and columns of a frame of their inputs.
    #[must_use]
    pub fn input(self) -> (usize, usize) {
        (STEP * self.rows + SIDE - STEP, STEP * self.cols + SIDE - STEP)
    }

    /// Rows and columns of a frame of their outputs.
    #[must_use]
    pub fn output(self) -> (usize, usize) {
        (STEP * self.rows, STEP * self.cols)
    }

    /// Elements of a frame.
    #[must_use]
    pub fn frame((rows, cols): (usize, usize)) -> usize {
        rows * cols * LANES
    }

    /// Each tile, and where it begins in a frame that is so wide.
    fn corners(self, width: usize) -> impl Iterator<Item = (usize, usize)> {
        let corner = move |t: usize| (t / self.cols * width + t % self.cols) * STEP * LANES;
        (0..self.count()).map(move |t| (t, corner(t)))
    }
}

/// Where transformed tiles lie: place p of tile t at `p * place + t * tile`, in elements.
#[derive(Clone, Copy, Debug)]
pub struct Apart {
    /// From one place to the next.
    pub place: usize,
    /// From one tile to the next.
    pub tile: usize,
}

impl Apart {
    fn reach(self, tiles: Tiles, lanes: usize) -> usize {
        if tiles.count() == 0 { 0 } else { (PLACES - 1) * self.place + (tiles.count() - 1) * self.tile + lanes }
    }
}

#[inline(always)]
unsafe fn times<V: Vector>(x: V, factor: f64) -> V {
    // SAFETY: here and below, the machine has V's instruction set.
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

const A: f64 = FRAC_1_SQRT_2;
const B: f64 = SQRT_2;

/// Bᵀ of six vectors.
#[inline(always)]
unsafe fn input<V: Vector>(x: [V; SIDE]) -> [V; SIDE] {
    // SAFETY: the caller's promise.
    unsafe {
        let [a, minus_a] = both(add_times(x[2], -2.0, x[4]), add_times(x[1], -2.0, x[3]), A);
        let [b, minus_b] = both(add_times(x[2], -0.5, x[4]), add_times(x[1], -0.5, x[3]), B);
        [add_times(x[2], -2.5, x[0].add(x[4])), a, minus_a, b, minus_b, add_times(x[3], -2.5, x[1].add(x[5]))]
    }
}

/// Aᵀ of six vectors.
#[inline(always)]
unsafe fn output<V: Vector>(m: [V; SIDE]) -> [V; STEP] {
    // SAFETY: the caller's promise.
    unsafe {
        let (a, b) = (m[1].add(m[2]), m[3].add(m[4]));
        let (odd_a, odd_b) = (times(m[1].sub(m[2]), A), times(m[3].sub(m[4]), B));
        let last = add_times(odd_b, 2.0, add_times(odd_a, 0.5, m[5]));
        [m[0].add(a.add(b)), odd_a.add(odd_b), add_times(b, 2.0, times(a, 0.5)), last]
    }
}

/// A of four vectors.
#[inline(always)]
unsafe fn spread<V: Vector>(y: [V; STEP]) -> [V; SIDE] {
    // SAFETY: the caller's promise.
    unsafe {
        let [a, minus_a] = both(add_times(y[2], 0.5, y[0]), add_times(y[3], 0.5, y[1]), A);
        let [b, minus_b] = both(add_times(y[2], 2.0, y[0]), add_times(y[3], 2.0, y[1]), B);
        [y[0], a, minus_a, b, minus_b, y[3]]
    }
}

/// G of three vectors.
#[inline(always)]
unsafe fn kernel<V: Vector>(w: [V; 3]) -> [V; SIDE] {
    // SAFETY: the caller's promise.
    unsafe {
        let [a, minus_a] = both(add_times(w[2], -1.0 / 3.0, times(w[0], -2.0 / 3.0)), w[1], -2.0 / 3.0 * A);
        let [b, minus_b] = both(add_times(w[2], 1.0 / 3.0, times(w[0], 1.0 / 6.0)), w[1], B / 6.0);
        [w[0], a, minus_a, b, minus_b, w[2]]
    }
}

/// Gᵀ of six vectors.
#[inline(always)]
unsafe fn kernel_grad<V: Vector>(s: [V; SIDE]) -> [V; 3] {
    // SAFETY: the caller's promise.
    unsafe {
        let (a, b) = (s[1].add(s[2]), s[3].add(s[4]));
        let (odd_a, odd_b) = (s[1].sub(s[2]), s[3].sub(s[4]));
        [
            add_times(b, 1.0 / 6.0, add_times(a, -2.0 / 3.0, s[0])),
            add_times(odd_b, B / 6.0, times(odd_a, -2.0 / 3.0 * A)),
            add_times(b, 1.0 / 3.0, add_times(a, -1.0 / 3.0, s[5])),
        ]
    }
}

/// An array of vectors, made one by one. Unlike a closure, this is compiled for the vectors' instruction set.
macro_rules! vectors {
    ($i:ident => $vector:expr) => {{
        let mut vectors = [V::zero(); _];
        for ($i, vector) in vectors.iter_mut().enumerate() {
            *vector = $vector;
        }
        vectors
    }};
}

registers! {
    /// Bᵀ d B of the first `lanes` channels of all tiles, from a frame of [`Tiles::input`].
    #[allow(clippy::needless_range_loop)] // rows and columns of a tile, by their numbers
    pub(crate) fn transform_input<T, V>(frame: &[T], tiles: Tiles, lanes: usize, out: &mut [T], apart: Apart) {
        let lanes = lanes.next_multiple_of(V::LANES);
        let (_, width) = tiles.input();
        assert!(lanes <= LANES && frame.len() >= Tiles::frame(tiles.input()) && out.len() >= apart.reach(tiles, lanes));
        for (t, corner) in tiles.corners(width) {
            for lane in (0..lanes).step_by(V::LANES) {
                // SAFETY: as asserted; this function's register is the machine's.
                unsafe {
                    let src = frame.as_ptr().add(corner + lane);
                    let dst = out.as_mut_ptr().add(t * apart.tile + lane);
                    let mut rows = [[V::zero(); SIDE]; SIDE];
                    for (r, row) in rows.iter_mut().enumerate() {
                        *row = input(vectors!(c => V::load(src.add((r * width + c) * LANES))));
                    }
                    for c in 0..SIDE {
                        let column = input(vectors!(r => rows[r][c]));
                        for (r, value) in column.into_iter().enumerate() {
                            value.store(dst.add((SIDE * r + c) * apart.place));
                        }
                    }
                }
            }
        }
    }

    /// Aᵀ m A + bias of the first `lanes` channels of all tiles, to a frame of [`Tiles::output`].
    #[allow(clippy::needless_range_loop)] // rows and columns of a tile, by their numbers
    pub(crate) fn transform_output<T, V>(
        sums: &[T], apart: Apart, tiles: Tiles, lanes: usize, bias: &[T; LANES], frame: &mut [T],
    ) {
        let lanes = lanes.next_multiple_of(V::LANES);
        let (_, width) = tiles.output();
        assert!(lanes <= LANES && frame.len() >= Tiles::frame(tiles.output()) && sums.len() >= apart.reach(tiles, lanes));
        for (t, corner) in tiles.corners(width) {
            for lane in (0..lanes).step_by(V::LANES) {
                // SAFETY: as asserted; this function's register is the machine's.
                unsafe {
                    let src = sums.as_ptr().add(t * apart.tile + lane);
                    let dst = frame.as_mut_ptr().add(corner + lane);
                    let bias = V::load(bias.as_ptr().add(lane));
                    let mut columns = [[V::zero(); STEP]; SIDE];
                    for (c, column) in columns.iter_mut().enumerate() {
                        *column = output(vectors!(r => V::load(src.add((SIDE * r + c) * apart.place))));
                    }
                    for r in 0..STEP {
                        let row = output(vectors!(c => columns[c][r]));
                        for (c, value) in row.into_iter().enumerate() {
                            value.add(bias).store(dst.add((r * width + c) * LANES));
                        }
                    }
                }
            }
        }
    }

    /// A y Aᵀ of the first `lanes` channels of all tiles, from a frame of [`Tiles::output`].
    #[allow(clippy::needless_range_loop)] // rows and columns of a tile, by their numbers
    pub(crate) fn transform_grad<T, V>(frame: &[T], tiles: Tiles, lanes: usize, out: &mut [T], apart: Apart) {
        let lanes = lanes.next_multiple_of(V::LANES);
        let (_, width) = tiles.output();
        assert!(lanes <= LANES && frame.len() >= Tiles::frame(tiles.output()) && out.len() >= apart.reach(tiles, lanes));
        for (t, corner) in tiles.corners(width) {
            for lane in (0..lanes).step_by(V::LANES) {
                // SAFETY: as asserted; this function's register is the machine's.
                unsafe {
                    let src = frame.as_ptr().add(corner + lane);
                    let dst = out.as_mut_ptr().add(t * apart.tile + lane);
                    let mut rows = [[V::zero(); SIDE]; STEP];
                    for (r, row) in rows.iter_mut().enumerate() {
                        *row = spread(vectors!(c => V::load(src.add((r * width + c) * LANES))));
                    }
                    for c in 0..SIDE {
                        let column = spread(vectors!(r => rows[r][c]));
                        for (r, value) in column.into_iter().enumerate() {
                            value.store(dst.add((SIDE * r + c) * apart.place));
                        }
                    }
                }
            }
        }
    }

    /// G w Gᵀ of [`LANES`] kernels, (tap, kernel) to (place, kernel).
    #[allow(clippy::needless_range_loop)] // rows and columns of a kernel, by their numbers
    pub(crate) fn transform_kernels<T, V>(taps: &[T; TAPS * LANES], out: &mut [T; PLACES * LANES]) {
        for lane in (0..LANES).step_by(V::LANES) {
            // SAFETY: the arrays have these lengths; this function's register is the machine's.
            unsafe {
                let mut rows = [[V::zero(); SIDE]; 3];
                for (r, row) in rows.iter_mut().enumerate() {
                    *row = kernel(vectors!(c => V::load(taps.as_ptr().add((3 * r + c) * LANES + lane))));
                }
                for c in 0..SIDE {
                    let column = kernel(vectors!(r => rows[r][c]));
                    for (r, value) in column.into_iter().enumerate() {
                        value.store(out.as_mut_ptr().add((SIDE * r + c) * LANES + lane));
                    }
                }
            }
        }
    }

    /// Gᵀ s G of some kernels: place p of kernel i at `sums[p * place + i]`, its taps to `grad` as (tap, kernel), as many kernels
    /// as that has room for.
    #[allow(clippy::needless_range_loop)] // rows and columns of a kernel, by their numbers
    pub(crate) fn transform_sums<T, V>(sums: &[T], place: usize, grad: &mut [T]) {
        let count = grad.len() / TAPS;
        assert!(sums.len() >= (PLACES - 1) * place + count);
        for first in (0..count).step_by(V::LANES) {
            // SAFETY: as asserted, masked to the last kernel; this function's register is the machine's.
            unsafe {
                let mask = V::first(V::LANES.min(count - first));
                let mut rows = [[V::zero(); 3]; SIDE];
                for (r, row) in rows.iter_mut().enumerate() {
                    let src = sums.as_ptr().add(SIDE * r * place + first);
                    *row = kernel_grad(vectors!(c => V::load_part(src.add(c * place), mask)));
                }
                for c in 0..3 {
                    let column = kernel_grad(vectors!(r => rows[r][c]));
                    for (r, value) in column.into_iter().enumerate() {
                        value.store_part(grad.as_mut_ptr().add((3 * r + c) * count + first), mask);
                    }
                }
            }
        }
    }
}

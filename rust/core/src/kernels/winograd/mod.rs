//! Winograd's convolution with small kernels: 3×3 at every position by F(4×4, 3×3), 36 multiplications for 16 outputs instead of
//! 144; at every second one by F(4×4, 2×2) of four phases, 81 instead of 144 for 3×3 and 100 instead of 256 for 4×4.
//!
//! ```text
//! Y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ d B)] A          for every tile d, of as many rows and columns as there are points, and its 4×4 outputs Y
//! grad w = Gᵀ [Σ (A y Aᵀ) ⊙ (Bᵀ d B)] G   over all tiles, y being the gradient of Y
//! ```
//! Over channels, the products ⊙ are products of matrices, one for each place in a tile. The matrices evaluate polynomials at some
//! points and at ∞: see [`Scheme`]. Channels lie side by side as lanes: pixels come and go in [frames](super::frame).
//!
//! Sources: Lavin & Gray 2016, <https://arxiv.org/abs/1509.09308>; points in pairs c and 1/c: Alam et al. 2022,
//! <https://arxiv.org/abs/2201.10369>.

mod scheme;

pub use scheme::{EverySecond, Everywhere, MOST, MOST_SIZE, MOST_TAPS, Phase, STEP, Scheme, phases_at};

use super::frame::LANES;
use crate::kernels::vector::registers;

/// Most places in a tile.
pub const MOST_PLACES: usize = MOST * MOST;
/// Most taps of a kernel.
pub const MOST_KERNEL: usize = MOST_SIZE * MOST_SIZE;

/// Some rows of an image's tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// Rows of tiles.
    pub rows: usize,
    /// Tiles in a row.
    pub cols: usize,
}

impl Tiles {
    /// Number of points.
    #[must_use]
    pub fn count(self) -> usize {
        self.rows * self.cols
    }

    /// Rows and columns of pixels that tiles of `side` of them reach.
    #[must_use]
    pub fn reach(self, side: usize) -> (usize, usize) {
        (STEP * self.rows + side - STEP, STEP * self.cols + side - STEP)
    }
}

/// Pixels of a frame that belong to tiles: every `stride`-th of every `stride`-th row.
#[derive(Clone, Copy, Debug)]
pub struct Lattice {
    /// The tiles.
    pub tiles: Tiles,
    /// Pixels of a row of the frame.
    pub width: usize,
    /// From one pixel to the next.
    pub stride: usize,
    /// Row and column of the first.
    pub first: (usize, usize),
}

impl Lattice {
    /// Each tile, and where it begins in the frame.
    fn corners(self) -> impl Iterator<Item = (usize, usize)> {
        let (first, cols) = (self.first.0 * self.width + self.first.1, self.tiles.cols);
        let corner = move |t: usize| (t / cols * self.width + t % cols) * STEP * self.stride + first;
        (0..self.tiles.count()).map(move |t| (t, corner(t) * LANES))
    }

    /// From a tile's first pixel to one in this row and column.
    #[inline(always)]
    fn pixel(self, row: usize, col: usize) -> usize {
        (row * self.width + col) * self.stride * LANES
    }

    /// True if a frame so long has all pixels of tiles of `side` rows and columns.
    fn fits(self, side: usize, len: usize) -> bool {
        let (rows, cols) = self.tiles.reach(side);
        let last = |first: usize, count: usize| first + (count - 1) * self.stride;
        let (row, col) = (last(self.first.0, rows), last(self.first.1, cols));
        self.tiles.count() == 0 || (col < self.width && (row * self.width + col + 1) * LANES <= len)
    }
}

/// Layout of transformed tiles: place p of tile t at `p * place + t * tile`, in elements.
#[derive(Clone, Copy, Debug)]
pub struct Apart {
    /// From one place to the next.
    pub place: usize,
    /// From one tile to the next.
    pub tile: usize,
}

impl Apart {
    fn reach(self, tiles: Tiles, side: usize, lanes: usize) -> usize {
        let places = side * side;
        if tiles.count() == 0 { 0 } else { (places - 1) * self.place + (tiles.count() - 1) * self.tile + lanes }
    }
}

/// An array of vectors, of which so many are made one by one. Unlike a closure, this is compiled for the vectors' instruction set.
macro_rules! vectors {
    ($i:ident in $count:expr => $vector:expr) => {{
        let mut vectors = [V::zero(); _];
        for ($i, vector) in vectors.iter_mut().enumerate().take($count) {
            *vector = $vector;
        }
        vectors
    }};
}

registers! {
    /// Bᵀ d B of the first `lanes` channels of all tiles, from these pixels of a frame.
    #[allow(clippy::needless_range_loop)] // rows and columns of a tile, by their numbers
    pub(crate) fn transform_input<T, V>(
        scheme: impl Scheme, frame: &[T], of: Lattice, lanes: usize, out: &mut [T], apart: Apart,
    ) {
        let (lanes, side) = (lanes.next_multiple_of(V::LANES), scheme.side());
        assert!(lanes <= LANES && of.fits(side, frame.len()) && out.len() >= apart.reach(of.tiles, side, lanes));
        for (t, corner) in of.corners() {
            for lane in (0..lanes).step_by(V::LANES) {
                // SAFETY: as asserted; this function's register is the machine's.
                unsafe {
                    let src = frame.as_ptr().add(corner + lane);
                    let dst = out.as_mut_ptr().add(t * apart.tile + lane);
                    let mut rows = [[V::zero(); MOST]; MOST];
                    for (r, row) in rows.iter_mut().enumerate().take(side) {
                        *row = scheme.input(vectors!(c in side => V::load(src.add(of.pixel(r, c)))));
                    }
                    for c in 0..side {
                        let column = scheme.input(vectors!(r in side => rows[r][c]));
                        for (r, value) in column.into_iter().enumerate().take(side) {
                            value.store(dst.add((side * r + c) * apart.place));
                        }
                    }
                }
            }
        }
    }

    /// Aᵀ m A + bias of the first `lanes` channels of all tiles, to these pixels of a frame.
    #[allow(clippy::needless_range_loop)] // rows and columns of a tile, by their numbers
    pub(crate) fn transform_output<T, V>(
        scheme: impl Scheme, sums: &[T], apart: Apart, lanes: usize, bias: &[T; LANES],
        frame: &mut [T], of: Lattice,
    ) {
        let (lanes, side) = (lanes.next_multiple_of(V::LANES), scheme.side());
        assert!(lanes <= LANES && of.fits(STEP, frame.len()) && sums.len() >= apart.reach(of.tiles, side, lanes));
        for (t, corner) in of.corners() {
            for lane in (0..lanes).step_by(V::LANES) {
                // SAFETY: as asserted; this function's register is the machine's.
                unsafe {
                    let src = sums.as_ptr().add(t * apart.tile + lane);
                    let dst = frame.as_mut_ptr().add(corner + lane);
                    let bias = V::load(bias.as_ptr().add(lane));
                    let mut columns = [[V::zero(); STEP]; MOST];
                    for (c, column) in columns.iter_mut().enumerate().take(side) {
                        *column = scheme.output(vectors!(r in side => V::load(src.add((side * r + c) * apart.place))));
                    }
                    for r in 0..STEP {
                        let row = scheme.output(vectors!(c in side => columns[c][r]));
                        for (c, value) in row.into_iter().enumerate() {
                            value.add(bias).store(dst.add(of.pixel(r, c)));
                        }
                    }
                }
            }
        }
    }

    /// A y Aᵀ of the first `lanes` channels of all tiles, from these pixels of a frame.
    #[allow(clippy::needless_range_loop)] // rows and columns of a tile, by their numbers
    pub(crate) fn transform_grad<T, V>(
        scheme: impl Scheme, frame: &[T], of: Lattice, lanes: usize, out: &mut [T], apart: Apart,
    ) {
        let (lanes, side) = (lanes.next_multiple_of(V::LANES), scheme.side());
        assert!(lanes <= LANES && of.fits(STEP, frame.len()) && out.len() >= apart.reach(of.tiles, side, lanes));
        for (t, corner) in of.corners() {
            for lane in (0..lanes).step_by(V::LANES) {
                // SAFETY: as asserted; this function's register is the machine's.
                unsafe {
                    let src = frame.as_ptr().add(corner + lane);
                    let dst = out.as_mut_ptr().add(t * apart.tile + lane);
                    let mut rows = [[V::zero(); MOST]; STEP];
                    for (r, row) in rows.iter_mut().enumerate() {
                        *row = scheme.spread(vectors!(c in STEP => V::load(src.add(of.pixel(r, c)))));
                    }
                    for c in 0..side {
                        let column = scheme.spread(vectors!(r in STEP => rows[r][c]));
                        for (r, value) in column.into_iter().enumerate().take(side) {
                            value.store(dst.add((side * r + c) * apart.place));
                        }
                    }
                }
            }
        }
    }

    /// G w Gᵀ of [`LANES`] kernels, (tap, kernel) to (place, kernel), for a phase that has these taps along both dimensions.
    #[allow(clippy::needless_range_loop)] // rows and columns of a kernel, by their numbers
    pub(crate) fn transform_kernels<T, V>(
        scheme: impl Scheme, taps: &[T; MOST_KERNEL * LANES], of: [&[usize]; 2], out: &mut [T; MOST_PLACES * LANES],
    ) {
        let ([ys, xs], side, size) = (of, scheme.side(), scheme.size());
        assert!(ys.iter().chain(xs).all(|&tap| tap < size) && size <= MOST_SIZE && ys.len().max(xs.len()) <= MOST_TAPS);
        for lane in (0..LANES).step_by(V::LANES) {
            // SAFETY: the arrays have these lengths; this function's register is the machine's.
            unsafe {
                let mut rows = [[V::zero(); MOST]; MOST_TAPS];
                for (row, &y) in rows.iter_mut().zip(ys) {
                    let tap = |x: usize| taps.as_ptr().add((size * y + x) * LANES + lane);
                    *row = scheme.kernel(vectors!(c in xs.len() => V::load(tap(xs[c]))));
                }
                for c in 0..side {
                    let column = scheme.kernel(vectors!(r in MOST_TAPS => rows[r][c]));
                    for (r, value) in column.into_iter().enumerate().take(side) {
                        value.store(out.as_mut_ptr().add((side * r + c) * LANES + lane));
                    }
                }
            }
        }
    }

    /// Gᵀ s G of some kernels: place p of kernel i at `sums[p * place + i]`, the taps that a phase has along both dimensions to
    /// `grad` as (tap, kernel), as many kernels as that has room for.
    #[allow(clippy::needless_range_loop)] // rows and columns of a kernel, by their numbers
    pub(crate) fn transform_sums<T, V>(
        scheme: impl Scheme, sums: &[T], place: usize, of: [&[usize]; 2], grad: &mut [T],
    ) {
        let ([ys, xs], side, size) = (of, scheme.side(), scheme.size());
        let count = grad.len() / (size * size);
        assert!(sums.len() >= (side * side - 1) * place + count && ys.iter().chain(xs).all(|&tap| tap < size));
        for first in (0..count).step_by(V::LANES) {
            // SAFETY: as asserted, masked to the last kernel; this function's register is the machine's.
            unsafe {
                let mask = V::first(V::LANES.min(count - first));
                let mut rows = [[V::zero(); MOST_TAPS]; MOST];
                for (r, row) in rows.iter_mut().enumerate().take(side) {
                    let src = sums.as_ptr().add(side * r * place + first);
                    *row = scheme.kernel_grad(vectors!(c in side => V::load_part(src.add(c * place), mask)));
                }
                for (c, &x) in xs.iter().enumerate() {
                    let column = scheme.kernel_grad(vectors!(r in side => rows[r][c]));
                    for (value, &y) in column.into_iter().zip(ys) {
                        value.store_part(grad.as_mut_ptr().add((size * y + x) * count + first), mask);
                    }
                }
            }
        }
    }
}

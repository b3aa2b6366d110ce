//! Winograd's convolution with 3×3 kernels, F(2×2, 3×3): 16 multiplications for 4 outputs instead of 36.
//!
//! ```text
//! Y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ d B)] A          for every tile d of 4×4, which overlap by 2, and its 2×2 outputs Y
//! grad w = Gᵀ [Σ (A y Aᵀ) ⊙ (Bᵀ d B)] G   over all tiles, y being the gradient of Y
//!
//!      1  0 −1  0           1   0   0           1 1  1  0
//! Bᵀ = 0  1  1  0      G =  ½   ½   ½      Aᵀ = 0 1 −1 −1
//!      0 −1  1  0           ½  −½   ½
//!      0  1  0 −1           0   0   1
//! ```
//! Over channels, the products ⊙ are products of matrices, one for each of the 16 places in a tile.
//!
//! Tiles lie side by side as lanes. For that, an image is split into four planes of its even and odd rows and columns, each with
//! rows of [`Tiles::run`], one more than there are tiles in a row: tile t then finds row r and column c of its 4×4 at
//! `t + r/2 · run + c/2` of plane (r mod 2, c mod 2), whichever row of tiles it is in. The last tile of each row is none.
//!
//! Source: Lavin & Gray 2016, <https://arxiv.org/abs/1509.09308>.

use crate::element::Float;
use crate::kernels::vector::{Vector, registers};

/// Places in a tile.
pub const PLACES: usize = 16;
/// Tiles that are transformed at once.
pub const LANES: usize = 16;
/// So few elements are copied one by one.
const FEW: usize = 2;

/// Some rows of an image's tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// Rows of tiles.
    pub rows: usize,
    /// Tiles in a row, and one more.
    pub run: usize,
}

impl Tiles {
    /// Tiles, those that are none included.
    #[must_use]
    pub fn len(self) -> usize {
        self.rows * self.run
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.rows == 0
    }

    /// Elements of one of the four planes.
    fn plane(self) -> usize {
        (self.rows + 1) * self.run
    }

    /// Elements of a channel's four planes, and of what whole vectors read beyond.
    #[must_use]
    pub fn split_len(self) -> usize {
        4 * self.plane() + LANES + 1
    }
}

/// A plane of an image, and its position at the first tile's corner.
#[derive(Clone, Copy)]
pub struct Image<'a, T> {
    /// Its elements.
    pub plane: &'a [T],
    /// Rows and columns.
    pub size: (usize, usize),
    /// What the first tile begins at; outside of the image there are zeros.
    pub first: (isize, isize),
}

/// Bᵀ of four vectors.
///
/// # Safety
/// Here and below: the machine has V's instruction set.
#[inline(always)]
unsafe fn transform_four<V: Vector>(a: V, b: V, c: V, d: V) -> [V; 4] {
    // SAFETY: the caller's promise.
    unsafe { [a.sub(c), b.add(c), c.sub(b), b.sub(d)] }
}

/// Aᵀ of four vectors.
#[inline(always)]
unsafe fn gather_four<V: Vector>(a: V, b: V, c: V, d: V) -> [V; 2] {
    // SAFETY: the caller's promise.
    unsafe { [a.add(b).add(c), b.sub(c).sub(d)] }
}

/// A of two vectors.
#[inline(always)]
unsafe fn spread_two<V: Vector>(a: V, b: V) -> [V; 4] {
    // SAFETY: the caller's promise.
    unsafe { [a, a.add(b), a.sub(b), V::zero().sub(b)] }
}

/// Rows of some plane: the first, from one to the next, how many.
#[derive(Clone, Copy)]
pub(super) struct Rows<P> {
    pub start: P,
    pub stride: usize,
    pub count: usize,
}

/// Rows' even and odd positions from `first` on: `even[j] = row[first + 2 j]`, `odd[j] = row[first + 2 j + 1]`, 0 outside of a
/// row. The results are `run` long and `apart` apart.
///
/// # Safety
/// The machine has V's instruction set, rows are `width` long, and there is room for the results.
#[inline(always)]
pub(super) unsafe fn split_rows<V: Vector>(
    rows: Rows<*const V::Elem>,
    width: usize,
    first: isize,
    run: usize,
    (even, odd): (*mut V::Elem, *mut V::Elem),
    apart: usize,
) {
    let len = width as isize;
    // Masks are the same for all rows.
    for start in (0..run).step_by(V::LANES) {
        let (left, x) = (run - start, first + 2 * start as isize);
        // SAFETY: loads are masked to the rows, stores to `run` elements.
        unsafe {
            if left <= FEW {
                // A row of tiles is one longer than a power of two, and this one must not take as long as a vector.
                for (i, j) in (0..rows.count).flat_map(|i| (start..run).map(move |j| (i, j))) {
                    let one = |x: isize| {
                        let inside = x >= 0 && x < len;
                        if inside { *rows.start.add(i * rows.stride).offset(x) } else { V::Elem::ZERO }
                    };
                    let x = first + 2 * j as isize;
                    even.add(i * apart + j).write(one(x));
                    odd.add(i * apart + j).write(one(x + 1));
                }
                return;
            }
            let lane = |edge: isize| edge.clamp(0, V::LANES as isize) as usize;
            let next = x + V::LANES as isize;
            let (low, high) = (V::between(lane(-x), lane(len - x)), V::between(lane(-next), lane(len - next)));
            let there = V::first(left.min(V::LANES));
            for i in 0..rows.count {
                let row = rows.start.wrapping_add(i * rows.stride);
                let low = V::load_part(row.wrapping_offset(x), low);
                let (evens, odds) = low.deinterleave(V::load_part(row.wrapping_offset(next), high));
                let (even, odd) = (even.add(i * apart + start), odd.add(i * apart + start));
                if left >= V::LANES {
                    evens.store(even);
                    odds.store(odd);
                } else {
                    evens.store_part(even, there);
                    odds.store_part(odd, there);
                }
            }
        }
    }
}

/// Rows of even and odd positions side by side, as rows of `width` that are `apart` apart. Of the sources whole vectors are read.
///
/// # Safety
/// The machine has V's instruction set, and all that is read and written exists.
#[inline(always)]
unsafe fn join_rows<V: Vector>(
    even: Rows<*const V::Elem>,
    odd: *const V::Elem,
    out: *mut V::Elem,
    width: usize,
    apart: usize,
) {
    for start in (0..width).step_by(2 * V::LANES) {
        let left = width - start;
        // SAFETY: the caller's promise; the result is written up to its end.
        unsafe {
            let (first, second) =
                (V::first(left.min(V::LANES)), V::first(left.clamp(V::LANES, 2 * V::LANES) - V::LANES));
            for i in 0..even.count {
                let place = i * even.stride + start / 2;
                let (low, high) = V::load(even.start.add(place)).interleave(V::load(odd.add(place)));
                let out = out.add(i * apart + start);
                if left >= 2 * V::LANES {
                    low.store(out);
                    high.store(out.add(V::LANES));
                } else {
                    low.store_part(out, first);
                    high.store_part(out.wrapping_add(V::LANES), second);
                }
            }
        }
    }
}

registers! {
    /// Split an image's rows under these tiles into four planes.
    pub(crate) fn split<T, V>(image: Image<'_, T>, tiles: Tiles, planes: &mut [T]) {
        let ((height, width), run) = (image.size, tiles.run);
        assert!(planes.len() >= tiles.split_len() && image.plane.len() >= height * width);
        planes[4 * tiles.plane()..].fill(T::ZERO);
        for (phase, half) in planes.chunks_exact_mut(2 * tiles.plane()).take(2).enumerate() {
            let first = image.first.0 + phase as isize;
            // Rows that lie in the image.
            let start = ((-first + 1).max(0) as usize / 2).min(tiles.rows + 1);
            let end = ((height as isize - first + 1).max(0) as usize / 2).clamp(start, tiles.rows + 1);
            for plane in half.chunks_exact_mut(tiles.plane()) {
                plane[..start * run].fill(T::ZERO);
                plane[end * run..].fill(T::ZERO);
            }
            if start == end {
                continue;
            }
            let top = (first + 2 * start as isize) as usize;
            let rows = Rows { start: image.plane[top * width..].as_ptr(), stride: 2 * width, count: end - start };
            let (even, odd) = half.split_at_mut(tiles.plane());
            let to = (even[start * run..].as_mut_ptr(), odd[start * run..].as_mut_ptr());
            // SAFETY: these rows exist on both sides; this function's register is the machine's.
            unsafe { split_rows::<V>(rows, width, image.first.1, run, to, run) };
        }
    }

    /// Even and odd columns side by side: `out[2 i] = even[i]`, `out[2 i + 1] = odd[i]`. [`LANES`] − 1 elements beyond those
    /// that are used can be read.
    pub(crate) fn interleave<T, V>(even: &[T], odd: &[T], out: &mut [T]) {
        let whole = out.len().div_ceil(2).next_multiple_of(V::LANES);
        assert!(even.len() >= whole && odd.len() >= whole);
        let even = Rows { start: even.as_ptr(), stride: 0, count: 1 };
        // SAFETY: as asserted; this function's register is the machine's.
        unsafe { join_rows::<V>(even, odd.as_ptr(), out.as_mut_ptr(), out.len(), 0) };
    }

    /// Bᵀ d B of all tiles, from split planes: place p of tile t goes to `out[p * stride + t]`. Up to [`LANES`] − 1
    /// elements beyond the last tile are written as well.
    #[allow(clippy::needless_range_loop)] // rows and columns of a tile, by their numbers
    pub(crate) fn transform_input<T, V>(planes: &[T], tiles: Tiles, out: &mut [T], stride: usize) {
        let whole = tiles.len().next_multiple_of(LANES);
        assert!(planes.len() >= tiles.split_len() && out.len() >= (PLACES - 1) * stride + whole);
        let row = |r: usize| r % 2 * 2 * tiles.plane() + r / 2 * tiles.run;
        // SAFETY: the last element that is read is at 3 planes + run + 1 + whole, the last written as asserted.
        unsafe {
            for t in (0..tiles.len()).step_by(V::LANES) {
                let mut rows = [[V::zero(); 4]; 4];
                for (r, d) in rows.iter_mut().enumerate() {
                    let even = planes.as_ptr().add(row(r) + t);
                    let odd = even.add(tiles.plane());
                    *d = transform_four(V::load(even), V::load(odd), V::load(even.add(1)), V::load(odd.add(1)));
                }
                for c in 0..4 {
                    let column = transform_four(rows[0][c], rows[1][c], rows[2][c], rows[3][c]);
                    for (r, value) in column.into_iter().enumerate() {
                        value.store(out.as_mut_ptr().add((4 * r + c) * stride + t));
                    }
                }
            }
        }
    }

    /// Aᵀ m A + bias of all tiles, place p of tile t at `sums[p * stride + t]`, as rows of an image that is `width` wide. `room`
    /// takes four planes of the tiles' even and odd rows and columns; up to [`LANES`] − 1 elements beyond the last tile are read.
    #[allow(clippy::needless_range_loop)] // rows and columns of a tile, by their numbers
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn transform_output<T, V>(
        sums: &[T], stride: usize, tiles: Tiles, bias: T, room: &mut [T], out: &mut [T], width: usize,
    ) {
        let whole = tiles.len().next_multiple_of(LANES);
        let plane = tiles.len() + LANES;
        assert!(sums.len() >= (PLACES - 1) * stride + whole && room.len() >= 4 * plane);
        assert!(out.len() <= 2 * tiles.rows * width && width < 2 * tiles.run);
        // SAFETY: as asserted; this function's register is the machine's.
        unsafe {
            let bias = V::splat(bias);
            for t in (0..tiles.len()).step_by(V::LANES) {
                let mut columns = [[V::zero(); 2]; 4];
                for (c, column) in columns.iter_mut().enumerate() {
                    let m = |r: usize| V::load(sums.as_ptr().add((4 * r + c) * stride + t));
                    *column = gather_four(m(0), m(1), m(2), m(3));
                }
                for r in 0..2 {
                    let row = gather_four(columns[0][r], columns[1][r], columns[2][r], columns[3][r]);
                    for (c, value) in row.into_iter().enumerate() {
                        value.add(bias).store(room.as_mut_ptr().add((2 * r + c) * plane + t));
                    }
                }
            }
            let rows = out.len() / width;
            for phase in 0..2.min(rows) {
                let even = room.as_ptr().add(2 * phase * plane);
                let rows = Rows { start: even, stride: tiles.run, count: (rows - phase).div_ceil(2) };
                let out = out.as_mut_ptr().add(phase * width);
                join_rows::<V>(rows, even.add(plane), out, width, 2 * width);
            }
        }
    }

    /// A y Aᵀ of one row of tiles, channels side by side: `rows` holds two rows of an image as (column, channel), or one at
    /// its lower border; place p of tile t goes to `out[p * stride + t * channels ..]`. The last tile, which is none, becomes 0.
    #[allow(clippy::needless_range_loop)] // rows and columns of a tile, by their numbers
    pub(crate) fn transform_grad<T, V>(rows: [&[T]; 2], channels: usize, run: usize, out: &mut [T], stride: usize) {
        assert!(out.len() >= (PLACES - 1) * stride + run * channels);
        // SAFETY: rows are read up to their ends, the result is written as asserted.
        unsafe {
            for tile in 0..run {
                for first in (0..channels).step_by(V::LANES) {
                    let width = V::LANES.min(channels - first);
                    let mask = V::first(width);
                    let get = |row: &[T], x: usize| {
                        let start = x * channels + first;
                        if start + width <= row.len() { V::load_part(row.as_ptr().add(start), mask) } else { V::zero() }
                    };
                    let mut columns = [[V::zero(); 4]; 2];
                    for (c, column) in columns.iter_mut().enumerate() {
                        *column = spread_two(get(rows[0], 2 * tile + c), get(rows[1], 2 * tile + c));
                    }
                    for r in 0..4 {
                        for (c, value) in spread_two(columns[0][r], columns[1][r]).into_iter().enumerate() {
                            let place = (4 * r + c) * stride + tile * channels + first;
                            value.store_part(out.as_mut_ptr().add(place), mask);
                        }
                    }
                }
            }
        }
    }
}

/// G w Gᵀ of one kernel.
#[must_use]
pub fn transform_kernel<T: Float>(w: [T; 9]) -> [T; PLACES] {
    let half = T::ONE / (T::ONE + T::ONE);
    let four = |a: T, b: T, c: T| [a, (a + b + c) * half, (a - b + c) * half, c];
    let rows = [0, 1, 2].map(|r| four(w[3 * r], w[3 * r + 1], w[3 * r + 2]));
    let mut out = [T::ZERO; PLACES];
    for c in 0..4 {
        for (r, value) in four(rows[0][c], rows[1][c], rows[2][c]).into_iter().enumerate() {
            out[4 * r + c] = value;
        }
    }
    out
}

/// Gᵀ s G of one kernel.
#[must_use]
pub fn transform_kernel_grad<T: Float>(s: [T; PLACES]) -> [T; 9] {
    let half = T::ONE / (T::ONE + T::ONE);
    let three = |a: T, b: T, c: T, d: T| [a + (b + c) * half, (b - c) * half, (b + c) * half + d];
    let rows = [0, 1, 2, 3].map(|r| three(s[4 * r], s[4 * r + 1], s[4 * r + 2], s[4 * r + 3]));
    let mut out = [T::ZERO; 9];
    for c in 0..3 {
        for (r, value) in three(rows[0][c], rows[1][c], rows[2][c], rows[3][c]).into_iter().enumerate() {
            out[3 * r + c] = value;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::random;
    use crate::simd::{Level, level, set_level};

    /// Every width up to three vectors, from places before and inside of the row; nothing beyond is written.
    #[test]
    fn rows_are_split_and_put_together() {
        let best = level();
        for wanted in [Level::Portable, Level::Avx2, Level::Avx512] {
            set_level(wanted);
            for width in 1..50_usize {
                let row: Vec<f64> = random(width, 7);
                for first in -3..3_isize {
                    let tiles = Tiles { rows: 1, run: width / 2 + 3 };
                    let mut planes = vec![f64::NAN; tiles.split_len()];
                    split(Image { plane: &row, size: (1, width), first: (-1, first) }, tiles, &mut planes);
                    let at = |x: isize| usize::try_from(x).ok().and_then(|x| row.get(x)).copied().unwrap_or(0.0);
                    for (i, &value) in planes.iter().enumerate() {
                        let (plane, place) = (i / tiles.plane(), i % tiles.plane());
                        // The image's one row is row 0 of the odd ones, planes 2 and 3.
                        let x = first + 2 * place as isize + plane as isize % 2;
                        let expected = if (2..4).contains(&plane) && place < tiles.run { at(x) } else { 0.0 };
                        assert_eq!(value, expected, "{wanted:?} {width} {first} {i}");
                    }
                }
                let (even, odd): (Vec<f32>, Vec<f32>) = (random(64, 1), random(64, 2));
                let mut out = vec![f32::NAN; width + 40];
                interleave(&even, &odd, &mut out[..width]);
                for (i, value) in out.iter().enumerate() {
                    let expected = if i % 2 == 0 { even[i / 2] } else { odd[i / 2] };
                    assert!(if i < width { *value == expected } else { value.is_nan() }, "{wanted:?} {width} {i}");
                }
            }
        }
        set_level(best);
    }
}

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
use crate::simd;

/// Places in a tile.
pub const PLACES: usize = 16;
/// Tiles that are transformed at once.
pub const LANES: usize = 16;

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
#[inline(always)]
fn transform_four<T: Float, const W: usize>(d: [[T; W]; 4]) -> [[T; W]; 4] {
    let mut out = [[T::ZERO; W]; 4];
    for i in 0..W {
        out[0][i] = d[0][i] - d[2][i];
        out[1][i] = d[1][i] + d[2][i];
        out[2][i] = d[2][i] - d[1][i];
        out[3][i] = d[1][i] - d[3][i];
    }
    out
}

/// Aᵀ of four vectors.
#[inline(always)]
fn gather_four<T: Float, const W: usize>(m: [[T; W]; 4]) -> [[T; W]; 2] {
    let mut out = [[T::ZERO; W]; 2];
    for i in 0..W {
        out[0][i] = m[0][i] + m[1][i] + m[2][i];
        out[1][i] = m[1][i] - m[2][i] - m[3][i];
    }
    out
}

/// A of two vectors.
#[inline(always)]
fn spread_two<T: Float, const W: usize>(y: [[T; W]; 2]) -> [[T; W]; 4] {
    let mut out = [[T::ZERO; W]; 4];
    for i in 0..W {
        out[0][i] = y[0][i];
        out[1][i] = y[0][i] + y[1][i];
        out[2][i] = y[0][i] - y[1][i];
        out[3][i] = -y[1][i];
    }
    out
}

/// The `W` elements from `start`.
#[inline(always)]
fn at<T: Float, const W: usize>(x: &[T], start: usize) -> [T; W] {
    *x[start..].first_chunk().expect("the caller has checked lengths")
}

#[inline(always)]
fn put<T: Float, const W: usize>(x: &mut [T], start: usize, value: [T; W]) {
    *x[start..].first_chunk_mut().expect("the caller has checked lengths") = value;
}

/// A row's even and odd positions from `first` on.
#[inline(always)]
fn split_row<T: Float>(row: &[T], first: isize, even: &mut [T], odd: &mut [T]) {
    let (width, run) = (row.len() as isize, even.len());
    // Pairs that lie in the row as a whole.
    let start = ((-first + 1).max(0) as usize / 2).min(run);
    let end = ((width - first).max(0) as usize / 2).clamp(start, run);
    let one = |j: usize, phase: isize| {
        let x = first + 2 * j as isize + phase;
        if x >= 0 && x < width { row[x as usize] } else { T::ZERO }
    };
    for j in (0..start).chain(end..run) {
        (even[j], odd[j]) = (one(j, 0), one(j, 1));
    }
    if start < end {
        let pairs = &row[(first + 2 * start as isize) as usize..][..2 * (end - start)];
        for ((even, odd), pair) in even[start..end].iter_mut().zip(&mut odd[start..end]).zip(pairs.as_chunks::<2>().0) {
            (*even, *odd) = (pair[0], pair[1]);
        }
    }
}

simd! {
    /// Split an image's rows under these tiles into four planes.
    pub fn split<T: Float>(image: Image<'_, T>, tiles: Tiles, planes: &mut [T]) {
        let (height, width) = image.size;
        planes[4 * tiles.plane()..].fill(T::ZERO);
        let (upper, lower) = planes[..4 * tiles.plane()].split_at_mut(2 * tiles.plane());
        for (phase, half) in [upper, lower].into_iter().enumerate() {
            let (even, odd) = half.split_at_mut(tiles.plane());
            for (i, (even, odd)) in even.chunks_exact_mut(tiles.run).zip(odd.chunks_exact_mut(tiles.run)).enumerate() {
                let y = image.first.0 + (2 * i + phase) as isize;
                if y < 0 || y >= height as isize {
                    even.fill(T::ZERO);
                    odd.fill(T::ZERO);
                } else {
                    split_row(&image.plane[y as usize * width..][..width], image.first.1, even, odd);
                }
            }
        }
    }

    /// Bᵀ d B of all tiles, from split planes: place p of tile t goes to `out[p * stride + t]`. Up to [`LANES`] − 1
    /// elements beyond the last tile are written as well.
    pub fn transform_input<T: Float>(planes: &[T], tiles: Tiles, out: &mut [T], stride: usize) {
        for t in (0..tiles.len()).step_by(LANES) {
            let row = |r: usize| {
                let start = r % 2 * 2 * tiles.plane() + r / 2 * tiles.run + t;
                [0, 1, 2, 3].map(|c| at::<T, LANES>(planes, start + c % 2 * tiles.plane() + c / 2))
            };
            let rows = [0, 1, 2, 3].map(|r| transform_four(row(r)));
            for c in 0..4 {
                let column = transform_four([rows[0][c], rows[1][c], rows[2][c], rows[3][c]]);
                for (r, value) in column.into_iter().enumerate() {
                    put(out, (4 * r + c) * stride + t, value);
                }
            }
        }
    }

    /// Aᵀ m A + bias of all tiles, place p of tile t at `sums[p * stride + t]`, into four planes of tiles, `plane` apart:
    /// those of even and odd rows and columns. Up to [`LANES`] − 1 elements beyond the last tile are read and written as well.
    pub fn transform_output<T: Float>(sums: &[T], stride: usize, tiles: usize, bias: T, out: &mut [T], plane: usize) {
        for t in (0..tiles).step_by(LANES) {
            let column = |c: usize| gather_four([0, 1, 2, 3].map(|r| at::<T, LANES>(sums, (4 * r + c) * stride + t)));
            let columns = [0, 1, 2, 3].map(column);
            for r in 0..2 {
                let row = gather_four([columns[0][r], columns[1][r], columns[2][r], columns[3][r]]);
                for (c, value) in row.into_iter().enumerate() {
                    put(out, (2 * r + c) * plane + t, value.map(|y| y + bias));
                }
            }
        }
    }

    /// Even and odd columns side by side: `out[2 i] = even[i]`, `out[2 i + 1] = odd[i]`.
    pub fn interleave<T: Float>(even: &[T], odd: &[T], out: &mut [T]) {
        let (pairs, last) = out.as_chunks_mut::<2>();
        for ((pair, &even), &odd) in pairs.iter_mut().zip(even).zip(odd) {
            *pair = [even, odd];
        }
        if let [last] = last {
            *last = even[pairs.len()];
        }
    }

    /// A y Aᵀ of one row of tiles, channels side by side: `rows` holds two rows of an image as (column, channel), or one at
    /// its lower border; place p of tile t goes to `out[p * stride + t * channels ..]`. `out` has one tile more, which becomes 0.
    pub fn transform_grad<T: Float>(rows: [&[T]; 2], channels: usize, run: usize, out: &mut [T], stride: usize) {
        #[inline(always)]
        fn block<T: Float, const W: usize>(rows: [&[T]; 2], channels: usize, tile: usize, first: usize, out: &mut [T], stride: usize) {
            let get = |row: &[T], x: usize| {
                let start = x * channels + first;
                if start + W <= row.len() { at::<T, W>(row, start) } else { [T::ZERO; W] }
            };
            let columns = [0, 1].map(|c| spread_two([get(rows[0], 2 * tile + c), get(rows[1], 2 * tile + c)]));
            for r in 0..4 {
                let row = spread_two([columns[0][r], columns[1][r]]);
                for (c, value) in row.into_iter().enumerate() {
                    put(out, (4 * r + c) * stride + tile * channels + first, value);
                }
            }
        }
        for tile in 0..run {
            let mut first = 0;
            while channels - first >= LANES {
                block::<T, LANES>(rows, channels, tile, first, out, stride);
                first += LANES;
            }
            while channels - first >= 4 {
                block::<T, 4>(rows, channels, tile, first, out, stride);
                first += 4;
            }
            while first < channels {
                block::<T, 1>(rows, channels, tile, first, out, stride);
                first += 1;
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

//! Products of matrices.
//!
//! The inner dimension is cut into chunks of some hundred steps, by its length alone. Over a chunk, every element of C is one
//! chain of fused multiply-adds from 0, the inner index ascending; the chunks' sums, and C's old value before them, are added in
//! their order. So the tile, the instruction set and the number of threads leave no trace in the bits.
//!
//! | file | what it holds |
//! |---|---|
//! | `tile` | the microkernel, and which shapes of it a level has |
//! | `quick` | the microkernel of f32 for x86 processors without fused multiply-adds |
//! | `pack`, `transpose` | copies of an operand in the order in which the microkernel reads it |
//! | `blocks` | which part of a product is computed when |

// The microkernel's parts must end up in a function that is compiled for the instruction set.
#![allow(clippy::inline_always)]

mod blocks;
mod pack;
#[cfg(target_arch = "x86_64")]
mod quick;
mod tile;
#[cfg(target_arch = "x86_64")]
mod transpose;

#[cfg(test)]
mod tests;

use std::ops::Range;

pub use blocks::ROW_BLOCK;
pub(crate) use blocks::odd_lines;
use tile::Tables;

use crate::element::{DType, Float};
use crate::simd;
use crate::threads::{self, Team};

/// A strided operand: element (i, j) is at `ptr + i * row_stride + j * col_stride`, in elements.
#[derive(Clone, Copy, Debug)]
pub struct MatRef<T> {
    /// Element (0, 0).
    pub ptr: *const T,
    /// From one row to the next.
    pub row_stride: isize,
    /// From one column to the next.
    pub col_stride: isize,
}

/// C = A · B, or C + A · B.
#[derive(Clone, Copy, Debug)]
pub struct Product<T> {
    /// Rows of A and C.
    pub m: usize,
    /// Columns of B and C.
    pub n: usize,
    /// The inner dimension: columns of A, rows of B.
    pub k: usize,
    /// A, m × k. Read in place if one of its strides is 1.
    pub a: MatRef<T>,
    /// B, k × n. Read in place if its column stride is 1.
    pub b: MatRef<T>,
    /// C, m × n, its columns side by side.
    pub c: *mut T,
    /// From one row of C to the next.
    pub ldc: usize,
    /// True if the sums are added to C's old values.
    pub accumulate: bool,
    /// True if each block of rows that `on_rows` gets is written at `c`, over the one before: for a product whose rows
    /// are used up at once, and need no memory of their own. Room for [`ROW_BLOCK`] rows is enough then.
    pub one_block: bool,
}

/// Compute `rows` × `cols` of C on this thread. `on_rows` is called once for every row, in ascending blocks of at most
/// [`ROW_BLOCK`], when the block is complete for all of `cols` and still in cache.
///
/// # Safety
/// All elements of A, B and C that take part exist, C overlaps neither A nor B, and nobody else writes A or B or touches
/// the part of C.
pub unsafe fn block<T: Float>(
    p: &Product<T>,
    rows: Range<usize>,
    cols: Range<usize>,
    on_rows: &mut dyn FnMut(Range<usize>),
) {
    // SAFETY: T is the type that its DTYPE names, so the product is cast to itself; the rest is the caller's promise.
    unsafe {
        match T::DTYPE {
            DType::F32 => typed(&*std::ptr::from_ref(p).cast::<Product<f32>>(), rows, cols, on_rows),
            DType::F64 => typed(&*std::ptr::from_ref(p).cast::<Product<f64>>(), rows, cols, on_rows),
            DType::I64 | DType::Bool => unreachable!("a Float is f32 or f64"),
        }
    }
}

/// # Safety
/// As for [`block`].
unsafe fn typed<T: Tables>(
    p: &Product<T>,
    rows: Range<usize>,
    cols: Range<usize>,
    on_rows: &mut dyn FnMut(Range<usize>),
) {
    // SAFETY: the level is never above what the machine was found to have; the rest is the caller's promise.
    unsafe { blocks::run(T::isa(simd::level()), p, rows, cols, on_rows) }
}

/// Compute this member's part of C. Every member of the team makes the same call; no one waits.
///
/// # Safety
/// As for [`block`], for all of C; nobody reads C before a barrier.
pub unsafe fn run<T: Float>(team: &Team, p: &Product<T>) {
    let (rows, cols) = part::<T>(team, p);
    // SAFETY: members' parts are disjoint; the rest is the caller's promise.
    unsafe { block(p, rows, cols, &mut |_| ()) }
}

/// Rows and columns of C that a member of the team computes; none, if there are fewer than members.
///
/// Members stand in a grid. Those that share rows each pack all of their columns of B, and those that share columns all of
/// their rows of A. So the grid is that whose largest part is the smallest, and among equals the one that packs least.
#[must_use]
pub fn part<T: Float>(team: &Team, p: &Product<T>) -> (Range<usize>, Range<usize>) {
    // Borders of columns lie on cache lines, so that no two members write one line.
    cell((team.rank(), team.size()), (p.m, p.n), blocks::LINE / size_of::<T>())
}

/// See [`part`]: of member `rank` of `size`, for m × n elements, `unit` of which are a cache line.
fn cell((rank, size): (usize, usize), (m, n): (usize, usize), unit: usize) -> (Range<usize>, Range<usize>) {
    let units = n.div_ceil(unit);
    let cost = |down: usize| {
        let (height, width) = (m.div_ceil(down), units.div_ceil(size / down) * unit);
        (height * width, height + width)
    };
    let down = (1..=size.min(m)).min_by_key(|&down| cost(down)).unwrap_or(1);
    let across = size / down;
    let (i, j) = (rank / across, rank % across);
    if i >= down {
        return (0..0, 0..0);
    }
    let columns = threads::share(units, across, j);
    (threads::share(m, down, i), (columns.start * unit).min(n)..(columns.end * unit).min(n))
}

/// C = A · B, or C + A · B, on this thread. Element (i, j) of A is at `i * a_strides.0 + j * a_strides.1` of `a`, and so
/// for B; row i of C starts at `i * ldc`.
///
/// # Panics
/// If an operand is too short for its shape and strides, or if rows of C overlap.
///
/// ```
/// use fastnn_core::kernels::matmul::matmul;
/// let mut c = [0.0; 2];
/// // (1 2) · (3 4; 5 6)
/// matmul((1, 2, 2), &[1.0_f32, 2.0], (2, 1), &[3.0, 4.0, 5.0, 6.0], (2, 1), &mut c, 2, false);
/// assert_eq!(c, [13.0, 16.0]);
/// ```
#[allow(clippy::too_many_arguments)]
pub fn matmul<T: Float>(
    (m, n, k): (usize, usize, usize),
    a: &[T],
    a_strides: (usize, usize),
    b: &[T],
    b_strides: (usize, usize),
    c: &mut [T],
    ldc: usize,
    accumulate: bool,
) {
    let a = operand("A", (m, k), a, a_strides);
    let b = operand("B", (k, n), b, b_strides);
    assert!(m <= 1 || ldc >= n, "matmul: expected rows of C at least {n} apart; got {ldc}");
    operand("C", (m, n), c, (ldc, 1));
    let p = Product { m, n, k, a, b, c: c.as_mut_ptr(), ldc, accumulate, one_block: false };
    // SAFETY: bounds were checked, and the borrows keep C apart from A and B.
    unsafe { block(&p, 0..m, 0..n, &mut |_| ()) }
}

fn operand<T>(name: &str, (rows, cols): (usize, usize), data: &[T], (row, col): (usize, usize)) -> MatRef<T> {
    let needed = if rows == 0 || cols == 0 {
        Some(0)
    } else {
        // The last element's place, checked, because strides may be anything.
        (rows - 1).checked_mul(row).zip((cols - 1).checked_mul(col)).and_then(|(i, j)| i.checked_add(j)?.checked_add(1))
    };
    assert!(
        needed.is_some_and(|needed| needed <= data.len()),
        "matmul: expected {name} ({rows}, {cols}) with strides ({row}, {col}) to fit its buffer; got {} elements",
        data.len()
    );
    MatRef { ptr: data.as_ptr(), row_stride: row as isize, col_stride: col as isize }
}

//! Products of strided matrices, as the ops hand them to the kernel.

use std::ops::Range;

use crate::element::Float;
use crate::kernels::matmul::{self, MatRef, Product};
use crate::threads::Team;

/// A matrix somewhere in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<T> {
    pub ptr: *mut T,
    pub rows: usize,
    pub cols: usize,
    /// From one row to the next.
    pub row: isize,
    /// From one column to the next.
    pub col: isize,
}

impl<T> Matrix<T> {
    /// A row-major matrix without gaps.
    pub fn new(ptr: *mut T, rows: usize, cols: usize) -> Self {
        Self { ptr, rows, cols, row: cols as isize, col: 1 }
    }

    /// Rows and columns exchanged.
    pub fn t(self) -> Self {
        Self { ptr: self.ptr, rows: self.cols, cols: self.rows, row: self.col, col: self.row }
    }

    /// The same matrix elsewhere.
    ///
    /// # Safety
    /// As for `pointer::offset`.
    pub unsafe fn at(self, offset: isize) -> Self {
        // SAFETY: by this function's contract.
        Self { ptr: unsafe { self.ptr.offset(offset) }, ..self }
    }

    fn operand(self) -> MatRef<T> {
        MatRef { ptr: self.ptr, row_stride: self.row, col_stride: self.col }
    }
}

fn describe<T: Float>(a: Matrix<T>, b: Matrix<T>, c: Matrix<T>) -> Product<T> {
    assert!(a.rows == c.rows && a.cols == b.rows && b.cols == c.cols && c.col == 1, "operands of a product fit");
    Product {
        m: c.rows,
        n: c.cols,
        k: a.cols,
        a: a.operand(),
        b: b.operand(),
        c: c.ptr,
        ldc: c.row as usize,
        accumulate: false,
        one_block: false,
    }
}

/// c ← a · b, by all members of the team; complete once they have met at a barrier.
///
/// # Safety
/// The matrices must exist, c's elements being nobody else's and side by side in its rows.
pub(super) unsafe fn product<T: Float>(team: &Team, a: Matrix<T>, b: Matrix<T>, c: Matrix<T>) {
    // SAFETY: by this function's contract.
    unsafe { matmul::run(team, &describe(a, b, c)) }
}

/// [`product`], after which `finish(rows, columns)` is called for every part of c that is complete and still in cache.
///
/// # Safety
/// As for [`product`].
pub(super) unsafe fn product_then<T: Float>(
    team: &Team,
    a: Matrix<T>,
    b: Matrix<T>,
    c: Matrix<T>,
    mut finish: impl FnMut(Range<usize>, Range<usize>),
) {
    let p = describe(a, b, c);
    let (rows, cols) = matmul::part(team, &p);
    // SAFETY: members' parts are disjoint; the rest is this function's contract.
    unsafe { matmul::block(&p, rows, cols.clone(), &mut |rows| finish(rows, cols.clone())) }
}

/// Nanoseconds that one thread takes for a product, at 80 GFLOP/s.
pub(super) fn work(m: usize, n: usize, k: usize) -> usize {
    m.saturating_mul(n).saturating_mul(k) / 40
}

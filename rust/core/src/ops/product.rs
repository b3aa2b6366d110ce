//! Products of strided matrices, as the ops hand them to the kernel.

use crate::element::Float;
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
    /// As for [`pointer::offset`].
    pub unsafe fn at(self, offset: isize) -> Self {
        // SAFETY: by this function's contract.
        Self { ptr: unsafe { self.ptr.offset(offset) }, ..self }
    }
}

/// c ← a · b, by all members of the team; complete once they have met at a barrier. One chain of fused multiply-adds
/// an element, the inner index ascending.
///
/// # Safety
/// The matrices must exist, c's elements being nobody else's and side by side in its rows.
pub(super) unsafe fn product<T: Float>(team: &Team, a: Matrix<T>, b: Matrix<T>, c: Matrix<T>) {
    debug_assert!(a.rows == c.rows && a.cols == b.rows && b.cols == c.cols && c.col == 1);
    for i in team.share(c.rows) {
        for j in 0..c.cols {
            let mut sum = T::ZERO;
            for p in 0..a.cols as isize {
                // SAFETY: indices inside the matrices; members write different rows of c.
                unsafe {
                    let x = *a.ptr.offset(i as isize * a.row + p * a.col);
                    sum = x.mul_add(*b.ptr.offset(p * b.row + j as isize * b.col), sum);
                }
            }
            // SAFETY: as above.
            unsafe { *c.ptr.offset(i as isize * c.row + j as isize) = sum };
        }
    }
}

/// Nanoseconds that one thread takes for a product, at 80 GFLOP/s.
pub(super) fn work(m: usize, n: usize, k: usize) -> usize {
    m * n * k / 40
}

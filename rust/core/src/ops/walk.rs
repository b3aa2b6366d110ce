//! Walking several strided operands of one shape together, innermost dimension at once.

use smallvec::SmallVec;

use crate::element::Element;
use crate::kernels::elementwise::{self, Map, Zip};
use crate::tensor::View;
use crate::tensor::layout::{Dims, Strides};
use crate::threads::Team;

/// A shape and the strides of `N` operands over it, with dimensions merged where all of them allow.
pub struct Walk<const N: usize> {
    shape: Dims,
    strides: [Strides; N],
}

impl<const N: usize> Walk<N> {
    /// Merge neighboring dimensions that every operand steps through as if they were one.
    #[must_use]
    pub fn new(shape: &[usize], strides: [&[isize]; N]) -> Self {
        let mut merged_shape: Dims = SmallVec::new();
        let mut merged: [Strides; N] = std::array::from_fn(|_| SmallVec::new());
        for (d, &size) in shape.iter().enumerate() {
            if size == 1 {
                continue;
            }
            let joins = merged_shape.last().is_some()
                && merged.iter().zip(&strides).all(|(m, s)| m[m.len() - 1] == s[d] * size as isize);
            if joins {
                let last = merged_shape.len() - 1;
                merged_shape[last] *= size;
                for (m, s) in merged.iter_mut().zip(&strides) {
                    m[last] = s[d];
                }
            } else {
                merged_shape.push(size);
                for (m, s) in merged.iter_mut().zip(&strides) {
                    m.push(s[d]);
                }
            }
        }
        if merged_shape.is_empty() {
            merged_shape.push(shape.iter().product());
            for m in &mut merged {
                m.push(1);
            }
        }
        Self { shape: merged_shape, strides: merged }
    }

    /// Call `inner(offsets, n, steps)` for this member's share: `n` elements from each operand's offset, `steps` apart.
    #[inline]
    pub fn run(&self, team: &Team, mut inner: impl FnMut([isize; N], usize, [isize; N])) {
        let last = self.shape.len() - 1;
        let steps: [isize; N] = std::array::from_fn(|i| self.strides[i][last]);
        let row = self.shape[last];
        let rows: usize = self.shape[..last].iter().product();
        if rows == 1 {
            let share = team.share(row);
            if !share.is_empty() {
                inner(std::array::from_fn(|i| steps[i] * share.start as isize), share.len(), steps);
            }
            return;
        }
        let share = team.share(rows);
        if share.is_empty() || row == 0 {
            return;
        }
        let mut index: Dims = SmallVec::from_elem(0, last);
        let mut offsets = [0; N];
        let mut rest = share.start;
        for d in (0..last).rev() {
            index[d] = rest % self.shape[d];
            rest /= self.shape[d];
            for (offset, strides) in offsets.iter_mut().zip(&self.strides) {
                *offset += index[d] as isize * strides[d];
            }
        }
        for _ in share {
            inner(offsets, row, steps);
            for d in (0..last).rev() {
                index[d] += 1;
                for (offset, strides) in offsets.iter_mut().zip(&self.strides) {
                    *offset += strides[d];
                }
                if index[d] < self.shape[d] {
                    break;
                }
                for (offset, strides) in offsets.iter_mut().zip(&self.strides) {
                    *offset -= index[d] as isize * strides[d];
                }
                index[d] = 0;
            }
        }
    }
}

/// `n` elements in a row.
///
/// # Safety
/// They must be valid and unchanged for as long as the slice lives.
unsafe fn row<'a, T>(ptr: *const T, n: usize) -> &'a [T] {
    // SAFETY: by this function's contract.
    unsafe { std::slice::from_raw_parts(ptr, n) }
}

/// `n` elements in a row, to be written.
///
/// # Safety
/// They must be valid, and nobody else's for as long as the slice lives.
unsafe fn row_mut<'a, T>(ptr: *mut T, n: usize) -> &'a mut [T] {
    // SAFETY: by this function's contract.
    unsafe { std::slice::from_raw_parts_mut(ptr, n) }
}

/// This member's share of `y ← f(x)`, where x has y's shape or broadcasts to it. x and y must not overlap.
pub(crate) fn map<T: Element, F: Map<T>>(team: &Team, f: F, x: &View<'_>, y: &View<'_>) {
    let (from, to) = (x.ptr::<T>().cast_const(), y.ptr::<F::Out>());
    let stretched = x.layout().expand(y.shape());
    Walk::new(y.shape(), [&stretched.strides, y.strides()]).run(team, |at, n, step| {
        // SAFETY: offsets of the two layouts; members of the team write different elements of y.
        unsafe {
            let (from, to) = (from.offset(at[0]), to.offset(at[1]));
            if step == [1, 1] || n == 1 {
                elementwise::map(f, row(from, n), row_mut(to, n));
            } else {
                for i in 0..n as isize {
                    *to.offset(i * step[1]) = f.call(*from.offset(i * step[0]));
                }
            }
        }
    });
}

/// This member's share of `y ← f(a, b)`, where a and b broadcast to y's shape. Neither may overlap y.
#[inline]
pub(crate) fn zip<T: Element, F: Zip<T>>(team: &Team, f: F, a: &View<'_>, b: &View<'_>, y: &View<'_>) {
    let (pa, pb, py) = (a.ptr::<T>().cast_const(), b.ptr::<T>().cast_const(), y.ptr::<F::Out>());
    let inner = |at: [isize; 3], n: usize, step: [isize; 3]| {
        // SAFETY: offsets of the three layouts; members of the team write different elements of y.
        unsafe {
            let (pa, pb, py) = (pa.offset(at[0]), pb.offset(at[1]), py.offset(at[2]));
            match step {
                [1, 1, 1] => elementwise::zip(f, row(pa, n), row(pb, n), row_mut(py, n)),
                [1, 0, 1] => elementwise::zip_right(f, row(pa, n), *pb, row_mut(py, n)),
                [0, 1, 1] => elementwise::zip_left(f, *pa, row(pb, n), row_mut(py, n)),
                _ => {
                    for i in 0..n as isize {
                        *py.offset(i * step[2]) = f.call(*pa.offset(i * step[0]), *pb.offset(i * step[1]));
                    }
                }
            }
        }
    };
    if a.shape() == y.shape() && b.shape() == y.shape() && [a, b, y].iter().all(|v| v.layout().is_contiguous()) {
        let share = team.share(y.numel());
        inner([share.start as isize; 3], share.len(), [1; 3]);
        return;
    }
    let (a, b) = (a.layout().expand(y.shape()), b.layout().expand(y.shape()));
    Walk::new(y.shape(), [&a.strides, &b.strides, y.strides()]).run(team, inner);
}

/// This member's share of `y ← f(y, b)`, where b broadcasts to y's shape. They must not overlap.
pub(crate) fn zip_in_place<T: Element, F: Zip<T, Out = T>>(team: &Team, f: F, y: &View<'_>, b: &View<'_>) {
    let (py, pb) = (y.ptr::<T>(), b.ptr::<T>().cast_const());
    let stretched = b.layout().expand(y.shape());
    Walk::new(y.shape(), [y.strides(), &stretched.strides]).run(team, |at, n, step| {
        // SAFETY: offsets of the two layouts; members of the team write different elements of y.
        unsafe {
            let (py, pb) = (py.offset(at[0]), pb.offset(at[1]));
            match step {
                [1, 1] => elementwise::zip_in_place(f, row_mut(py, n), row(pb, n)),
                [1, 0] => elementwise::zip_right_in_place(f, row_mut(py, n), *pb),
                _ => {
                    for i in 0..n as isize {
                        let y = py.offset(i * step[0]);
                        *y = f.call(*y, *pb.offset(i * step[1]));
                    }
                }
            }
        }
    });
}

/// This member's share of `y ← f(y)`.
pub(crate) fn map_in_place<T: Element, F: Map<T, Out = T>>(team: &Team, f: F, y: &View<'_>) {
    let py = y.ptr::<T>();
    Walk::new(y.shape(), [y.strides()]).run(team, |at, n, [step]| {
        // SAFETY: offsets of the layout; members of the team write different elements.
        unsafe {
            let py = py.offset(at[0]);
            if step == 1 {
                elementwise::map_in_place(f, row_mut(py, n));
            } else {
                for i in 0..n as isize {
                    let y = py.offset(i * step);
                    *y = f.call(*y);
                }
            }
        }
    });
}

/// This member's share of `y ← a where the mask is 1, else b`, all of which broadcast to y's shape and do not overlap it.
pub(crate) fn select<T: Element>(team: &Team, mask: &View<'_>, a: &View<'_>, b: &View<'_>, y: &View<'_>) {
    let (pm, pa, pb, py) = (mask.ptr::<u8>(), a.ptr::<T>(), b.ptr::<T>(), y.ptr::<T>());
    let [lm, la, lb] = [mask, a, b].map(|v| v.layout().expand(y.shape()));
    Walk::new(y.shape(), [&lm.strides, &la.strides, &lb.strides, y.strides()]).run(team, |at, n, step| {
        // SAFETY: offsets of the four layouts; members of the team write different elements of y.
        unsafe {
            let (pm, pa, pb, py) = (pm.offset(at[0]), pa.offset(at[1]), pb.offset(at[2]), py.offset(at[3]));
            if step == [1; 4] {
                elementwise::select(row(pm, n), row(pa, n), row(pb, n), row_mut(py, n));
            } else {
                for i in 0..n as isize {
                    let from =
                        if *pm.offset(i * step[0]) == 0 { pb.offset(i * step[2]) } else { pa.offset(i * step[1]) };
                    *py.offset(i * step[3]) = *from;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::layout::row_major;

    #[test]
    fn every_element_is_visited_once_at_its_place() {
        let shape = [3, 1, 4, 5];
        let contiguous = row_major(&shape);
        let broadcast = [0, 0, 1, 0];
        let mut seen = Vec::new();
        Walk::new(&shape, [&contiguous, &broadcast]).run(&Team::SOLO, |at, n, step| {
            seen.extend((0..n as isize).map(|j| (at[0] + j * step[0], at[1] + j * step[1])));
        });
        let expected: Vec<_> = (0..60).map(|i| (i, i / 5 % 4)).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn contiguous_operands_are_one_row() {
        let strides = row_major(&[7, 3, 2]);
        let mut calls = 0;
        Walk::new(&[7, 3, 2], [&strides, &strides]).run(&Team::SOLO, |_, n, _| {
            calls += 1;
            assert_eq!(n, 42);
        });
        assert_eq!(calls, 1);
    }

    #[test]
    fn a_share_of_rows_begins_where_the_one_before_ended() {
        // Three dimensions that do not merge: the odometer carries over two of them.
        let (shape, strides) = ([2, 3, 4], [1_isize, 2, 6]);
        let mut seen = Vec::new();
        Walk::new(&shape, [&strides]).run(&Team::SOLO, |at, n, step| {
            seen.extend((0..n as isize).map(|j| at[0] + j * step[0]));
        });
        let expected: Vec<isize> = (0..24).map(|i| i / 12 + i / 4 % 3 * 2 + i % 4 * 6).collect();
        assert_eq!(seen, expected);
    }
}

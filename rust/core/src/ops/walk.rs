//! Walking several strided operands of one shape together, innermost dimension at once.

use smallvec::SmallVec;

use crate::tensor::layout::{Dims, Strides};
use crate::threads::Team;

/// A shape and the strides of `N` operands over it, with dimensions merged where all of them allow.
pub struct Walk<const N: usize> {
    shape: Dims,
    strides: [Strides; N],
}

impl<const N: usize> Walk<N> {
    /// Merge neighbouring dimensions that every operand steps through as if they were one.
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
        for r in team.share(rows) {
            let mut offsets = [0; N];
            let mut rest = r;
            for d in (0..last).rev() {
                let index = (rest % self.shape[d]) as isize;
                rest /= self.shape[d];
                for (offset, strides) in offsets.iter_mut().zip(&self.strides) {
                    *offset += index * strides[d];
                }
            }
            inner(offsets, row, steps);
        }
    }
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
}

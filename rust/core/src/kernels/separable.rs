//! Linear maps of planes that act on rows and columns one after the other: averages, interpolation, padding.
//!
//! ```text
//! y = R · x · Cᵀ        R: (rows of y × rows of x), C: (columns of y × columns of x), both sparse
//! ```
//!
//! First R makes a line of the width of x, then C makes a row of y of it. Sums run in the order of the taps.

use crate::element::Float;
use crate::simd;

/// What an axis looks like, where that makes its sums simpler.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pattern {
    /// Every output is its input.
    Identity,
    /// Output i is the same multiple of inputs 2i and 2i + 1.
    Pairs,
    /// Outputs 2i and 2i + 1 are the same multiple of input i; outputs past the inputs' are 0.
    Twice,
    /// Anything else.
    General,
}

/// One axis: output i is Σ `weights[k] · x[at[k]]` over the taps k from `starts[i]` to `starts[i + 1]`.
#[derive(Clone, Copy, Debug)]
pub struct Axis<'a, T> {
    /// Where the taps of an output begin; one more than there are outputs.
    pub starts: &'a [u32],
    /// The input of a tap.
    pub at: &'a [u32],
    /// The weight of a tap.
    pub weights: &'a [T],
    /// What the taps look like.
    pub pattern: Pattern,
}

impl<'a, T> Axis<'a, T> {
    /// How many outputs.
    #[inline(always)]
    fn outputs(&self) -> usize {
        self.starts.len() - 1
    }

    /// The taps of an output.
    #[inline(always)]
    fn taps(&self, i: usize) -> (&'a [u32], &'a [T]) {
        let range = self.starts[i] as usize..self.starts[i + 1] as usize;
        (&self.at[range.clone()], &self.weights[range])
    }
}

/// line ← Σ weight · row
#[inline(always)]
fn sum_rows<T: Float>(plane: &[T], at: &[u32], weights: &[T], line: &mut [T]) {
    let width = line.len();
    let row = |k: usize| &plane[at[k] as usize * width..][..width];
    match at.len() {
        0 => line.fill(T::ZERO),
        1 => {
            let w = weights[0];
            for (y, &a) in line.iter_mut().zip(row(0)) {
                *y = w * a;
            }
        }
        n => {
            let (v, w) = (weights[0], weights[1]);
            for ((y, &a), &b) in line.iter_mut().zip(row(0)).zip(row(1)) {
                *y = w.mul_add(b, v * a);
            }
            let mut k = 2;
            while k + 1 < n {
                let (v, w) = (weights[k], weights[k + 1]);
                for ((y, &a), &b) in line.iter_mut().zip(row(k)).zip(row(k + 1)) {
                    *y = w.mul_add(b, v.mul_add(a, *y));
                }
                k += 2;
            }
            if k < n {
                let w = weights[k];
                for (y, &a) in line.iter_mut().zip(row(k)) {
                    *y = w.mul_add(a, *y);
                }
            }
        }
    }
}

/// y ← C · line
#[inline(always)]
fn across<T: Float>(line: &[T], cols: Axis<'_, T>, y: &mut [T]) {
    match cols.pattern {
        Pattern::Identity => y.copy_from_slice(line),
        Pattern::Pairs => {
            let w = cols.weights[0];
            for (y, x) in y.iter_mut().zip(line.as_chunks::<2>().0) {
                *y = w * (x[0] + x[1]);
            }
        }
        Pattern::Twice => {
            let w = cols.weights[0];
            let (inside, rest) = y.split_at_mut(2 * line.len());
            for (y, &x) in inside.as_chunks_mut::<2>().0.iter_mut().zip(line) {
                *y = [w * x; 2];
            }
            rest.fill(T::ZERO);
        }
        Pattern::General => {
            for (i, y) in y.iter_mut().enumerate() {
                let (at, weights) = cols.taps(i);
                let mut sum = T::ZERO;
                for (&at, &w) in at.iter().zip(weights) {
                    sum = w.mul_add(line[at as usize], sum);
                }
                *y = sum;
            }
        }
    }
}

simd! {
    /// y ← R · x · Cᵀ for planes that follow each other, x having rows of `width`. `line` is scratch.
    pub fn planes<T: Float>(x: &[T], plane: usize, width: usize, rows: Axis<'_, T>, cols: Axis<'_, T>, line: &mut [T], y: &mut [T]) {
        let (out_rows, out_cols) = (rows.outputs(), cols.outputs());
        let line = &mut line[..width];
        for (x, y) in x.chunks_exact(plane).zip(y.chunks_exact_mut(out_rows * out_cols)) {
            for (i, y) in y.chunks_exact_mut(out_cols).enumerate() {
                let (at, weights) = rows.taps(i);
                if at.len() == 1 && weights[0] == T::ONE {
                    across(&x[at[0] as usize * width..][..width], cols, y);
                } else if cols.pattern == Pattern::Identity {
                    sum_rows(x, at, weights, y);
                } else {
                    sum_rows(x, at, weights, line);
                    across(line, cols, y);
                }
            }
        }
    }
}

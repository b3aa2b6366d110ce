//! Linear maps of planes that act on rows and columns one after the other: averages, interpolation, padding.
//!
//! ```text
//! y = R · x · Cᵀ        R: (rows of y × rows of x), C: (columns of y × columns of x), both sparse
//! ```
//!
//! First R makes a line of the width of x, then C makes a row of y of it. Sums run in the order of the taps.

use crate::element::{Float, LANES};
use crate::kernels::reduce::tree;
use crate::simd;

/// Outputs from which on a sum of neighbours is worth lanes.
const LONG: usize = 16;

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

/// The longest stretch of outputs in which `period` outputs further on the taps are those `step` inputs further on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Its first output.
    pub from: usize,
    /// Its end: whole periods after its first.
    pub to: usize,
    /// 1 or 2.
    pub period: usize,
    /// 0, 1 or 2; 1 if the period is 2.
    pub step: usize,
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
    /// Where they repeat.
    pub stretch: Stretch,
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

/// y ← Σ weight · source, as many elements as y has
#[inline(always)]
fn weighted<'a, T: Float + 'a>(source: impl Fn(usize) -> &'a [T], weights: &[T], y: &mut [T]) {
    let width = y.len();
    let row = |k: usize| &source(k)[..width];
    match *weights {
        [] => y.fill(T::ZERO),
        [w] => {
            for (y, &a) in y.iter_mut().zip(row(0)) {
                *y = w * a;
            }
        }
        [v, w] => {
            for ((y, &a), &b) in y.iter_mut().zip(row(0)).zip(row(1)) {
                *y = w.mul_add(b, v * a);
            }
        }
        [u, v, w, ..] => {
            for (((y, &a), &b), &c) in y.iter_mut().zip(row(0)).zip(row(1)).zip(row(2)) {
                *y = w.mul_add(c, v.mul_add(b, u * a));
            }
            let (pairs, rest) = weights[3..].as_chunks::<2>();
            for (k, &[v, w]) in pairs.iter().enumerate() {
                for ((y, &a), &b) in y.iter_mut().zip(row(2 * k + 3)).zip(row(2 * k + 4)) {
                    *y = w.mul_add(b, v.mul_add(a, *y));
                }
            }
            if let [w] = *rest {
                for (y, &a) in y.iter_mut().zip(row(weights.len() - 1)) {
                    *y = w.mul_add(a, *y);
                }
            }
        }
    }
}

/// Σ weight · input of one output.
#[inline(always)]
fn one<T: Float>(line: &[T], at: &[u32], weights: &[T]) -> T {
    let n = at.len();
    if n >= LONG && at[n - 1] as usize == at[0] as usize + n - 1 {
        let (chunks, rest) = line[at[0] as usize..][..n].as_chunks::<LANES>();
        let (chunk_weights, rest_weights) = weights.as_chunks::<LANES>();
        let mut sums = [T::ZERO; LANES];
        for (x, w) in chunks.iter().zip(chunk_weights) {
            for l in 0..LANES {
                sums[l] = w[l].mul_add(x[l], sums[l]);
            }
        }
        for ((sum, &x), &w) in sums.iter_mut().zip(rest).zip(rest_weights) {
            *sum = w.mul_add(x, *sum);
        }
        return tree(sums, |a, b| a + b);
    }
    let mut sum = T::ZERO;
    for (&at, &w) in at.iter().zip(weights) {
        sum = w.mul_add(line[at as usize], sum);
    }
    sum
}

/// Even and odd elements of `line`, one after the other.
#[inline(always)]
fn deal<'a, T: Float>(line: &[T], room: &'a mut [T]) -> [&'a [T]; 2] {
    let (even, odd) = room[..line.len()].split_at_mut(line.len().div_ceil(2));
    let (pairs, rest) = line.as_chunks::<2>();
    for ((even, odd), pair) in even.iter_mut().zip(&mut *odd).zip(pairs) {
        (*even, *odd) = (pair[0], pair[1]);
    }
    if let ([last], Some(even)) = (rest, even.last_mut()) {
        *even = *last;
    }
    [even, odd]
}

/// The outputs of the stretch.
#[inline(always)]
fn stretch<T: Float>(line: &[T], cols: Axis<'_, T>, room: &mut [T], y: &mut [T]) {
    let (at, weights) = cols.taps(cols.stretch.from);
    match (cols.stretch.period, cols.stretch.step) {
        (1, 0) => y.fill(one(line, at, weights)),
        (1, 1) if weights.len() == 1 && weights[0] == T::ONE => y.copy_from_slice(&line[at[0] as usize..][..y.len()]),
        (1, 1) => weighted(|k| &line[at[k] as usize..], weights, y),
        (1, _) => {
            let parts = deal(line, room);
            weighted(|k| &parts[at[k] as usize % 2][at[k] as usize / 2..], weights, y);
        }
        _ => {
            let (pairs, _) = y.as_chunks_mut::<2>();
            let (a, b) = room[..2 * pairs.len()].split_at_mut(pairs.len());
            weighted(|k| &line[at[k] as usize..], weights, a);
            let (at, weights) = cols.taps(cols.stretch.from + 1);
            weighted(|k| &line[at[k] as usize..], weights, b);
            for ((pair, &a), &b) in pairs.iter_mut().zip(&*a).zip(&*b) {
                *pair = [a, b];
            }
        }
    }
}

/// line ← Σ weight · row
#[inline(always)]
fn sum_rows<T: Float>(plane: &[T], at: &[u32], weights: &[T], line: &mut [T]) {
    let width = line.len();
    weighted(|k| &plane[at[k] as usize * width..], weights, line);
}

/// y ← C · line
#[inline(always)]
fn across<T: Float>(line: &[T], cols: Axis<'_, T>, room: &mut [T], y: &mut [T]) {
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
            let Stretch { from, to, .. } = cols.stretch;
            if from < to {
                stretch(line, cols, room, &mut y[from..to]);
            }
            for i in (0..from).chain(to..y.len()) {
                let (at, weights) = cols.taps(i);
                y[i] = one(line, at, weights);
            }
        }
    }
}

simd! {
    /// y ← R · x · Cᵀ for planes that follow each other, x having rows of `width`. `room` is scratch: for an input
    /// row, and for the longer of an input and an output row.
    pub fn planes<T: Float>(x: &[T], plane: usize, width: usize, rows: Axis<'_, T>, cols: Axis<'_, T>, room: &mut [T], y: &mut [T]) {
        let (out_rows, out_cols) = (rows.outputs(), cols.outputs());
        let (line, room) = room.split_at_mut(width);
        for (x, y) in x.chunks_exact(plane).zip(y.chunks_exact_mut(out_rows * out_cols)) {
            for (i, y) in y.chunks_exact_mut(out_cols).enumerate() {
                let (at, weights) = rows.taps(i);
                if at.len() == 1 && weights[0] == T::ONE {
                    across(&x[at[0] as usize * width..][..width], cols, room, y);
                } else if cols.pattern == Pattern::Identity {
                    sum_rows(x, at, weights, y);
                } else {
                    sum_rows(x, at, weights, line);
                    across(line, cols, room, y);
                }
            }
        }
    }
}

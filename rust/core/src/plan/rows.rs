//! Ops on feature rows while they are in cache: the row ops of a stage, over a few rows at a time.

use std::ops::Range;

use super::memory::Memory;
use super::program::{Features, RowOp, Rows};
use crate::element::Float;
use crate::kernels::penalty::is_small;
use crate::kernels::{dropout, norm, reduce};
use crate::simd;

/// Run a stage's ops over `rows`, whose product is complete.
pub fn run<T: Float>(stage: &Rows, memory: &Memory<'_>, rows: Range<usize>, replay: u64) {
    let at = Block { memory, rows, samples: stage.samples, features: stage.features };
    for op in &stage.ops {
        // SAFETY: rows are one member's share; the buffers were lowered for these sizes.
        unsafe { at.run::<T>(op, replay) };
    }
}

struct Block<'a> {
    memory: &'a Memory<'a>,
    rows: Range<usize>,
    samples: usize,
    features: usize,
}

impl Block<'_> {
    /// # Safety
    /// The rows are this member's alone.
    unsafe fn run<T: Float>(&self, op: &RowOp, replay: u64) {
        let (memory, n) = (self.memory, self.samples);
        // SAFETY: rows of feature-major buffers, one member's; where input and output are the same features, the
        // in-place kernels are called, so that no two slices overlap.
        unsafe {
            match op {
                RowOp::Bias { y, bias } => {
                    let bias = memory.slice::<T>(*bias, self.rows.start, self.rows.len());
                    for (f, &b) in self.rows.clone().zip(bias) {
                        add_scalar(b, memory.row_mut(*y, f, n));
                    }
                }
                RowOp::Activate { act, x, y } if x == y => {
                    self.each(|f| act.forward_in_place::<T>(memory.row_mut(*x, f, n)));
                }
                RowOp::Activate { act, x, y } => {
                    self.each(|f| act.forward::<T>(memory.row(*x, f, n), memory.row_mut(*y, f, n)));
                }
                RowOp::ActivateGrad { act, g, x, y, out } => {
                    let row = |v: &Option<Features>, f| v.map_or(&[] as &[T], |v| memory.row(v, f, n));
                    self.each(|f| {
                        if g == out {
                            act.backward_in_place(memory.row_mut(*g, f, n), row(x, f), row(y, f));
                        } else {
                            act.backward(memory.row(*g, f, n), row(x, f), row(y, f), memory.row_mut(*out, f, n));
                        }
                    });
                }
                RowOp::Dropout { draw, threshold, scale, x, y } => {
                    let draw = crate::rng::Draw { call: draw.call.wrapping_add(replay), ..*draw };
                    let mask = dropout::Mask { draw, threshold: *threshold, scale: T::from_f64(*scale) };
                    if x != y {
                        self.each(|f| memory.row_mut::<T>(*y, f, n).copy_from_slice(memory.row(*x, f, n)));
                    }
                    let area = dropout::Features {
                        c: self.features,
                        features: self.rows.clone(),
                        samples: 0..n,
                        stride: y.ld,
                    };
                    let len = (self.rows.len() - 1) * y.ld + n;
                    dropout::features_in_place(
                        mask,
                        &area,
                        memory.slice_mut::<T>(y.buffer, self.rows.start * y.ld, len),
                    );
                }
                RowOp::MaskGrad { scale, g, y, out } => {
                    let scale = T::from_f64(*scale);
                    self.each(|f| {
                        if g == out {
                            mask_grad_in_place(scale, memory.row_mut(*g, f, n), memory.row(*y, f, n));
                        } else {
                            mask_grad(scale, memory.row(*g, f, n), memory.row(*y, f, n), memory.row_mut(*out, f, n));
                        }
                    });
                }
                RowOp::Norm { .. } => self.norm::<T>(op),
                RowOp::NormGrad { .. } => self.norm_grad::<T>(op),
                RowOp::Sum { g, sums } => {
                    let sums = memory.slice_mut::<T>(*sums, self.rows.start, self.rows.len());
                    for (f, sum) in self.rows.clone().zip(sums) {
                        *sum = reduce::sum(memory.row(*g, f, n));
                    }
                }
                RowOp::Penalty { penalty, weight, cols, sums, late } => {
                    let sums = memory.slice_mut::<T>(*sums, self.rows.start, self.rows.len());
                    for (f, sum) in self.rows.clone().zip(sums) {
                        let row = memory.slice::<T>(*weight, f * cols, *cols);
                        *sum = if *late && is_small(row) { T::ZERO } else { penalty.row(row) };
                    }
                }
                RowOp::Add { a, b, y } => {
                    self.each(|f| add::<T>(memory.row(*a, f, n), memory.row(*b, f, n), memory.row_mut(*y, f, n)));
                }
            }
        }
    }

    fn each(&self, mut f: impl FnMut(usize)) {
        for row in self.rows.clone() {
            f(row);
        }
    }

    /// # Safety
    /// As [`run`](Self::run).
    unsafe fn norm<T: Float>(&self, op: &RowOp) {
        let RowOp::Norm { eps, momentum, affine, running, x, y, mean, inv_std } = op else { return };
        let (memory, n) = (self.memory, self.samples);
        let (start, len) = (self.rows.start, self.rows.len());
        // SAFETY: as in `run`.
        unsafe {
            let means = memory.slice_mut::<T>(*mean, start, len);
            let inv_stds = memory.slice_mut::<T>(*inv_std, start, len);
            for (i, f) in self.rows.clone().enumerate() {
                let (weight, bias) = match affine {
                    Some((w, b)) => (memory.slice::<T>(*w, f, 1)[0], memory.slice::<T>(*b, f, 1)[0]),
                    None => (T::ONE, T::ZERO),
                };
                let eps = T::from_f64(*eps);
                let moments = if x == y {
                    norm::forward_feature_in_place(memory.row_mut(*x, f, n), weight, bias, eps)
                } else {
                    norm::forward_feature(memory.row(*x, f, n), weight, bias, eps, memory.row_mut(*y, f, n))
                };
                (means[i], inv_stds[i]) = (moments.mean, moments.inv_std);
                if let Some((running_mean, running_var)) = running {
                    let momentum = T::from_f64(*momentum);
                    let running_mean = &mut memory.slice_mut::<T>(*running_mean, f, 1)[0];
                    *running_mean = norm::moving_average(*running_mean, moments.mean, momentum);
                    let running_var = &mut memory.slice_mut::<T>(*running_var, f, 1)[0];
                    *running_var = norm::moving_average(*running_var, moments.var_unbiased, momentum);
                }
            }
        }
    }

    /// # Safety
    /// As [`run`](Self::run).
    unsafe fn norm_grad<T: Float>(&self, op: &RowOp) {
        let RowOp::NormGrad { weight, g, x, mean, inv_std, out, grad_weight, grad_bias } = op else { return };
        let (memory, n) = (self.memory, self.samples);
        // SAFETY: as in `run`.
        unsafe {
            for f in self.rows.clone() {
                let at = |buffer: usize| memory.slice::<T>(buffer, f, 1)[0];
                let (mean, inv_std, weight) = (at(*mean), at(*inv_std), weight.map_or(T::ONE, at));
                let x = memory.row(*x, f, n);
                let (gw, gb) = if g == out {
                    norm::backward_feature_in_place(memory.row_mut(*g, f, n), x, mean, inv_std, weight)
                } else {
                    norm::backward_feature(memory.row(*g, f, n), x, mean, inv_std, weight, memory.row_mut(*out, f, n))
                };
                memory.slice_mut::<T>(*grad_weight, f, 1)[0] = gw;
                memory.slice_mut::<T>(*grad_bias, f, 1)[0] = gb;
            }
        }
    }
}

simd! {
    /// y ← y + b
    fn add_scalar<T: Float>(b: T, y: &mut [T]) {
        for y in y {
            *y += b;
        }
    }

    /// y = a + b
    fn add<T: Float>(a: &[T], b: &[T], y: &mut [T]) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = a + b;
        }
    }

    /// out = y > 0 ? g · scale : 0
    pub fn mask_grad<T: Float>(scale: T, g: &[T], y: &[T], out: &mut [T]) {
        for ((out, &g), &y) in out.iter_mut().zip(g).zip(y) {
            *out = if y > T::ZERO { g * scale } else { T::ZERO };
        }
    }

    /// g ← y > 0 ? g · scale : 0
    fn mask_grad_in_place<T: Float>(scale: T, g: &mut [T], y: &[T]) {
        for (g, &y) in g.iter_mut().zip(y) {
            *g = if y > T::ZERO { *g * scale } else { T::ZERO };
        }
    }
}

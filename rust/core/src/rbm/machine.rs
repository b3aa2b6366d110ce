//! The machine that learning and sampling share: parameters, buffers, and how one kind of units follows from the other.

use std::ops::Range;

use crate::element::Float;
use crate::kernels::gibbs::{self, Units};
use crate::kernels::matmul::{self, MatRef, Product};
use crate::kernels::transpose::{Matrix, transpose};
use crate::rng::Draw;
use crate::simd::Flush;
use crate::tensor::Tensor;
use crate::threads::{self, Team};

use super::{State, Visible};

/// The stream of the first draw of a batch; those of its further half-steps follow. Streams 0 and 1 are tensors and shuffles.
pub const STREAM: u32 = 2;
/// Units that a member takes at a time: two blocks of a draw, half a cache line.
pub const GRANULE: usize = 8;
/// Elements of a cache line, to which rows are rounded up and at which transposes are shared.
const LINE: usize = 16;

/// Sizes of a machine and its batch.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub hidden: usize,
    pub visible: usize,
    /// Rows of data in a batch, the last one having no more.
    pub data: usize,
    /// Rows of the Gibbs chain.
    pub chains: usize,
}

impl Sizes {
    /// From one unit to the next: over data, over chains, and over both.
    fn strides(self) -> [usize; 3] {
        [self.data, self.chains, self.data + self.chains].map(|n| n.next_multiple_of(LINE))
    }

    /// Elements of each buffer, in the order of [`Buffers`].
    fn lens(self) -> [usize; 7] {
        let [data, chains, both] = self.strides();
        let rows = (self.data + self.chains) * self.visible;
        let (v, h) = (self.visible, self.hidden);
        [rows, v * data, v * chains, v * chains, h * chains, h * both, v].map(|n| n.next_multiple_of(LINE))
    }

    /// Elements of all buffers.
    pub fn len(self) -> usize {
        self.lens().iter().sum()
    }

    /// Nanoseconds, roughly, that one thread takes for a batch of `k` steps: 50 floating-point operations each.
    pub fn nanoseconds(self, k: usize) -> usize {
        2 * self.hidden * self.visible * (2 * self.data + (2 * k + 1) * self.chains) / 50
    }
}

/// A feature-major matrix: unit j's values lie side by side from `j · stride` on.
#[derive(Clone, Copy, Debug)]
pub struct Columns<T> {
    pub ptr: *mut T,
    pub stride: usize,
}

impl<T: Float> Columns<T> {
    /// The values of `units`, `n` of each, and what lies between them.
    ///
    /// # Safety
    /// They exist, and nobody else uses these units' rows.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn rows<'a>(self, units: Range<usize>, n: usize) -> &'a mut [T] {
        if units.is_empty() || n == 0 {
            return &mut [];
        }
        // SAFETY: by this function's contract.
        unsafe {
            std::slice::from_raw_parts_mut(self.ptr.add(units.start * self.stride), (units.len() - 1) * self.stride + n)
        }
    }
}

/// Parameters and buffers, which all members share.
#[derive(Debug)]
pub struct Machine<T> {
    pub sizes: Sizes,
    pub kind: Visible,
    pub weight: *mut T,
    pub visible_bias: *mut T,
    pub hidden_bias: *mut T,
    /// Visible values of data and chain, row by row.
    pub rows: *mut T,
    /// The data, feature-major.
    pub data: Columns<T>,
    /// The chain's visible means and samples.
    pub mean: Columns<T>,
    pub sample: Columns<T>,
    /// The chain's hidden samples.
    pub hidden: Columns<T>,
    /// Hidden means of data and chain, side by side.
    pub both: Columns<T>,
    /// Squared distance of data and reconstruction, a number a visible unit.
    pub distance: *mut T,
}

// SAFETY: members use disjoint parts of what these point to, with barriers between, as the stages say.
unsafe impl<T> Sync for Machine<T> {}

pub fn pointer<T: Float>(tensor: &Tensor) -> *mut T {
    tensor.view().ptr()
}

/// The means wanted of a layer, and the samples drawn from them.
pub struct Layer<T> {
    pub n: usize,
    pub from: Columns<T>,
    pub mean: Columns<T>,
    /// Destination of the samples, and the source of their randomness.
    pub sample: Option<(Columns<T>, Draw)>,
}

impl<T: Float> Machine<T> {
    /// # Safety
    /// `arena` has room for [`Sizes::len`] elements, and the state's shapes are those of `sizes`.
    pub unsafe fn new(state: &State, kind: Visible, sizes: Sizes, arena: *mut T) -> Self {
        let mut at = arena;
        let [rows, data, mean, sample, hidden, both, distance] = sizes.lens().map(|len| {
            let here = at;
            // SAFETY: by this function's contract.
            at = unsafe { at.add(len) };
            here
        });
        let [over_data, over_chains, over_both] = sizes.strides();
        Self {
            sizes,
            kind,
            weight: pointer(&state.weight),
            visible_bias: pointer(&state.visible_bias),
            hidden_bias: pointer(&state.hidden_bias),
            rows,
            data: Columns { ptr: data, stride: over_data },
            mean: Columns { ptr: mean, stride: over_chains },
            sample: Columns { ptr: sample, stride: over_chains },
            hidden: Columns { ptr: hidden, stride: over_chains },
            both: Columns { ptr: both, stride: over_both },
            distance,
        }
    }

    /// p(h | v) of this member's units.
    ///
    /// # Safety
    /// `layer.from` is complete, and nobody reads `layer.mean` or the samples before a barrier.
    pub unsafe fn infer_hidden(&self, team: &Team, layer: &Layer<T>) {
        let Sizes { hidden, visible, .. } = self.sizes;
        let weight = MatRef { ptr: self.weight.cast_const(), row_stride: visible as isize, col_stride: 1 };
        // SAFETY: passed on; the bias has a number for each unit.
        unsafe { Self::infer(team, (hidden, visible), weight, self.hidden_bias, Visible::Bernoulli, layer) }
    }

    /// p(v | h) of this member's units.
    ///
    /// # Safety
    /// As for [`infer_hidden`](Self::infer_hidden).
    pub unsafe fn infer_visible(&self, team: &Team, layer: &Layer<T>) {
        let Sizes { hidden, visible, .. } = self.sizes;
        let weight = MatRef { ptr: self.weight.cast_const(), row_stride: 1, col_stride: visible as isize };
        // SAFETY: passed on.
        unsafe { Self::infer(team, (visible, hidden), weight, self.visible_bias, self.kind, layer) }
    }

    /// # Safety
    /// As for [`infer_hidden`](Self::infer_hidden).
    unsafe fn infer(
        team: &Team,
        (units, inputs): (usize, usize),
        weight: MatRef<T>,
        bias: *mut T,
        kind: Visible,
        layer: &Layer<T>,
    ) {
        let Layer { n, from, mean, sample } = *layer;
        let product = Product {
            m: units,
            n,
            k: inputs,
            a: weight,
            b: MatRef { ptr: from.ptr.cast_const(), row_stride: from.stride as isize, col_stride: 1 },
            c: mean.ptr,
            ldc: mean.stride,
            accumulate: false,
            one_block: false,
        };
        let mut finish = |done: Range<usize>| {
            // SAFETY: these units are this member's, and nobody writes a bias now.
            let (bias, means) =
                unsafe { (std::slice::from_raw_parts(bias.add(done.start), done.len()), mean.rows(done.clone(), n)) };
            let Some((to, draw)) = sample else {
                for (mean, &bias) in means.chunks_mut(mean.stride).zip(bias) {
                    let mean = &mut mean[..n];
                    match kind {
                        Visible::Bernoulli => gibbs::logistic(bias, mean),
                        Visible::Gaussian => gibbs::shift_scale(bias, T::ONE, mean),
                    }
                }
                return;
            };
            // SAFETY: as above.
            let samples = unsafe { to.rows(done.clone(), n) };
            let area = Units { all: units, units: done, samples: n };
            match kind {
                Visible::Bernoulli => gibbs::bernoulli(draw, &area, bias, means, mean.stride, samples, to.stride),
                Visible::Gaussian => gibbs::gaussian(draw, &area, bias, means, mean.stride, samples, to.stride),
            }
        };
        // SAFETY: operands have these sizes; members write disjoint rows.
        unsafe { matmul::block(&product, team.share_aligned(units, GRANULE), 0..n, &mut finish) };
    }

    /// Gather rows of `x` and turn them: this member's columns.
    ///
    /// # Safety
    /// The rows exist and are as wide as there are visible units, and everyone has left the last batch.
    pub unsafe fn load(&self, team: &Team, x: *const T, n: usize, row: impl Fn(usize) -> usize) {
        let visible = self.sizes.visible;
        let share = team.share_aligned(visible, LINE);
        for i in 0..n {
            // SAFETY: by this function's contract; shares of columns are disjoint.
            unsafe {
                let from = x.add(row(i) * visible + share.start);
                std::ptr::copy_nonoverlapping(from, self.rows.add(i * visible + share.start), share.len());
            }
        }
        if share.is_empty() || n == 0 {
            return;
        }
        // SAFETY: this member's columns, which it has just written; the slice spans others' columns, which the transpose
        // does not touch.
        unsafe {
            let from = std::slice::from_raw_parts(self.rows.add(share.start), (n - 1) * visible + share.len());
            let matrix = Matrix { rows: n, cols: share.len(), stride: visible };
            transpose(from, matrix, self.data.rows(share, n), self.data.stride);
        }
    }

    /// Turn this member's units back to rows at `to`.
    ///
    /// # Safety
    /// The member made these units' values, or a barrier came since; `to` has room for `n` rows.
    pub unsafe fn store(&self, share: Range<usize>, from: Columns<T>, n: usize, to: *mut T) {
        if share.is_empty() || n == 0 {
            return;
        }
        let visible = self.sizes.visible;
        let matrix = Matrix { rows: share.len(), cols: n, stride: from.stride };
        // SAFETY: by this function's contract; shares of units are disjoint columns of `to`.
        unsafe {
            let to = std::slice::from_raw_parts_mut(to.add(share.start), (n - 1) * visible + share.len());
            transpose(from.rows(share, n), matrix, to, visible);
        }
    }
}

/// See [`super::Rbm::sample`].
///
/// # Safety
/// `arena` has room for the sizes; state and tensors were checked.
#[allow(clippy::too_many_arguments)]
pub unsafe fn sample<T: Float>(
    state: &State,
    kind: Visible,
    sizes: Sizes,
    draw: Draw,
    arena: *mut T,
    [v, mean]: [&Tensor; 2],
    steps: usize,
    width: usize,
) {
    // SAFETY: by this function's contract.
    let machine = unsafe { Machine::new(state, kind, sizes, arena) };
    let (n, v, means) = (sizes.data, v.view(), mean.view());
    threads::region(width, sizes.nanoseconds(steps), &|team| {
        let _flush = Flush::begin();
        let draw = |half_step: usize| Draw { stream: STREAM + half_step as u32, ..draw };
        let share = team.share_aligned(sizes.visible, GRANULE);
        // SAFETY: barriers stand between a stage that writes a buffer and one that reads it.
        unsafe {
            machine.load(team, v.ptr::<T>(), n, |r| r);
            for step in 0..steps {
                team.barrier();
                let sample = Some((machine.hidden, draw(2 * step)));
                machine.infer_hidden(team, &Layer { n, from: machine.data, mean: machine.both, sample });
                team.barrier();
                let sample = Some((machine.data, draw(2 * step + 1)));
                machine.infer_visible(team, &Layer { n, from: machine.hidden, mean: machine.mean, sample });
            }
            if steps > 0 {
                machine.store(share.clone(), machine.mean, n, means.ptr());
                machine.store(share, machine.data, n, v.ptr());
            }
        }
    });
}

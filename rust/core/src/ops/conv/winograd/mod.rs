//! Convolutions with small kernels by Winograd's algorithm: see [`crate::kernels::winograd`].

mod gradient;
mod grid;

use std::ops::Range;

use smallvec::SmallVec;

use super::geometry::Settings;
use super::image_of;
use super::workspace;
use crate::element::DType;
use crate::kernels::frame::LANES;
use crate::kernels::matmul::{self, MatRef, Product, odd_lines};
use crate::kernels::transpose::{Matrix, transpose};
use crate::kernels::vector::Lanes;
use crate::kernels::winograd::{
    self as kernel, EverySecond, Everywhere, MOST_KERNEL, MOST_PLACES, STEP, Scheme, phases_at,
};
use crate::tensor::View;
use crate::threads::Team;
use crate::with_float;
use grid::{Block, Grid, Images, frames, padded};

pub(super) use gradient::Gradient;

/// Fewer channels leave too little between one transform and the next.
const CHANNELS: usize = 8;
/// Fewer tiles do not pay for the transform of the kernels.
const TILES: usize = 16;
/// Elements of transformed kernels that stay in cache.
const CACHED: usize = 1 << 19;
/// Sums of a tile that are made at once, in a place.
const CHANNEL_BLOCK: usize = 64;

/// Do something with the scheme of a convolution that [`fits`].
macro_rules! with_scheme {
    ($settings:expr, $size:expr, $scheme:ident => $body:expr) => {
        if $settings.stride == [1, 1] {
            let $scheme = Everywhere;
            $body
        } else {
            let $scheme = EverySecond { size: $size };
            $body
        }
    };
}
use with_scheme;

/// True if a convolution with a weight of this shape, or a gradient of it, is computed in this way, the convolution's result
/// having this shape.
pub(super) fn fits(settings: &Settings, weight: &[usize], result: &[usize]) -> bool {
    let around = |&(before, after): &(usize, usize)| before <= 2 && after <= 2;
    let lanes = match (settings.stride, &weight[2..]) {
        ([1, 1], [3, 3]) => 1,
        // Phases lie side by side as more channels, and each is made of whole registers.
        ([2, 2], [3, 3] | [4, 4]) => LANES,
        _ => return false,
    };
    settings.dilation == [1, 1]
        && settings.groups == 1
        && settings.padding.iter().all(around)
        && weight[0].min(weight[1]) >= CHANNELS
        && weight[1].is_multiple_of(lanes)
        && result[0] * result[2].div_ceil(STEP) * result[3].div_ceil(STEP) >= least_tiles(settings, weight)
}

/// Tiles from which on it pays to transform the kernels, which become 4 to 9 times as large and may leave the cache.
fn least_tiles(settings: &Settings, weight: &[usize]) -> usize {
    let many = if settings.stride == [1, 1] { 96 } else { 320 };
    if kernels_len(settings, weight) <= CACHED { TILES } else { many }
}

/// From one place to the next of so many transformed kernels. Were it a power of two, places would evict each other.
fn apart(kernels: usize) -> usize {
    odd_lines::<f32>(kernels)
}

/// Number of elements of the transformed kernels of a weight.
pub(super) fn kernels_len(settings: &Settings, weight: &[usize]) -> usize {
    with_scheme!(settings, weight[2], s => s.side() * s.side() * apart(s.phases().len() * weight[0] * weight[1]))
}

/// Inputs and output of a convolution, or reversed, of its gradient.
fn images(
    scheme: impl Scheme,
    settings: &Settings,
    turned: bool,
    from: (usize, usize),
    to: (usize, usize),
) -> [Images; 2] {
    let (stride, before) = (scheme.stride(), settings.padding.map(|(before, _)| before as isize));
    if !turned {
        let [top, left] = before.map(|before| -before);
        return [Images { size: from, first: (top, left), stride }, Images { size: to, first: (0, 0), stride: 1 }];
    }
    // Tiles that begin at position k of the gradient make pixels from `stride * k + added - before` on: from 0, or one before.
    let (step, added) = (stride as isize, (scheme.size() - stride) as isize);
    let start = before.map(|before| (before - added).div_euclid(step));
    let first = [0, 1].map(|d| step * start[d] + added - before[d]);
    [
        Images { size: from, first: (start[0], start[1]), stride: 1 },
        Images { size: to, first: (first[0], first[1]), stride },
    ]
}

/// The work of a team: (n, channels.0, *) to (n, channels.1, *).
struct Work<'a, T, S> {
    scheme: S,
    grid: Grid<S>,
    n: usize,
    channels: (usize, usize),
    /// Phases of what is read, and of what is written.
    phases: (usize, usize),
    x: &'a [T],
    /// For every place (phases.0 · channels.0, parts of channels.1 · phases.1).
    kernels: &'a [T],
    bias: Option<&'a [T]>,
    y: *mut T,
}

/// True if the input's gradient, of these images, may be written over g: of one shape, and each block has whole images, all of which
/// it reads before it writes.
pub(super) fn reads_images_first(
    settings: &Settings,
    weight: &[usize],
    (g, dtype): (&[usize], DType),
    image: (usize, usize),
) -> bool {
    let alike = settings.stride == [1, 1] && weight[0] == weight[1] && image_of(g) == image;
    let [from, to] = images(Everywhere, settings, true, image, image);
    let taken = taken((1, 1), (weight[0], weight[1]));
    alike && with_float!(dtype, T => Grid::new::<T>(Everywhere, from, to, taken).has_whole_images())
}

/// Elements that a tile takes in a place, transformed and as sums.
fn taken(phases: (usize, usize), channels: (usize, usize)) -> usize {
    padded(phases.0 * channels.0) + phases.1 * padded(channels.1.min(CHANNEL_BLOCK / phases.1))
}

/// Convolve the images `inputs[0]` with the weight `inputs[1]`, or if it is turned, take them for gradients of a convolution's result
/// and make its input's, and add the bias `inputs[2]`, if there is one. `outputs[1]` is room for the transformed kernels.
pub(super) fn convolve<T: Lanes>(
    team: &Team,
    settings: &Settings,
    turned: bool,
    inputs: &[View<'_>],
    outputs: &[View<'_>],
) {
    let size = inputs[1].shape()[2];
    with_scheme!(settings, size, scheme => convolve_by::<T>(team, scheme, (settings, turned), inputs, outputs));
}

fn convolve_by<T: Lanes>(
    team: &Team,
    scheme: impl Scheme,
    (settings, turned): (&Settings, bool),
    inputs: &[View<'_>],
    outputs: &[View<'_>],
) {
    let ([x, weight], [y, kernels]) = (&inputs[..2], outputs) else {
        unreachable!("the shape rule has made two outputs")
    };
    transform_kernels::<T>(team, scheme, weight, turned, kernels);
    team.barrier();
    if y.numel() == 0 {
        return;
    }
    let channels = (x.shape()[1], y.shape()[1]);
    let all = scheme.phases().len();
    let phases = if turned { (1, all) } else { (all, 1) };
    let [from, to] = images(scheme, settings, turned, image_of(x.shape()), image_of(y.shape()));
    let work = Work {
        scheme,
        grid: Grid::new::<T>(scheme, from, to, taken(phases, channels)),
        n: x.shape()[0],
        channels,
        phases,
        x: x.slice::<T>(),
        kernels: kernels.slice::<T>(),
        bias: inputs.get(2).map(View::slice::<T>),
        y: y.ptr::<T>(),
    };
    // SAFETY: the shape rule has made y for these images.
    unsafe { work.run(team) };
}

/// Channels that are made at once, of so many in so many phases.
fn parts(channels: usize, phases: usize) -> impl Iterator<Item = Range<usize>> {
    let each = CHANNEL_BLOCK / phases;
    (0..channels).step_by(each).map(move |first| first..channels.min(first + each))
}

/// Transform a weight (o, c, *) to (place, phase · c, o); or turned, to (place, o, parts of c · phase). Members of the team share
/// it.
fn transform_kernels<T: Lanes>(team: &Team, scheme: impl Scheme, weight: &View<'_>, turned: bool, out: &View<'_>) {
    let (o, c) = (weight.shape()[0], weight.shape()[1]);
    let (w, phases) = (weight.slice::<T>(), scheme.phases());
    let (all, places) = (scheme.size() * scheme.size(), scheme.side() * scheme.side());
    // Of a kernel's place in the weight: from one of those that are read to the next, and from one that is written.
    let ((rows, to_row), (cols, to_col)) = if turned { ((o, c), (c, 1)) } else { ((c, 1), (o, c)) };
    let apart = apart(phases.len() * rows * cols);
    let (mut taps, mut values) = ([T::ZERO; MOST_KERNEL * LANES], [T::ZERO; MOST_PLACES * LANES]);
    let mut write = |row: usize, group: Range<usize>, to: &dyn Fn(usize) -> usize| {
        let from = Matrix { rows: group.len(), cols: all, stride: to_col * all };
        transpose(&w[(row * to_row + group.start * to_col) * all..], from, &mut taps, LANES);
        for (p, phase) in phases.iter().enumerate() {
            let mut of = phase.map(|phase| SmallVec::<[usize; 3]>::from_slice(phase.taps));
            if turned {
                for taps in &mut of {
                    taps.reverse();
                }
            }
            kernel::transform_kernels(scheme, &taps, [&of[0], &of[1]], &mut values);
            for (place, values) in values.chunks_exact(LANES).enumerate().take(places) {
                let first = place * apart + to(p);
                // SAFETY: inside the output; members have different rows.
                unsafe { out.part::<T>(first..first + group.len()) }.copy_from_slice(&values[..group.len()]);
            }
        }
    };
    for row in team.share(rows) {
        if turned {
            for part in parts(cols, phases.len()) {
                let first = (row * cols + part.start) * phases.len();
                for group in frames(part.clone()) {
                    write(row, group.clone(), &|p| first + p * part.len() + group.start - part.start);
                }
            }
        } else {
            for group in frames(0..cols) {
                write(row, group.clone(), &|p| (p * rows + row) * cols + group.start);
            }
        }
    }
}

impl<T: Lanes, S: Scheme> Work<'_, T, S> {
    /// Compute this member's share.
    ///
    /// # Safety
    /// `y` has room, and nobody else touches it but members of the team that make the same call.
    unsafe fn run(&self, team: &Team) {
        let (grid, places) = (&self.grid, self.scheme.side() * self.scheme.side());
        let from = grid.apart::<T>(padded(self.phases.0 * self.channels.0));
        let most = parts(self.channels.1, self.phases.1).next().map_or(0, |part| part.len());
        let to = grid.apart::<T>(padded((self.phases.1 - 1) * most + padded(most)));
        workspace::with([grid.frame(), places * from.place, places * to.place], |[frame, tiles, sums]| {
            let blocks = grid.blocks(0..self.n, team.size());
            let share = team.share(blocks.len());
            for block in blocks.skip(share.start).take(share.len()) {
                let all = self.channels.0;
                grid.transform(&block, (self.x, all), 0..all, all, frame, (tiles, from));
                for part in parts(self.channels.1, self.phases.1) {
                    for place in 0..places {
                        let tiles = &tiles[place * from.place..];
                        self.product(
                            &block,
                            place,
                            &part,
                            (tiles, from.tile),
                            (&mut sums[place * to.place..], to.tile),
                        );
                    }
                    let (part, y) = ((part.clone(), part.len()), (self.y, self.channels.1));
                    // SAFETY: the caller's promise; members have different blocks.
                    unsafe { grid.write(&block, (sums, to), part, self.bias, frame, y) };
                }
            }
        });
    }

    /// One place's sums over all channels, for some channels.
    fn product(
        &self,
        block: &Block,
        place: usize,
        part: &Range<usize>,
        (tiles, from_tile): (&[T], usize),
        (sums, to_tile): (&mut [T], usize),
    ) {
        let phases = phases_at(self.scheme, place);
        let taking = |all: usize| if all == 1 { 0..1 } else { phases.clone() };
        let (read, written) = (taking(self.phases.0), taking(self.phases.1));
        let (deep, wide) = (self.channels.0, part.len());
        let count = self.grid.count(block);
        let stride = self.phases.1 * self.channels.1;
        let of_place = place * apart(self.phases.0 * deep * stride);
        let first = read.start * deep * stride + part.start * self.phases.1 + written.start * wide;
        let p = Product {
            m: count,
            n: written.len() * wide,
            k: read.len() * deep,
            a: MatRef { ptr: tiles[read.start * deep..].as_ptr(), row_stride: from_tile as isize, col_stride: 1 },
            b: MatRef { ptr: self.kernels[of_place + first..].as_ptr(), row_stride: stride as isize, col_stride: 1 },
            c: sums[written.start * wide..].as_mut_ptr(),
            ldc: to_tile,
            accumulate: false,
            one_block: false,
        };
        // SAFETY: the operands have these sizes; the sums are this member's alone.
        unsafe { matmul::block(&p, 0..p.m, 0..p.n, &mut |_| ()) };
        if written.len() < self.phases.1 {
            for sums in sums.chunks_mut(to_tile).take(count) {
                sums[..written.start * wide].fill(T::ZERO);
                sums[written.end * wide..self.phases.1 * wide].fill(T::ZERO);
            }
        }
    }
}

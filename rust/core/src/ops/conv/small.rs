//! Convolutions over small maps: one product over all images.
//!
//! On a map of few positions, a product an image would read the whole weight for a few columns. So windows of many images
//! are the rows of one matrix, u[(image, position), (channel, tap)], and y = u · weightᵀ; the gradient of the weight is gᵀ · u.
//! Taps that see nothing but padding, as most do on a map of one position, are left out; where each position sees few of them,
//! every position has a product of its own.
//!
//! Every element is one chain, whose order only the shapes decide: how members of a team share rows and columns changes no bit.

use std::ops::Range;

use smallvec::{SmallVec, smallvec};

use super::geometry::{Part, Slide};
use super::workspace;
use crate::kernels::conv::Axis;
use crate::kernels::matmul::{self, MatRef, Product};
use crate::kernels::vector::Lanes;
use crate::reserve;
use crate::tensor::View;
use crate::threads::Team;

/// Positions of a part that are few.
const FEW: usize = 64;
/// Elements of a group's weights that are worth it: fewer stay in cache while image follows image.
const WEIGHTS: usize = 2048;
/// Members' channels begin at multiples of this.
const WIDE: usize = 8;
/// Elements of the rows of one product, but for those of one image.
const ROOM: usize = 1 << 20;
/// Of the gradient of a weight, which takes all rows at once.
const ALL_ROWS: usize = 1 << 23;
/// Nothing of the plane.
const OUTSIDE: u32 = u32::MAX;

/// True if convolutions of these channels of a group, read and written, are computed in this way.
pub(super) fn fits(slide: &Slide, channels: (usize, usize)) -> bool {
    let few = |part: &Part| part.y.output.saturating_mul(part.x.output) <= FEW;
    let taps = slide.parts.iter().map(Part::taps).max().unwrap_or(0);
    slide.parts.iter().all(few)
        && slide.plane() < OUTSIDE as usize
        && channels.0.saturating_mul(taps).saturating_mul(channels.1) >= WEIGHTS
}

/// True if the gradient of a weight over n images is, too.
pub(super) fn fits_gradient(slide: &Slide, channels: (usize, usize), n: usize) -> bool {
    let rows = n.saturating_mul(slide.output.0).saturating_mul(slide.output.1);
    let columns = slide.parts.first().map_or(0, |part| channels.0.saturating_mul(part.taps()));
    fits(slide, channels) && rows.saturating_mul(columns) <= ALL_ROWS
}

/// Inputs of the windows of a part at some of its positions.
struct Windows {
    positions: Range<usize>,
    /// The taps that see anything, of all.
    taps: SmallVec<[usize; 16]>,
    all: usize,
    /// For every position, where in the plane each of these taps looks.
    sources: Vec<u32>,
}

impl Windows {
    /// All positions of a part, at once or one by one.
    fn all_of(part: &Part) -> SmallVec<[Self; 1]> {
        let all = 0..part.y.output * part.x.output;
        let together = Self::of(part, all.clone());
        let seen = together.sources.iter().filter(|&&s| s != OUTSIDE).count();
        if all.len() > 1 && 2 * seen < together.sources.len() {
            return all.map(|p| Self::of(part, p..p + 1)).collect();
        }
        smallvec![together]
    }

    fn of(part: &Part, positions: Range<usize>) -> Self {
        let seen = |axis: &Axis, at: usize, tap: usize| {
            let place = (at * axis.step) as isize + axis.offsets[tap];
            usize::try_from(place).ok().filter(|&place| place < axis.input)
        };
        let (high, wide) = (part.y.offsets.len(), part.x.offsets.len());
        let source = |p: usize, t: usize| {
            let row = seen(&part.y, p / part.x.output, t / wide)?;
            Some((row * part.x.input + seen(&part.x, p % part.x.output, t % wide)?) as u32)
        };
        let taps: SmallVec<[usize; 16]> =
            (0..high * wide).filter(|&t| positions.clone().any(|p| source(p, t).is_some())).collect();
        let mut sources = reserve::filled(positions.len() * taps.len(), OUTSIDE);
        for (p, places) in positions.clone().zip(sources.chunks_mut(taps.len().max(1))) {
            for (place, &t) in places.iter_mut().zip(&taps) {
                *place = source(p, t).unwrap_or(OUTSIDE);
            }
        }
        Self { positions, taps, all: high * wide, sources }
    }

    /// True if a row is the planes of an image as they are.
    fn are_planes(&self, area: usize) -> bool {
        self.positions.len() == 1
            && self.sources.len() == area
            && self.sources.iter().enumerate().all(|(i, &s)| i == s as usize)
    }

    /// Write the rows of an image, `ld` apart, from planes of `area` elements.
    fn gather<T: Lanes>(&self, planes: &[T], area: usize, rows: &mut [T], ld: usize) {
        let taps = self.taps.len();
        if taps == 0 {
            return;
        }
        for (row, places) in rows.chunks_mut(ld).zip(self.sources.chunks(taps)) {
            for (to, plane) in row.chunks_exact_mut(taps).zip(planes.chunks_exact(area.max(1))) {
                for (to, &place) in to.iter_mut().zip(places) {
                    *to = if place == OUTSIDE { T::ZERO } else { plane[place as usize] };
                }
            }
        }
    }
}

/// Number of taps of each product of a slide's first part.
#[cfg(test)]
pub(super) fn products(slide: &Slide) -> Vec<usize> {
    Windows::all_of(&slide.parts[0]).iter().map(|windows| windows.taps.len()).collect()
}

/// Offsets of these positions of a part in the plane that is written.
fn places(part: &Part, slide: &Slide, positions: Range<usize>) -> SmallVec<[usize; FEW]> {
    let place = |p: usize| {
        let (i, j) = (p / part.x.output, p % part.x.output);
        (part.start.0 + i * slide.spread.0) * slide.output.1 + part.start.1 + j * slide.spread.1
    };
    positions.map(place).collect()
}

/// A member's share: of the images, if there is one for each member, else of the channels.
fn share(team: &Team, images: usize, channels: usize) -> (Range<usize>, Range<usize>) {
    if images >= team.size() {
        (team.share(images), 0..channels)
    } else {
        (0..images, team.share_aligned(channels, WIDE))
    }
}

/// Slide over the images `inputs[0]`, as [`super::slide::convolve`] does.
pub(super) fn convolve<T: Lanes>(
    team: &Team,
    slide: &Slide,
    (groups, channels): (usize, (usize, usize)),
    inputs: &[View<'_>],
    weights: &[T],
    y: &View<'_>,
) {
    let (n, bias) = (inputs[0].shape()[0], inputs.get(2).map(View::slice::<T>));
    let (images, outs) = share(team, n, channels.1);
    if images.is_empty() || outs.is_empty() || y.numel() == 0 {
        return;
    }
    let job = Job { slide, groups, channels, x: inputs[0].slice::<T>(), y: y.ptr::<T>(), bias };
    let mut at = 0;
    let windows: SmallVec<[_; 1]> = slide.parts.iter().map(Windows::all_of).collect();
    for group in 0..groups {
        for (part, windows) in slide.parts.iter().zip(&windows) {
            let len = channels.1 * channels.0 * part.taps();
            for windows in windows {
                // SAFETY: members have different images or channels, and `y` was made for these images.
                unsafe { job.part((part, windows), group, &weights[at..at + len], (images.clone(), outs.clone())) };
            }
            at += len;
        }
    }
}

struct Job<'a, T> {
    slide: &'a Slide,
    groups: usize,
    /// Channels of a group, read and written.
    channels: (usize, usize),
    x: &'a [T],
    y: *mut T,
    bias: Option<&'a [T]>,
}

impl<T: Lanes> Job<'_, T> {
    /// The positions of a part in the channels `outs` of a group of some images.
    ///
    /// # Safety
    /// `y` has room, and nobody else touches these elements.
    unsafe fn part(
        &self,
        (part, windows): (&Part, &Windows),
        group: usize,
        weights: &[T],
        (images, outs): (Range<usize>, Range<usize>),
    ) {
        let (area, plane) = (self.slide.plane(), self.slide.output.0 * self.slide.output.1);
        let (taps, positions) = (windows.taps.len(), windows.positions.len());
        let (k, whole) = (self.channels.0 * taps, self.channels.0 * windows.all);
        let planes = |image: usize| (image * self.groups + group) * self.channels.0 * area;
        let as_they_are = windows.are_planes(area);
        let in_place = plane == 1;
        let at_once = (ROOM / (positions * k).max(1)).clamp(1, images.len());
        let cut = taps > 1 && taps < windows.all;
        let rows = at_once * positions;
        let lens = [
            if as_they_are { 0 } else { rows * k },
            if in_place { 0 } else { rows * outs.len() },
            if cut { outs.len() * k } else { 0 },
        ];
        let places = places(part, self.slide, windows.positions.clone());
        workspace::with(lens, |[u, sums, kept]| {
            let weights = &weights[outs.start * whole..outs.end * whole];
            let b = if cut {
                for (to, from) in kept.chunks_exact_mut(taps).zip(weights.chunks_exact(windows.all)) {
                    to.iter_mut().zip(&windows.taps).for_each(|(to, &t)| *to = from[t]);
                }
                MatRef { ptr: kept.as_ptr(), row_stride: 1, col_stride: k as isize }
            } else {
                let step = if taps == windows.all { 1 } else { windows.all };
                let first = if taps == 1 { windows.taps[0] } else { 0 };
                MatRef { ptr: weights[first..].as_ptr(), row_stride: step as isize, col_stride: whole as isize }
            };
            for from in images.clone().step_by(at_once) {
                let block = from..images.end.min(from + at_once);
                let a = if as_they_are {
                    let apart = self.groups * self.channels.0 * area;
                    MatRef { ptr: self.x[planes(from)..].as_ptr(), row_stride: apart as isize, col_stride: 1 }
                } else {
                    for (image, rows) in block.clone().zip(u.chunks_mut((positions * k).max(1))) {
                        let planes = &self.x[planes(image)..][..self.channels.0 * area];
                        windows.gather(planes, area, rows, k);
                    }
                    MatRef { ptr: u.as_ptr(), row_stride: k as isize, col_stride: 1 }
                };
                let first = (from * self.groups + group) * self.channels.1 + outs.start;
                // SAFETY: the first of this member's elements, of planes of one element.
                let c = if in_place { unsafe { self.y.add(first) } } else { sums.as_mut_ptr() };
                let ldc = if in_place { self.groups * self.channels.1 } else { outs.len() };
                let (m, n) = (block.len() * positions, outs.len());
                let p = Product { m, n, k, a, b, c, ldc, accumulate: false, one_block: false };
                // SAFETY: the operands have these sizes; the result is this member's alone.
                unsafe { matmul::block(&p, 0..m, 0..n, &mut |_| ()) };
                for (i, image) in block.enumerate() {
                    let channel = group * self.channels.1 + outs.start;
                    let sums = if in_place { &[][..] } else { &sums[i * positions * n..][..positions * n] };
                    // SAFETY: as above.
                    unsafe { self.write((image, channel), sums, &places, n) };
                }
            }
        });
    }

    /// Write an image's sums, (position, channel), and add the bias.
    ///
    /// # Safety
    /// As for [`Job::part`].
    unsafe fn write(&self, (image, first): (usize, usize), sums: &[T], places: &[usize], channels: usize) {
        let plane = self.slide.output.0 * self.slide.output.1;
        for j in 0..channels {
            let bias = self.bias.map_or(T::ZERO, |bias| bias[first + j]);
            // SAFETY: by this function's contract; a plane of the image.
            let out = unsafe {
                let at = (image * self.groups * self.channels.1 + first + j) * plane;
                std::slice::from_raw_parts_mut(self.y.add(at), plane)
            };
            if plane == 1 {
                out[0] += bias;
                continue;
            }
            for (&place, sums) in places.iter().zip(sums.chunks(channels)) {
                out[place] = sums[j] + bias;
            }
        }
    }
}

/// The gradient of a weight, (groups · out, in, taps), from g and the images x.
///
/// # Safety
/// `out` has room, and nobody else touches it but members of the team that make the same call.
pub(super) unsafe fn grad_weight<T: Lanes>(
    team: &Team,
    slide: &Slide,
    (groups, channels): (usize, (usize, usize)),
    n: usize,
    (g, x): (&[T], &[T]),
    out: *mut T,
) {
    let (area, plane) = (slide.plane(), slide.output.0 * slide.output.1);
    let windows = Windows::of(&slide.parts[0], 0..plane);
    let (taps, all) = (windows.taps.len(), windows.all);
    // Members that share channels of x gather different columns.
    let (mine, outs) = share(team, channels.0, channels.1);
    let (k, columns) = (n * plane, mine.len() * taps);
    let cut = taps < all;
    let lens = [k * columns, if plane == 1 { 0 } else { k * outs.len() }, if cut { outs.len() * columns } else { 0 }];
    if mine.is_empty() || outs.is_empty() {
        return;
    }
    workspace::with(lens, |[u, turned, sums]| {
        for group in 0..groups {
            for (image, rows) in (0..n).zip(u.chunks_mut((plane * columns).max(1))) {
                let first = ((image * groups + group) * channels.0 + mine.start) * area;
                windows.gather(&x[first..][..mine.len() * area], area, rows, columns);
            }
            let first = group * channels.1 + outs.start;
            let a = if plane == 1 {
                let apart = groups * channels.1;
                MatRef { ptr: g[first.min(g.len())..].as_ptr(), row_stride: 1, col_stride: apart as isize }
            } else {
                for (image, rows) in (0..n).zip(turned.chunks_mut((plane * outs.len()).max(1))) {
                    let planes = &g[(image * groups * channels.1 + first) * plane..][..outs.len() * plane];
                    for (p, row) in rows.chunks_mut(outs.len()).enumerate() {
                        row.iter_mut().zip(planes[p..].iter().step_by(plane)).for_each(|(to, &from)| *to = from);
                    }
                }
                MatRef { ptr: turned.as_ptr(), row_stride: 1, col_stride: outs.len() as isize }
            };
            // SAFETY: this member's first element.
            let to = unsafe { out.add((first * channels.0 + mine.start) * all) };
            let c = if cut { sums.as_mut_ptr() } else { to };
            let ldc = if cut { columns } else { channels.0 * all };
            let b = MatRef { ptr: u.as_ptr(), row_stride: columns as isize, col_stride: 1 };
            let p = Product { m: outs.len(), n: columns, k, a, b, c, ldc, accumulate: false, one_block: false };
            // SAFETY: the operands have these sizes; the result is this member's alone.
            unsafe { matmul::block(&p, 0..p.m, 0..p.n, &mut |_| ()) };
            if !cut {
                continue;
            }
            for o in 0..outs.len() {
                // SAFETY: this member's channels of a row.
                let row = unsafe { std::slice::from_raw_parts_mut(to.add(o * channels.0 * all), mine.len() * all) };
                row.fill(T::ZERO);
                for (to, sums) in row.chunks_mut(all).zip(sums[o * columns..].chunks(taps.max(1))) {
                    windows.taps.iter().zip(sums).for_each(|(&t, &sum)| to[t] = sum);
                }
            }
        }
    });
}

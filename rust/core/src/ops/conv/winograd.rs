//! Convolutions with 3×3 kernels at every position, by Winograd's algorithm: see [`crate::kernels::winograd`].

use std::ops::Range;

use super::geometry::Settings;
use super::image_of;
use super::scratch;
use crate::kernels::frame::{LANES, Layout, from_frame, to_frame};
use crate::kernels::matmul::{self, MatRef, Product, odd_lines};
use crate::kernels::transpose::{Matrix, transpose};
use crate::kernels::vector::Lanes;
use crate::kernels::winograd::{self as kernel, Apart, PLACES, STEP, TAPS, Tiles};
use crate::tensor::View;
use crate::threads::Team;

/// Fewer channels leave too little between one transform and the next.
const CHANNELS: usize = 8;
/// Fewer tiles do not pay for the transform of the kernels.
const TILES: usize = 16;
/// Bytes of a block's transformed tiles, before and after the product ...
const BLOCK_BYTES: usize = 384 << 10;
/// ... but so many tiles at least, for a block reads all kernels, or all sums of kernels.
const BLOCK_TILES: usize = 64;
/// Channels that are made at once.
const CHANNEL_BLOCK: usize = 64;

/// Whether a convolution with a weight of this shape, or its gradient, is computed in this way, the result having this shape.
pub(super) fn fits(settings: &Settings, weight: &[usize], result: &[usize]) -> bool {
    let around = |&(before, after): &(usize, usize)| before <= 2 && after <= 2;
    weight[2..] == [3, 3]
        && settings.stride == [1, 1]
        && settings.dilation == [1, 1]
        && settings.groups == 1
        && settings.padding.iter().all(around)
        && weight[0].min(weight[1]) >= CHANNELS
        && result[0] * result[2].div_ceil(STEP) * result[3].div_ceil(STEP) >= TILES
}

/// From one place to the next of so many transformed kernels. Were it a power of two, places would evict each other.
fn apart(kernels: usize) -> usize {
    odd_lines::<f32>(kernels)
}

/// How many elements the transformed kernels of a weight have.
pub(super) fn kernels_len(weight: &[usize]) -> usize {
    PLACES * apart(weight[0] * weight[1])
}

/// Groups of channels that fill a frame, the last one maybe in part.
fn frames(channels: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = channels.end;
    channels.step_by(LANES).map(move |first| first..end.min(first + LANES))
}

/// Channels with what fills their last frame.
fn padded(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
}

/// Transform a weight (o, c, 3, 3) to (place, c, o); or turned, to (place, o, c). Members of the team share it.
fn transform_kernels<T: Lanes>(team: &Team, weight: &View<'_>, turned: bool, out: &View<'_>) {
    let (o, c) = (weight.shape()[0], weight.shape()[1]);
    // Of a kernel's place in the weight: from one of those that are read to the next, and from one that is written.
    let ((rows, to_row), (cols, to_col)) = if turned { ((o, c), (c, 1)) } else { ((c, 1), (o, c)) };
    let w = weight.slice::<T>();
    let apart = apart(rows * cols);
    let (mut taps, mut places) = ([T::ZERO; TAPS * LANES], [T::ZERO; PLACES * LANES]);
    for row in team.share(rows) {
        for group in frames(0..cols) {
            let from = Matrix { rows: group.len(), cols: TAPS, stride: to_col * TAPS };
            transpose(&w[(row * to_row + group.start * to_col) * TAPS..], from, &mut taps, LANES);
            if turned {
                turn(&mut taps);
            }
            kernel::transform_kernels(&taps, &mut places);
            for (place, values) in places.chunks_exact(LANES).enumerate() {
                let first = place * apart + row * cols + group.start;
                // SAFETY: inside the output; members have different rows.
                unsafe { out.part::<T>(first..first + group.len()) }.copy_from_slice(&values[..group.len()]);
            }
        }
    }
}

/// Reverse the taps of all lanes.
fn turn<T: Lanes>(taps: &mut [T; TAPS * LANES]) {
    for tap in 0..TAPS / 2 {
        for lane in 0..LANES {
            taps.swap(tap * LANES + lane, (TAPS - 1 - tap) * LANES + lane);
        }
    }
}

/// Copy some channels of an image to a frame of this size, zeros around it: `planes` begins with the first of them, `first` is the
/// place in them that comes first in the frame.
fn fill<T: Lanes>(
    planes: &[T],
    (height, width): (usize, usize),
    channels: usize,
    first: (isize, isize),
    (rows, cols): (usize, usize),
    frame: &mut [T],
) {
    let inside = |y: usize| (y as isize - first.0).clamp(0, rows as isize) as usize;
    let (line, left, there) = (cols * LANES, first.1.unsigned_abs() * LANES, inside(0)..inside(height));
    frame[..there.start * line].fill(T::ZERO);
    frame[there.end * line..rows * line].fill(T::ZERO);
    let frame = &mut frame[there.start * line..there.end * line];
    for line in frame.chunks_exact_mut(line) {
        line[..left].fill(T::ZERO);
        line[left + width * LANES..].fill(T::ZERO);
    }
    if !frame.is_empty() && width > 0 {
        let y = (first.0 + there.start as isize) as usize;
        let of = Layout { pixels: there.len() * width, width, cols, plane: height * width, channels };
        to_frame(&planes[y * width..], of, &mut frame[left..]);
    }
}

/// Images as tiles, cut into blocks.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    /// Rows and columns of an image, and of what comes of it.
    input: (usize, usize),
    output: (usize, usize),
    /// Where the first tile begins.
    first: (isize, isize),
    tiles: Tiles,
    /// Rows of tiles in a block; all of them if it has several images.
    rows: usize,
    images: usize,
}

/// Some images, and some of their rows of tiles.
#[derive(Clone)]
struct Block {
    images: Range<usize>,
    rows: Range<usize>,
}

impl Grid {
    /// The tiles of a convolution with this padding, whose result is not empty; a block's tiles take `channels` elements for every
    /// place.
    pub fn new<T>(padding: [(usize, usize); 2], input: (usize, usize), channels: usize) -> Self {
        let around = |d: usize, size: usize| size + padding[d].0 + padding[d].1 - 2;
        let output = (around(0, input.0), around(1, input.1));
        let tiles = Tiles { rows: output.0.div_ceil(STEP), cols: output.1.div_ceil(STEP) };
        let most = (BLOCK_BYTES / (PLACES * size_of::<T>() * channels)).max(BLOCK_TILES);
        let images = (most / tiles.count()).max(1);
        let parts = tiles.rows.div_ceil((most / tiles.cols).clamp(1, tiles.rows));
        let rows = if images > 1 { tiles.rows } else { tiles.rows.div_ceil(parts) };
        let [top, left] = padding.map(|(before, _)| -(before as isize));
        Self { input, output, first: (top, left), tiles, rows, images }
    }

    /// Blocks that no team member waits for.
    fn blocks(&self, images: Range<usize>, members: usize) -> impl ExactSizeIterator<Item = Block> + Clone {
        let grid = *self;
        let each = grid.images.min(images.len().div_ceil(members)).max(1);
        let parts = grid.tiles.rows.div_ceil(grid.rows);
        (0..images.len().div_ceil(each) * parts).map(move |i| {
            let (start, row) = (images.start + i / parts * each, i % parts * grid.rows);
            Block { images: start..images.end.min(start + each), rows: row..grid.tiles.rows.min(row + grid.rows) }
        })
    }

    /// Tiles of one image of a block.
    fn of(&self, block: &Block) -> Tiles {
        Tiles { rows: block.rows.len(), ..self.tiles }
    }

    /// Tiles of the largest block.
    fn most(&self) -> usize {
        self.images * self.largest().count()
    }

    /// Tiles of one image of the largest block.
    fn largest(&self) -> Tiles {
        Tiles { rows: self.rows, ..self.tiles }
    }

    /// How transformed tiles of so many channels lie.
    fn apart<T>(&self, channels: usize) -> Apart {
        let tile = padded(channels);
        Apart { place: odd_lines::<T>(self.most() * tile), tile }
    }

    /// Transform some channels of a block's images, which have `all`.
    fn transform<T: Lanes>(
        &self,
        block: &Block,
        x: &[T],
        (channels, all): (Range<usize>, usize),
        frame: &mut [T],
        (out, apart): (&mut [T], Apart),
    ) {
        let tiles = self.of(block);
        let first = (self.first.0 + (STEP * block.rows.start) as isize, self.first.1);
        for (i, image) in block.images.clone().enumerate() {
            for group in frames(channels.clone()) {
                let planes = &x[(image * all + group.start) * self.input.0 * self.input.1..];
                fill(planes, self.input, group.len(), first, tiles.input(), frame);
                let out = &mut out[i * tiles.count() * apart.tile + group.start - channels.start..];
                kernel::transform_input(frame, tiles, group.len(), out, apart);
            }
        }
    }
}

/// What is convolved, and what comes of it.
struct Images<'a, T> {
    grid: Grid,
    n: usize,
    /// Channels that are read, and that are written.
    channels: (usize, usize),
    /// (n, channels.0, *)
    x: &'a [T],
    /// (place, channels.0, channels.1)
    kernels: &'a [T],
    bias: Option<&'a [T]>,
    /// (n, channels.1, *)
    y: *mut T,
}

/// Convolve the images `inputs[0]` with the weight `inputs[1]`, turned or not, and add the bias `inputs[2]`, if there is one.
/// `outputs[1]` is room for the transformed kernels.
pub(super) fn convolve<T: Lanes>(
    team: &Team,
    padding: [(usize, usize); 2],
    turned: bool,
    inputs: &[View<'_>],
    outputs: &[View<'_>],
) {
    let ([x, weight], [y, kernels]) = (&inputs[..2], outputs) else {
        unreachable!("the shape rule has made two outputs")
    };
    transform_kernels::<T>(team, weight, turned, kernels);
    team.barrier();
    if y.numel() == 0 {
        return;
    }
    let channels = (x.shape()[1], y.shape()[1]);
    let images = Images {
        grid: Grid::new::<T>(padding, image_of(x.shape()), padded(channels.0) + padded(channels.1.min(CHANNEL_BLOCK))),
        n: x.shape()[0],
        channels,
        x: x.slice::<T>(),
        kernels: kernels.slice::<T>(),
        bias: inputs.get(2).map(View::slice::<T>),
        y: y.ptr::<T>(),
    };
    // SAFETY: the shape rule has made y for these images.
    unsafe { images.run(team) };
}

impl<T: Lanes> Images<'_, T> {
    /// Compute this member's share.
    ///
    /// # Safety
    /// `y` has room, and nobody else touches it but members of the team that make the same call.
    unsafe fn run(&self, team: &Team) {
        let (grid, parts) = (&self.grid, self.channels.1.div_ceil(CHANNEL_BLOCK));
        let from = grid.apart::<T>(self.channels.0);
        let to = grid.apart::<T>(self.channels.1.div_ceil(parts));
        let kernels_apart = apart(self.channels.0 * self.channels.1);
        let lens = [Tiles::frame(grid.largest().input()), PLACES * from.place, PLACES * to.place];
        scratch::with(lens, |[frame, tiles, sums]| {
            let blocks = grid.blocks(0..self.n, team.size());
            let share = team.share(blocks.len());
            for block in blocks.skip(share.start).take(share.len()) {
                grid.transform(&block, self.x, (0..self.channels.0, self.channels.0), frame, (tiles, from));
                for part in 0..parts {
                    let channels = self.channels.1 * part / parts..self.channels.1 * (part + 1) / parts;
                    for place in 0..PLACES {
                        let p = Product {
                            m: block.images.len() * grid.of(&block).count(),
                            n: channels.len(),
                            k: self.channels.0,
                            a: MatRef {
                                ptr: tiles[place * from.place..].as_ptr(),
                                row_stride: from.tile as isize,
                                col_stride: 1,
                            },
                            b: MatRef {
                                ptr: self.kernels[place * kernels_apart + channels.start..].as_ptr(),
                                row_stride: self.channels.1 as isize,
                                col_stride: 1,
                            },
                            c: sums[place * to.place..].as_mut_ptr(),
                            ldc: to.tile,
                            accumulate: false,
                            one_block: false,
                        };
                        // SAFETY: the operands have these sizes; the sums are this member's alone.
                        unsafe { matmul::block(&p, 0..p.m, 0..p.n, &mut |_| ()) };
                    }
                    // SAFETY: the caller's promise; members have different blocks.
                    unsafe { self.write(&block, channels, (sums, to), frame) };
                }
            }
        });
    }

    /// Turn the sums of a block's tiles into images.
    ///
    /// # Safety
    /// As for [`Images::run`].
    unsafe fn write(&self, block: &Block, channels: Range<usize>, (sums, apart): (&[T], Apart), frame: &mut [T]) {
        let (grid, tiles) = (&self.grid, self.grid.of(block));
        let ((height, width), (_, cols)) = (grid.output, tiles.output());
        let rows = STEP * block.rows.start..height.min(STEP * block.rows.end);
        for (i, image) in block.images.clone().enumerate() {
            for group in frames(channels.clone()) {
                let mut bias = [T::ZERO; LANES];
                if let Some(all) = self.bias {
                    bias[..group.len()].copy_from_slice(&all[group.clone()]);
                }
                let sums = &sums[i * tiles.count() * apart.tile + group.start - channels.start..];
                kernel::transform_output(sums, apart, tiles, group.len(), &bias, frame);
                let (plane, pixels) = (height * width, rows.len() * width);
                let first = (image * self.channels.1 + group.start) * plane + rows.start * width;
                // SAFETY: rows of this block, in the planes of these channels.
                let y =
                    unsafe { std::slice::from_raw_parts_mut(self.y.add(first), (group.len() - 1) * plane + pixels) };
                from_frame(frame, Layout { pixels, width, cols, plane, channels: group.len() }, y);
            }
        }
    }
}

/// Operands of the gradient of a weight.
pub(super) struct Gradient<'a, T> {
    pub padding: [(usize, usize); 2],
    /// Rows and columns of x.
    pub image: (usize, usize),
    /// (n, all, *), and which of its channels take part.
    pub x: &'a [T],
    pub all: usize,
    pub channels: Range<usize>,
    /// (n, out, *)
    pub g: &'a [T],
    pub out: usize,
}

impl<T: Lanes> Gradient<'_, T> {
    /// The sum over some images, one at least: (channel, tap, out).
    pub fn run(&self, images: Range<usize>, sum: &mut [T]) {
        let (channels, out) = (self.channels.len(), self.out);
        let grid = Grid::new::<T>(self.padding, self.image, padded(channels) + padded(out));
        let (from, to) = (grid.apart::<T>(channels), grid.apart::<T>(out));
        let place = apart(channels * out);
        let lens = [Tiles::frame(grid.largest().input()), PLACES * from.place, PLACES * to.place, PLACES * place];
        scratch::with(lens, |[frame, tiles, grads, sums]| {
            for (b, block) in grid.blocks(images, 1).enumerate() {
                grid.transform(&block, self.x, (self.channels.clone(), self.all), frame, (tiles, from));
                self.transform(&grid, &block, frame, (grads, to));
                for p in 0..PLACES {
                    let p = Product {
                        m: channels,
                        n: out,
                        k: block.images.len() * grid.of(&block).count(),
                        a: MatRef {
                            ptr: tiles[p * from.place..].as_ptr(),
                            row_stride: 1,
                            col_stride: from.tile as isize,
                        },
                        b: MatRef { ptr: grads[p * to.place..].as_ptr(), row_stride: to.tile as isize, col_stride: 1 },
                        c: sums[p * place..].as_mut_ptr(),
                        ldc: out,
                        accumulate: b > 0,
                        one_block: false,
                    };
                    // SAFETY: the operands have these sizes; the sums are this member's alone.
                    unsafe { matmul::block(&p, 0..p.m, 0..p.n, &mut |_| ()) };
                }
            }
            for (c, sum) in sum.chunks_exact_mut(TAPS * out).enumerate() {
                kernel::transform_sums(&sums[c * out..], place, sum);
            }
        });
    }

    /// Transform a block's gradients.
    fn transform(&self, grid: &Grid, block: &Block, frame: &mut [T], (out, apart): (&mut [T], Apart)) {
        let tiles = grid.of(block);
        let first = ((STEP * block.rows.start) as isize, 0);
        for (i, image) in block.images.clone().enumerate() {
            for group in frames(0..self.out) {
                let planes = &self.g[(image * self.out + group.start) * grid.output.0 * grid.output.1..];
                fill(planes, grid.output, group.len(), first, tiles.output(), frame);
                let out = &mut out[i * tiles.count() * apart.tile + group.start..];
                kernel::transform_grad(frame, tiles, group.len(), out, apart);
            }
        }
    }
}

//! Convolutions with 3×3 kernels at every position, by Winograd's algorithm: see [`crate::kernels::winograd`].

use std::ops::Range;

use super::geometry::Settings;
use super::image_of;
use super::scratch;
use crate::kernels::matmul::{self, MatRef, Product, odd_lines};
use crate::kernels::transpose;
use crate::kernels::vector::Lanes;
use crate::kernels::winograd::{self as kernel, Image, LANES, PLACES, Tiles};
use crate::tensor::View;
use crate::threads::Team;

/// Fewer channels leave too little between one transform and the next.
const CHANNELS: usize = 8;
/// Bytes of a block's transformed tiles, before and after the product.
const BLOCK_BYTES: usize = 384 << 10;
/// Channels that are made at once.
const CHANNEL_BLOCK: usize = 32;

/// Whether a convolution is computed in this way.
pub(super) fn fits(settings: &Settings, kernel: (usize, usize), channels: (usize, usize)) -> bool {
    let around = |&(before, after): &(usize, usize)| before <= 2 && after <= 2;
    kernel == (3, 3)
        && settings.stride == [1, 1]
        && settings.dilation == [1, 1]
        && settings.groups == 1
        && settings.padding.iter().all(around)
        && channels.0.min(channels.1) >= CHANNELS
}

/// How many elements the transformed kernels have.
pub(super) fn kernels_len(channels: (usize, usize)) -> usize {
    PLACES * channels.0 * channels.1
}

/// Transform a weight (o, c, 3, 3) to (place, o, c); or turned, to (place, c, o). Members of the team share it.
fn transform_kernels<T: Lanes>(team: &Team, weight: &View<'_>, turned: bool, out: &View<'_>) {
    let (o, c) = (weight.shape()[0], weight.shape()[1]);
    let (rows, cols) = if turned { (c, o) } else { (o, c) };
    let w = weight.slice::<T>();
    debug_assert!(out.numel() >= PLACES * rows * cols);
    for row in team.share(rows) {
        for col in 0..cols {
            let place_of_kernel = if turned { col * c + row } else { row * c + col };
            let mut taps: [T; 9] = *w[place_of_kernel * 9..].first_chunk().expect("a kernel has nine taps");
            if turned {
                taps.reverse();
            }
            for (place, value) in kernel::transform_kernel(taps).into_iter().enumerate() {
                // SAFETY: inside the output; members have different rows.
                unsafe { *out.ptr::<T>().add((place * rows + row) * cols + col) = value };
            }
        }
    }
}

/// Images as tiles, cut into blocks.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    /// Rows and columns of an image, and of what comes of it.
    pub input: (usize, usize),
    pub output: (usize, usize),
    /// Where the first tile begins.
    first: isize,
    left: isize,
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
        let tiles = Tiles { rows: output.0.div_ceil(2), run: output.1.div_ceil(2) + 1 };
        let most = BLOCK_BYTES / (PLACES * size_of::<T>() * channels);
        let images = (most / tiles.len()).max(1);
        let parts = tiles.rows.div_ceil((most / tiles.run).clamp(1, tiles.rows));
        let rows = if images > 1 { tiles.rows } else { tiles.rows.div_ceil(parts) };
        let [first, left] = padding.map(|(before, _)| -(before as isize));
        Self { input, output, first, left, tiles, rows, images }
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

    /// Tiles of the largest block.
    fn most(&self) -> usize {
        self.images * self.rows * self.tiles.run
    }

    fn of(&self, block: &Block) -> Tiles {
        Tiles { rows: block.rows.len(), run: self.tiles.run }
    }

    fn ld<T>(&self) -> usize {
        odd_lines::<T>(self.most() + LANES)
    }

    /// Transform some channels of a block's images: (place, channel, tile), rows of tiles `ld` apart.
    fn transform<T: Lanes>(
        &self,
        block: &Block,
        planes: impl Fn(usize, usize) -> *const T,
        channels: usize,
        split: &mut [T],
        out: &mut [T],
    ) {
        let (tiles, ld) = (self.of(block), self.ld::<T>());
        let first = (self.first + 2 * block.rows.start as isize, self.left);
        for (i, image) in block.images.clone().enumerate() {
            for c in 0..channels {
                // SAFETY: the caller gives planes of this size.
                let plane = unsafe { std::slice::from_raw_parts(planes(image, c), self.input.0 * self.input.1) };
                kernel::split(Image { plane, size: self.input, first }, tiles, split);
                kernel::transform_input(split, tiles, &mut out[c * ld + i * tiles.len()..], channels * ld);
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
    /// (place, channels.1, channels.0)
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
        grid: Grid::new::<T>(padding, image_of(x.shape()), channels.0 + channels.1.min(CHANNEL_BLOCK)),
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
        let (grid, ld) = (&self.grid, self.grid.ld::<T>());
        let parts = self.channels.1.div_ceil(CHANNEL_BLOCK);
        let lens = [
            grid.of(&Block { images: 0..1, rows: 0..grid.rows }).split_len(),
            PLACES * self.channels.0 * ld + LANES,
            PLACES * self.channels.1.div_ceil(parts) * ld + LANES,
            4 * (grid.most() + LANES),
        ];
        let plane = grid.input.0 * grid.input.1;
        scratch::with(lens, |[split, tiles, sums, out]| {
            let blocks = grid.blocks(0..self.n, team.size());
            let share = team.share(blocks.len());
            for block in blocks.skip(share.start).take(share.len()) {
                let x = |i: usize, c: usize| self.x[(i * self.channels.0 + c) * plane..].as_ptr();
                grid.transform(&block, x, self.channels.0, split, tiles);
                for part in 0..parts {
                    let channels = self.channels.1 * part / parts..self.channels.1 * (part + 1) / parts;
                    for place in 0..PLACES {
                        let p = Product {
                            m: channels.len(),
                            n: block.images.len() * grid.of(&block).len(),
                            k: self.channels.0,
                            a: MatRef {
                                ptr: self.kernels[(place * self.channels.1 + channels.start) * self.channels.0..]
                                    .as_ptr(),
                                row_stride: self.channels.0 as isize,
                                col_stride: 1,
                            },
                            b: MatRef {
                                ptr: tiles[place * self.channels.0 * ld..].as_ptr(),
                                row_stride: ld as isize,
                                col_stride: 1,
                            },
                            c: sums[place * channels.len() * ld..].as_mut_ptr(),
                            ldc: ld,
                            accumulate: false,
                            one_block: false,
                        };
                        // SAFETY: the operands have these sizes; the sums are this member's alone.
                        unsafe { matmul::block(&p, 0..p.m, 0..p.n, &mut |_| ()) };
                    }
                    // SAFETY: the caller's promise; members have different blocks.
                    unsafe { self.write(&block, channels, sums, out) };
                }
            }
        });
    }

    /// Turn the sums of a block's tiles into images.
    ///
    /// # Safety
    /// As for [`Images::run`].
    unsafe fn write(&self, block: &Block, channels: Range<usize>, sums: &[T], out: &mut [T]) {
        let (grid, tiles, ld) = (&self.grid, self.grid.of(block), self.grid.ld::<T>());
        let (height, width) = grid.output;
        let rows = 2 * block.rows.start..height.min(2 * block.rows.end);
        for (i, image) in block.images.clone().enumerate() {
            for (c, channel) in channels.clone().enumerate() {
                let bias = self.bias.map_or(T::ZERO, |bias| bias[channel]);
                let sums = &sums[c * ld + i * tiles.len()..];
                let first = ((image * self.channels.1 + channel) * height + rows.start) * width;
                // SAFETY: rows of this block.
                let y = unsafe { std::slice::from_raw_parts_mut(self.y.add(first), rows.len() * width) };
                kernel::transform_output(sums, channels.len() * ld, tiles, bias, out, y, width);
            }
        }
    }
}

/// Operands of the gradient of a weight.
pub(super) struct Gradient<'a, T> {
    pub grid: Grid,
    /// (n, all, *), and which of its channels take part.
    pub x: &'a [T],
    pub all: usize,
    pub channels: Range<usize>,
    /// (n, out, *)
    pub g: &'a [T],
    pub out: usize,
}

impl<T: Lanes> Gradient<'_, T> {
    /// The sum over some images' tiles, place p being (channels, out) at `sum + p * stride`.
    ///
    /// # Safety
    /// It has room, and nobody else touches it.
    pub unsafe fn run(&self, images: Range<usize>, sum: *mut T, stride: usize) {
        let (grid, ld, channels) = (&self.grid, self.grid.ld::<T>(), self.channels.len());
        let (plane, area) = (grid.input.0 * grid.input.1, grid.output.0 * grid.output.1);
        let lens = [
            grid.of(&Block { images: 0..1, rows: 0..grid.rows }).split_len(),
            PLACES * channels * ld + LANES,
            PLACES * grid.most() * self.out,
            2 * grid.rows * grid.output.1 * self.out,
        ];
        scratch::with(lens, |[split, tiles, grads, pixels]| {
            for (b, block) in grid.blocks(images, 1).enumerate() {
                let x = |i: usize, c: usize| self.x[(i * self.all + self.channels.start + c) * plane..].as_ptr();
                grid.transform(&block, x, channels, split, tiles);
                let n = block.images.len() * grid.of(&block).len();
                self.transform_grads(&block, area, n * self.out, grads, pixels);
                for place in 0..PLACES {
                    let p = Product {
                        m: channels,
                        n: self.out,
                        k: n,
                        a: MatRef {
                            ptr: tiles[place * channels * ld..].as_ptr(),
                            row_stride: ld as isize,
                            col_stride: 1,
                        },
                        b: MatRef {
                            ptr: grads[place * n * self.out..].as_ptr(),
                            row_stride: self.out as isize,
                            col_stride: 1,
                        },
                        // SAFETY: the caller's promise.
                        c: unsafe { sum.add(place * stride) },
                        ldc: self.out,
                        accumulate: b > 0,
                        one_block: false,
                    };
                    // SAFETY: the operands have these sizes; the sum is the caller's.
                    unsafe { matmul::block(&p, 0..p.m, 0..p.n, &mut |_| ()) };
                }
            }
        });
    }

    /// Transform a block's gradients: (place, tile, out), places `stride` apart.
    fn transform_grads(&self, block: &Block, area: usize, stride: usize, grads: &mut [T], pixels: &mut [T]) {
        let (grid, tiles, width) = (&self.grid, self.grid.of(block), self.grid.output.1);
        let rows = 2 * block.rows.start..grid.output.0.min(2 * block.rows.end);
        let row = width * self.out;
        for (i, image) in block.images.clone().enumerate() {
            let planes = &self.g[image * self.out * area + rows.start * width..];
            let from = transpose::Matrix { rows: self.out, cols: rows.len() * width, stride: area };
            transpose::transpose(planes, from, pixels, self.out);
            for r in 0..block.rows.len() {
                let upper = &pixels[2 * r * row..][..row];
                let lower = if 2 * r + 1 < rows.len() { &pixels[(2 * r + 1) * row..][..row] } else { &[] };
                let first = (i * tiles.len() + r * tiles.run) * self.out;
                kernel::transform_grad([upper, lower], self.out, tiles.run, &mut grads[first..], stride);
            }
        }
    }
}

/// Gᵀ s G for one channel of x: `sums` begins at (place 0, channel, 0), places `stride` apart; the kernels (out, 9) are `apart` apart.
///
/// # Safety
/// `grad` has room, and nobody else touches these kernels.
pub(super) unsafe fn transform_sums<T: Lanes>(sums: &[T], stride: usize, out: usize, grad: *mut T, apart: usize) {
    for o in 0..out {
        let places = std::array::from_fn(|place| sums[place * stride + o]);
        // SAFETY: the caller's promise.
        unsafe { grad.add(o * apart).cast::<[T; 9]>().write(kernel::transform_kernel_grad(places)) };
    }
}

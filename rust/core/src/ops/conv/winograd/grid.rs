//! Images as tiles, cut into blocks, and the frames that their pixels come from and go to.

use std::ops::Range;

use crate::kernels::frame::{LANES, Layout, from_frame, to_frame};
use crate::kernels::matmul::odd_lines;
use crate::kernels::vector::Lanes;
use crate::kernels::winograd::{self as kernel, Apart, Lattice, Phase, STEP, Scheme, Tiles};

/// Bytes of a block's transformed tiles, before and after the product ...
const BLOCK_BYTES: usize = 384 << 10;
/// ... but so many tiles at least, for a block reads all kernels, or all sums of kernels.
const BLOCK_TILES: usize = 64;

/// Groups of channels that fill a frame, the last one maybe in part.
pub(super) fn frames(channels: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = channels.end;
    channels.step_by(LANES).map(move |first| first..end.min(first + LANES))
}

/// Channels with what fills their last frame.
pub(super) fn padded(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
}

/// Images that tiles read or write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Images {
    /// Rows and columns.
    pub size: (usize, usize),
    /// The row and the column at the first pixel of the first tile; not above 0.
    pub first: (isize, isize),
    /// From one of a tile's pixels to the next.
    pub stride: usize,
}

impl Images {
    /// Rows and columns of a frame of tiles, which reach so far, and of all columns of the images.
    fn frame(&self, (rows, cols): (usize, usize)) -> (usize, usize) {
        (rows * self.stride, (cols * self.stride).max(self.first.1.unsigned_abs() + self.size.1))
    }

    /// The row at the first pixel of a block.
    fn row(&self, block: &Block) -> isize {
        self.first.0 + (self.stride * STEP * block.rows.start) as isize
    }

    /// Tiles along a dimension.
    fn tiles(&self, size: usize, first: isize) -> usize {
        (size + first.unsigned_abs()).div_ceil(self.stride * STEP)
    }

    /// Copy some channels of a block of an image to a frame of so many rows and columns, zeros around it: `planes` begins with the
    /// first of them.
    fn fill<T: Lanes>(
        &self,
        planes: &[T],
        channels: usize,
        block: &Block,
        (rows, cols): (usize, usize),
        frame: &mut [T],
    ) {
        let ((height, width), first) = (self.size, self.row(block));
        let inside = |y: usize| (y as isize - first).clamp(0, rows as isize) as usize;
        let (line, left, there) = (cols * LANES, self.first.1.unsigned_abs() * LANES, inside(0)..inside(height));
        frame[..there.start * line].fill(T::ZERO);
        frame[there.end * line..rows * line].fill(T::ZERO);
        let frame = &mut frame[there.start * line..there.end * line];
        for line in frame.chunks_exact_mut(line) {
            line[..left].fill(T::ZERO);
            line[left + width * LANES..].fill(T::ZERO);
        }
        if !frame.is_empty() && width > 0 {
            let y = (first + there.start as isize) as usize;
            let of = Layout { pixels: there.len() * width, width, cols, plane: height * width, channels };
            to_frame(&planes[y * width..], of, &mut frame[left..]);
        }
    }
}

/// Division of images into blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid<S> {
    scheme: S,
    from: Images,
    to: Images,
    tiles: Tiles,
    /// Rows of tiles in a block; all of them if it has several images.
    rows: usize,
    images: usize,
}

/// Some images, and some of their rows of tiles.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub images: Range<usize>,
    rows: Range<usize>,
}

impl<S: Scheme> Grid<S> {
    /// Tiles that make all of `to`, which is not empty; a block's tiles take `channels` elements for every place.
    pub fn new<T>(scheme: S, from: Images, to: Images, channels: usize) -> Self {
        let tiles = Tiles { rows: to.tiles(to.size.0, to.first.0), cols: to.tiles(to.size.1, to.first.1) };
        let places = scheme.side() * scheme.side();
        let most = (BLOCK_BYTES / (places * size_of::<T>() * channels)).max(BLOCK_TILES);
        let images = (most / tiles.count()).max(1);
        let parts = tiles.rows.div_ceil((most / tiles.cols).clamp(1, tiles.rows));
        let rows = if images > 1 { tiles.rows } else { tiles.rows.div_ceil(parts) };
        Self { scheme, from, to, tiles, rows, images }
    }

    /// True if blocks have whole images.
    pub fn has_whole_images(&self) -> bool {
        self.rows == self.tiles.rows
    }

    /// Blocks that no team member waits for.
    pub fn blocks(&self, images: Range<usize>, members: usize) -> impl ExactSizeIterator<Item = Block> + Clone {
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

    /// Tiles of a block.
    pub fn count(&self, block: &Block) -> usize {
        block.images.len() * self.of(block).count()
    }

    /// Elements of the largest frame.
    pub fn frame(&self) -> usize {
        let largest = Tiles { rows: self.rows, ..self.tiles };
        let len = |(rows, cols): (usize, usize)| rows * cols * LANES;
        len(self.from.frame(largest.reach(self.scheme.side()))).max(len(self.to.frame(largest.reach(STEP))))
    }

    /// Layout of tiles that take so many elements.
    pub fn apart<T>(&self, tile: usize) -> Apart {
        Apart { place: odd_lines::<T>(self.images * self.rows * self.tiles.cols * tile), tile }
    }

    /// Transform some channels of a block's images, which have `all`: those of a phase `phase` elements after those of the one
    /// before. Gradients, whose tiles take every pixel, are one phase.
    pub fn transform<T: Lanes>(
        &self,
        block: &Block,
        (x, all): (&[T], usize),
        channels: Range<usize>,
        phase: usize,
        frame: &mut [T],
        (out, apart): (&mut [T], Apart),
    ) {
        let (tiles, from) = (self.of(block), &self.from);
        let (rows, width) = from.frame(tiles.reach(self.scheme.side()));
        for (i, image) in block.images.clone().enumerate() {
            for group in frames(channels.clone()) {
                let planes = &x[(image * all + group.start) * from.size.0 * from.size.1..];
                from.fill(planes, group.len(), block, (rows, width), frame);
                let out = &mut out[i * tiles.count() * apart.tile + group.start - channels.start..];
                for (p, [y, x]) in self.scheme.phases().iter().take(from.stride * from.stride).enumerate() {
                    let first = if from.stride == 1 { (0, 0) } else { (y.offset, x.offset) };
                    let of = Lattice { tiles, width, stride: from.stride, first };
                    kernel::transform_input(self.scheme, frame, of, group.len(), &mut out[p * phase..], apart);
                }
            }
        }
    }

    /// Transform a block's gradients, of images with `all` channels.
    pub fn transform_grad<T: Lanes>(
        &self,
        block: &Block,
        (g, all): (&[T], usize),
        frame: &mut [T],
        (out, apart): (&mut [T], Apart),
    ) {
        let (tiles, to) = (self.of(block), &self.to);
        let (rows, width) = to.frame(tiles.reach(STEP));
        for (i, image) in block.images.clone().enumerate() {
            for group in frames(0..all) {
                let planes = &g[(image * all + group.start) * to.size.0 * to.size.1..];
                to.fill(planes, group.len(), block, (rows, width), frame);
                let out = &mut out[i * tiles.count() * apart.tile + group.start..];
                let of = Lattice { tiles, width, stride: 1, first: (0, 0) };
                kernel::transform_grad(self.scheme, frame, of, group.len(), out, apart);
            }
        }
    }

    /// Turn the sums of a block's tiles into some channels of images, which have `all`: those of a phase `phase` elements after those
    /// of the one before.
    ///
    /// # Safety
    /// `y` has all images, and nobody else touches this block of these channels.
    pub unsafe fn write<T: Lanes>(
        &self,
        block: &Block,
        (sums, apart): (&[T], Apart),
        (channels, phase): (Range<usize>, usize),
        bias: Option<&[T]>,
        frame: &mut [T],
        (y, all): (*mut T, usize),
    ) {
        let (tiles, to) = (self.of(block), &self.to);
        let (frame_rows, cols) = to.frame(tiles.reach(STEP));
        let ((height, width), first) = (to.size, to.row(block));
        let rows = first.max(0) as usize..height.min((first + frame_rows as isize) as usize);
        let corner = ((rows.start as isize - first) as usize * cols + to.first.1.unsigned_abs()) * LANES;
        for (i, image) in block.images.clone().enumerate() {
            for group in frames(channels.clone()) {
                let mut added = [T::ZERO; LANES];
                if let Some(bias) = bias {
                    added[..group.len()].copy_from_slice(&bias[group.clone()]);
                }
                let sums = &sums[i * tiles.count() * apart.tile + group.start - channels.start..];
                for (p, [y, x]) in self.scheme.phases().iter().take(to.stride * to.stride).enumerate() {
                    // A tile's first gradient goes to a phase's pixel by its last tap, and to the frame's first by this one.
                    let tap = self.scheme.size() - self.scheme.stride();
                    let at = |phase: &Phase| phase.taps[phase.taps.len() - 1] - tap;
                    let first = if to.stride == 1 { (0, 0) } else { (at(y), at(x)) };
                    let (of, lanes) = (Lattice { tiles, width: cols, stride: to.stride, first }, group.len());
                    kernel::transform_output(self.scheme, &sums[p * phase..], apart, lanes, &added, frame, of);
                }
                let (plane, pixels) = (height * width, rows.len() * width);
                let start = (image * all + group.start) * plane + rows.start * width;
                // SAFETY: rows of this block, in the planes of these channels.
                let y = unsafe { std::slice::from_raw_parts_mut(y.add(start), (group.len() - 1) * plane + pixels) };
                from_frame(&frame[corner..], Layout { pixels, width, cols, plane, channels: group.len() }, y);
            }
        }
    }
}

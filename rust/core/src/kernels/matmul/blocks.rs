//! The order in which the tiles of a product are computed.
//!
//! ```text
//! for a block of rows                        A's part is read once, from memory
//!   for a chunk of the inner dimension
//!     for a panel of columns, 2 registers    B's panel stays in L1 or L2
//!       for a tile of rows                   A's tile in L1
//! ```
//!
//! Rows are outermost, so that a block of them is complete early and its epilogue finds it in cache.

use std::ops::Range;

use super::pack::{Buffers, Strip};
use super::tile::{Isa, Tile};
use super::{MatRef, Product};
use crate::element::Float;

/// The most rows that `on_rows` gets at once.
pub const ROW_BLOCK: usize = 112;
/// Bytes of a cache line.
pub(super) const LINE: usize = 64;

/// Rows of a block while B stays in L2: the block's part of A (56 × 400 × 4 = 90 kB) shares it.
const SHORT_ROW_BLOCK: usize = 56;
/// Above this, B comes from L3 for every block of rows, and higher blocks halve the traffic.
const B_BYTES_IN_L2: usize = 1 << 20;
/// Steps of the inner dimension in a chunk: a panel of B, 400 × 32 × 4 = 51 kB on AVX-512 and half of that on AVX2, is
/// read from L2 once a tile, which costs little, and sums go through memory the less often.
const CHUNK: usize = 400;
/// Chunks are equally long, so that no short one is left; one this much longer than [`CHUNK`] is not divided.
const CHUNK_SLACK: usize = 112;

/// Chunks whose sums are added one after the other. The sums of later groups are added apart and joined with the output
/// in their order, so that no chain of additions is long however many steps there are.
pub(super) const GROUP: usize = 32;

/// Chunks of an inner dimension of `k` steps.
pub(super) fn chunks(k: usize) -> usize {
    if k <= CHUNK + CHUNK_SLACK { 1 } else { k.div_ceil(CHUNK) }
}

/// A that is read for this many panels is packed. A copy waits for memory, which a product of few panels hides.
const PANELS_TO_PACK_A: usize = 8;
/// The same for A read by columns if its steps are aliasing: every panel then reads A from L2 or beyond.
const PANELS_TO_PACK_ALIASING_COLUMNS: usize = 5;
/// B that is read for this many tiles is packed.
const TILES_TO_PACK_B: usize = 24;
/// B smaller than this stays in L1 and is read in place.
const B_BYTES_IN_L1: usize = 24 << 10;
/// Shorter inner dimensions leave too little work between a copy and the next.
const MIN_DEPTH_TO_PACK: usize = 48;
/// Rows that are a multiple of this apart meet in so few sets of L1 that, read in place, they evict each other ...
const ALIASING_BYTES: usize = 1024;
/// ... unless there are fewer of them than a set has ways: 12 on recent Intel cores, of which B needs 2.
const ALIASING_ROWS: usize = 10;

/// Order in which an operand is read. By columns, the elements of a step are adjacent; by rows (A only), the steps.
#[derive(Clone, Copy, PartialEq)]
enum Access {
    Columns,
    Rows,
    CopiedColumns,
    CopiedRows,
    /// Packed by columns, from any strides.
    Transposed,
}

struct Plan {
    a: Access,
    b: Access,
    tiles: usize,
    tiles_per_block: usize,
    chunks: usize,
    /// Columns of a panel.
    panel: usize,
}

impl Plan {
    fn new<T: Float>(isa: &Isa<T>, p: &Product<T>, m: usize, n: usize) -> Self {
        let across = n.div_ceil(isa.lanes).min(if isa.max_rows[1] > 0 { 2 } else { 1 });
        let aliasing = |stride: isize| (stride.unsigned_abs() * size_of::<T>()).is_multiple_of(ALIASING_BYTES);
        let max_rows = match isa.max_rows[across - 1] {
            // A block of one tile has nothing to evict.
            highest if p.a.col_stride == 1 && aliasing(p.a.row_stride) && m > highest => highest.min(ALIASING_ROWS),
            highest => highest,
        };
        let tiles = m.div_ceil(max_rows);
        let panel = across * isa.lanes;
        let panels = n.div_ceil(panel);
        let b_bytes = p.k * n * size_of::<T>();

        let deep = p.k >= MIN_DEPTH_TO_PACK;
        let pack_a = |stride: isize, enough: usize| stride < 0 || deep && panels >= enough;
        let enough_columns = if aliasing(p.a.col_stride) { PANELS_TO_PACK_ALIASING_COLUMNS } else { PANELS_TO_PACK_A };
        let a = match (p.a.row_stride, p.a.col_stride) {
            (rows, 1) if pack_a(rows, PANELS_TO_PACK_A) => Access::CopiedRows,
            (_, 1) => Access::Rows,
            (1, steps) if pack_a(steps, enough_columns) => Access::CopiedColumns,
            (1, _) => Access::Columns,
            _ => Access::Transposed,
        };
        let pack_b = deep && panels > 1 && tiles >= TILES_TO_PACK_B && b_bytes > B_BYTES_IN_L1;
        let b = match (p.b.row_stride, p.b.col_stride) {
            (steps, 1) if pack_b || steps < 0 => Access::CopiedColumns,
            (_, 1) => Access::Columns,
            _ => Access::Transposed,
        };
        let row_block = if b_bytes > B_BYTES_IN_L2 { ROW_BLOCK } else { SHORT_ROW_BLOCK };
        Self { a, b, tiles, tiles_per_block: row_block / max_rows, chunks: chunks(p.k), panel }
    }
}

/// Part `i` of `0..len` in `parts` parts whose lengths differ by at most 1.
pub(super) fn part(len: usize, parts: usize, i: usize) -> Range<usize> {
    len * i / parts..len * (i + 1) / parts
}

/// See [`super::block`].
///
/// # Safety
/// As for [`super::block`], and the machine has the instruction set of `isa`.
pub(super) unsafe fn run<T: Float>(
    isa: &Isa<T>,
    p: &Product<T>,
    rows: Range<usize>,
    cols: Range<usize>,
    on_rows: &mut dyn FnMut(Range<usize>),
) {
    debug_assert!(rows.end <= p.m && cols.end <= p.n, "a block outside of the product");
    if rows.is_empty() {
        return;
    }
    if cols.is_empty() || p.k == 0 {
        // SAFETY: the caller's promise.
        unsafe { clear(p, rows.clone(), cols) };
        for first in rows.clone().step_by(ROW_BLOCK) {
            on_rows(first..rows.end.min(first + ROW_BLOCK));
        }
        return;
    }
    // SAFETY: the caller's promise; the offsets stay inside of the operands.
    let (a, b, c) = unsafe {
        (
            p.a.ptr.offset(rows.start as isize * p.a.row_stride),
            p.b.ptr.offset(cols.start as isize * p.b.col_stride),
            p.c.add(if p.one_block { 0 } else { rows.start * p.ldc } + cols.start),
        )
    };
    let (m, n) = (rows.len(), cols.len());
    let plan = Plan::new(isa, p, m, n);
    let in_place = matches!(plan.a, Access::Columns | Access::Rows) && plan.b == Access::Columns;
    let p = Product { m, n, a: MatRef { ptr: a, ..p.a }, b: MatRef { ptr: b, ..p.b }, c, ..*p };
    let mut buffers = if in_place && plan.chunks <= GROUP { None } else { Some(Buffers::take()) };
    // SAFETY: the caller's promise, for the part of the product that `p` now is.
    unsafe { all_blocks(isa, &p, &plan, buffers.as_mut(), &mut |r| on_rows(rows.start + r.start..rows.start + r.end)) };
    if let Some(buffers) = buffers {
        buffers.put_back();
    }
}

/// The product of an empty inner dimension.
///
/// # Safety
/// As for [`run`].
unsafe fn clear<T: Float>(p: &Product<T>, rows: Range<usize>, cols: Range<usize>) {
    if !p.accumulate && !cols.is_empty() {
        for r in rows {
            let row = if p.one_block { r % ROW_BLOCK } else { r };
            // SAFETY: the caller's promise.
            unsafe { std::slice::from_raw_parts_mut(p.c.add(row * p.ldc + cols.start), cols.len()).fill(T::ZERO) };
        }
    }
}

/// # Safety
/// As for [`run`]; `m`, `n` and `k` are above 0, and there are buffers if the plan packs or has more than a group of chunks.
unsafe fn all_blocks<T: Float>(
    isa: &Isa<T>,
    p: &Product<T>,
    plan: &Plan,
    buffers: Option<&mut Buffers>,
    on_rows: &mut dyn FnMut(Range<usize>),
) {
    // Packed columns fill up the last register, so that the last panel may be one register narrower.
    let packed_cols = p.n.next_multiple_of(isa.lanes);
    let deepest = p.k.div_ceil(plan.chunks);
    let block_rows = plan.tiles_per_block.min(plan.tiles) * p.m.div_ceil(plan.tiles);
    let a_width = odd_lines::<T>(if plan.a == Access::CopiedRows { deepest } else { block_rows });
    let (mut a_buffer, mut b_buffer) = (std::ptr::null_mut::<T>(), std::ptr::null_mut::<T>());
    let mut sums = std::ptr::null_mut::<T>();
    if let Some(buffers) = buffers {
        if plan.chunks > GROUP {
            sums = buffers.sums.reserve(block_rows * p.n);
        }
        if !matches!(plan.a, Access::Columns | Access::Rows) {
            a_buffer = buffers.a.reserve(a_width * if plan.a == Access::CopiedRows { block_rows } else { deepest });
        }
        if plan.b != Access::Columns {
            b_buffer = buffers.b.reserve(packed_cols * p.k);
            // SAFETY: room for all columns over all steps.
            unsafe { pack_b(isa, p, plan, packed_cols, b_buffer) };
        }
    }
    let kernels = match &isa.quick {
        // SAFETY: the caller's promise.
        Some((fits, quick)) if unsafe { fits(p) } => quick,
        _ => &isa.kernels,
    };
    for first_tile in (0..plan.tiles).step_by(plan.tiles_per_block) {
        let tiles = first_tile..plan.tiles.min(first_tile + plan.tiles_per_block);
        let rows = part(p.m, plan.tiles, tiles.start).start..part(p.m, plan.tiles, tiles.end - 1).end;
        // SAFETY: the rows exist, in C and in the buffer.
        let output = unsafe { p.c.add(if p.one_block { 0 } else { rows.start * p.ldc }) };
        for chunk in 0..plan.chunks {
            let steps = part(p.k, plan.chunks, chunk);
            let (c, ldc, accumulate) =
                if chunk < GROUP { (output, p.ldc, p.accumulate || chunk > 0) } else { (sums, p.n, chunk % GROUP > 0) };
            // SAFETY: tiles, steps and panels exist, and the buffers have room for a block of rows and for all of B.
            unsafe {
                let mut a =
                    p.a.ptr.offset(rows.start as isize * p.a.row_stride + steps.start as isize * p.a.col_stride);
                let (mut row_stride, mut step_stride) = (p.a.row_stride, p.a.col_stride);
                if !a_buffer.is_null() {
                    pack_a(isa, plan, a, (row_stride, step_stride), (rows.len(), steps.len()), a_width, a_buffer);
                    a = a_buffer;
                    (row_stride, step_stride) =
                        if plan.a == Access::CopiedRows { (a_width as isize, 1) } else { (1, a_width as isize) };
                }
                let columns = !matches!(plan.a, Access::Rows | Access::CopiedRows);
                let a_stride = if columns { step_stride } else { row_stride } as usize;
                for first_col in (0..p.n).step_by(plan.panel) {
                    let width = plan.panel.min(p.n - first_col);
                    let across = width.div_ceil(isa.lanes);
                    let last = width - (across - 1) * isa.lanes;
                    let kernels = kernels[usize::from(columns)][usize::from(last < isa.lanes)][across - 1];
                    let (b, b_stride) = if plan.b == Access::Columns {
                        (p.b.ptr.add(steps.start * p.b.row_stride as usize + first_col), p.b.row_stride as usize)
                    } else {
                        let panel = b_buffer.add(steps.start * packed_cols + first_col * steps.len());
                        (panel.cast_const(), plan.panel.min(packed_cols - first_col))
                    };
                    for t in tiles.clone() {
                        let tile_rows = part(p.m, plan.tiles, t);
                        kernels[tile_rows.len() - 1](&Tile {
                            depth: steps.len(),
                            a: a.offset((tile_rows.start - rows.start) as isize * row_stride),
                            a_stride,
                            b,
                            b_stride,
                            c: c.add((tile_rows.start - rows.start) * ldc + first_col),
                            ldc,
                            last,
                            accumulate,
                        });
                    }
                }
                if chunk >= GROUP && (chunk % GROUP == GROUP - 1 || chunk == plan.chunks - 1) {
                    add_rows(sums, output, (rows.len(), p.n), p.ldc);
                }
            }
        }
        on_rows(rows);
    }
}

/// Add the rows of `sums`, which lie one behind the other, to those of `c`.
///
/// # Safety
/// All rows exist, and nobody else has them.
unsafe fn add_rows<T: Float>(sums: *const T, c: *mut T, (rows, cols): (usize, usize), ldc: usize) {
    for row in 0..rows {
        // SAFETY: the caller's promise.
        let (from, to) = unsafe {
            (
                std::slice::from_raw_parts(sums.add(row * cols), cols),
                std::slice::from_raw_parts_mut(c.add(row * ldc), cols),
            )
        };
        for (to, &from) in to.iter_mut().zip(from) {
            *to += from;
        }
    }
}

/// `len` elements rounded up to an odd number of cache lines, so that such strides visit all sets of a cache.
pub(crate) fn odd_lines<T>(len: usize) -> usize {
    ((len * size_of::<T>()).div_ceil(LINE) | 1) * (LINE / size_of::<T>())
}

/// Pack a block of rows of A over a chunk.
///
/// # Safety
/// As for [`all_blocks`], and `dst` has room.
unsafe fn pack_a<T: Float>(
    isa: &Isa<T>,
    plan: &Plan,
    src: *const T,
    (row_stride, step_stride): (isize, isize),
    (rows, steps): (usize, usize),
    width: usize,
    dst: *mut T,
) {
    let by_columns = Strip { src, step_stride, stride: row_stride, count: rows, depth: steps, width };
    // SAFETY: the caller's promise.
    unsafe {
        match plan.a {
            // Rows are packed as if they were the steps.
            Access::CopiedRows => {
                (isa.copy)(&Strip { step_stride: row_stride, stride: 1, count: steps, depth: rows, ..by_columns }, dst);
            }
            Access::CopiedColumns => (isa.copy)(&by_columns, dst),
            _ => (isa.transpose)(&by_columns, dst),
        }
    }
}

/// Pack all of B: chunk after chunk, and in a chunk panel after panel.
///
/// # Safety
/// As for [`all_blocks`], and `dst` has room for `packed_cols * k` elements.
unsafe fn pack_b<T: Float>(isa: &Isa<T>, p: &Product<T>, plan: &Plan, packed_cols: usize, dst: *mut T) {
    let pack = if plan.b == Access::CopiedColumns { isa.copy } else { isa.transpose };
    for chunk in 0..plan.chunks {
        let steps = part(p.k, plan.chunks, chunk);
        for first_col in (0..p.n).step_by(plan.panel) {
            // SAFETY: the caller's promise.
            unsafe {
                let strip = Strip {
                    src: p.b.ptr.offset(steps.start as isize * p.b.row_stride + first_col as isize * p.b.col_stride),
                    step_stride: p.b.row_stride,
                    stride: p.b.col_stride,
                    count: plan.panel.min(p.n - first_col),
                    depth: steps.len(),
                    width: plan.panel.min(packed_cols - first_col),
                };
                pack(&strip, dst.add(steps.start * packed_cols + first_col * steps.len()));
            }
        }
    }
}

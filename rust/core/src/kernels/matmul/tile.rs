//! The microkernel: a tile of C in registers, and the tables of its shapes.

use super::{Product, pack};
use crate::element::Float;
use crate::kernels::vector::{Plain, Vector, prefetch};
use crate::simd::Level;

/// Steps of the inner index that one turn of the loop takes.
const UNROLL: usize = 4;
/// Shorter inner products finish before a prefetched line of C would come.
const MIN_DEPTH_TO_PREFETCH: usize = 32;

/// One call of a microkernel: `rows` × `vectors` registers of C, over `depth` steps of the inner index.
pub(super) struct Tile<T> {
    pub depth: usize,
    pub a: *const T,
    /// Stride of A: to the next step if it is read by columns (rows are adjacent), to the next row if by rows
    /// (steps lie side by side).
    pub a_stride: usize,
    pub b: *const T,
    pub b_stride: usize,
    pub c: *mut T,
    pub ldc: usize,
    /// Lanes of the last register that are columns of C.
    pub last: usize,
    /// True if the sums are added to C's old values.
    pub accumulate: bool,
}

pub(super) type Kernel<T> = unsafe fn(&Tile<T>);
/// `[read by columns][the last register is partial][registers across, less 1][rows, less 1]`
pub(super) type Kernels<T> = [[[&'static [Kernel<T>]; 2]; 2]; 2];
/// See [`pack::copy`] and [`pack::transpose`].
pub(super) type Pack<T> = unsafe fn(&pack::Strip<T>, *mut T);

type Fits<T> = unsafe fn(&Product<T>) -> bool;

/// Kernels of an instruction set for one element type.
pub(super) struct Isa<T: 'static> {
    pub lanes: usize,
    /// The highest tile of 1 register across, and of 2; 0 if there is none of 2.
    pub max_rows: [usize; 2],
    pub kernels: Kernels<T>,
    /// Quicker kernels, and the test of whether a product fits them.
    pub quick: Option<(Fits<T>, Kernels<T>)>,
    pub copy: Pack<T>,
    pub transpose: Pack<T>,
}

/// Rows that share a pointer: 0, 1, 2 and 3 strides are within an x86 address, given registers of 1 and of 3 strides.
const GROUP: usize = 4;
const MAX_GROUPS: usize = 4;

/// A pointer whose origin the compiler forgets. It would compute every row's address from the first one's, and spill
/// sums to keep 14 addresses in 16 registers.
// The pointer goes through the block as a number; nothing reads what it points to.
#[allow(clippy::pointers_in_nomem_asm_block)]
#[inline(always)]
fn opaque<T>(ptr: *const T) -> *const T {
    #[cfg(target_arch = "x86_64")]
    let ptr = {
        let mut ptr = ptr;
        // SAFETY: no instruction; the register keeps its value.
        unsafe { std::arch::asm!("/* {} */", inout(reg) ptr, options(pure, nomem, nostack, preserves_flags)) };
        ptr
    };
    ptr
}

/// Pointers to rows 0, 4, 8 and 12 of A.
#[inline(always)]
fn groups<T, const ROWS: usize>(a: *const T, row_stride: usize) -> [*const T; MAX_GROUPS] {
    let mut groups = [a; MAX_GROUPS];
    for (g, group) in groups.iter_mut().enumerate().take(ROWS.div_ceil(GROUP)) {
        *group = opaque(a.wrapping_add(g * GROUP * row_stride));
    }
    groups
}

#[inline(always)]
fn advance<T, const ROWS: usize>(groups: &mut [*const T; MAX_GROUPS], by: usize) {
    for group in groups.iter_mut().take(ROWS.div_ceil(GROUP)) {
        *group = opaque(group.wrapping_add(by));
    }
}

/// One step of the inner index: every row's element of A times one row of B.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn step<V: Vector, const ROWS: usize, const ACROSS: usize, const TAIL: bool>(
    sums: &mut [[V; ACROSS]; ROWS],
    a: &[*const V::Elem; MAX_GROUPS],
    offset: usize,
    row_stride: usize,
    b: *const V::Elem,
    mask: V::Mask,
) {
    // SAFETY: the caller gives a step that exists; a partial last register is read through its mask.
    unsafe {
        let mut row = [V::zero(); ACROSS];
        for (v, x) in row.iter_mut().enumerate() {
            let src = b.add(v * V::LANES);
            *x = if TAIL && v == ACROSS - 1 { V::load_part(src, mask) } else { V::load(src) };
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            let x = V::splat(*a[r / GROUP].add(offset + r % GROUP * row_stride));
            for (sum, &y) in sums.iter_mut().zip(&row) {
                *sum = x.mul_add(y, *sum);
            }
        }
    }
}

/// Compute one tile.
///
/// # Safety
/// The machine has V's instruction set, and all rows, steps and columns of the tile exist.
#[inline(always)]
unsafe fn tile<V: Vector, const ROWS: usize, const ACROSS: usize, const COLUMNS: bool, const TAIL: bool>(
    t: &Tile<V::Elem>,
) {
    let (row_stride, step_stride) = if COLUMNS { (1, t.a_stride) } else { (t.a_stride, 1) };
    // SAFETY: the caller promises that the tile exists; steps go up to `depth`, rows to `ROWS`, columns to the mask.
    unsafe {
        let mask = V::first(t.last);
        let mut sums = [[V::zero(); ACROSS]; ROWS];
        if t.depth >= MIN_DEPTH_TO_PREFETCH {
            for r in 0..ROWS {
                for v in 0..ACROSS {
                    prefetch(t.c.wrapping_add(r * t.ldc + v * V::LANES));
                }
            }
        }
        let (mut a, mut b) = (groups::<V::Elem, ROWS>(t.a, row_stride), t.b);
        for _ in 0..t.depth / UNROLL {
            for u in 0..UNROLL {
                let b = b.add(u * t.b_stride);
                step::<V, ROWS, ACROSS, TAIL>(&mut sums, &a, u * step_stride, row_stride, b, mask);
            }
            advance::<V::Elem, ROWS>(&mut a, UNROLL * step_stride);
            b = b.wrapping_add(UNROLL * t.b_stride);
        }
        for _ in 0..t.depth % UNROLL {
            step::<V, ROWS, ACROSS, TAIL>(&mut sums, &a, 0, row_stride, b, mask);
            advance::<V::Elem, ROWS>(&mut a, step_stride);
            b = b.wrapping_add(t.b_stride);
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, &sum) in sums.iter().enumerate() {
                let dst = t.c.add(r * t.ldc + v * V::LANES);
                if TAIL && v == ACROSS - 1 {
                    let sum = if t.accumulate { V::load_part(dst, mask).add(sum) } else { sum };
                    sum.store_part(dst, mask);
                } else {
                    let sum = if t.accumulate { V::load(dst).add(sum) } else { sum };
                    sum.store(dst);
                }
            }
        }
    }
}

macro_rules! by_rows {
    ($kernel:ident, $v:ty, $across:literal, $columns:literal, $tail:literal, $($rows:literal)+) => {
        &[$($kernel::<$v, $rows, $across, $columns, $tail>),+]
    };
}
/// 6 × 2 sums, 2 registers of B and 1 of A: 15 of 16. A single register across needs more rows to hide the latency
/// of the multiply-add, 2 a cycle × 4 cycles.
macro_rules! table_16_registers {
    ($kernel:ident, $v:ty) => {
        [
            [table_16_registers!($kernel, $v, false, false), table_16_registers!($kernel, $v, false, true)],
            [table_16_registers!($kernel, $v, true, false), table_16_registers!($kernel, $v, true, true)],
        ]
    };
    ($kernel:ident, $v:ty, $columns:literal, $tail:literal) => {
        [
            by_rows!($kernel, $v, 1, $columns, $tail, 1 2 3 4 5 6 7 8 9 10 11 12),
            by_rows!($kernel, $v, 2, $columns, $tail, 1 2 3 4 5 6),
        ]
    };
}
const MAX_ROWS_16_REGISTERS: [usize; 2] = [12, 6];

pub(super) unsafe fn plain<V: Vector, const ROWS: usize, const ACROSS: usize, const COLUMNS: bool, const TAIL: bool>(
    t: &Tile<V::Elem>,
) {
    // SAFETY: needs no instruction set; the rest is the caller's promise.
    unsafe { tile::<V, ROWS, ACROSS, COLUMNS, TAIL>(t) }
}

/// 2 × 8 sums in doubles are 8 of 16 registers, beside 2 of A and 3 that work; see [`super::quick`].
#[cfg(target_arch = "x86_64")]
static PLAIN_F32: Isa<f32> = {
    use super::quick::{is_within, tile as quick};
    macro_rules! table {
        ($kernel:ident $(, $v:ty, $across:literal)?) => {
            [
                [[table!($kernel $(, $v, $across)?; false, false), &[]], [table!($kernel $(, $v, $across)?; false, true), &[]]],
                [[table!($kernel $(, $v, $across)?; true, false), &[]], [table!($kernel $(, $v, $across)?; true, true), &[]]],
            ]
        };
        ($kernel:ident; $columns:literal, $tail:literal) => {
            &[$kernel::<1, $columns, $tail> as Kernel<f32>, $kernel::<2, $columns, $tail>]
        };
        ($kernel:ident, $v:ty, $across:literal; $columns:literal, $tail:literal) => {
            by_rows!($kernel, $v, 1, $columns, $tail, 1 2)
        };
    }
    Isa {
        lanes: 8,
        max_rows: [2, 0],
        kernels: table!(plain, Plain<f32, 8>, 1),
        quick: Some((is_within, table!(quick))),
        copy: pack::copy::<Plain<f32, 8>>,
        transpose: pack::transpose::<f32>,
    }
};
#[cfg(not(target_arch = "x86_64"))]
static PLAIN_F32: Isa<f32> = Isa {
    lanes: 8,
    max_rows: MAX_ROWS_16_REGISTERS,
    kernels: table_16_registers!(plain, Plain<f32, 8>),
    quick: None,
    copy: pack::copy::<Plain<f32, 8>>,
    transpose: pack::transpose::<f32>,
};
static PLAIN_F64: Isa<f64> = Isa {
    lanes: 4,
    max_rows: MAX_ROWS_16_REGISTERS,
    kernels: table_16_registers!(plain, Plain<f64, 4>),
    quick: None,
    copy: pack::copy::<Plain<f64, 4>>,
    transpose: pack::transpose::<f64>,
};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};

    use super::super::transpose;
    use super::{Isa, MAX_ROWS_16_REGISTERS, Tile, Vector, pack, tile};

    #[target_feature(enable = "avx2,fma,bmi2")]
    unsafe fn avx2<V: Vector, const ROWS: usize, const ACROSS: usize, const COLUMNS: bool, const TAIL: bool>(
        t: &Tile<V::Elem>,
    ) {
        // SAFETY: compiled for the instruction set; the rest is the caller's promise.
        unsafe { tile::<V, ROWS, ACROSS, COLUMNS, TAIL>(t) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
    unsafe fn avx512<V: Vector, const ROWS: usize, const ACROSS: usize, const COLUMNS: bool, const TAIL: bool>(
        t: &Tile<V::Elem>,
    ) {
        // SAFETY: compiled for the instruction set; the rest is the caller's promise.
        unsafe { tile::<V, ROWS, ACROSS, COLUMNS, TAIL>(t) }
    }

    pub(super) static AVX2_F32: Isa<f32> = Isa {
        lanes: 8,
        max_rows: MAX_ROWS_16_REGISTERS,
        kernels: table_16_registers!(avx2, __m256),
        quick: None,
        copy: pack::copy_avx2::<__m256>,
        transpose: transpose::f32_avx2,
    };
    pub(super) static AVX2_F64: Isa<f64> = Isa {
        lanes: 4,
        max_rows: MAX_ROWS_16_REGISTERS,
        kernels: table_16_registers!(avx2, __m256d),
        quick: None,
        copy: pack::copy_avx2::<__m256d>,
        transpose: transpose::f64_avx2,
    };

    /// 14 × 2 sums, 2 registers of B and 1 of A: 31 of 32. The more rows, the less often B is read, which comes from
    /// L2: 128 bytes every 14 cycles. A masked load costs no more than a whole one, so that all tiles take it.
    macro_rules! table_32_registers {
        ($v:ty) => {
            [[table_32_registers!($v, false); 2], [table_32_registers!($v, true); 2]]
        };
        ($v:ty, $columns:literal) => {
            [
                by_rows!(avx512, $v, 1, $columns, true, 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16),
                by_rows!(avx512, $v, 2, $columns, true, 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
            ]
        };
    }
    const MAX_ROWS_32_REGISTERS: [usize; 2] = [16, 14];

    pub(super) static AVX512_F32: Isa<f32> = Isa {
        lanes: 16,
        max_rows: MAX_ROWS_32_REGISTERS,
        kernels: table_32_registers!(__m512),
        quick: None,
        copy: pack::copy_avx512::<__m512>,
        transpose: transpose::f32_avx2,
    };
    pub(super) static AVX512_F64: Isa<f64> = Isa {
        lanes: 8,
        max_rows: MAX_ROWS_32_REGISTERS,
        kernels: table_32_registers!(__m512d),
        quick: None,
        copy: pack::copy_avx512::<__m512d>,
        transpose: transpose::f64_avx2,
    };
}

/// The table of the level in force.
pub(super) trait Tables: Float {
    fn isa(level: Level) -> &'static Isa<Self>;
}

macro_rules! impl_tables {
    ($t:ident, $plain:ident, $avx2:ident, $avx512:ident) => {
        impl Tables for $t {
            #[inline]
            fn isa(level: Level) -> &'static Isa<Self> {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => &x86::$avx512,
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => &x86::$avx2,
                    _ => &$plain,
                }
            }
        }
    };
}
impl_tables!(f32, PLAIN_F32, AVX2_F32, AVX512_F32);
impl_tables!(f64, PLAIN_F64, AVX2_F64, AVX512_F64);

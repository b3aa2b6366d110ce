//! Products of f32 without the fused multiply-add of AVX2, by SSE2, in doubles.
//!
//! The sums stay in registers as doubles that f32 has. A step multiplies exactly, adds, and rounds to 24 bits by an
//! addition to the bits, 6 instructions for 2 lanes. That is the fused multiply-add unless
//!
//! - the sum was rounded by the addition to a number halfway between two of f32: seldom, noticed by the tile, which is
//!   then computed once more by the careful kernel;
//! - a sum leaves the numbers of f32 above or below: excluded beforehand from the magnitudes of A and B.

#[allow(clippy::wildcard_imports)]
use std::arch::x86_64::*;

use super::Product;
use super::tile::{Tile, plain};
use crate::kernels::vector::Plain;

/// The bits of an f64 that f32 has not: 29; half of what these stand for, and a bit less.
const BELOW: i64 = (1 << 29) - 1;
const HALF: i64 = 1 << 28;

/// Registers of doubles that a register of C, 8 columns, takes.
const PARTS: usize = 4;

/// The magnitudes of some numbers of f32.
#[derive(Clone, Copy)]
struct Magnitudes {
    /// Bits of the largest.
    most: u32,
    /// Bits of the smallest but 0, less 1.
    least: u32,
}

impl Magnitudes {
    /// Of `rows` × `cols` numbers.
    ///
    /// # Safety
    /// They exist.
    unsafe fn of(ptr: *const f32, strides: (isize, isize), (rows, cols): (usize, usize)) -> Self {
        // Lines that lie side by side are read as slices.
        let ((line, step), (lines, len)) = if strides.1 == 1 || strides.0 != 1 {
            (strides, (rows, cols))
        } else {
            ((strides.1, strides.0), (cols, rows))
        };
        let mut found = Self { most: 0, least: u32::MAX };
        for i in 0..lines {
            // SAFETY: the caller's promise.
            unsafe {
                let start = ptr.offset(i as isize * line);
                if step == 1 {
                    found = found.join(Self::of_slice(std::slice::from_raw_parts(start, len)));
                } else {
                    for j in 0..len {
                        found = found.join(Self::of_slice(std::slice::from_ref(&*start.offset(j as isize * step))));
                    }
                }
            }
        }
        found
    }

    /// As integers, which are ordered like the magnitudes; 0 wraps around to the largest.
    #[inline]
    fn of_slice(x: &[f32]) -> Self {
        // Signed, since SSE2 compares nothing else: shifted by half of the range.
        const SHIFT: i32 = i32::MIN;
        let (mut most, mut least) = (0_i32, i32::MAX);
        for x in x {
            let bits = (x.to_bits() & 0x7FFF_FFFF) as i32;
            most = most.max(bits);
            least = least.min(bits.wrapping_sub(1) ^ SHIFT);
        }
        Self { most: most as u32, least: (least ^ SHIFT) as u32 }
    }

    fn join(self, other: Self) -> Self {
        Self { most: self.most.max(other.most), least: self.least.min(other.least) }
    }

    /// The exponent of the last place of the smallest number but 0; none if all are 0.
    fn last_place(self) -> Option<i32> {
        (self.least < self.most).then(|| ((self.least + 1) >> 23) as i32 - 127 - 23)
    }

    /// The largest, and whether none is subnormal, infinite, or NaN.
    fn largest(self) -> (f64, bool) {
        let normal = self.least >= f32::MIN_POSITIVE.to_bits() - 1;
        (f64::from(f32::from_bits(self.most)), normal && self.most < f32::INFINITY.to_bits())
    }
}

/// True if no sum of A · B can be above or below the normal numbers of f32, other than 0.
///
/// # Safety
/// All elements of A and B exist.
pub(super) unsafe fn is_within(p: &Product<f32>) -> bool {
    // SAFETY: the caller's promise.
    let (a, b) = unsafe {
        (
            Magnitudes::of(p.a.ptr, (p.a.row_stride, p.a.col_stride), (p.m, p.k)),
            Magnitudes::of(p.b.ptr, (p.b.row_stride, p.b.col_stride), (p.k, p.n)),
        )
    };
    let ((most_a, normal_a), (most_b, normal_b)) = (a.largest(), b.largest());
    // All sums are multiples of the last places' product.
    let fine = a.last_place().zip(b.last_place()).is_none_or(|(a, b)| a + b >= -126);
    normal_a && normal_b && fine && most_a * most_b * p.k as f64 <= 1e38
}

/// Two doubles.
#[inline(always)]
unsafe fn load<const TAIL: bool>(src: *const f32, part: usize, last: usize) -> __m128d {
    // SAFETY: the caller gives the lanes of C's columns, `last` of them if this is a partial register.
    unsafe {
        let at = 2 * part;
        if !TAIL || at + 2 <= last {
            _mm_cvtps_pd(_mm_castpd_ps(_mm_load_sd(src.add(at).cast())))
        } else if at < last {
            _mm_cvtps_pd(_mm_load_ss(src.add(at)))
        } else {
            _mm_setzero_pd()
        }
    }
}

/// One tile, ROWS × 8. Products must be [within](is_within) f32.
///
/// # Safety
/// All rows, steps and columns of the tile exist.
pub(super) unsafe fn tile<const ROWS: usize, const COLUMNS: bool, const TAIL: bool>(t: &Tile<f32>) {
    let (row_stride, step_stride) = if COLUMNS { (1, t.a_stride) } else { (t.a_stride, 1) };
    // SAFETY: the caller promises that the tile exists; SSE2.
    unsafe {
        let (below, half) = (_mm_set1_epi64x(!BELOW), _mm_set1_epi64x(HALF));
        let mut sums = [[_mm_setzero_pd(); PARTS]; ROWS];
        // Bits of each 32 where a sum was halfway; the upper ones mean nothing.
        let mut halfway = _mm_setzero_si128();
        let (mut a, mut b) = (t.a, t.b);
        for _ in 0..t.depth {
            let rows: [__m128d; ROWS] = std::array::from_fn(|r| _mm_set1_pd(f64::from(*a.add(r * row_stride))));
            for part in 0..PARTS {
                let column = load::<TAIL>(b, part, t.last);
                for (sums, &x) in sums.iter_mut().zip(&rows) {
                    let sum = _mm_castpd_si128(_mm_add_pd(_mm_mul_pd(column, x), sums[part]));
                    let shifted = _mm_add_epi64(sum, half);
                    let rounded = _mm_and_si128(shifted, below);
                    halfway = _mm_or_si128(halfway, _mm_cmpeq_epi32(shifted, rounded));
                    sums[part] = _mm_castsi128_pd(rounded);
                }
            }
            a = a.wrapping_add(step_stride);
            b = b.wrapping_add(t.b_stride);
        }
        if _mm_movemask_epi8(halfway) & 0x0F0F != 0 {
            return plain::<Plain<f32, 8>, ROWS, 1, COLUMNS, TAIL>(t);
        }
        for (r, sums) in sums.iter().enumerate() {
            let mut lanes = [0.0_f32; 2 * PARTS];
            for (part, &sum) in sums.iter().enumerate() {
                // Exact: they have f32's digits.
                _mm_storel_epi64(lanes.as_mut_ptr().add(2 * part).cast(), _mm_castps_si128(_mm_cvtpd_ps(sum)));
            }
            let c = std::slice::from_raw_parts_mut(t.c.add(r * t.ldc), if TAIL { t.last } else { 2 * PARTS });
            for (c, &sum) in c.iter_mut().zip(&lanes) {
                *c = if t.accumulate { *c + sum } else { sum };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MatRef, matmul};
    use super::*;
    use crate::kernels::testing::on_all_levels;
    use crate::rng::Draw;
    use crate::simd::Flush;

    const SIZE: (usize, usize, usize) = (5, 19, 61);

    type Kind = (&'static str, fn(u32) -> f32, bool);
    /// Names, numbers of random words, and whether their products stay within the normal numbers.
    const KINDS: [Kind; 9] = [
        ("uniform", |w| w as f32 / 2_147_483_648.0 - 1.0, true),
        // Values whose sums are often exactly halfway between two floats.
        ("few digits", |w| (w % 8192) as f32 / 4096.0 + if w % 3 == 0 { 1.0 / 8_388_608.0 } else { 0.0 }, true),
        ("one or zero", |w| f32::from(u8::from(w.is_multiple_of(2))), true),
        ("all zero", |_| 0.0, true),
        ("small", |w| f32::from_bits(w & 0x8003_FFFF | 0x2000_0000), false),
        ("subnormal", |w| f32::from_bits(w & 0x8003_FFFF), false),
        ("large", |w| f32::from_bits(w & 0x803F_FFFF | 0x7E80_0000), false),
        ("infinite", |w| if w % 50 == 0 { f32::INFINITY } else { 1.0 }, false),
        ("any bits", f32::from_bits, false),
    ];

    fn numbers(len: usize, stream: u32, kind: Kind) -> Vec<f32> {
        let draw = Draw { seed: 3, stream, call: 0 };
        (0..len as u64).map(|i| kind.1(draw.block(i)[0])).collect()
    }

    fn product(a: &[f32], b: &[f32]) -> Vec<u32> {
        let (m, n, k) = SIZE;
        let mut c = vec![0.25; m * n];
        matmul(SIZE, a, (k, 1), b, (n, 1), &mut c, n, true);
        c.iter().map(|c| if c.is_nan() { u32::MAX } else { c.to_bits() }).collect()
    }

    #[test]
    fn awkward_numbers_have_the_bits_of_the_instruction() {
        let (m, n, k) = SIZE;
        for of_a in KINDS {
            for of_b in KINDS {
                let (a, b) = (numbers(m * k, 1, of_a), numbers(k * n, 2, of_b));
                let expected: Vec<u32> = (0..m * n)
                    .map(|i| {
                        let sum = (0..k).fold(0.0_f32, |sum, p| a[i / n * k + p].mul_add(b[p * n + i % n], sum));
                        if (0.25 + sum).is_nan() { u32::MAX } else { (0.25 + sum).to_bits() }
                    })
                    .collect();
                assert!(on_all_levels(|| product(&a, &b)) == expected, "{} · {}", of_a.0, of_b.0);
                on_all_levels(|| {
                    let _flush = Flush::begin();
                    product(&a, &b)
                });
            }
        }
    }

    #[test]
    fn what_leaves_the_normal_numbers_is_seen() {
        let (m, n, k) = SIZE;
        let fits = |a: &[f32], b: &[f32], turned: bool| {
            let at = |ptr: *const f32, rows: usize, cols: usize| {
                let (row_stride, col_stride) = if turned { (1, rows as isize) } else { (cols as isize, 1) };
                MatRef { ptr, row_stride, col_stride }
            };
            let (a, b) = (at(a.as_ptr(), m, k), at(b.as_ptr(), k, n));
            let p = Product { m, n, k, a, b, c: std::ptr::null_mut(), ldc: n, accumulate: false, one_block: false };
            // SAFETY: A and B are as long as their sizes.
            unsafe { is_within(&p) }
        };
        let one = |kind: Kind| (numbers(m * k, 1, kind), numbers(k * n, 2, kind));
        for kind in KINDS {
            let ((a, b), ones) = (one(kind), (vec![1.0; m * k], vec![1.0; k * n]));
            for turned in [false, true] {
                assert_eq!(fits(&a, &b, turned), kind.2, "{}", kind.0);
                // With ones, small numbers make no smaller sums.
                let fit = kind.2 || kind.0 == "small";
                assert_eq!([fits(&a, &ones.1, turned), fits(&ones.0, &b, turned)], [fit; 2], "{}", kind.0);
            }
        }
    }
}

//! Transposition in registers, to pack a strip whose steps lie side by side.

#[allow(clippy::wildcard_imports)]
use std::arch::x86_64::*;
use std::ops::Range;

use super::pack::{Strip, transpose_from};

/// Steps of f32 in a cache line, if it is aligned; of f64, 2 lines.
const LINE_STEPS: usize = 16;

/// All pairs of a first row, every `rows`th, and of some steps, rows first.
fn lines(count: usize, depth: usize, rows: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    (0..depth)
        .step_by(LINE_STEPS)
        .flat_map(move |p| (0..count).step_by(rows).map(move |first| (first, p..depth.min(p + LINE_STEPS))))
}

/// Pack a strip whose `step_stride` is 1 (any other goes the slow way).
///
/// # Safety
/// The strip exists, `dst` has room for `depth * width` elements, `width` is a multiple of a register, and the machine has AVX2.
#[target_feature(enable = "avx2,fma,bmi2")]
pub(super) unsafe fn f32_avx2(s: &Strip<f32>, dst: *mut f32) {
    const N: usize = 8;
    let depth = if s.step_stride == 1 { s.depth / N * N } else { 0 };
    // SAFETY: rows past `count` read the last row instead, and are stored below `width`.
    unsafe {
        // A line of every row, then the next: the packed steps that they make stay in L1 until they are whole.
        for (first, line) in lines(s.count, depth, N) {
            let rows: [*const f32; N] =
                std::array::from_fn(|i| s.src.offset((first + i).min(s.count - 1) as isize * s.stride));
            for p in line.step_by(N) {
                // Rows i and i + 4 share a register, in 2 halves; the lower half holds steps 0..4 or 4..8.
                let half = |i: usize, q: usize| {
                    let low = _mm_loadu_ps(rows[i].add(p + q));
                    let high = _mm_loadu_ps(rows[i + 4].add(p + q));
                    _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high)
                };
                for q in [0, 4] {
                    let (r0, r1, r2, r3) = (half(0, q), half(1, q), half(2, q), half(3, q));
                    let low01 = _mm256_unpacklo_ps(r0, r1);
                    let high01 = _mm256_unpackhi_ps(r0, r1);
                    let low23 = _mm256_unpacklo_ps(r2, r3);
                    let high23 = _mm256_unpackhi_ps(r2, r3);
                    let dst = dst.add((p + q) * s.width + first);
                    _mm256_storeu_ps(dst, _mm256_shuffle_ps::<0x44>(low01, low23));
                    _mm256_storeu_ps(dst.add(s.width), _mm256_shuffle_ps::<0xee>(low01, low23));
                    _mm256_storeu_ps(dst.add(2 * s.width), _mm256_shuffle_ps::<0x44>(high01, high23));
                    _mm256_storeu_ps(dst.add(3 * s.width), _mm256_shuffle_ps::<0xee>(high01, high23));
                }
            }
        }
        transpose_from(s, dst, depth);
    }
}

/// [`f32_avx2`] for f64, in blocks of 4.
///
/// # Safety
/// As for [`f32_avx2`].
#[target_feature(enable = "avx2,fma,bmi2")]
pub(super) unsafe fn f64_avx2(s: &Strip<f64>, dst: *mut f64) {
    const N: usize = 4;
    let depth = if s.step_stride == 1 { s.depth / N * N } else { 0 };
    // SAFETY: rows past `count` read the last row instead, and are stored below `width`.
    unsafe {
        // A line of every row, then the next: the packed steps that they make stay in L1 until they are whole.
        for (first, line) in lines(s.count, depth, N) {
            let rows: [*const f64; N] =
                std::array::from_fn(|i| s.src.offset((first + i).min(s.count - 1) as isize * s.stride));
            for p in line.step_by(N) {
                let half = |i: usize, q: usize| {
                    let low = _mm_loadu_pd(rows[i].add(p + q));
                    let high = _mm_loadu_pd(rows[i + 2].add(p + q));
                    _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(low), high)
                };
                for q in [0, 2] {
                    let (r0, r1) = (half(0, q), half(1, q));
                    let dst = dst.add((p + q) * s.width + first);
                    _mm256_storeu_pd(dst, _mm256_unpacklo_pd(r0, r1));
                    _mm256_storeu_pd(dst.add(s.width), _mm256_unpackhi_pd(r0, r1));
                }
            }
        }
        transpose_from(s, dst, depth);
    }
}

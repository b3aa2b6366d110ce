//! Fused multiply-adds of several lanes by SSE2, which every x86-64 has.

#[allow(clippy::wildcard_imports)]
use std::arch::x86_64::*;

use super::{MOST, f64_by_pairs, is_within, pairs};

/// The bits of an f64 that f32 has not: 29.
const BELOW: i64 = (1 << 29) - 1;
/// These, of a number halfway between two of f32.
const HALFWAY: i64 = 1 << 28;

/// Lanes 2 i and 2 i + 1 of four.
#[inline(always)]
unsafe fn wide<const HIGH: bool>(x: __m128) -> __m128d {
    // SAFETY: SSE2.
    unsafe { _mm_cvtps_pd(if HIGH { _mm_movehl_ps(x, x) } else { x }) }
}

/// The sum of an exact product and an addend, rounded to odd.
#[inline(always)]
unsafe fn odd_sum(product: __m128d, c: __m128d) -> __m128d {
    // SAFETY: SSE2.
    unsafe {
        let s = _mm_add_pd(product, c);
        let other = _mm_sub_pd(s, product);
        let e = _mm_add_pd(_mm_sub_pd(product, _mm_sub_pd(s, other)), _mm_sub_pd(c, other));
        let side = _mm_mul_pd(s, e);
        let zero = _mm_setzero_pd();
        let beyond = _mm_castpd_si128(_mm_cmplt_pd(side, zero));
        let short = _mm_castpd_si128(_mm_cmpgt_pd(side, zero));
        let inexact = _mm_srli_epi64::<63>(_mm_or_si128(beyond, short));
        // The mask is −1.
        _mm_castsi128_pd(_mm_or_si128(_mm_add_epi64(_mm_castpd_si128(s), beyond), inexact))
    }
}

/// The lanes of a sum that would round otherwise if it had not been rounded before, perhaps: those halfway.
#[inline(always)]
unsafe fn doubtful(s: __m128d) -> __m128i {
    // SAFETY: SSE2. The upper words, 0 and 1, are never equal.
    unsafe {
        let below = _mm_and_si128(_mm_castpd_si128(s), _mm_set1_epi64x(BELOW));
        _mm_cmpeq_epi32(below, _mm_set1_epi64x(HALFWAY | 1 << 32))
    }
}

/// `x·a + b` of each lane, rounded once. N is a multiple of 4.
#[inline(always)]
#[must_use]
pub fn f32_lanes<const N: usize>(x: [f32; N], a: [f32; N], b: [f32; N]) -> [f32; N] {
    const { assert!(N.is_multiple_of(4)) };
    let mut out = [0.0; N];
    // SAFETY: SSE2; four lanes are within the arrays.
    unsafe {
        let mut doubt = _mm_setzero_si128();
        for i in (0..N).step_by(4) {
            let load = |x: &[f32; N]| _mm_loadu_ps(x.as_ptr().add(i));
            let (x, a, b) = (load(&x), load(&a), load(&b));
            let low = _mm_add_pd(_mm_mul_pd(wide::<false>(x), wide::<false>(a)), wide::<false>(b));
            let high = _mm_add_pd(_mm_mul_pd(wide::<true>(x), wide::<true>(a)), wide::<true>(b));
            doubt = _mm_or_si128(doubt, _mm_or_si128(doubtful(low), doubtful(high)));
            _mm_storeu_ps(out.as_mut_ptr().add(i), _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high)));
        }
        if _mm_movemask_epi8(doubt) != 0 {
            return f32_lanes_to_odd(&x, &a, &b);
        }
    }
    out
}

/// The same, whatever the sums.
#[inline(never)]
fn f32_lanes_to_odd<const N: usize>(x: &[f32; N], a: &[f32; N], b: &[f32; N]) -> [f32; N] {
    let mut out = [0.0; N];
    // SAFETY: SSE2; four lanes are within the arrays.
    unsafe {
        for i in (0..N).step_by(4) {
            let load = |x: &[f32; N]| _mm_loadu_ps(x.as_ptr().add(i));
            let (x, a, b) = (load(x), load(a), load(b));
            let low = odd_sum(_mm_mul_pd(wide::<false>(x), wide::<false>(a)), wide::<false>(b));
            let high = odd_sum(_mm_mul_pd(wide::<true>(x), wide::<true>(a)), wide::<true>(b));
            _mm_storeu_ps(out.as_mut_ptr().add(i), _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high)));
        }
    }
    out
}

/// `x·a + b` of each lane, rounded once.
#[inline(always)]
#[must_use]
pub fn f64_lanes<const N: usize>(x: [f64; N], a: [f64; N], b: [f64; N]) -> [f64; N] {
    let mut within = true;
    for i in 0..N {
        within &= is_within(x[i], MOST) & is_within(a[i], MOST) & is_within(b[i], 2 * MOST);
    }
    if within {
        std::array::from_fn(|i| pairs(x[i], a[i], b[i]))
    } else {
        std::array::from_fn(|i| f64_by_pairs(x[i], a[i], b[i]))
    }
}

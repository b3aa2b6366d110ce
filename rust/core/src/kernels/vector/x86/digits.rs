//! Parts of the bits of f32 in registers.

#[allow(clippy::wildcard_imports)]
use std::arch::x86_64::*;

#[inline(always)]
pub unsafe fn mantissa_256(x: __m256) -> __m256 {
    // SAFETY: what the trait asks of the caller.
    unsafe {
        let bits = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x007F_FFFF));
        _mm256_or_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(1.0))
    }
}

#[inline(always)]
pub unsafe fn mantissa_512(x: __m512) -> __m512 {
    // SAFETY: what the trait asks of the caller.
    unsafe {
        let bits = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x007F_FFFF));
        _mm512_castsi512_ps(_mm512_or_si512(bits, _mm512_castps_si512(_mm512_set1_ps(1.0))))
    }
}

#[inline(always)]
pub unsafe fn look_up_256<const FIRST: u32>(x: __m256, table: &[f32; 16]) -> __m256 {
    // SAFETY: what the trait asks of the caller; a table is as long as two registers.
    unsafe {
        // A permutation takes the three lower bits, a choice the sign, to where the fourth is moved.
        let bits = _mm256_castps_si256(x);
        let low = _mm256_srl_epi32(bits, _mm_cvtsi32_si128(FIRST as i32));
        let fourth = _mm256_castsi256_ps(_mm256_sll_epi32(bits, _mm_cvtsi32_si128(28 - FIRST as i32)));
        let half = |i: usize| _mm256_permutevar8x32_ps(_mm256_loadu_ps(table.as_ptr().add(i)), low);
        _mm256_blendv_ps(half(0), half(8), fourth)
    }
}

#[inline(always)]
pub unsafe fn look_up_512<const FIRST: u32>(x: __m512, table: &[f32; 16]) -> __m512 {
    // SAFETY: what the trait asks of the caller; a table is as long as a register.
    unsafe {
        let index = _mm512_srli_epi32::<FIRST>(_mm512_castps_si512(x));
        _mm512_permutexvar_ps(index, _mm512_loadu_ps(table.as_ptr()))
    }
}

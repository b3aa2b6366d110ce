//! The registers of AVX2 and AVX-512.

mod digits;

#[allow(clippy::wildcard_imports)]
use std::arch::x86_64::*;

use super::Vector;
use digits::{look_up_256, look_up_512, mantissa_256, mantissa_512};

/// The even and the odd lanes of two registers, by number.
const fn even_odd<const N: usize>() -> [[u64; N]; 2] {
    let (mut lanes, mut i) = ([[0; N]; 2], 0);
    while i < N {
        (lanes[0][i], lanes[1][i]) = (2 * i as u64, 2 * i as u64 + 1);
        i += 1;
    }
    lanes
}

/// The lanes of two registers in turn, by number.
const fn low_high<const N: usize>() -> [[u64; N]; 2] {
    let (mut lanes, mut i) = ([[0; N]; 2], 0);
    while i < 2 * N {
        lanes[i / N][i % N] = (i / 2 + i % 2 * N) as u64;
        i += 1;
    }
    lanes
}

const fn narrow(lanes: [[u64; 16]; 2]) -> [[u32; 16]; 2] {
    let (mut out, mut i) = ([[0; 16]; 2], 0);
    while i < 32 {
        out[i / 16][i % 16] = lanes[i / 16][i % 16] as u32;
        i += 1;
    }
    out
}

static EVEN_ODD_32: [[u32; 16]; 2] = narrow(even_odd());
static EVEN_ODD_64: [[u64; 8]; 2] = even_odd();
static LOW_HIGH_32: [[u32; 16]; 2] = narrow(low_high());
static LOW_HIGH_64: [[u64; 8]; 2] = low_high();

/// Swaps the middle quarters of a register.
const MIDDLE: i32 = 0b11_01_10_00;

#[inline(always)]
unsafe fn deinterleave_ps(a: __m256, b: __m256) -> (__m256, __m256) {
    // SAFETY: what the trait asks of the caller.
    unsafe {
        let order = |x: __m256| _mm256_castpd_ps(_mm256_permute4x64_pd::<MIDDLE>(_mm256_castps_pd(x)));
        let even = order(_mm256_shuffle_ps::<0b10_00_10_00>(a, b));
        (even, order(_mm256_shuffle_ps::<0b11_01_11_01>(a, b)))
    }
}

#[inline(always)]
unsafe fn interleave_ps(a: __m256, b: __m256) -> (__m256, __m256) {
    // SAFETY: what the trait asks of the caller.
    unsafe {
        let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        (_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high))
    }
}

#[inline(always)]
unsafe fn deinterleave_pd(a: __m256d, b: __m256d) -> (__m256d, __m256d) {
    // SAFETY: what the trait asks of the caller.
    unsafe {
        let even = _mm256_permute4x64_pd::<MIDDLE>(_mm256_unpacklo_pd(a, b));
        (even, _mm256_permute4x64_pd::<MIDDLE>(_mm256_unpackhi_pd(a, b)))
    }
}

#[inline(always)]
unsafe fn interleave_pd(a: __m256d, b: __m256d) -> (__m256d, __m256d) {
    // SAFETY: what the trait asks of the caller.
    unsafe {
        let (low, high) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
        (_mm256_permute2f128_pd::<0x20>(low, high), _mm256_permute2f128_pd::<0x31>(low, high))
    }
}

/// The four elements of lane i.
#[inline(always)]
unsafe fn four(src: *const f32, index: *const u32, i: usize) -> __m128 {
    // SAFETY: what `Vector::fours` asks of the caller. Volatile, lest numbers that come from a register be taken out of it
    // one by one.
    unsafe { _mm_loadu_ps(src.add(index.add(i).read_volatile() as usize)) }
}

#[inline(always)]
unsafe fn fours_256(src: *const f32, index: *const u32) -> [__m256; 4] {
    // SAFETY: what `Vector::fours` asks of the caller.
    unsafe {
        // The fours of lanes i and i + 4: turning squares of four in both halves puts all lanes in order.
        let row = |i: usize| _mm256_set_m128(four(src, index, i + 4), four(src, index, i));
        let (a, b, c, d) = (row(0), row(1), row(2), row(3));
        let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        let (other_low, other_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        [
            _mm256_shuffle_ps::<0b01_00_01_00>(low, other_low),
            _mm256_shuffle_ps::<0b11_10_11_10>(low, other_low),
            _mm256_shuffle_ps::<0b01_00_01_00>(high, other_high),
            _mm256_shuffle_ps::<0b11_10_11_10>(high, other_high),
        ]
    }
}

#[inline(always)]
unsafe fn fours_512(src: *const f32, index: *const u32) -> [__m512; 4] {
    // SAFETY: what `Vector::fours` asks of the caller.
    unsafe {
        // As above, with the fours of lanes i, i + 4, i + 8 and i + 12.
        let pair = |i: usize| _mm256_castps_pd(_mm256_set_m128(four(src, index, i + 4), four(src, index, i)));
        let row = |i: usize| _mm512_castpd_ps(_mm512_insertf64x4::<1>(_mm512_castpd256_pd512(pair(i)), pair(i + 8)));
        let (a, b, c, d) = (row(0), row(1), row(2), row(3));
        let (low, high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        let (other_low, other_high) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
        [
            _mm512_shuffle_ps::<0b01_00_01_00>(low, other_low),
            _mm512_shuffle_ps::<0b11_10_11_10>(low, other_low),
            _mm512_shuffle_ps::<0b01_00_01_00>(high, other_high),
            _mm512_shuffle_ps::<0b11_10_11_10>(high, other_high),
        ]
    }
}

macro_rules! impl_avx512 {
    ($v:ident, $t:ident, $mask:ident, $lanes:literal, $zero:ident, $splat:ident, $load:ident, $load_part:ident,
     $store:ident, $store_part:ident, $fma:ident, $mul:ident, $add:ident, $sub:ident, $cmp:ident, $blend:ident,
     $permute:ident, $even:ident, $low:ident $(, $fours:ident, $mantissa:ident, $look_up:ident)?) => {
        impl Vector for $v {
            type Elem = $t;
            type Mask = $mask;
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn first(n: usize) -> $mask {
                ((1_u32 << n) - 1) as $mask
            }
            #[inline(always)]
            unsafe fn between(start: usize, end: usize) -> Self::Mask {
                (((1_u32 << end) - 1) & !((1_u32 << start.min(31)) - 1)) as $mask
            }
            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: here and below, what the trait asks of the caller.
                unsafe { $zero() }
            }
            #[inline(always)]
            unsafe fn splat(x: $t) -> Self {
                // SAFETY: see `zero`.
                unsafe { $splat(x) }
            }
            #[inline(always)]
            unsafe fn load(src: *const $t) -> Self {
                // SAFETY: see `zero`.
                unsafe { $load(src) }
            }
            #[inline(always)]
            unsafe fn load_part(src: *const $t, mask: $mask) -> Self {
                // SAFETY: see `zero`; masked lanes do not fault.
                unsafe { $load_part(mask, src) }
            }
            #[inline(always)]
            unsafe fn store(self, dst: *mut $t) {
                // SAFETY: see `zero`.
                unsafe { $store(dst, self) }
            }
            #[inline(always)]
            unsafe fn store_part(self, dst: *mut $t, mask: $mask) {
                // SAFETY: see `zero`; masked lanes are not written.
                unsafe { $store_part(dst, mask, self) }
            }
            #[inline(always)]
            unsafe fn mul_add(self, a: Self, b: Self) -> Self {
                // SAFETY: see `zero`.
                unsafe { $fma(self, a, b) }
            }
            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                // SAFETY: see `zero`.
                unsafe { $mul(self, other) }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: see `zero`.
                unsafe { $add(self, other) }
            }
            #[inline(always)]
            unsafe fn sub(self, other: Self) -> Self {
                // SAFETY: see `zero`.
                unsafe { $sub(self, other) }
            }
            #[inline(always)]
            unsafe fn challenge(self, place: Self, v: Self, at: Self) -> (Self, Self) {
                // SAFETY: see `zero`.
                unsafe {
                    let wins = $cmp::<_CMP_GT_OQ>(v, self) | $cmp::<_CMP_UNORD_Q>(v, v);
                    ($blend(wins, self, v), $blend(wins, place, at))
                }
            }
            #[inline(always)]
            unsafe fn deinterleave(self, other: Self) -> (Self, Self) {
                // SAFETY: see `zero`; a table is as long as a register.
                unsafe {
                    let lanes = |i: usize| _mm512_loadu_si512($even[i].as_ptr().cast());
                    ($permute(self, lanes(0), other), $permute(self, lanes(1), other))
                }
            }
            #[inline(always)]
            unsafe fn interleave(self, other: Self) -> (Self, Self) {
                // SAFETY: see `deinterleave`.
                unsafe {
                    let lanes = |i: usize| _mm512_loadu_si512($low[i].as_ptr().cast());
                    ($permute(self, lanes(0), other), $permute(self, lanes(1), other))
                }
            }
            $(
                #[inline(always)]
                unsafe fn fours(src: *const $t, index: *const u32) -> [Self; 4] {
                    // SAFETY: see `zero`.
                    unsafe { $fours(src, index) }
                }
                #[inline(always)]
                unsafe fn mantissa(self) -> Self {
                    // SAFETY: see `zero`.
                    unsafe { $mantissa(self) }
                }
                #[inline(always)]
                unsafe fn look_up<const FIRST: u32>(self, table: &[$t; 16]) -> Self {
                    // SAFETY: see `zero`.
                    unsafe { $look_up::<FIRST>(self, table) }
                }
            )?
        }
    };
}
impl_avx512!(
    __m512,
    f32,
    __mmask16,
    16,
    _mm512_setzero_ps,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_maskz_loadu_ps,
    _mm512_storeu_ps,
    _mm512_mask_storeu_ps,
    _mm512_fmadd_ps,
    _mm512_mul_ps,
    _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_cmp_ps_mask,
    _mm512_mask_blend_ps,
    _mm512_permutex2var_ps,
    EVEN_ODD_32,
    LOW_HIGH_32,
    fours_512,
    mantissa_512,
    look_up_512
);
impl_avx512!(
    __m512d,
    f64,
    __mmask8,
    8,
    _mm512_setzero_pd,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_maskz_loadu_pd,
    _mm512_storeu_pd,
    _mm512_mask_storeu_pd,
    _mm512_fmadd_pd,
    _mm512_mul_pd,
    _mm512_add_pd,
    _mm512_sub_pd,
    _mm512_cmp_pd_mask,
    _mm512_mask_blend_pd,
    _mm512_permutex2var_pd,
    EVEN_ODD_64,
    LOW_HIGH_64
);

/// Eight ones and eight zeros: a window that starts `n` before the zeros masks the first `n` lanes.
static WINDOW_32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
static WINDOW_64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

macro_rules! impl_avx2 {
    ($v:ident, $t:ident, $lanes:literal, $window:ident, $zero:ident, $splat:ident, $load:ident, $load_part:ident,
     $store:ident, $store_part:ident, $fma:ident, $mul:ident, $add:ident, $sub:ident, $cmp:ident, $or:ident, $blend:ident,
     $deinterleave:ident, $interleave:ident $(, $fours:ident, $mantissa:ident, $look_up:ident)?) => {
        impl Vector for $v {
            type Elem = $t;
            type Mask = __m256i;
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn first(n: usize) -> __m256i {
                // SAFETY: `n` is at most half of the window's length, so the load stays inside of it.
                unsafe { _mm256_loadu_si256($window.as_ptr().add($lanes - n).cast()) }
            }
            #[inline(always)]
            unsafe fn between(start: usize, end: usize) -> Self::Mask {
                // SAFETY: see `first`; registers only.
                unsafe { _mm256_andnot_si256(Self::first(start.min($lanes)), Self::first(end)) }
            }
            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: here and below, what the trait asks of the caller.
                unsafe { $zero() }
            }
            #[inline(always)]
            unsafe fn splat(x: $t) -> Self {
                // SAFETY: see `zero`.
                unsafe { $splat(x) }
            }
            #[inline(always)]
            unsafe fn load(src: *const $t) -> Self {
                // SAFETY: see `zero`.
                unsafe { $load(src) }
            }
            #[inline(always)]
            unsafe fn load_part(src: *const $t, mask: __m256i) -> Self {
                // SAFETY: see `zero`; masked lanes do not fault.
                unsafe { $load_part(src, mask) }
            }
            #[inline(always)]
            unsafe fn store(self, dst: *mut $t) {
                // SAFETY: see `zero`.
                unsafe { $store(dst, self) }
            }
            #[inline(always)]
            unsafe fn store_part(self, dst: *mut $t, mask: __m256i) {
                // SAFETY: see `zero`; masked lanes are not written.
                unsafe { $store_part(dst, mask, self) }
            }
            #[inline(always)]
            unsafe fn mul_add(self, a: Self, b: Self) -> Self {
                // SAFETY: see `zero`.
                unsafe { $fma(self, a, b) }
            }
            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                // SAFETY: see `zero`.
                unsafe { $mul(self, other) }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: see `zero`.
                unsafe { $add(self, other) }
            }
            #[inline(always)]
            unsafe fn sub(self, other: Self) -> Self {
                // SAFETY: see `zero`.
                unsafe { $sub(self, other) }
            }
            #[inline(always)]
            unsafe fn challenge(self, place: Self, v: Self, at: Self) -> (Self, Self) {
                // SAFETY: see `zero`.
                unsafe {
                    let wins = $or($cmp::<_CMP_GT_OQ>(v, self), $cmp::<_CMP_UNORD_Q>(v, v));
                    ($blend(self, v, wins), $blend(place, at, wins))
                }
            }
            #[inline(always)]
            unsafe fn deinterleave(self, other: Self) -> (Self, Self) {
                // SAFETY: see `zero`.
                unsafe { $deinterleave(self, other) }
            }
            #[inline(always)]
            unsafe fn interleave(self, other: Self) -> (Self, Self) {
                // SAFETY: see `zero`.
                unsafe { $interleave(self, other) }
            }
            $(
                #[inline(always)]
                unsafe fn fours(src: *const $t, index: *const u32) -> [Self; 4] {
                    // SAFETY: see `zero`.
                    unsafe { $fours(src, index) }
                }
                #[inline(always)]
                unsafe fn mantissa(self) -> Self {
                    // SAFETY: see `zero`.
                    unsafe { $mantissa(self) }
                }
                #[inline(always)]
                unsafe fn look_up<const FIRST: u32>(self, table: &[$t; 16]) -> Self {
                    // SAFETY: see `zero`.
                    unsafe { $look_up::<FIRST>(self, table) }
                }
            )?
        }
    };
}
impl_avx2!(
    __m256,
    f32,
    8,
    WINDOW_32,
    _mm256_setzero_ps,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_maskload_ps,
    _mm256_storeu_ps,
    _mm256_maskstore_ps,
    _mm256_fmadd_ps,
    _mm256_mul_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_cmp_ps,
    _mm256_or_ps,
    _mm256_blendv_ps,
    deinterleave_ps,
    interleave_ps,
    fours_256,
    mantissa_256,
    look_up_256
);
impl_avx2!(
    __m256d,
    f64,
    4,
    WINDOW_64,
    _mm256_setzero_pd,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_maskload_pd,
    _mm256_storeu_pd,
    _mm256_maskstore_pd,
    _mm256_fmadd_pd,
    _mm256_mul_pd,
    _mm256_add_pd,
    _mm256_sub_pd,
    _mm256_cmp_pd,
    _mm256_or_pd,
    _mm256_blendv_pd,
    deinterleave_pd,
    interleave_pd
);

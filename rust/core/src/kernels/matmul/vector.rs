//! One register of lanes, for every element type and instruction set.

use crate::element::Float;

/// A register that holds [`Vector::LANES`] elements.
///
/// # Safety
/// All functions may be executed only on a machine that has the register's instruction set, and are to be inlined into
/// a function compiled for it. Pointers must be valid for the lanes that are read or written, at any alignment.
pub(super) trait Vector: Copy {
    type Elem: Float;
    /// Which lanes take part in a partial load or store.
    type Mask: Copy;
    const LANES: usize;

    /// The first `n` lanes, `n` ≤ `LANES`.
    unsafe fn first(n: usize) -> Self::Mask;
    unsafe fn zero() -> Self;
    unsafe fn splat(x: Self::Elem) -> Self;
    unsafe fn load(src: *const Self::Elem) -> Self;
    /// Lanes outside of the mask are 0, and their memory is not touched.
    unsafe fn load_part(src: *const Self::Elem, mask: Self::Mask) -> Self;
    unsafe fn store(self, dst: *mut Self::Elem);
    unsafe fn store_part(self, dst: *mut Self::Elem, mask: Self::Mask);
    /// `self · a + b`, rounded once.
    unsafe fn mul_add(self, a: Self, b: Self) -> Self;
}

/// Lanes without a register: what the compiler makes of plain loops.
#[derive(Clone, Copy)]
pub(super) struct Plain<T, const LANES: usize>([T; LANES]);

impl<T: Float, const LANES: usize> Vector for Plain<T, LANES> {
    type Elem = T;
    type Mask = usize;
    const LANES: usize = LANES;

    #[inline(always)]
    unsafe fn first(n: usize) -> usize {
        n
    }
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([T::ZERO; LANES])
    }
    #[inline(always)]
    unsafe fn splat(x: T) -> Self {
        Self([x; LANES])
    }
    #[inline(always)]
    unsafe fn load(src: *const T) -> Self {
        // SAFETY: the caller gives all lanes; an array needs no more alignment than its elements.
        unsafe { Self(src.cast::<[T; LANES]>().read()) }
    }
    #[inline(always)]
    unsafe fn load_part(src: *const T, mask: usize) -> Self {
        let mut lanes = [T::ZERO; LANES];
        // SAFETY: the caller gives the first `mask` lanes.
        unsafe { src.copy_to_nonoverlapping(lanes.as_mut_ptr(), mask) };
        Self(lanes)
    }
    #[inline(always)]
    unsafe fn store(self, dst: *mut T) {
        // SAFETY: as in `load`.
        unsafe { dst.cast::<[T; LANES]>().write(self.0) }
    }
    #[inline(always)]
    unsafe fn store_part(self, dst: *mut T, mask: usize) {
        // SAFETY: as in `load_part`.
        unsafe { dst.copy_from_nonoverlapping(self.0.as_ptr(), mask) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, a: Self, b: Self) -> Self {
        let mut lanes = self.0;
        for ((lane, &a), &b) in lanes.iter_mut().zip(&a.0).zip(&b.0) {
            *lane = lane.mul_add(a, b);
        }
        Self(lanes)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    use super::Vector;

    macro_rules! impl_avx512 {
        ($v:ident, $t:ident, $mask:ident, $lanes:literal, $zero:ident, $splat:ident, $load:ident, $load_part:ident,
         $store:ident, $store_part:ident, $fma:ident) => {
            impl Vector for $v {
                type Elem = $t;
                type Mask = $mask;
                const LANES: usize = $lanes;

                #[inline(always)]
                unsafe fn first(n: usize) -> $mask {
                    (u32::MAX >> (32 - n as u32)) as $mask
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
        _mm512_fmadd_ps
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
        _mm512_fmadd_pd
    );

    /// Eight ones and eight zeros: a window that starts `n` before the zeros masks the first `n` lanes.
    static WINDOW_32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    static WINDOW_64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

    macro_rules! impl_avx2 {
        ($v:ident, $t:ident, $lanes:literal, $window:ident, $zero:ident, $splat:ident, $load:ident, $load_part:ident,
         $store:ident, $store_part:ident, $fma:ident) => {
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
        _mm256_fmadd_ps
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
        _mm256_fmadd_pd
    );
}

//! One register of lanes, for every element type and instruction set.

// A kernel's parts must end up in a function that is compiled for the instruction set.
#![allow(clippy::inline_always)]

#[cfg(target_arch = "x86_64")]
mod x86;

use crate::element::Float;
#[cfg(target_arch = "x86_64")]
use crate::simd::fused;

/// Hint that a line will soon be read or written.
#[inline(always)]
pub(crate) fn prefetch<T>(line: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which never faults; SSE is part of the target.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(line.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint, which never faults.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) line, options(readonly, nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = line;
}

/// A register that holds [`Vector::LANES`] elements.
///
/// # Safety
/// All functions may be executed only on a machine that has the register's instruction set, and are to be inlined into
/// a function compiled for it. Pointers must be valid for the lanes that are read or written, at any alignment.
pub trait Vector: Copy {
    type Elem: Lanes;
    /// Lanes that take part in a partial load or store.
    type Mask: Copy;
    const LANES: usize;

    /// The first `n` lanes, `n` ≤ `LANES`.
    unsafe fn first(n: usize) -> Self::Mask;
    /// Lanes from `start` to before `end`; `end` ≤ `LANES`.
    unsafe fn between(start: usize, end: usize) -> Self::Mask;
    unsafe fn zero() -> Self;
    unsafe fn splat(x: Self::Elem) -> Self;
    unsafe fn load(src: *const Self::Elem) -> Self;
    /// Lanes outside of the mask are 0, and their memory is not touched.
    unsafe fn load_part(src: *const Self::Elem, mask: Self::Mask) -> Self;
    unsafe fn store(self, dst: *mut Self::Elem);
    unsafe fn store_part(self, dst: *mut Self::Elem, mask: Self::Mask);
    /// `self · a + b`, rounded once.
    unsafe fn mul_add(self, a: Self, b: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    /// `(v, at)` in the lanes where `v` is greater than `self`, or NaN; `(self, place)` in the others.
    unsafe fn challenge(self, place: Self, v: Self, at: Self) -> (Self, Self);
    /// Of the lanes of `self` and then of `other`, the even and the odd ones.
    unsafe fn deinterleave(self, other: Self) -> (Self, Self);
    /// The lanes of both in turn, `self`'s first.
    unsafe fn interleave(self, other: Self) -> (Self, Self);
    /// Of the four elements from `src + index[k]` on, for every lane k: the first ones, the second ones, and so on. All
    /// are valid to read, and so are `LANES` of `index`.
    #[inline(always)]
    unsafe fn fours(src: *const Self::Elem, index: *const u32) -> [Self; 4] {
        let mut lanes = [[Self::Elem::ZERO; MOST_LANES]; 4];
        for k in 0..Self::LANES {
            for (j, lanes) in lanes.iter_mut().enumerate() {
                // SAFETY: the caller gives all of these.
                lanes[k] = unsafe { src.add(index.add(k).read() as usize + j).read() };
            }
        }
        // SAFETY: an array has room for all lanes.
        lanes.map(|lanes| unsafe { Self::load(lanes.as_ptr()) })
    }
    /// [`Lanes::mantissa`]
    #[inline(always)]
    unsafe fn mantissa(self) -> Self {
        // SAFETY: what this trait asks of the caller.
        unsafe { each(self, Self::Elem::mantissa) }
    }
    /// The entries that are numbered by four bits of each lane, of which `FIRST` is the lowest.
    #[inline(always)]
    unsafe fn look_up<const FIRST: u32>(self, table: &[Self::Elem; 16]) -> Self {
        // SAFETY: what this trait asks of the caller.
        unsafe { each(self, |x| table[x.four_bits(FIRST)]) }
    }
}

/// Lanes of the largest register.
const MOST_LANES: usize = 16;

/// Every lane by itself.
#[inline(always)]
unsafe fn each<V: Vector>(v: V, f: impl Fn(V::Elem) -> V::Elem) -> V {
    let mut lanes = [V::Elem::ZERO; MOST_LANES];
    // SAFETY: an array has room for all lanes.
    unsafe { v.store(lanes.as_mut_ptr()) };
    lanes[..V::LANES].iter_mut().for_each(|lane| *lane = f(*lane));
    // SAFETY: as above.
    unsafe { V::load(lanes.as_ptr()) }
}

/// An element type's register for each level of [`crate::simd`].
pub trait Lanes: Float {
    type Plain: Vector<Elem = Self>;
    #[cfg(target_arch = "x86_64")]
    type Avx2: Vector<Elem = Self>;
    #[cfg(target_arch = "x86_64")]
    type Avx512: Vector<Elem = Self>;

    /// A whole number below 256. Loops over this are vectorized, other than those over conversions that saturate.
    fn to_byte(self) -> u8;
    /// The number from 1 to 2 with the same bits after the point.
    fn mantissa(self) -> Self;
    /// Four bits, of which `first` is the lowest.
    fn four_bits(self, first: u32) -> usize;
    /// `x·a + b` of each lane, rounded once, by what the compiler's target guarantees; N is a multiple of 4.
    fn mul_add_lanes<const N: usize>(x: [Self; N], a: [Self; N], b: [Self; N]) -> [Self; N];
}

impl Lanes for f32 {
    type Plain = Plain<Self, 8>;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = std::arch::x86_64::__m256;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = std::arch::x86_64::__m512;

    #[inline(always)]
    fn to_byte(self) -> u8 {
        // The last bit of what is added counts ones.
        (self + (1_u64 << 23) as Self).to_bits() as u8
    }
    #[inline(always)]
    fn mantissa(self) -> Self {
        Self::from_bits(self.to_bits() & 0x007F_FFFF | 1.0_f32.to_bits())
    }
    #[inline(always)]
    fn four_bits(self, first: u32) -> usize {
        (self.to_bits() >> first) as usize % 16
    }
    #[inline(always)]
    fn mul_add_lanes<const N: usize>(x: [Self; N], a: [Self; N], b: [Self; N]) -> [Self; N] {
        #[cfg(target_arch = "x86_64")]
        return fused::f32_lanes(x, a, b);
        #[cfg(not(target_arch = "x86_64"))]
        std::array::from_fn(|i| Float::mul_add(x[i], a[i], b[i]))
    }
}

impl Lanes for f64 {
    type Plain = Plain<Self, 4>;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = std::arch::x86_64::__m256d;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = std::arch::x86_64::__m512d;

    #[inline(always)]
    fn to_byte(self) -> u8 {
        // The last bit of what is added counts ones.
        (self + (1_u64 << 52) as Self).to_bits() as u8
    }
    #[inline(always)]
    fn mantissa(self) -> Self {
        Self::from_bits(self.to_bits() & 0x000F_FFFF_FFFF_FFFF | 1.0_f64.to_bits())
    }
    #[inline(always)]
    fn four_bits(self, first: u32) -> usize {
        (self.to_bits() >> first) as usize % 16
    }
    #[inline(always)]
    fn mul_add_lanes<const N: usize>(x: [Self; N], a: [Self; N], b: [Self; N]) -> [Self; N] {
        #[cfg(target_arch = "x86_64")]
        return fused::f64_lanes(x, a, b);
        #[cfg(not(target_arch = "x86_64"))]
        std::array::from_fn(|i| Float::mul_add(x[i], a[i], b[i]))
    }
}

/// Compile a kernel that is written in registers once for each level, and choose at run time: [`crate::simd!`] for what the
/// compiler does not find by itself. `$t` is the element type, which may have a further bound, `$v` its register. The body is unsafe only in that it uses them.
macro_rules! registers {
    ($(
        $(#[$meta:meta])*
        $vis:vis fn $name:ident<$t:ident $(: $bound:path)?, $v:ident>($($arg:ident : $ty:ty),* $(,)?) $body:block
    )+) => {$(
        $(#[$meta])*
        $vis fn $name<$t: $crate::kernels::vector::Lanes $(+ $bound)?>($($arg: $ty),*) {
            #[inline(always)]
            unsafe fn body<
                $t: $crate::kernels::vector::Lanes $(+ $bound)?,
                $v: $crate::kernels::vector::Vector<Elem = $t>,
            >(
                $($arg: $ty),*
            ) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
                unsafe fn avx512<$t: $crate::kernels::vector::Lanes $(+ $bound)?>($($arg: $ty),*) {
                    $crate::simd::fused::assume(true);
                    // SAFETY: compiled for this register.
                    unsafe { body::<$t, $t::Avx512>($($arg),*) }
                }
                #[target_feature(enable = "avx2,fma,bmi2")]
                unsafe fn avx2<$t: $crate::kernels::vector::Lanes $(+ $bound)?>($($arg: $ty),*) {
                    $crate::simd::fused::assume(true);
                    // SAFETY: compiled for this register.
                    unsafe { body::<$t, $t::Avx2>($($arg),*) }
                }
                match $crate::simd::level() {
                    // SAFETY: the level is never above what the machine was found to have.
                    $crate::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::simd::Level::Portable => {}
                }
            }
            $crate::simd::fused::assume(false);
            // SAFETY: needs no instruction set.
            unsafe { body::<$t, $t::Plain>($($arg),*) }
        }
    )+};
}
pub(crate) use registers;

/// Lanes without a register: what the compiler makes of plain loops.
#[derive(Clone, Copy)]
pub struct Plain<T, const LANES: usize>([T; LANES]);

impl<T: Lanes, const LANES: usize> Vector for Plain<T, LANES> {
    type Elem = T;
    type Mask = (usize, usize);
    const LANES: usize = LANES;

    #[inline(always)]
    unsafe fn first(n: usize) -> (usize, usize) {
        (0, n)
    }
    #[inline(always)]
    unsafe fn between(start: usize, end: usize) -> (usize, usize) {
        (start.min(end), end)
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
    unsafe fn load_part(src: *const T, (start, end): (usize, usize)) -> Self {
        let mut lanes = [T::ZERO; LANES];
        // SAFETY: the caller gives these lanes; the others' memory may not exist.
        unsafe { src.wrapping_add(start).copy_to_nonoverlapping(lanes.as_mut_ptr().add(start), end - start) };
        Self(lanes)
    }
    #[inline(always)]
    unsafe fn store(self, dst: *mut T) {
        // SAFETY: as in `load`.
        unsafe { dst.cast::<[T; LANES]>().write(self.0) }
    }
    #[inline(always)]
    unsafe fn store_part(self, dst: *mut T, (start, end): (usize, usize)) {
        // SAFETY: as in `load_part`.
        unsafe { dst.wrapping_add(start).copy_from_nonoverlapping(self.0.as_ptr().add(start), end - start) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, a: Self, b: Self) -> Self {
        Self(T::mul_add_lanes(self.0, a.0, b.0))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        let mut lanes = self.0;
        lanes.iter_mut().zip(&other.0).for_each(|(lane, &x)| *lane = *lane * x);
        Self(lanes)
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        let mut lanes = self.0;
        lanes.iter_mut().zip(&other.0).for_each(|(lane, &x)| *lane += x);
        Self(lanes)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        let mut lanes = self.0;
        lanes.iter_mut().zip(&other.0).for_each(|(lane, &x)| *lane = *lane - x);
        Self(lanes)
    }
    #[inline(always)]
    unsafe fn challenge(self, place: Self, v: Self, at: Self) -> (Self, Self) {
        let (mut best, mut place) = (self.0, place.0);
        for l in 0..LANES {
            let wins = (v.0[l] > best[l]) | v.0[l].is_nan();
            best[l] = if wins { v.0[l] } else { best[l] };
            place[l] = if wins { at.0[l] } else { place[l] };
        }
        (Self(best), Self(place))
    }
    #[inline(always)]
    unsafe fn deinterleave(self, other: Self) -> (Self, Self) {
        let lane = |i: usize| if i < LANES { self.0[i] } else { other.0[i - LANES] };
        (Self(std::array::from_fn(|i| lane(2 * i))), Self(std::array::from_fn(|i| lane(2 * i + 1))))
    }
    #[inline(always)]
    unsafe fn interleave(self, other: Self) -> (Self, Self) {
        let lane = |i: usize| if i.is_multiple_of(2) { self.0[i / 2] } else { other.0[i / 2] };
        (Self(std::array::from_fn(lane)), Self(std::array::from_fn(|i| lane(i + LANES))))
    }
}

registers! {
    /// `out[2 i] = even[i]`, `out[2 i + 1] = odd[i]`, for some rows of `width`: each begins so far after the one before.
    pub(crate) fn interleave<T, V>(
        even: (&[T], usize), odd: (&[T], usize), rows: usize, width: usize, out: (&mut [T], usize),
    ) {
        let last = rows.checked_sub(1).expect("a row");
        assert!(even.0.len() >= last * even.1 + width.div_ceil(2) && odd.0.len() >= last * odd.1 + width / 2);
        assert!(out.0.len() >= last * out.1 + width);
        // Masks are the same for all rows.
        for start in (0..width).step_by(2 * V::LANES) {
            let left = width - start;
            let (high, there) = (left.clamp(V::LANES, 2 * V::LANES) - V::LANES, left.min(V::LANES));
            // SAFETY: loads and stores are masked to the rows, which are there.
            unsafe {
                let (evens, odds) = (V::first(left.div_ceil(2).min(V::LANES)), V::first((left / 2).min(V::LANES)));
                let (there, high) = (V::first(there), V::first(high));
                for row in 0..rows {
                    let evens = V::load_part(even.0.as_ptr().add(row * even.1 + start / 2), evens);
                    let odds = V::load_part(odd.0.as_ptr().wrapping_add(row * odd.1 + start / 2), odds);
                    let (first, second) = evens.interleave(odds);
                    let dst = out.0.as_mut_ptr().add(row * out.1 + start);
                    first.store_part(dst, there);
                    second.store_part(dst.wrapping_add(V::LANES), high);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::on_all_levels;

    registers! {
        fn digits<T, V>(x: &[T], table: &[T; 16], out: &mut [[T; 2]]) {
            let (mut mantissas, mut entries) = ([T::ZERO; MOST_LANES], [T::ZERO; MOST_LANES]);
            for (x, out) in x.chunks(V::LANES).zip(out.chunks_mut(V::LANES)) {
                // SAFETY: the mask is that of the lanes that are there, and an array has room for all.
                unsafe {
                    let x = V::load_part(x.as_ptr(), V::first(x.len()));
                    x.mantissa().store(mantissas.as_mut_ptr());
                    x.look_up::<21>(table).store(entries.as_mut_ptr());
                }
                for (out, (&m, &entry)) in out.iter_mut().zip(mantissas.iter().zip(&entries)) {
                    *out = [m, entry];
                }
            }
        }
    }

    fn check<T: Lanes>(of_bits: impl Fn(u64) -> T, mantissa: impl Fn(u64) -> T) {
        // Multiples of the golden section, whose bits are any.
        let bits: Vec<u64> = (1..100_u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
        let x: Vec<T> = bits.iter().map(|&bits| of_bits(bits)).collect();
        let table = std::array::from_fn(|i| T::from_f64(i as f64 - 7.5));
        let found = on_all_levels(|| {
            let mut out = vec![[T::ZERO; 2]; x.len()];
            digits(&x, &table, &mut out);
            out
        });
        for (&bits, out) in bits.iter().zip(found) {
            assert_eq!(out, [mantissa(bits), table[(bits >> 21) as usize % 16]], "{bits:x}");
        }
    }

    #[test]
    fn parts_of_bits() {
        check(|bits| f32::from_bits(bits as u32), |bits| (bits % (1 << 23)) as f32 / 8_388_608.0 + 1.0);
        check(f64::from_bits, |bits| (bits % (1 << 52)) as f64 / 4_503_599_627_370_496.0 + 1.0);
    }
}

//! The fused multiply-add `a·b + c`, rounded once, on every processor.
//!
//! x86-64 has the instruction since AVX2 only. Without it, the same bits come of doubles, in straight lines that the
//! compiler vectorizes:
//!
//! - f32: the product of two floats is exact in f64. The sum with c is *rounded to odd* (if it is inexact, its last bit
//!   is made 1), after which rounding to f32 is as if there had been no rounding before.
//! - f64: product and sum as pairs of f64, the lower halves added with rounding to odd; where parts could overflow or
//!   underflow, in integers.
//!
//! Source: Boldo & Melquiond 2008, "Emulation of a FMA and correctly-rounded sums: proved algorithms using rounding to
//! odd", <https://doi.org/10.1109/TC.2007.70819>; Dekker 1971 and Knuth for the exact product and sum.

// Both sides are evaluated, so that a loop needs no branch.
#![allow(clippy::needless_bitwise_bool)]

#[cfg(target_arch = "x86_64")]
mod registers;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;

#[cfg(target_arch = "x86_64")]
pub(crate) use registers::{f32_lanes, f64_lanes};

/// True if the code around is to use the instruction.
///
/// Both answers lead to the same bits. Within a function of [`crate::simd!`] the compiler knows the answer, by
/// [`assume`], and drops the other branch before it vectorizes. It must see one value without side effects that cannot
/// be changed by stores, and knows nothing of the value: hence assembler that claims not to read memory.
#[inline(always)]
#[must_use]
// The level is read, but all its values are right.
#[allow(clippy::pointers_in_nomem_asm_block)]
pub fn available() -> bool {
    #[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
    {
        let level: u8;
        // SAFETY: reads a static of one byte; a value that is out of date is as good.
        unsafe {
            std::arch::asm!(
                "mov {level}, byte ptr [rip + {place}]",
                level = out(reg_byte) level,
                place = sym super::LEVEL,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        level >= super::Level::Avx2 as u8
    }
    #[cfg(all(target_arch = "x86_64", debug_assertions))]
    {
        super::LEVEL.load(std::sync::atomic::Ordering::Relaxed) >= super::Level::Avx2 as u8
    }
    #[cfg(not(target_arch = "x86_64"))]
    true
}

/// Tell the compiler what [`available`] answers in the rest of a function that is compiled for one instruction set.
#[inline(always)]
pub fn assume(fused: bool) {
    #[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
    // SAFETY: the assembler's value is opaque, and both answers are right, so that nothing else follows from this.
    unsafe {
        std::hint::assert_unchecked(available() == fused);
    }
    let _ = fused;
}

/// `a·b + c`, rounded once.
#[inline(always)]
#[must_use]
#[allow(clippy::disallowed_methods)]
pub fn f32(a: f32, b: f32, c: f32) -> f32 {
    if available() { f32::mul_add(a, b, c) } else { f32_by_f64(a, b, c) }
}

/// `a·b + c`, rounded once.
#[inline(always)]
#[must_use]
#[allow(clippy::disallowed_methods)]
pub fn f64(a: f64, b: f64, c: f64) -> f64 {
    if available() { f64::mul_add(a, b, c) } else { f64_by_pairs(a, b, c) }
}

/// `a·b + c`, rounded once, for numbers that are 0 or have magnitudes from 2⁻⁴⁰⁰ to 2⁴⁰⁰; NaN for others, perhaps.
#[inline(always)]
#[must_use]
#[allow(clippy::disallowed_methods)]
pub fn f64_within(a: f64, b: f64, c: f64) -> f64 {
    if available() { f64::mul_add(a, b, c) } else { pairs(a, b, c) }
}

/// (s, e) with s the nearest f64 of a + b, and s + e = a + b exactly.
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let other = s - a;
    (s, (a - (s - other)) + (b - other))
}

/// A sum rounded to odd: truncated, if rounding went beyond the exact one, and then made odd, if it is inexact.
#[inline(always)]
fn to_odd(s: f64, inexact: bool, beyond: bool) -> f64 {
    f64::from_bits(s.to_bits().wrapping_sub(u64::from(beyond)) | u64::from(inexact))
}

// Inlined after the branch to it is dropped where it can be: always inlined, it doubles the time that all kernels compile.
#[inline]
fn f32_by_f64(a: f32, b: f32, c: f32) -> f32 {
    let (s, e) = two_sum(f64::from(a) * f64::from(b), f64::from(c));
    // Negative where s was rounded away from 0; neither factor is small enough for it to underflow. NaN at infinity.
    let side = s * e;
    to_odd(s, (side < 0.0) | (side > 0.0), side < 0.0) as f32
}

/// (h, l) with h the nearest f64 of a·b, and h + l = a·b exactly, unless parts overflow or underflow.
#[inline(always)]
fn two_product(a: f64, b: f64) -> (f64, f64) {
    /// 2²⁷ + 1: the product's upper half has 26 bits.
    const SPLIT: f64 = 134_217_729.0;
    let halves = |x: f64| {
        let t = SPLIT * x;
        let high = t - (t - x);
        (high, x - high)
    };
    let ((ah, al), (bh, bl)) = (halves(a), halves(b));
    let h = a * b;
    (h, ((ah * bh - h) + ah * bl + al * bh) + al * bl)
}

/// `a·b + c`, see [`f64_within`].
#[inline(always)]
fn pairs(a: f64, b: f64, c: f64) -> f64 {
    let (uh, ul) = two_product(a, b);
    let (th, tl) = two_sum(c, ul);
    let (vh, vl) = two_sum(uh, th);
    let (s, e) = two_sum(tl, vl);
    let inexact = (e < 0.0) | (e > 0.0);
    let sum = vh + to_odd(s, inexact, inexact & ((s.to_bits() ^ e.to_bits()) >> 63 == 1));
    // The pairs have lost the sign of −0.
    if uh == 0.0 { uh + c } else { sum }
}

/// True if [`pairs`] is right for this factor; or, with twice the exponent, for this addend.
#[inline(always)]
fn is_within(x: f64, exponent: u64) -> bool {
    let (least, most) = (f64::from_bits((1023 - exponent) << 52), f64::from_bits((1023 + exponent) << 52));
    (x == 0.0) | ((x.abs() >= least) & (x.abs() <= most))
}

/// The exponent that two factors may have without their product's parts leaving the numbers.
const MOST: u64 = 440;

#[inline(never)]
fn f64_by_pairs(a: f64, b: f64, c: f64) -> f64 {
    if is_within(a, MOST) & is_within(b, MOST) & is_within(c, 2 * MOST) { pairs(a, b, c) } else { by_integers(a, b, c) }
}

/// All other factors, by the compiler's own software, which does not follow [`super::Flush`].
#[cold]
#[inline(never)]
#[allow(clippy::disallowed_methods)]
fn by_integers(a: f64, b: f64, c: f64) -> f64 {
    if !super::subnormal::is_flushing() {
        return f64::mul_add(a, b, c);
    }
    let flushed = |x: f64| if x.abs() < f64::MIN_POSITIVE { f64::copysign(0.0, x) } else { x };
    let [a, b, c] = [a, b, c].map(flushed);
    let sum = f64::mul_add(a, b, c);
    if sum.abs() > f64::MIN_POSITIVE || sum == 0.0 || sum.is_nan() {
        return sum;
    }
    // The processor flushes what is below the normal numbers after rounding to 53 bits, which `sum` may no longer have.
    // All of this is below 2⁻⁹⁰⁰, so one factor is below 2⁻⁴⁵⁰.
    let scale = f64::from_bits((1023 + 200) << 52);
    let (small, large) = if a.abs() < b.abs() { (a, b) } else { (b, a) };
    let scaled = f64::mul_add(small * scale, large, c * scale);
    if scaled.abs() < f64::MIN_POSITIVE * scale { f64::copysign(0.0, scaled) } else { scaled / scale }
}

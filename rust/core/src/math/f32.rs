//! Elementary functions of f32.
//!
//! Each is a straight line of correctly rounded operations (`+ − × ÷`, fused multiply-add, integers, selection), so that a
//! loop around it vectorizes and gives the same bits on every instruction set. Polynomials are minimax fits
//! (weighted for relative error; coefficients rounded one after the other, the rest refitted each time). Special values
//! are those of C's Annex F. Largest errors, over all 2³² arguments (`pow`: 10⁸ random pairs), in units in the last place:
//!
//! | exp | exp_m1 | ln | ln_1p | tanh | sigmoid | erf | sin | cos | pow |
//! |---|---|---|---|---|---|---|---|---|---|
//! | 0.91 | 1.44 | 0.89 | 1.60 | 2.50 | 2.41 | 1.06 | 0.51 | 0.51 | 0.51 |

use std::f32::consts::LOG2_E;
use std::f64::consts::FRAC_PI_2;

use crate::simd::fused::{f32 as fma, f64_within as fma_f64};

/// Adding 1.5 · 2²³ rounds to an integer, which is then in the low bits: vectorizes everywhere, unlike `round`.
const ROUND: f32 = 12_582_912.0;
/// The same for f64: 1.5 · 2⁵².
const ROUND_F64: f64 = 6_755_399_441_055_744.0;

/// ln 2 in two parts; the first has 16 bits, so that a product with an exponent is exact.
const LN2_HI: f32 = 0.693_145_75;
const LN2_LO: f32 = 1.428_606_8e-6;

/// c₀ + c₁x + c₂x² + …
#[inline(always)]
fn polynomial<const N: usize>(x: f32, c: [f32; N]) -> f32 {
    let mut sum = c[N - 1];
    for i in (0..N - 1).rev() {
        sum = fma(sum, x, c[i]);
    }
    sum
}

#[inline(always)]
fn polynomial_f64<const N: usize>(x: f64, c: [f64; N]) -> f64 {
    let mut sum = c[N - 1];
    for i in (0..N - 1).rev() {
        sum = fma_f64(sum, x, c[i]);
    }
    sum
}

/// 2ᵏ for −126 ≤ k ≤ 127.
#[inline(always)]
fn power_of_two(k: i32) -> f32 {
    f32::from_bits((k.wrapping_add(127) as u32) << 23)
}

/// (k, r) with x = k·ln 2 + r and |r| ≤ ½ ln 2 (Cody & Waite), for |x| < 10⁵.
#[inline(always)]
fn split_exponent(x: f32) -> (i32, f32) {
    let shifted = fma(x, LOG2_E, ROUND);
    let k = shifted - ROUND;
    let r = fma(k, -LN2_LO, fma(k, -LN2_HI, x));
    ((shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32), r)
}

/// eˣ; overflows to ∞ above 88.72, underflows gradually to 0 below −103.97.
#[inline(always)]
#[must_use]
pub fn exp(x: f32) -> f32 {
    // Beyond these the result is ∞ or 0 all the same, and k stays in range. A NaN passes both.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let (k, r) = split_exponent(x);
    let p = polynomial(r, [1.0, 1.0, 0.499_999_94, 0.166_665_23, 0.041_668_184, 0.008_368_511, 0.001_382_948_7]);
    // In two steps, of which the last alone can round: subnormal results are rounded once.
    let half = k >> 1;
    p * power_of_two(half) * power_of_two(k - half)
}

/// eˣ − 1 for −104 ≤ x ≤ 89, but +0 for −0.
#[inline(always)]
fn exp_m1_within(x: f32) -> f32 {
    let (k, r) = split_exponent(x);
    let q = polynomial(r, [0.5, 0.166_666_66, 0.041_666_485, 0.008_333_67, 0.001_393_248_9, 0.000_196_430_1]);
    let p = fma(r * r, q, r);
    // 2ᵏ·(1 + p) − 1, at half size because 2¹²⁸ is no f32.
    let scale = power_of_two(k - 1);
    let scaled = fma(p, scale, scale - 0.5) * 2.0;
    // Half of a subnormal p would lose a bit.
    if k == 0 { p } else { scaled }
}

/// eˣ − 1, accurate near 0.
#[inline(always)]
#[must_use]
pub fn exp_m1(x: f32) -> f32 {
    let bounded = if x > 89.0 { 89.0 } else { x };
    let bounded = if bounded < -20.0 { -20.0 } else { bounded };
    exp_m1_within(bounded).copysign(x)
}

/// The hyperbolic tangent: `−t / (2 + t)` with `t = e^(−2|x|) − 1`, which keeps small x accurate.
#[inline(always)]
#[must_use]
pub fn tanh(x: f32) -> f32 {
    let double = x.abs() * 2.0;
    let t = exp_m1_within(-(if double > 20.0 { 20.0 } else { double }));
    (-t / (2.0 + t)).copysign(x)
}

/// The logistic function `1 / (1 + e⁻ˣ)`: `e^min(x, 0) / (1 + e^−|x|)`, which never overflows and stays accurate where
/// the result is tiny.
#[inline(always)]
#[must_use]
pub fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// ln 2ᵏ(1 + f), for −⅓ ≤ f < ⅓.
#[inline(always)]
fn ln_parts(k: f32, f: f32) -> f32 {
    let p = polynomial(
        f,
        [
            0.333_332_15,
            -0.249_998_05,
            0.200_104_46,
            -0.166_801_9,
            0.140_052_93,
            -0.121_881_045,
            0.139_870_47,
            -0.128_760_04,
        ],
    );
    // ln(1 + f) = f + f²·(−½ + f·p), with the low part of k·ln 2 among the small terms.
    let small = fma(f * f, fma(f, p, -0.5), k * LN2_LO);
    fma(k, LN2_HI, f + small)
}

/// (k·2²³, m) with x = 2ᵏm and ⅔ ≤ m < 4/3, for normal x > 0.
#[inline(always)]
fn split_mantissa(x: f32) -> (i32, f32) {
    const TWO_THIRDS: i32 = 0x3F2A_AAAB;
    let bits = x.to_bits() as i32;
    let k = bits.wrapping_sub(TWO_THIRDS) & !0x007F_FFFF;
    (k, f32::from_bits(bits.wrapping_sub(k) as u32))
}

/// Values of ln outside its formula: −∞ at 0, NaN below, x at ∞ and NaN.
#[inline(always)]
fn ln_ends(x: f32, inside: f32) -> f32 {
    let below = if x == 0.0 { f32::NEG_INFINITY } else { f32::NAN };
    let upper = if x < f32::INFINITY { inside } else { x };
    if x <= 0.0 { below } else { upper }
}

/// The natural logarithm.
#[inline(always)]
#[must_use]
pub fn ln(x: f32) -> f32 {
    // Subnormals first become normal.
    let tiny = x < f32::MIN_POSITIVE;
    let (k, m) = split_mantissa(if tiny { x * 8_388_608.0 } else { x });
    let k = (k >> 23) as f32 - if tiny { 23.0 } else { 0.0 };
    ln_ends(x, ln_parts(k, m - 1.0))
}

/// The natural logarithm of a positive number that is neither subnormal nor infinite: the bits of [`ln`].
#[inline(always)]
#[must_use]
pub fn ln_normal(x: f32) -> f32 {
    let (k, m) = split_mantissa(x);
    ln_parts((k >> 23) as f32, m - 1.0)
}

/// `ln(1 + x)`, accurate near 0.
#[inline(always)]
#[must_use]
pub fn ln_1p(x: f32) -> f32 {
    let sum = 1.0 + x;
    let (k, m) = split_mantissa(sum);
    // f = 2⁻ᵏ(1 + x) − 1 from x itself, so that what the sum has rounded away is not lost. 2⁻ᵏ is no normal number for
    // the largest x, where nothing was lost.
    let scale = f32::from_bits(1.0_f32.to_bits().wrapping_sub(k as u32));
    let f = if x < 1e9 { fma(x, scale, scale - 1.0) } else { m - 1.0 };
    let inside = ln_ends(sum, ln_parts((k >> 23) as f32, f));
    // Also keeps the sign of −0.
    if x.abs() < 1e-8 { x } else { inside }
}

/// The error function: `x + x·P(x²)` up to 0.92, `1 − e^−Q(x)` beyond, with Q fitted to −ln erfc. The cut and the form of
/// the exponent are N. Juffa's.
#[inline(always)]
#[must_use]
pub fn erf(x: f32) -> f32 {
    let square = x * x;
    let p = polynomial(
        square,
        [0.128_379_15, -0.376_124_86, 0.112_816_93, -0.026_761_483, 0.004_985_106_6, -0.000_594_797_9],
    );
    let inner = fma(p, x, x);
    // From 3.93 on, 1 is the nearest f32.
    let t = if x.abs() > 4.0 { 4.0 } else { x.abs() };
    let q = polynomial(
        t,
        [
            -0.128_648_5,
            -0.635_151_27,
            -0.106_236_94,
            0.023_762_101,
            -0.003_642_467_8,
            0.000_322_803_33,
            -0.000_011_230_942,
        ],
    );
    let outer = (1.0 - exp(fma(q, t, -t))).copysign(x);
    if x.abs() > 0.92 { outer } else { inner }
}

/// Bits of 2/π: entry i is `⌊2/π · 2^(8(i + 1))⌋ mod 2³²`.
#[rustfmt::skip]
const TWO_OVER_PI: [u32; 24] = [
    0x0000_00A2, 0x0000_A2F9, 0x00A2_F983, 0xA2F9_836E, 0xF983_6E4E, 0x836E_4E44,
    0x6E4E_4415, 0x4E44_1529, 0x4415_29FC, 0x1529_FC27, 0x29FC_2757, 0xFC27_57D1,
    0x2757_D1F5, 0x57D1_F534, 0xD1F5_34DD, 0xF534_DDC0, 0x34DD_C0DB, 0xDDC0_DB62,
    0xC0DB_6295, 0xDB62_9599, 0x6295_993C, 0x9599_3C43, 0x993C_4390, 0x3C43_9041,
];

/// (q, r) with |x| = q·π/2 + r, |r| ≤ π/4, q modulo 4.
///
/// Below 2²⁸ by Cody & Waite in f64. Beyond, by Payne & Hanek 1983 as in ARM's optimized-routines: 24 bits of mantissa
/// times the 96 bits of 2/π that matter at this exponent.
#[inline(always)]
fn split_quarter_turns(x: f32) -> (u64, f64) {
    // π/2 less its f64.
    const FRAC_PI_2_LO: f64 = 6.123_233_995_736_766e-17;
    let x = x.abs();
    let wide = f64::from(x);
    let shifted = fma_f64(wide, std::f64::consts::FRAC_2_PI, ROUND_F64);
    let q = shifted - ROUND_F64;
    let r = fma_f64(q, -FRAC_PI_2_LO, fma_f64(q, -FRAC_PI_2, wide));

    let bits = x.to_bits();
    let first = (bits >> 26 & 15) as usize;
    let mantissa = (bits & 0x007F_FFFF | 0x0080_0000) << (bits >> 23 & 7);
    let product = |i: usize| u64::from(mantissa).wrapping_mul(u64::from(TWO_OVER_PI[i]));
    // Quarter turns, modulo 4, in units of 2⁻⁶².
    let turns = (product(first) << 32).wrapping_add(product(first + 4)).wrapping_add(product(first + 8) >> 32);
    let nearest = turns.wrapping_add(1 << 61) >> 62;
    let rest = turns.wrapping_sub(nearest << 62) as i64;
    let far = rest as f64 * (FRAC_PI_2 / 4_611_686_018_427_387_904.0);

    if x < 268_435_456.0 { (shifted.to_bits(), r) } else { (nearest, if x < f32::INFINITY { far } else { f64::NAN }) }
}

/// The sine, in quarter `q` of the turn, of r beyond it.
#[inline(always)]
fn sin_quarter(q: u64, r: f64) -> f32 {
    let z = r * r;
    let s = polynomial_f64(
        z,
        [
            1.0,
            -0.166_666_666_442_021_88,
            0.008_333_329_577_933_537,
            -0.000_198_393_793_137_390_8,
            2.718_638_144_670_136e-6,
        ],
    );
    let c = polynomial_f64(
        z,
        [
            1.0,
            -0.5,
            0.041_666_666_647_919_79,
            -0.001_388_888_547_747_187_5,
            2.479_989_803_821_600_6e-5,
            -2.723_695_470_160_832_4e-7,
        ],
    );
    let magnitude = (if q & 1 == 0 { r * s } else { c }) as f32;
    if q & 2 == 0 { magnitude } else { -magnitude }
}

/// The sine.
#[inline(always)]
#[must_use]
pub fn sin(x: f32) -> f32 {
    let (q, r) = split_quarter_turns(x);
    let s = sin_quarter(q, r);
    if x.is_sign_negative() { -s } else { s }
}

/// The cosine.
#[inline(always)]
#[must_use]
pub fn cos(x: f32) -> f32 {
    let (q, r) = split_quarter_turns(x);
    sin_quarter(q.wrapping_add(1), r)
}

/// Sine and cosine within an eighth of a turn, |x| ≤ π/4, without the reduction that [`sin`] and [`cos`] begin with; to 0.9
/// units in the last place.
#[inline(always)]
#[must_use]
pub fn sin_cos_eighth(x: f32) -> (f32, f32) {
    let z = x * x;
    let s = polynomial(z, [-0.166_666_55, 0.008_332_189, -0.000_195_182_92]);
    let c = polynomial(z, [-0.5, 0.041_666_646, -0.001_388_731_1, 0.000_024_432_558]);
    (fma(x * z, s, x), fma(z, c, 1.0))
}

/// log₂ x, to 40 bits, for x ≥ 0.
#[inline(always)]
fn log2_f64(x: f64) -> f64 {
    // The bits of √½: the mantissa comes to stand in [√½, √2).
    const SQRT_HALF: u64 = 0x3FE6_A09E_667F_3BCD;
    let bits = x.to_bits();
    let shifted = bits.wrapping_sub(SQRT_HALF) & !0x000F_FFFF_FFFF_FFFF;
    let m = f64::from_bits(bits.wrapping_sub(shifted));
    // k to f64 by way of i32: AVX2 has no conversion from i64.
    let k = f64::from((shifted >> 32) as i32 >> 20);
    // 2 artanh s / ln 2.
    let s = (m - 1.0) / (m + 1.0);
    let p = polynomial_f64(
        s * s,
        [
            2.885_390_081_777_849_5,
            0.961_796_694_114_336_7,
            0.577_077_942_050_576_5,
            0.412_209_286_480_683_1,
            0.319_904_209_251_889_3,
            0.282_922_599_416_134_9,
        ],
    );
    let inside = fma_f64(s, p, k);
    let upper = if x < f64::INFINITY { inside } else { x };
    if x == 0.0 { f64::NEG_INFINITY } else { upper }
}

/// 2ˣ, to 39 bits; what is beyond f32's range stays beyond it.
#[inline(always)]
fn exp2_f64(x: f64) -> f64 {
    let x = if x > 130.0 { 130.0 } else { x };
    let x = if x < -160.0 { -160.0 } else { x };
    let shifted = x + ROUND_F64;
    let f = x - (shifted - ROUND_F64);
    let p = polynomial_f64(
        f,
        [
            1.0,
            0.693_147_180_541_076_9,
            0.240_226_506_947_330_1,
            0.055_504_109_598_082_205,
            0.009_618_129_561_621_981,
            0.001_333_343_364_095_083_8,
            0.000_154_030_967_075_630_12,
            1.531_434_678_901_595e-5,
            1.334_455_876_857_774_3e-6,
        ],
    );
    // The low bits of `shifted` are k, which goes to the exponent's place; the rest is shifted out.
    p * f64::from_bits((shifted.to_bits() << 52).wrapping_add(1.0_f64.to_bits()))
}

/// x to the power y: `2^(y log₂ |x|)` in f64, and the sign.
#[inline(always)]
#[must_use]
pub fn pow(x: f32, y: f32) -> f32 {
    let magnitude = exp2_f64(f64::from(y) * log2_f64(f64::from(x.abs()))) as f32;
    // 1, even where y · log₂ |x| is 0 · ∞.
    let one = y == 0.0 || x == 1.0 || (x == -1.0 && y.abs() == f32::INFINITY);
    let magnitude = if one { 1.0 } else { magnitude };
    let integer = y.floor() == y;
    let odd = integer && (y * 0.5).floor() != y * 0.5;
    let signed = if x.is_sign_negative() && odd { -magnitude } else { magnitude };
    let undefined = x < 0.0 && x > f32::NEG_INFINITY && !integer && y.abs() < f32::INFINITY;
    if undefined { f32::NAN } else { signed }
}

#[cfg(test)]
mod tests;

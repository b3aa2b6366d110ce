//! Every path against the software of the compiler's own library, bit for bit.
#![allow(clippy::disallowed_methods)]

use proptest::prelude::*;

use super::*;
use crate::simd::Flush;

/// Any exponent and sign, subnormals, zeros, infinities and NaN among them; often with few digits, so that sums are exact
/// or halfway, often near each other.
fn any_f32() -> impl Strategy<Value = f32> {
    let special = prop::sample::select(vec![
        0.0,
        -0.0,
        1.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MIN_POSITIVE,
        f32::MAX,
        f32::MIN,
        f32::from_bits(1),
        f32::from_bits(0x007F_FFFF),
    ]);
    prop_oneof![
        6 => any::<u32>().prop_map(f32::from_bits),
        4 => any::<u32>().prop_map(|bits| f32::from_bits(bits & 0xFFF8_0007)),
        4 => (-3000_i32..3000, -4_i32..4).prop_map(|(digits, exponent)| digits as f32 * 2_f32.powi(exponent)),
        4 => (0x3E00_0000_u32..0x4180_0000).prop_map(f32::from_bits),
        1 => special,
    ]
}

fn any_f64() -> impl Strategy<Value = f64> {
    let special = prop::sample::select(vec![
        0.0,
        -0.0,
        1.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        f64::MIN_POSITIVE,
        f64::MAX,
        f64::MIN,
        f64::from_bits(1),
        f64::from_bits(0x000F_FFFF_FFFF_FFFF),
    ]);
    prop_oneof![
        6 => any::<u64>().prop_map(f64::from_bits),
        4 => any::<u64>().prop_map(|bits| f64::from_bits(bits & 0xFFFF_C000_0000_0007)),
        4 => (-3000_i32..3000, -4_i32..4).prop_map(|(digits, exponent)| f64::from(digits) * 2_f64.powi(exponent)),
        4 => (0x3FC0_0000_0000_0000_u64..0x4030_0000_0000_0000).prop_map(f64::from_bits),
        1 => special,
    ]
}

/// The addend, or one that cancels the product, nearly: a few units of its last place off.
fn addend_f32((a, b, c, off): (f32, f32, f32, i32)) -> [f32; 3] {
    let near = f32::from_bits((-(a * b)).to_bits().wrapping_add_signed(off));
    [a, b, if off % 2 == 0 { c } else { near }]
}

fn addend_f64((a, b, c, off): (f64, f64, f64, i32)) -> [f64; 3] {
    let near = f64::from_bits((-(a * b)).to_bits().wrapping_add_signed(i64::from(off)));
    [a, b, if off % 2 == 0 { c } else { near }]
}

/// Bits, all NaN being one.
fn key_f32(x: f32) -> u32 {
    if x.is_nan() { u32::MAX } else { x.to_bits() }
}

fn key_f64(x: f64) -> u64 {
    if x.is_nan() { u64::MAX } else { x.to_bits() }
}

/// Result of a processor that has the instruction, in the mode in force.
#[target_feature(enable = "fma")]
fn hardware_f32(a: f32, b: f32, c: f32) -> f32 {
    a.mul_add(b, c)
}

#[target_feature(enable = "fma")]
fn hardware_f64(a: f64, b: f64, c: f64) -> f64 {
    a.mul_add(b, c)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn floats_have_the_bits_of_mul_add(x in (any_f32(), any_f32(), any_f32(), -6_i32..6).prop_map(addend_f32)) {
        let [a, b, c] = x;
        let expected = key_f32(a.mul_add(b, c));
        prop_assert_eq!(key_f32(f32_by_f64(a, b, c)), expected, "{:e} · {:e} + {:e}", a, b, c);
        // In every lane, beside lanes that take the quick way.
        for lane in 0..8 {
            let at = |x: f32| std::array::from_fn(|i| if i == lane { x } else { 1.0 });
            let found = f32_lanes::<8>(at(a), at(b), at(c));
            let others = if lane == 0 { found[7] } else { found[0] };
            prop_assert_eq!((key_f32(found[lane]), others), (expected, 2.0), "{:e} · {:e} + {:e}", a, b, c);
        }
    }

    #[test]
    fn doubles_have_the_bits_of_mul_add(x in (any_f64(), any_f64(), any_f64(), -6_i32..6).prop_map(addend_f64)) {
        let [a, b, c] = x;
        let expected = key_f64(a.mul_add(b, c));
        prop_assert_eq!(key_f64(f64_by_pairs(a, b, c)), expected, "{:e} · {:e} + {:e}", a, b, c);
        for lane in 0..4 {
            let at = |x: f64| std::array::from_fn(|i| if i == lane { x } else { 1.0 });
            let found = f64_lanes::<4>(at(a), at(b), at(c));
            let others = if lane == 0 { found[3] } else { found[0] };
            prop_assert_eq!((key_f64(found[lane]), others), (expected, 2.0), "{:e} · {:e} + {:e}", a, b, c);
        }
    }

    /// Subnormals as zeros, operands and results, as the instruction has them in that mode.
    #[test]
    fn subnormals_are_flushed_as_by_the_instruction(
        x in (any_f32(), any_f32(), any_f32(), -6_i32..6).prop_map(addend_f32),
        y in (any_f64(), any_f64(), any_f64(), -6_i32..6).prop_map(addend_f64),
    ) {
        if !is_x86_feature_detected!("fma") {
            return Ok(());
        }
        let flush = Flush::begin();
        let ([a, b, c], [d, e, f]) = (std::hint::black_box(x), std::hint::black_box(y));
        let found = (f32_by_f64(a, b, c), f32_lanes::<4>([a; 4], [b; 4], [c; 4])[1], f64_by_pairs(d, e, f));
        // SAFETY: the machine was found to have it.
        let (floats, doubles) = unsafe { (hardware_f32(a, b, c), hardware_f64(d, e, f)) };
        drop(flush);
        prop_assert_eq!(key_f32(found.0), key_f32(floats), "{:e} · {:e} + {:e}", a, b, c);
        prop_assert_eq!(key_f32(found.1), key_f32(floats), "{:e} · {:e} + {:e}", a, b, c);
        prop_assert_eq!(key_f64(found.2), key_f64(doubles), "{:e} · {:e} + {:e}", d, e, f);
    }
}

/// All pairs of exponents, with digits that make sums halfway and just beside.
#[test]
fn all_exponents() {
    let digits = [0x0000_0000_u32, 0x0000_0001, 0x0040_0000, 0x0040_0001, 0x007F_FFFF, 0x0055_5555];
    for product in 0..=255_u32 {
        for addend in 0..=255_u32 {
            for (i, &x) in digits.iter().enumerate() {
                let a = f32::from_bits(product << 23 | x);
                let b = f32::from_bits(0x3F80_0000 | digits[(i + product as usize) % 6]);
                let c = f32::from_bits(addend << 23 | digits[(i + addend as usize) % 6]);
                for (b, c) in [(b, c), (-b, c)] {
                    let expected = key_f32(a.mul_add(b, c));
                    assert_eq!(key_f32(f32_by_f64(a, b, c)), expected, "{a:e} · {b:e} + {c:e}");
                    let [lane, ..] = f32_lanes::<4>([a; 4], [b; 4], [c; 4]);
                    assert_eq!(key_f32(lane), expected, "{a:e} · {b:e} + {c:e}");
                }
            }
        }
    }
    for product in (0..=2047_u64).step_by(3) {
        for addend in
            (0..=2047_u64).step_by(5).chain([product, product.saturating_sub(53), product.saturating_sub(106)])
        {
            for (i, &x) in digits.iter().enumerate() {
                let wide = |x: u32| u64::from(x) << 29 | u64::from(x & 1);
                let a = f64::from_bits(product << 52 | wide(x));
                let b = f64::from_bits(1023 << 52 | wide(digits[(i + product as usize) % 6]));
                let c = f64::from_bits(addend << 52 | wide(digits[(i + addend as usize) % 6]));
                for (b, c) in [(b, c), (-b, c)] {
                    let expected = key_f64(a.mul_add(b, c));
                    assert_eq!(key_f64(f64_by_pairs(a, b, c)), expected, "{a:e} · {b:e} + {c:e}");
                }
            }
        }
    }
}

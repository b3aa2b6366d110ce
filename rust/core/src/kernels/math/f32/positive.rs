//! Inverse roots and powers of positive normal numbers: what a penalty takes of every weight in every step. Of other numbers
//! they make anything.

use super::{ROUND, polynomial, split_mantissa};

/// One by the square root, to 1.2e-6 of it: Lomont's guess, and a step with three terms about it.
#[inline(always)]
#[must_use]
pub fn rsqrt(x: f32) -> f32 {
    const GUESS: u32 = 0x5F37_59DF;
    let guess = f32::from_bits(GUESS.wrapping_sub(x.to_bits() >> 1));
    // 1/√x = guess · (1 − rest)^−½
    let rest = (-x * guess).mul_add(guess, 1.0);
    (guess * rest).mul_add(polynomial(rest, [0.500_000_6, 0.376_059_2, 0.312_928_76]), guess)
}

/// x to the power y, to a few units in the last place and one more for every 30 of |y · log₂ x|; 0 where it would be
/// subnormal.
#[inline(always)]
#[must_use]
pub fn pow(x: f32, y: f32) -> f32 {
    let (k, m) = split_mantissa(x);
    let (k, f) = ((k >> 23) as f32, m - 1.0);
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
    // ln(1 + f), of which y · log₂ e makes the exponent's share.
    let ln = (f * f).mul_add(f.mul_add(p, -0.5), f);
    let share = y * std::f32::consts::LOG2_E * ln;
    let exponent = y.mul_add(k, share);
    let shifted = exponent + ROUND;
    // y · k less the nearest integer is rounded but once.
    let rest = y.mul_add(k, ROUND - shifted) + share;
    let p = polynomial(
        rest,
        [1.0, std::f32::consts::LN_2, 0.240_226_48, 0.055_503_6, 0.009_618_506, 0.001_339_080_6, 0.000_153_264_61],
    );
    let power = f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23));
    let power = if exponent < -125.0 { 0.0 } else { power };
    if exponent > 127.0 { f32::INFINITY } else { power }
}

/// x to the power y, to 2e-6 of it, for |y| below 0.98: then no power of a normal number is 0 or infinite.
#[inline(always)]
#[must_use]
pub fn pow_below_1(x: f32, y: f32) -> f32 {
    const SQRT_HALF: i32 = 0x3F35_04F3;
    // Of log₂ m, by m − 1, for √½ to √2; and of 2ˣ, for −0.99 to 0.99.
    const LOG2: [f32; 6] = [1.442_713_5, -0.721_131_86, 0.479_348, -0.367_49, 0.322_154_9, -0.206_591_84];
    const EXP2: [f32; 7] =
        [1.000_000_1, 0.693_148_5, 0.240_224_34, 0.055_492_31, 0.009_623_484, 0.001_358_717_7, 0.000_151_806_38];
    let bits = x.to_bits() as i32;
    let k = bits.wrapping_sub(SQRT_HALF) & !0x007F_FFFF;
    let f = f32::from_bits(bits.wrapping_sub(k) as u32) - 1.0;
    // Of y · log₂ x, the exponent's share is rounded to an integer; the rest of it and the mantissa's share are below 1.
    let (k, per_k) = (k as f32, y / 8_388_608.0);
    let shifted = k.mul_add(per_k, ROUND);
    let rest = f.mul_add(polynomial(f, LOG2.map(|c| c * y)), k.mul_add(per_k, ROUND - shifted));
    f32::from_bits(polynomial(rest, EXP2).to_bits().wrapping_add(shifted.to_bits() << 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_roots() {
        let error = |bits: u32| {
            let x = f32::from_bits(bits);
            let exact = 1.0 / f64::from(x).sqrt();
            (f64::from(rsqrt(x)) / exact - 1.0).abs() * f64::from(1 << 23)
        };
        let worst = (f32::MIN_POSITIVE.to_bits()..f32::INFINITY.to_bits()).step_by(997).map(error).fold(0.0, f64::max);
        assert!(worst <= 9.0, "{worst}");
    }

    #[test]
    fn powers() {
        for y in [-0.5, 0.0, 0.25, 0.3, 1.0, 2.7, 10.0] {
            for i in 0..20_000 {
                let x = 2_f32.powf(i as f32 / 500.0 - 35.0);
                let (found, exact) = (pow(x, y), libm::pow(f64::from(x), f64::from(y)));
                if (2.5e-38..=3.4e38).contains(&exact) {
                    assert!((f64::from(found) / exact - 1.0).abs() <= 6e-7, "{x}, {y}: {found}, not {exact}");
                } else {
                    assert!(found <= 3e-38 || found == f32::INFINITY, "{x}, {y}: {found}");
                }
            }
        }
    }

    #[test]
    fn powers_below_1() {
        for y in [-0.97, -0.5, 0.0, 0.3, 0.97] {
            for i in 0..20_000 {
                let x = 2_f32.powf(i as f32 / 80.0 - 125.9);
                let (found, exact) = (pow_below_1(x, y), libm::pow(f64::from(x), f64::from(y)));
                assert!((f64::from(found) / exact - 1.0).abs() <= 2e-6, "{x}, {y}: {found}, not {exact}");
            }
        }
    }

    #[test]
    fn all_levels_give_the_same_bits() {
        use crate::kernels::penalty::Penalty;
        use crate::simd::{Level, set_level};
        let w: Vec<f32> = (0..1003).map(|i| (i as f32 - 500.0) / 37.0).collect();
        let all = |level| {
            set_level(level);
            [0.5, 0.7, 1.3, 1.5, 3.3].map(|p| {
                let penalty = Penalty::Power { strength: 0.7, p };
                let mut grad = vec![0.0; w.len()];
                penalty.gradient(1.0, &w, &mut grad);
                (penalty.row(&w).to_bits(), grad.into_iter().map(f32::to_bits).collect::<Vec<_>>())
            })
        };
        let portable = all(Level::Portable);
        assert!(portable == all(Level::Avx2) && portable == all(Level::Avx512));
    }
}

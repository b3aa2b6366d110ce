//! Errors in ulp against f64, special values, the same bits on every level.

use super::*;
use crate::kernels::testing::sweep_step;
use crate::simd::{self, Level};

const TWO_127: f64 = f64::from_bits((1023 + 127) << 52);

type OverSlice = fn(&[f32], &mut [f32]);

macro_rules! over_slices {
    ($($name:ident),+) => {
        /// Each function over a slice, as kernels call it.
        mod over {
            $(crate::simd! {
                pub fn $name(x: &[f32], y: &mut [f32]) {
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = super::super::$name(x);
                    }
                }
            })+
        }
    };
}
over_slices!(exp, exp_m1, ln, ln_1p, tanh, sigmoid, erf, sin, cos);

crate::simd! {
    fn pow_over(x: &[f32], exponent: &[f32], y: &mut [f32]) {
        for ((y, &x), &exponent) in y.iter_mut().zip(x).zip(exponent) {
            *y = pow(x, exponent);
        }
    }
}

fn sigmoid_f64(x: f64) -> f64 {
    if x < 0.0 { libm::exp(x) / (1.0 + libm::exp(x)) } else { 1.0 / (1.0 + libm::exp(-x)) }
}

/// Name, function, reference, the largest error in ulp: the one measured over all arguments, rounded up.
type Row = (&'static str, OverSlice, fn(f64) -> f64, f64);
const FUNCTIONS: [Row; 9] = [
    ("exp", over::exp, libm::exp, 0.91),
    ("exp_m1", over::exp_m1, libm::expm1, 1.44),
    ("ln", over::ln, libm::log, 0.89),
    ("ln_1p", over::ln_1p, libm::log1p, 1.60),
    ("tanh", over::tanh, libm::tanh, 2.50),
    ("sigmoid", over::sigmoid, sigmoid_f64, 2.41),
    ("erf", over::erf, libm::erf, 1.06),
    ("sin", over::sin, libm::sin, 0.51),
    ("cos", over::cos, libm::cos, 0.51),
];

/// The distance in units of the last place of `want`'s binade; 0 where both are NaN, or the same infinity.
fn ulps(got: f32, want: f64) -> f64 {
    if want.is_nan() || got.is_nan() {
        return if want.is_nan() && got.is_nan() { 0.0 } else { f64::INFINITY };
    }
    // Beyond f32's range, ∞ counts as 2¹²⁸, the number that would come next.
    let clip = |x: f64| x.clamp(-2.0 * TWO_127, 2.0 * TWO_127);
    let want = clip(want);
    let exponent = (want.to_bits() >> 52 & 0x7FF).clamp(1023 - 126, 1023 + 127);
    let per_ulp = f64::from_bits((2046 + 23 - exponent) << 52);
    (clip(f64::from(got)) - want).abs() * per_ulp
}

/// The largest error over every `stride`-th bit pattern, and where.
fn sweep(function: OverSlice, reference: fn(f64) -> f64, stride: usize) -> (f64, f32) {
    let (mut x, mut y) = ([0.0; 1024], [0.0; 1024]);
    let mut worst = (0.0, 0.0);
    let mut patterns = (0..=u32::MAX).step_by(stride).peekable();
    while patterns.peek().is_some() {
        for (x, bits) in x.iter_mut().zip(&mut patterns) {
            *x = f32::from_bits(bits);
        }
        function(&x, &mut y);
        for (&x, &y) in x.iter().zip(&y) {
            let error = ulps(y, reference(f64::from(x)));
            if error > worst.0 {
                worst = (error, x);
            }
        }
    }
    worst
}

fn check_sweep(stride: usize) {
    let check = |&(name, function, reference, bound): &Row| {
        let (error, x) = sweep(function, reference, stride);
        println!("{name}: {error:.3} ulp at {x:e}");
        assert!(error <= bound, "{name}({x:e}): {error} ulp");
    };
    // Two at a time: the whole sweep takes minutes.
    let (first, second) = FUNCTIONS.split_at(FUNCTIONS.len() / 2);
    std::thread::scope(|scope| {
        scope.spawn(|| first.iter().for_each(check));
        second.iter().for_each(check);
    });
}

#[test]
fn errors_are_within_bounds() {
    check_sweep(sweep_step(10_007));
}

#[test]
#[ignore = "all 2^32 arguments of nine functions: half an hour with --release"]
fn errors_are_within_bounds_everywhere() {
    check_sweep(1);
}

/// Pairs whose power is mostly finite: x over all positive numbers, y · log₂ x over ±160.
fn check_pow(pairs: u64) {
    let draw = crate::rng::Draw { seed: 1, stream: 0, call: 0 };
    let mut worst = (0.0, 0.0, 0.0);
    for first in (0..pairs).step_by(1024) {
        let (mut x, mut exponent, mut y) = ([0.0; 1024], [0.0; 1024], [0.0; 1024]);
        for (i, (x, exponent)) in (first..).zip(x.iter_mut().zip(&mut exponent)) {
            let [a, b, c, _] = draw.block(i);
            // One in four bases is near 1, where exponents are large.
            *x = if c % 4 == 0 { 1.0 + (a as f32 - 2e9) * 1e-10 } else { f32::from_bits(a % 0x7F80_0000) };
            *exponent = ((f64::from(b) / 2.0_f64.powi(31) - 1.0) * 160.0 / libm::log2(f64::from(*x))) as f32;
        }
        pow_over(&x, &exponent, &mut y);
        for ((&x, &exponent), &y) in x.iter().zip(&exponent).zip(&y) {
            let error = ulps(y, libm::pow(f64::from(x), f64::from(exponent)));
            if error > worst.0 {
                worst = (error, x, exponent);
            }
        }
    }
    println!("pow: {worst:?}");
    assert!(worst.0 <= 0.51, "{worst:?}");
}

#[test]
fn pow_is_within_bounds() {
    check_pow(1 << 17);
}

#[test]
#[ignore = "10^8 pairs: ten seconds"]
fn pow_is_within_bounds_on_many_pairs() {
    check_pow(100_000_000);
}

/// Every pair of special values, against C's Annex F as libm has it, signs of zeros included.
#[test]
fn pow_of_special_values() {
    let values = [
        0.0,
        1.0,
        2.0,
        3.0,
        0.5,
        1.5,
        4.0,
        1e-45,
        1e-38,
        1e10,
        16_777_215.0,
        16_777_216.0,
        3e38,
        f32::INFINITY,
        f32::NAN,
    ];
    let signed = || values.iter().flat_map(|&v| [v, -v]);
    for x in signed() {
        for y in signed() {
            let (got, want) = (pow(x, y), libm::pow(f64::from(x), f64::from(y)) as f32);
            let same = got.is_nan() && want.is_nan() || got.is_sign_negative() == want.is_sign_negative();
            assert!(same && ulps(got, f64::from(want)) <= 1.0, "pow({x:e}, {y:e}): {got:e}, not {want:e}");
        }
    }
}

/// Properties that a bound in ulp does not cover: signs of zeros, exact ends.
#[test]
fn special_values() {
    let check = |name: &str, got: f32, want: f32| {
        assert!(got.to_bits() == want.to_bits(), "{name}: {got:e}, not {want:e}");
    };
    for (name, function) in
        [("exp_m1", exp_m1 as fn(f32) -> f32), ("ln_1p", ln_1p), ("tanh", tanh), ("erf", erf), ("sin", sin)]
    {
        for x in [0.0, 1e-45, 1e-40, f32::MIN_POSITIVE] {
            let want = if name == "erf" { libm::erff(x) } else { x };
            check(name, function(x), want);
            check(name, function(-x), -want);
        }
    }
    let infinity = f32::INFINITY;
    check("exp", exp(-infinity), 0.0);
    check("exp", exp(infinity), infinity);
    check("exp", exp(-0.0), 1.0);
    check("exp", exp(-103.9), f32::from_bits(1));
    check("exp_m1", exp_m1(-infinity), -1.0);
    check("tanh", tanh(-infinity), -1.0);
    check("tanh", tanh(9.1), 1.0);
    check("sigmoid", sigmoid(-infinity), 0.0);
    check("sigmoid", sigmoid(0.0), 0.5);
    check("sigmoid", sigmoid(infinity), 1.0);
    check("erf", erf(-infinity), -1.0);
    check("ln", ln(-0.0), -infinity);
    check("ln", ln(1.0), 0.0);
    check("cos", cos(0.0), 1.0);
    assert!([exp, exp_m1, ln, ln_1p, tanh, sigmoid, erf, sin, cos].iter().all(|f| f(f32::NAN).is_nan()));
    assert!(ln(-1e-45).is_nan() && ln_1p(-1.1).is_nan() && sin(infinity).is_nan() && cos(-infinity).is_nan());
}

#[test]
fn all_levels_give_the_same_bits() {
    let x: Vec<f32> = (0..=u32::MAX).step_by(65_537).map(f32::from_bits).collect();
    let exponent: Vec<f32> = x.iter().rev().map(|x| x % 40.0).collect();
    let run = |level| {
        simd::set_level(level);
        let mut bits = Vec::new();
        let mut y = vec![0.0; x.len()];
        for (_, function, ..) in FUNCTIONS {
            function(&x, &mut y);
            // A NaN's payload is nobody's promise.
            bits.extend(y.iter().map(|y| if y.is_nan() { 0 } else { y.to_bits() }));
        }
        pow_over(&x, &exponent, &mut y);
        bits.extend(y.iter().map(|y| if y.is_nan() { 0 } else { y.to_bits() }));
        bits
    };
    let portable = run(Level::Portable);
    assert!(portable == run(Level::Avx2));
    assert!(portable == run(Level::Avx512));
}

#[test]
#[ignore = "a measurement, with --release"]
fn nanoseconds_an_element() {
    let x: Vec<f32> = (0..4096).map(|i| i as f32 / 400.0 - 5.0).collect();
    let mut y = vec![0.0; x.len()];
    for level in [Level::Avx2, Level::Avx512] {
        simd::set_level(level);
        for (name, function, ..) in FUNCTIONS {
            let best = (0..500)
                .map(|_| {
                    let start = std::time::Instant::now();
                    function(&x, std::hint::black_box(&mut y));
                    start.elapsed().as_nanos()
                })
                .min();
            println!("{level:?} {name}: {:.2} ns", best.unwrap_or(0) as f64 / x.len() as f64);
        }
    }
}

/// Every 97th number up to π/4, of either sign.
#[test]
fn an_eighth_of_a_turn() {
    let ends = (0..=std::f32::consts::FRAC_PI_4.to_bits()).step_by(sweep_step(97)).map(f32::from_bits);
    for x in ends.flat_map(|x| [x, -x]) {
        let (sin, cos) = sin_cos_eighth(x);
        let errors = [ulps(sin, libm::sin(f64::from(x))), ulps(cos, libm::cos(f64::from(x)))];
        assert!(errors.iter().all(|&e| e <= 0.9), "{x}: {errors:?}");
    }
}

#[test]
fn ln_normal_is_ln() {
    for x in (f32::MIN_POSITIVE.to_bits()..f32::INFINITY.to_bits()).step_by(sweep_step(9973)).map(f32::from_bits) {
        assert_eq!(ln_normal(x), ln(x), "{x}");
    }
}

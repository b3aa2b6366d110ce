use proptest::prelude::*;

use super::*;

const DRAW: Draw = Draw { seed: 0x1234_5678_9ABC_DEF0, stream: 7, call: 0x1_0000_0003 };

fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    philox_wide(counter.map(u64::from), key).map(|word| u32::try_from(word).unwrap())
}

/// The known answers that come with the authors' library (`kat_vectors`, philox4x32 10).
#[test]
fn known_answers() {
    let ones = u32::MAX;
    assert_eq!(philox([0; 4], [0; 2]), [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8]);
    assert_eq!(philox([ones; 4], [ones; 2]), [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD]);
    assert_eq!(
        philox([0x243F_6A88, 0x85A3_08D3, 0x1319_8A2E, 0x0370_7344], [0xA409_3822, 0x299F_31D0]),
        [0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1]
    );
}

/// The table in the module's head.
#[test]
fn seed_stream_call_and_block_each_have_their_words() {
    let draw = Draw { seed: 0x1111_1111_2222_2222, stream: 0x3333, call: 0x4444_4444_5555_5555 };
    let expected = philox([0x7777_7777, 0x66 ^ 0x3333, 0x5555_5555, 0x4444_4444], [0x2222_2222, 0x1111_1111]);
    assert_eq!(draw.block(0x66_7777_7777), expected);
}

fn check_split<T: Float>(make: impl Fn(usize, &mut [T]), first: usize, len: usize) {
    let mut whole = vec![T::ZERO; first + len];
    make(0, &mut whole);
    let mut part = vec![T::ZERO; len];
    make(first, &mut part);
    assert_eq!(part, whole[first..]);
}

proptest! {
    #[test]
    fn any_split_gives_the_same_numbers(first in 0_usize..300, len in 0_usize..300) {
        check_split::<f32>(|first, out| uniform(DRAW, first, out), first, len);
        check_split::<f64>(|first, out| uniform(DRAW, first, out), first, len);
        check_split::<f32>(|first, out| normal(DRAW, first, out), first, len);
        check_split::<f64>(|first, out| normal(DRAW, first, out), first, len);
        let (mut whole, mut part) = (vec![0; first + len], vec![0; len]);
        bernoulli(DRAW, 0.3, 0, &mut whole);
        bernoulli(DRAW, 0.3, first, &mut part);
        prop_assert_eq!(&part[..], &whole[first..]);
    }

    #[test]
    fn permutation_has_every_index_once(n in 0_usize..300) {
        let mut sorted = permutation(DRAW, n);
        sorted.sort_unstable();
        prop_assert!(sorted.iter().map(|&i| i as usize).eq(0..n));
    }
}

/// Mean, variance, third and fourth moment, within five standard errors of n = 2¹⁸ draws.
fn check_moments<T: Float>(expected: [f64; 4], errors: [f64; 4], make: fn(Draw, usize, &mut [T])) {
    let mut out = vec![T::ZERO; 1 << 18];
    make(DRAW, 0, &mut out);
    for (power, (expected, error)) in (1..).zip(expected.into_iter().zip(errors)) {
        let mean = out.iter().map(|x| x.to_f64().powi(power)).sum::<f64>() / out.len() as f64;
        assert!((mean - expected).abs() < 5.0 * error / 512.0, "moment {power}: {mean}, not {expected}");
    }
}

#[test]
fn moments() {
    // The standard deviation of x^k is √(E x^2k − (E x^k)²).
    let deviation = |k: f64| (1.0 / (2.0 * k + 1.0) - (1.0 / (k + 1.0)).powi(2)).sqrt();
    let errors = [deviation(1.0), deviation(2.0), deviation(3.0), deviation(4.0)];
    check_moments::<f32>([0.5, 1.0 / 3.0, 0.25, 0.2], errors, uniform);
    check_moments::<f64>([0.5, 1.0 / 3.0, 0.25, 0.2], errors, uniform);
    let errors = [1.0, 2.0, 15.0, 96.0].map(f64::sqrt);
    check_moments::<f32>([0.0, 1.0, 0.0, 3.0], errors, normal);
    check_moments::<f64>([0.0, 1.0, 0.0, 3.0], errors, normal);
}

#[test]
fn all_levels_give_the_same_bits() {
    let run = |level| {
        simd::set_level(level);
        let (mut singles, mut doubles) = (vec![0.0_f32; 4099], vec![0.0_f64; 4099]);
        normal(DRAW, 1, &mut singles);
        normal(DRAW, 1, &mut doubles);
        (singles, doubles)
    };
    let portable = run(simd::Level::Portable);
    assert!(portable == run(simd::Level::Avx2));
    assert!(portable == run(simd::Level::Avx512));
}

/// The formula, in f64, of the integers that the table in [`normal`]'s documentation names.
#[test]
fn normal_numbers_are_box_and_mullers() {
    let mut out = vec![0.0_f32; 40_000];
    normal(DRAW, 0, &mut out);
    for (q, pair) in out.as_chunks::<2>().0.iter().enumerate() {
        let words = DRAW.block(q as u64 / 2);
        let [a, b] = [words[q % 2 * 2], words[q % 2 * 2 + 1]];
        let radius = (-2.0 * libm::log((f64::from(a >> 1) + 0.5) / 2_f64.powi(31))).sqrt();
        let angle = std::f64::consts::TAU * f64::from(b >> 8) / 2_f64.powi(24);
        for (z, exact) in pair.iter().zip([radius * libm::cos(angle), radius * libm::sin(angle)]) {
            // The first is a few units in the last place, the second what a rounded u does to the radius.
            let error = 4e-7 * radius + 8e-8 / radius;
            assert!((f64::from(*z) - exact).abs() < error, "pair {q}: {z}, not {exact}");
        }
    }
}

/// Extreme blocks: no number is NaN or infinite, and none beyond √(64 ln 2).
#[test]
fn normal_numbers_are_finite() {
    for a in [0, 1, 2, 0x7FFF_FFFF, 0x8000_0000, u32::MAX - 1, u32::MAX] {
        for b in (0..=u32::MAX).step_by(0x0FFF_FF01).chain([u32::MAX]) {
            let [x, y, ..] = normals::<f64>([a, b, 0, 0]);
            assert!(x.hypot(y) <= 6.661, "{a}, {b}: {x}, {y}");
        }
    }
}

#[test]
fn added_numbers_are_those_of_normal() {
    for (first, len) in [(0, 300), (3, 125), (127, 2), (300, 0), (255, 1000)] {
        let x: Vec<f32> = (0..len).map(|i| i as f32 * 0.37 - 40.0).collect();
        let (mut z, mut y) = (vec![0.0_f32; len], vec![0.0; len]);
        normal(DRAW, first, &mut z);
        add_normal(DRAW, 0.3, first, &x, &mut y);
        assert!(x.iter().zip(&z).zip(&y).all(|((x, z), y)| *y == 0.3_f32.mul_add(*z, *x)));
    }
}

#[test]
fn uniform_is_below_one_and_uses_all_its_bits() {
    let mut out = vec![0.0_f32; 1 << 16];
    uniform(DRAW, 0, &mut out);
    assert!(out.iter().all(|x| (0.0..1.0).contains(x)));
    assert!(out.iter().any(|x| (x * 16_777_216.0) % 2.0 == 1.0));
    let mut out = vec![0.0_f64; 1 << 16];
    uniform(DRAW, 0, &mut out);
    assert!(out.iter().all(|x| (0.0..1.0).contains(x)));
    assert!(out.iter().any(|x| (x * 9_007_199_254_740_992.0) % 2.0 == 1.0));
}

#[test]
fn bernoulli_keeps_its_rate_and_its_ends() {
    let mut out = vec![0; 1 << 18];
    bernoulli(DRAW, 0.3, 0, &mut out);
    let rate = out.iter().map(|&x| f64::from(x)).sum::<f64>() / out.len() as f64;
    assert!((rate - 0.3).abs() < 5.0 * (0.21_f64).sqrt() / 512.0, "{rate}");
    bernoulli(DRAW, 1.0, 0, &mut out);
    assert!(out.iter().all(|&x| x == 1));
    bernoulli(DRAW, 0.0, 0, &mut out);
    assert!(out.iter().all(|&x| x == 0));
}

/// All 24 orders of four, by χ² with 23 degrees of freedom (49.7 is its 0.1 % point). Swapping with `0..n` instead
/// of `0..=i`, the classic mistake, gives far more.
#[test]
fn permutations_are_equally_likely() {
    const TRIALS: u64 = 24_000;
    let mut counts = std::collections::HashMap::new();
    for call in 0..TRIALS {
        *counts.entry(permutation(Draw { call, ..DRAW }, 4)).or_insert(0_u32) += 1;
    }
    let expected = TRIALS as f64 / 24.0;
    let chi2: f64 = counts.values().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
    assert!(counts.len() == 24 && chi2 < 49.7, "{} orders, χ² = {chi2}", counts.len());
}

/// A bound just above 2³¹ refuses almost every second word: the rejection runs, and the halves stay even.
#[test]
fn below_is_unbiased_where_most_words_are_refused() {
    let n = (1_u32 << 31) + 1;
    let low = (0..10_000).filter(|&index| below(DRAW, n, index) < n / 2).count();
    assert!((4_750..5_250).contains(&low), "{low}");
}

#[test]
#[ignore = "a measurement, with --release"]
fn nanoseconds_a_number() {
    let mut out = vec![0.0_f32; 1 << 14];
    for (name, make) in [("uniform", uniform as fn(Draw, usize, &mut [f32])), ("normal", normal)] {
        let time = |_| {
            let start = std::time::Instant::now();
            make(DRAW, 0, &mut out);
            start.elapsed().as_nanos()
        };
        println!("{name}: {:.2} ns", (0..100).map(time).min().unwrap_or(0) as f64 / 16_384.0);
    }
}

#[test]
fn generator_goes_on_from_its_state() {
    let mut generator = Generator::new(5);
    let first = generator.next_call(1);
    let state = generator.state();
    let second = generator.next_call(1);
    assert_eq!((first.call, second.call, second.seed, second.stream), (0, 1, 5, 1));
    let mut other = Generator::new(0);
    other.set_state(state);
    assert_eq!(other.next_call(1), second);
    other.manual_seed(5);
    assert_eq!(other.next_call(1), first);
}

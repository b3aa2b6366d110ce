use super::*;
use crate::kernels::testing::{SIZES, bits, on_all_levels, random};

#[test]
fn every_loop_gives_the_function_at_every_element_on_every_level() {
    for n in SIZES {
        let (a, b) = (random::<f32>(n, 1), random::<f32>(n, 2));
        let expected: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a / b).collect();
        let found = on_all_levels(|| {
            let mut y = vec![0.0; n];
            zip(Div, &a, &b, &mut y);
            bits(&y)
        });
        assert_eq!(found, bits(&expected), "{n}");
        let mut y = a.clone();
        zip_in_place(Div, &mut y, &b);
        assert_eq!(y, expected);
        zip_left(Sub, 3.0, &a, &mut y);
        assert!(y.iter().zip(&a).all(|(&y, &a)| y == 3.0 - a));
        zip_right(Sub, &a, 3.0, &mut y);
        assert!(y.iter().zip(&a).all(|(&y, &a)| y == a - 3.0));
    }
}

#[test]
fn integer_powers_round_towards_zero() {
    let cases = [(2, 10, 1024), (-3, 3, -27), (5, 0, 1), (0, 0, 1), (2, -1, 0), (1, -5, 1), (-1, -3, -1), (-1, -2, 1)];
    for (a, b, expected) in cases {
        assert_eq!(i64::power(a, b), expected, "{a}^{b}");
    }
}

#[test]
fn nan_wins_in_extremes_from_either_side() {
    let nan = f64::NAN;
    for (a, b) in [(1.0, nan), (nan, 1.0)] {
        assert!(Zip::call(Maximum, a, b).is_nan() && Zip::call(Minimum, a, b).is_nan());
    }
}

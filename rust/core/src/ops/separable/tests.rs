use super::*;
use crate::ops::gradcheck_nn::{close, gradcheck, message, noise, same_bits_for_any_team};

const INCLUDED: Divisor = Divisor { count_include_pad: true, fixed: None };

fn window(kernel: usize, stride: usize, padding: usize, ceil_mode: bool) -> Pooling {
    Pooling {
        name: "avg_pool2d",
        dims: 2,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 2],
        dilation: [1; 2],
        ceil_mode,
    }
}

#[test]
fn means_count_what_they_are_told_to() {
    let x = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[1, 2, 2]);
    let pooling = window(2, 2, 1, false);
    close(&avg_pool(&x, &pooling, INCLUDED).unwrap(), &[0.25, 0.5, 0.75, 1.0], 1e-15);
    let inside = Divisor { count_include_pad: false, fixed: None };
    close(&avg_pool(&x, &pooling, inside).unwrap(), &[1.0, 2.0, 3.0, 4.0], 1e-15);
    let fixed = Divisor { count_include_pad: false, fixed: Some(-2) };
    close(&avg_pool(&x, &pooling, fixed).unwrap(), &[-0.5, -1.0, -1.5, -2.0], 1e-15);
}

#[test]
fn patterns_are_found_and_turn_into_each_other() {
    let pairs = Taps::means(7, (0..3).map(|i| (2 * i, 2 * i + 2, 0.5)));
    let twice = pairs.transposed();
    assert_eq!((pairs.pattern, twice.pattern), (Pattern::Pairs, Pattern::Twice));
    assert_eq!((twice.inputs, twice.outputs()), (3, 7));
    assert_eq!(twice.transposed(), pairs);
    assert_eq!(Taps::copies(3, 0..3).pattern, Pattern::Identity);
    assert_eq!(Taps::copies(3, [0, 2, 1].into_iter()).pattern, Pattern::General);
}

#[test]
fn gradients_are_differences() {
    for (kernel, stride, padding, ceil) in [(2, 2, 0, false), (3, 2, 1, true), (3, 1, 1, false), (2, 3, 1, true)] {
        gradcheck(&[noise(&[2, 3, 5, 7], 1)], |x| avg_pool(&x[0], &window(kernel, stride, padding, ceil), INCLUDED));
    }
    gradcheck(&[noise(&[2, 5, 7], 1)], |x| adaptive_avg_pool(&x[0], "adaptive_avg_pool2d", 2, [3, 4]));
    let linear = Interpolation::Linear { align_corners: false };
    for (output, mode) in [([10, 14], Interpolation::Nearest), ([3, 9], linear), ([1, 1], Interpolation::NearestExact)]
    {
        gradcheck(&[noise(&[2, 1, 5, 7], 1)], |x| upsample(&x[0], "interpolate", output, [None; 2], mode));
    }
    for mode in [Outside::Reflect, Outside::Replicate, Outside::Circular] {
        gradcheck(&[noise(&[2, 3, 4], 1)], |x| pad_from_inside(&x[0], 2, [(2, -1), (1, 3)], mode));
    }
}

#[test]
fn bits_do_not_depend_on_the_team() {
    let rows = Arc::new(Taps::means(9, (0..4).map(|i| (2 * i, 2 * i + 3, 0.3))));
    let cols = Arc::new(Taps::means(7, (0..3).map(|i| (2 * i, 2 * i + 2, 0.5))));
    let op = Separable { name: "avg_pool2d", dims: 2, rows, cols };
    same_bits_for_any_team(&op, &[noise(&[5, 3, 9, 7], 1)]);
}

#[test]
fn what_cannot_be_is_named() {
    let x = noise(&[1, 3, 4], 1);
    let message_of = |padding, mode| message(pad_from_inside(&x, 2, padding, mode));
    assert_eq!(
        message_of([(3, 0), (0, 0)], Outside::Reflect),
        "pad: expected padding of less than the input, which is (1, 3, 4); got 3"
    );
    assert_eq!(
        message_of([(0, 0), (-2, -2)], Outside::Replicate),
        "pad: expected padding that leaves something of (1, 3, 4); got (-2, -2)"
    );
}

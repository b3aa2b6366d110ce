use super::*;
use crate::kernels::testing::{bits, on_all_levels};
use crate::ops::gradcheck_nn::{close, gradcheck, message, noise, same_bits_for_any_team, to};

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
fn stretches_are_found() {
    let pooled = |n: usize, kernel: usize, stride: usize, padding: usize| {
        let range = |i: usize| ((i * stride).saturating_sub(padding), (i * stride + kernel - padding).min(n), 0.5);
        Taps::means("mean", n, (n + 2 * padding - kernel) / stride + 1, range).unwrap()
    };
    let found = |taps: &Taps| {
        let Stretch { from, to, period, step, before, after, .. } = taps.find_stretch();
        ((from..to), (period, step), (before, after))
    };
    let tiles = pooled(7, 2, 2, 0);
    assert_eq!(found(&tiles).0, 0..0, "three outputs are not worth a loop");
    // All outputs, those at the borders as if zeros were there.
    assert_eq!(found(&pooled(12, 3, 2, 1)), (0..6, (1, 2), (1, 0)));
    assert_eq!(found(&pooled(12, 3, 2, 1).transposed("mean").unwrap()), (0..12, (2, 1), (0, 1)));
    assert_eq!(found(&pooled(9, 4, 1, 2)), (0..10, (1, 1), (2, 2)));
    assert_eq!(found(&pooled(9, 4, 1, 2).transposed("mean").unwrap()), (0..9, (1, 1), (1, 1)));
    assert_eq!(found(&pooled(9, 9, 1, 0).transposed("mean").unwrap()), (0..9, (1, 0), (0, 0)));
    assert_eq!(pooled(9, 9, 1, 0).transposed("mean").unwrap().runs(), [0, 9]);
    // Not what has other weights or an end of its own.
    let replicated = Taps::copies("copy", 6, [0, 0, 0, 1, 2, 3, 4, 5, 5].into_iter()).unwrap();
    assert_eq!(found(&replicated), (2..8, (1, 1), (0, 0)));
    assert_eq!(replicated.runs(), [0, 3, 4, 5, 6, 7, 9]);
    assert_eq!(found(&Taps::copies("copy", 4, [3, 1, 0, 2, 1].into_iter()).unwrap()), (0..0, (0, 0), (0, 0)));
}

#[test]
fn planes_are_products_with_both_matrices() {
    let matrix = |taps: &Taps| {
        let mut dense = vec![0.0; taps.outputs() * taps.inputs];
        for i in 0..taps.outputs() {
            let (at, weights) = taps.of(i);
            at.iter().zip(weights).for_each(|(&at, w)| dense[i * taps.inputs + at as usize] += w);
        }
        dense
    };
    // Widths around those of registers; more lines than are made at once.
    for (height, width) in [(3, 5), (9, 16), (5, 33), (40, 131), (7, 700)] {
        for (kernel, stride, padding) in [(3, 2, 1), (2, 2, 0), (3, 1, 1), (5, 3, 2), (3, 2, 0), (2, 4, 1), (1, 2, 0)] {
            let axis = |n: usize| {
                let range = |i: usize| {
                    let (first, end) = ((i * stride).saturating_sub(padding), (i * stride + kernel - padding).min(n));
                    (first, end, 1.0 / (end - first) as f64)
                };
                Taps::means("mean", n, (n + 2 * padding - kernel) / stride + 1, range).unwrap()
            };
            for [rows, cols] in [
                [axis(height), axis(width)],
                [axis(height).transposed("mean").unwrap(), axis(width).transposed("mean").unwrap()],
            ] {
                let shape = [2, rows.inputs, cols.inputs];
                let x = noise(&shape, 3);
                let (r, c, values) = (matrix(&rows), matrix(&cols), x.to_vec_f64());
                let (m, n, k, l) = (rows.outputs(), cols.outputs(), rows.inputs, cols.inputs);
                let mut expected = vec![];
                for plane in values.chunks(k * l) {
                    let sum = |i: usize, q: usize| (0..k).map(|p| r[i * k + p] * plane[p * l + q]).sum::<f64>();
                    let lines: Vec<f64> = (0..m * l).map(|o| sum(o / l, o % l)).collect();
                    let sum = |i: usize, j: usize| (0..l).map(|q| lines[i * l + q] * c[j * l + q]).sum::<f64>();
                    expected.extend((0..m * n).map(|o| sum(o / n, o % n)));
                }
                let op = || by_axes(&x, "avg_pool2d", 2, [rows.clone(), cols.clone()]).unwrap();
                on_all_levels(|| bits(&op().to_vec_f64()));
                close(&op(), &expected, 1e-13);
                let x = to(&x, DType::F32);
                let op = || by_axes(&x, "avg_pool2d", 2, [rows.clone(), cols.clone()]).unwrap();
                on_all_levels(|| bits(&op().to_vec_f64()));
                close(&op(), &expected, 1e-5);
            }
        }
    }
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
    let rows = Taps::means("mean", 9, 4, |i| (2 * i, 2 * i + 3, 0.3)).unwrap();
    let cols = Taps::means("mean", 11, 5, |i| (2 * i, 2 * i + 2, 0.5)).unwrap();
    same_bits_for_any_team(&Separable::new("avg_pool2d", 2, [rows, cols]), &[noise(&[5, 3, 9, 11], 1)]);
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

#[test]
fn tables_are_refused_before_they_are_made() {
    let x = Tensor::zeros(&[1, 1, 4, 4], DType::F32);
    let refused = adaptive_avg_pool(&x, "adaptive_avg_pool2d", 2, [1 << 40, 1]);
    assert_eq!(
        message(refused),
        "adaptive_avg_pool2d: expected output_size in [1, 2147483647]; got (1099511627776, 1)"
    );
    // More taps than 32 bits can number.
    let taps = Taps::means("mean", 1 << 20, 1 << 20, |_| (0, 1 << 20, 1.0));
    assert!(matches!(taps, Err(Error::Memory(_))));
}

use super::*;
use crate::kernels::testing::{SIZES, assert_close, bits, on_all_levels, random, tolerance, transposed, wide};

/// The three functions of one axis, in f64.
fn reference(x: &[f64]) -> (Vec<f64>, Vec<f64>, f64) {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log = max + x.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
    (x.iter().map(|x| (x - log).exp()).collect(), x.iter().map(|x| x - log).collect(), log)
}

type Results<T> = [Vec<T>; 6];

/// Everything, forward and backward.
fn run<T: Float>(x: &[T], grad: &[T], grad_of_sum: &[T], axis: Axis) -> Results<T> {
    let new = || vec![T::ZERO; x.len()];
    let (mut y, mut log_y, mut lse) = (new(), new(), vec![T::ZERO; axis.results()]);
    let (mut dy, mut dlog, mut dlse) = (new(), new(), new());
    softmax(x, axis, &mut y);
    log_softmax(x, axis, &mut log_y);
    logsumexp(x, axis, &mut lse);
    softmax_backward(grad, &y, axis, &mut dy);
    log_softmax_backward(grad, &log_y, axis, &mut dlog);
    logsumexp_backward(grad_of_sum, x, &lse, axis, &mut dlse);
    [y, log_y, lse, dy, dlog, dlse]
}

fn check<T: Float>() {
    for len in SIZES {
        for rows in [0, 1, 3, 16, 21] {
            // Far from 0: without subtracting the maximum, the exponentials overflow.
            let x: Vec<T> =
                random::<T>(rows * len, 20).iter().map(|&x| T::from_f64(1e4) + T::from_f64(4.0) * x).collect();
            let (grad, grad_of_sum) = (random::<T>(rows * len, 21), random::<T>(rows, 22));
            let found = on_all_levels(|| run(&x, &grad, &grad_of_sum, Axis::new(rows, len, 1)).map(|v| bits(&v)));
            let turn = |x: &[T]| transposed(x, rows, len);
            let by_column = on_all_levels(|| {
                let [y, log_y, lse, dy, dlog, dlse] =
                    run(&turn(&x), &turn(&grad), &grad_of_sum, Axis::new(1, len, rows));
                let back = |x: Vec<T>| bits(&transposed(&x, len, rows));
                [back(y), back(log_y), bits(&lse), back(dy), back(dlog), back(dlse)]
            });
            assert_eq!(found, by_column, "{rows} × {len}");

            let [y, log_y, lse, ..] = run(&x, &grad, &grad_of_sum, Axis::new(rows, len, 1));
            for row in 0..rows {
                let at = row * len..(row + 1) * len;
                let (softmax, log, sum) = reference(&wide(&x[at.clone()]));
                assert_close(&y[at.clone()], &softmax, tolerance::<T>());
                assert_close(&log_y[at], &log, tolerance::<T>());
                assert_close(&lse[row..=row], &[sum], tolerance::<T>());
            }
        }
    }
}

#[test]
fn both_layouts_match_the_reference_with_the_same_bits() {
    check::<f32>();
    check::<f64>();
}

#[test]
fn gradients_match_finite_differences() {
    let (outer, len, inner) = (2, 17, 3);
    let axis = Axis::new(outer, len, inner);
    let n = outer * len * inner;
    let (x, grad, grad_of_sum) = (random::<f64>(n, 23), random::<f64>(n, 24), random::<f64>(outer * inner, 25));
    let weighted = |x: &[f64]| {
        let [y, log_y, lse, ..] = run(x, &grad, &grad_of_sum, axis);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        [dot(&y, &grad), dot(&log_y, &grad), dot(&lse, &grad_of_sum)]
    };
    let [.., dy, dlog, dlse] = run(&x, &grad, &grad_of_sum, axis);
    for i in 0..n {
        let at = |h: f64| {
            let mut x = x.clone();
            x[i] += h;
            weighted(&x)
        };
        let (up, down) = (at(1e-5), at(-1e-5));
        let expected: Vec<f64> = up.iter().zip(down).map(|(up, down)| (up - down) / 2e-5).collect();
        assert_close(&[dy[i], dlog[i], dlse[i]], &expected, 1e-8);
    }
}

#[test]
fn padding_between_runs_is_neither_read_nor_written() {
    let mut x = [f32::NAN; 15];
    for i in 0..3 {
        x[i * 5..i * 5 + 4].copy_from_slice(&[0.0; 4]);
    }
    let mut y = [7.0; 15];
    softmax(&x, Axis { outer: 1, len: 3, inner: 4, stride: 5 }, &mut y);
    let third = 1.0 / 3.0;
    assert_eq!(y, [third, third, third, third, 7.0, third, third, third, third, 7.0, third, third, third, third, 7.0]);
}

#[test]
fn infinite_inputs_are_those_of_pytorch() {
    for len in [3, 100] {
        let none = vec![f32::NEG_INFINITY; len];
        let (mut y, mut lse) = (vec![0.0; len], [0.0]);
        softmax(&none, Axis::new(1, len, 1), &mut y);
        assert!(y.iter().all(|y| y.is_nan()));
        log_softmax(&none, Axis::new(1, len, 1), &mut y);
        assert!(y.iter().all(|y| y.is_nan()));
        logsumexp(&none, Axis::new(1, len, 1), &mut lse);
        assert_eq!(lse, [f32::NEG_INFINITY]);
        let mut x = none;
        x[1] = 3.0;
        softmax(&x, Axis::new(1, len, 1), &mut y);
        assert_eq!((y[0], y[1]), (0.0, 1.0));
        x[2] = f32::INFINITY;
        logsumexp(&x, Axis::new(1, len, 1), &mut lse);
        assert_eq!(lse, [f32::INFINITY]);
    }
}

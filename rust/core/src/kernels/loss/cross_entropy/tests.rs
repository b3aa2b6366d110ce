use super::*;
use crate::kernels::testing::{assert_close, bits, on_all_levels, random, tolerance, transposed, wide};

const IGNORED: i64 = -100;

fn labels(n: usize, classes: usize) -> Vec<i64> {
    (0..n).map(|i| if i % 7 == 3 { IGNORED } else { (i * i * 5 % classes) as i64 }).collect()
}

/// The formula of the module, in f64.
fn reference(x: &[f64], label: i64, weight: &[f64], eps: f64) -> f64 {
    if label == IGNORED {
        return 0.0;
    }
    let log = x.iter().map(|x| x.exp()).sum::<f64>().ln();
    let w = |j: usize| weight.get(j).copied().unwrap_or(1.0);
    let nll = -w(label as usize) * (x[label as usize] - log);
    let smooth: f64 = x.iter().enumerate().map(|(j, x)| -w(j) * (x - log)).sum();
    (1.0 - eps) * nll + eps / x.len() as f64 * smooth
}

fn by_rows<T: Float>(ce: CrossEntropy<'_, T>, x: &[T], labels: &[i64], scale: &[T]) -> [Vec<T>; 2] {
    let n = labels.len();
    let [mut loss, mut max, mut sum] = std::array::from_fn(|_| vec![T::ZERO; n]);
    let mut out = SampleLosses { loss: &mut loss, max: &mut max, sum: &mut sum };
    cross_entropy_rows(ce, x, labels, &mut out);
    let mut grad = vec![T::ONE; x.len()];
    cross_entropy_rows_backward(ce, x, labels, SampleScales { scale, max: &max, sum: &sum }, &mut grad);
    [loss, grad]
}

fn by_columns<T: Float>(ce: CrossEntropy<'_, T>, x: &[T], labels: &[i64], scale: &[T]) -> [Vec<T>; 2] {
    let n = labels.len();
    let [mut loss, mut max, mut sum] = std::array::from_fn(|_| vec![T::ZERO; n]);
    let mut out = SampleLosses { loss: &mut loss, max: &mut max, sum: &mut sum };
    let turned = transposed(x, n, ce.classes);
    cross_entropy_columns(ce, &turned, n, labels, &mut out);
    let mut grad = vec![T::ONE; x.len()];
    cross_entropy_columns_backward(ce, &turned, n, labels, SampleScales { scale, max: &max, sum: &sum }, &mut grad);
    [loss, transposed(&grad, ce.classes, n)]
}

fn check_type<T: Float>() {
    for (n, classes) in [(0, 3), (1, 1), (3, 2), (16, 10), (17, 33), (33, 100), (40, 32)] {
        let (x, labels, scale) = (random::<T>(n * classes, 50), labels(n, classes), random::<T>(n, 51));
        let weight: Vec<T> = random::<T>(classes, 52).iter().map(|&w| T::from_f64(2.5) + w).collect();
        for (weight, smoothing) in [(&[][..], 0.0), (&weight, 0.0), (&[], 0.25), (&weight, 0.25)] {
            let ce = CrossEntropy { classes, weight, smoothing, ignore_index: IGNORED };
            let rows = on_all_levels(|| by_rows(ce, &x, &labels, &scale).map(|v| bits(&v)));
            let columns = on_all_levels(|| by_columns(ce, &x, &labels, &scale).map(|v| bits(&v)));
            assert_eq!(rows, columns, "{n} × {classes}");
            let [loss, grad] = by_rows(ce, &x, &labels, &scale);
            let weight = wide(weight);
            for i in 0..n {
                let at = i * classes..(i + 1) * classes;
                let x = wide(&x[at.clone()]);
                assert_close(&[loss[i]], &[reference(&x, labels[i], &weight, smoothing)], tolerance::<T>());
                let slope = |j: usize| {
                    let moved = |h: f64| {
                        let mut x = x.clone();
                        x[j] += h;
                        reference(&x, labels[i], &weight, smoothing)
                    };
                    scale[i].to_f64() * (moved(1e-5) - moved(-1e-5)) / 2e-5
                };
                let expected: Vec<f64> = (0..classes).map(slope).collect();
                assert_close(&grad[at], &expected, tolerance::<T>().max(1e-8));
            }
        }
    }
}

#[test]
fn cross_entropy_matches_its_formula_with_the_same_bits_in_both_layouts() {
    check_type::<f32>();
    check_type::<f64>();
}

#[test]
fn an_ignored_sample_has_no_gradient_even_if_its_logits_are_not_numbers() {
    for classes in [4, 40] {
        let ce = CrossEntropy { classes, weight: &[], smoothing: 0.0, ignore_index: 2 };
        let x = vec![f32::NAN; classes];
        for [loss, grad] in [by_rows(ce, &x, &[2], &[1.0]), by_columns(ce, &x, &[2], &[1.0])] {
            assert_eq!((loss[0], grad), (0.0, vec![0.0; classes]));
        }
    }
}

#[test]
fn far_logits_do_not_overflow() {
    let ce = CrossEntropy { classes: 2, weight: &[], smoothing: 0.0, ignore_index: IGNORED };
    let [loss, grad] = by_rows(ce, &[1e4_f32, -1e4], &[1], &[1.0]);
    assert_eq!((loss[0], &grad[..]), (2e4, &[1.0, -1.0][..]));
}

#[test]
fn probabilities_as_targets_match_the_formula() {
    let (n, classes) = (5, 19);
    let (x, scale) = (random::<f64>(n * classes, 53), random::<f64>(n, 54));
    let target: Vec<f64> = random(n * classes, 55).iter().map(|x: &f64| x + 2.0).collect();
    let weight: Vec<f64> = random(classes, 56).iter().map(|x: &f64| x + 2.5).collect();
    let ce = CrossEntropy { classes, weight: &weight, smoothing: 0.25, ignore_index: IGNORED };
    let [mut loss, mut max, mut sum] = std::array::from_fn(|_| vec![0.0; n]);
    let mut out = SampleLosses { loss: &mut loss, max: &mut max, sum: &mut sum };
    soft_cross_entropy_rows(ce, &x, &target, &mut out);
    let (mut dx, mut dt) = (vec![0.0; n * classes], vec![0.0; n * classes]);
    let samples = SampleScales { scale: &scale, max: &max, sum: &sum };
    soft_cross_entropy_rows_backward(ce, &x, &target, samples, &mut dx);
    soft_cross_entropy_rows_backward_target(ce, &x, samples, &mut dt);

    let reference = |x: &[f64], target: &[f64]| -> f64 {
        let log = x.iter().map(|x| x.exp()).sum::<f64>().ln();
        let term = |j: usize| weight[j] * (target[j] * 0.75 + 0.25 / classes as f64) * (x[j] - log);
        -(0..classes).map(term).sum::<f64>()
    };
    for i in 0..n {
        let at = i * classes..(i + 1) * classes;
        let (x, target) = (&x[at.clone()], &target[at]);
        assert_close(&[loss[i]], &[reference(x, target)], 1e-12);
        for j in 0..classes {
            let moved = |h: f64| {
                let (mut x_moved, mut target_moved) = (x.to_vec(), target.to_vec());
                x_moved[j] += h;
                target_moved[j] += h;
                [reference(&x_moved, target), reference(x, &target_moved)]
            };
            let (up, down) = (moved(1e-5), moved(-1e-5));
            let expected = [0, 1].map(|k| scale[i] * (up[k] - down[k]) / 2e-5);
            assert_close(&[dx[i * classes + j], dt[i * classes + j]], &expected, 1e-7);
        }
    }
}

use super::*;
use crate::ops::gradcheck::run_unchecked;
use crate::ops::gradcheck_nn::{close, gradcheck, message, noise, same_bits_for_any_team, to};
use crate::ops::nll_loss::{NllLoss, NllLossGrad};

const REDUCTIONS: [Reduction; 3] = [Reduction::None, Reduction::Mean, Reduction::Sum];
/// Far from 0, so that a setting left unread shows.
const EPS: f64 = 0.25;

fn labels(n: usize, c: usize, ignore: Option<usize>) -> Vec<i64> {
    (0..n).map(|i| if Some(i) == ignore { -7 } else { (i * 3 % c) as i64 }).collect()
}

/// Losses of all samples of (n, c, d), and the divisor of their mean.
fn reference(x: &Tensor, labels: &[i64], w: &[f64]) -> (Vec<f64>, f64) {
    let [_, c, d] = classes(x.shape());
    let x = x.to_vec_f64();
    let loss = |(i, &y): (usize, &i64)| {
        if y == -7 {
            return 0.0;
        }
        let at = |j: usize| x[i / d * c * d + j * d + i % d];
        let log = (0..c).map(|j| at(j).exp()).sum::<f64>().ln();
        let smooth: f64 = (0..c).map(|j| -w[j] * (at(j) - log)).sum();
        (1.0 - EPS) * -w[y as usize] * (at(y as usize) - log) + EPS / c as f64 * smooth
    };
    let divisor = labels.iter().filter(|y| **y != -7).map(|y| w[*y as usize]).sum();
    (labels.iter().enumerate().map(loss).collect(), divisor)
}

fn weights(c: usize) -> Tensor {
    Tensor::from_slice(&(0..c).map(|j| 0.5 + j as f64 * 0.25).collect::<Vec<_>>(), &[c])
}

#[test]
fn values_and_gradients_with_labels() {
    for shape in [&[5][..], &[6, 3], &[40, 10], &[9, 37], &[2, 4, 19]] {
        let x = noise(shape, 1);
        let [n, c, d] = classes(shape);
        let y = labels(n * d, c, (n > 1).then_some(1));
        let mut kept = shape.to_vec();
        kept.remove(usize::from(shape.len() > 1));
        let (target, w) = (Tensor::from_slice(&y, &kept), weights(c));
        let (each, divisor) = reference(&x, &y, &w.to_vec_f64());
        let total: f64 = each.iter().sum();
        for (reduction, expected) in REDUCTIONS.into_iter().zip([each, vec![total / divisor], vec![total]]) {
            for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 2e-5)] {
                let found = cross_entropy(&to(&x, dtype), &target, Some(&to(&w, dtype)), reduction, -7, EPS).unwrap();
                close(&found, &expected, tolerance);
            }
            gradcheck(std::slice::from_ref(&x), |t| {
                cross_entropy(&t[0], &target, Some(&to(&w, t[0].dtype())), reduction, -7, EPS)
            });
            gradcheck(std::slice::from_ref(&x), |t| cross_entropy(&t[0], &target, None, reduction, -7, 0.0));
            let op = CrossEntropy { reduction, ignore_index: -7, label_smoothing: EPS };
            same_bits_for_any_team(&op, &[x.clone(), target.clone()]);
            let g = if reduction == Reduction::None { noise(&kept, 2) } else { noise(&[], 2) };
            let op = CrossEntropyGrad { reduction, ignore_index: -7, label_smoothing: EPS };
            same_bits_for_any_team(&op, &[g, x.clone(), target.clone()]);
        }
    }
}

#[test]
fn probabilities_of_one_class_give_the_loss_of_its_label() {
    let (x, w) = (noise(&[6, 3], 1), weights(3));
    let y = labels(6, 3, None);
    let hot: Vec<f64> = (0..18).map(|i| f64::from(y[i / 3] == (i % 3) as i64)).collect();
    let target = Tensor::from_slice(&hot, &[6, 3]);
    let (each, _) = reference(&x, &y, &w.to_vec_f64());
    let total: f64 = each.iter().sum();
    for (reduction, expected) in REDUCTIONS.into_iter().zip([each, vec![total / 6.0], vec![total]]) {
        close(&cross_entropy(&x, &target, Some(&w), reduction, -7, EPS).unwrap(), &expected, 1e-13);
        gradcheck(&[x.clone(), noise(&[6, 3], 5)], |t| {
            cross_entropy(&t[0], &t[1], Some(&to(&w, t[0].dtype())), reduction, -7, EPS)
        });
        same_bits_for_any_team(&CrossEntropySoft { reduction, label_smoothing: EPS }, &[x.clone(), target.clone()]);
    }
}

#[test]
fn probabilities_of_any_rank_are_those_of_rows() {
    for shape in [&[3][..], &[4, 3], &[2, 3, 5], &[2, 3, 2, 3]] {
        let [n, c, d] = classes(shape);
        let (x, t, w) = (noise(shape, 1), noise(shape, 2), weights(c));
        let by_class = |v: &[f64], i: usize, j: usize| v[i / d * c * d + j * d + i % d];
        let (logits, target) = (x.to_vec_f64(), t.to_vec_f64());
        let loss = |i: usize| {
            let log = (0..c).map(|j| by_class(&logits, i, j).exp()).sum::<f64>().ln();
            let part = |j: usize| {
                let t = (1.0 - EPS) * by_class(&target, i, j) + EPS / c as f64;
                -(0.5 + j as f64 * 0.25) * t * (by_class(&logits, i, j) - log)
            };
            (0..c).map(part).sum::<f64>()
        };
        let each: Vec<f64> = (0..n * d).map(loss).collect();
        let total: f64 = each.iter().sum();
        for (reduction, expected) in REDUCTIONS.into_iter().zip([each, vec![total / (n * d) as f64], vec![total]]) {
            close(&cross_entropy(&x, &t, Some(&w), reduction, -7, EPS).unwrap(), &expected, 1e-12);
            gradcheck(&[x.clone(), t.clone()], |v| {
                cross_entropy(&v[0], &v[1], Some(&to(&w, v[0].dtype())), reduction, -7, EPS)
            });
        }
    }
    let x = noise(&[2, 3, 4], 1);
    let wrong = |target: &Tensor, weight: Option<&Tensor>, ignore| {
        message(cross_entropy(&x, target, weight, Reduction::Mean, ignore, 0.0))
    };
    let expected = "cross_entropy: expected target of shape (2, 3, 4); got (2, 4, 3)";
    assert_eq!(wrong(&noise(&[2, 4, 3], 1), None, -100), expected);
    let expected = "cross_entropy: expected weight of shape (3,); got (4,)";
    assert_eq!(wrong(&x, Some(&noise(&[4], 1)), -100), expected);
    let expected = "cross_entropy: expected ignore_index below 0 with a target of probabilities; got 0";
    assert_eq!(wrong(&x, None, 0), expected);
}

#[test]
fn a_mean_over_nothing_is_nan() {
    let mean = |n: usize, y: &[i64]| {
        let target = Tensor::from_slice(y, &[n]);
        cross_entropy(&noise(&[n, 3], 1), &target, None, Reduction::Mean, -7, 0.0).unwrap().to_vec_f64()[0]
    };
    assert!(mean(2, &[-7, -7]).is_nan() && mean(0, &[]).is_nan());
}

#[test]
fn wrong_labels_and_shapes_are_named() {
    let run = |labels: &[i64], shape: &[usize]| {
        let target = Tensor::from_slice(labels, shape);
        message(cross_entropy(&noise(&[5, 10], 1), &target, None, Reduction::Mean, -100, 0.0))
    };
    let expected = "cross_entropy: expected labels in [0, 10) or ignore_index -100; got 17 at position 3";
    assert_eq!(run(&[0, 9, -100, 17, 1], &[5]), expected);
    assert_eq!(run(&[0; 4], &[4]), "cross_entropy: expected target of shape (5,); got (4,)");
    let target = Tensor::zeros(&[5], DType::Bool);
    let wrong = cross_entropy(&noise(&[5, 10], 1), &target, None, Reduction::Mean, -100, 0.0);
    assert_eq!(message(wrong), "cross_entropy: expected labels of dtype int64; got bool");
}

/// Labels that others have changed since they were checked count for nothing.
#[test]
fn labels_that_have_left_the_classes_are_left_out() {
    // Few classes as rows, many as rows, and columns.
    for (shape, kept) in [(&[5, 4][..], &[5][..]), (&[5, 90], &[5]), (&[1, 4, 5], &[1, 5])] {
        let (x, c) = (noise(shape, 3), shape[1]);
        let w = Tensor::from_slice(&(0..c).map(|i| 0.5 + i as f64).collect::<Vec<_>>(), &[c]);
        let labels = |wrong: [i64; 3]| Tensor::from_slice(&[wrong[0], 2, wrong[1], 0, wrong[2]], kept);
        let (left_out, outside) = (labels([-7; 3]), labels([-1, c as i64, i64::MAX]));
        for reduction in [Reduction::None, Reduction::Sum] {
            let op = CrossEntropy { reduction, ignore_index: -7, label_smoothing: 0.25 };
            let grad = CrossEntropyGrad { reduction, ignore_index: -7, label_smoothing: 0.25 };
            let nll = NllLoss { reduction, ignore_index: -7 };
            let g = Tensor::full(if reduction == Reduction::None { kept } else { &[] }, 2.0, x.dtype());
            let all = |y: &Tensor| -> Vec<Vec<f64>> {
                let mut made = run_unchecked(&op, &[&x, y, &w]);
                made.extend(run_unchecked(&grad, &[&g, &x, y, &w]));
                made.extend(run_unchecked(&nll, &[&x, y, &w]));
                made.extend(run_unchecked(&NllLossGrad { loss: nll }, &[&g, &x, y, &w]));
                made.iter().map(Tensor::to_vec_f64).collect()
            };
            assert_eq!(all(&outside), all(&left_out));
        }
        // The divisor of a mean counts them.
        let op = CrossEntropy { reduction: Reduction::Mean, ignore_index: -7, label_smoothing: 0.0 };
        assert!(run_unchecked(&op, &[&x, &outside, &w])[0].to_vec_f64()[0].is_finite());
    }
}

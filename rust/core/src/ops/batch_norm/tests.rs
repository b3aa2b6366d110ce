use super::*;
use crate::element::DType;
use crate::ops::gradcheck_nn::{close, gradcheck, gradients, message, noise, same_bits_for_any_team, to};

/// Far from the defaults, so that a setting left unread shows.
const TRAIN: Settings = Settings { training: true, momentum: 0.25, eps: 0.5 };
const EVALUATE: Settings = Settings { training: false, ..TRAIN };

/// (n, c, l): the least, odd ones, past a block of vectors, with a length.
const SHAPES: [[usize; 3]; 5] = [[2, 1, 1], [5, 3, 1], [33, 17, 1], [4, 3, 5], [2, 3, 35]];

fn shaped([n, c, l]: [usize; 3], seed: u64) -> Tensor {
    match l {
        1 => noise(&[n, c], seed),
        35 => noise(&[n, c, 5, 7], seed),
        l => noise(&[n, c, l], seed),
    }
}

/// y, mean and unbiased variance of the batch.
fn reference(x: &[f64], [n, c, l]: [usize; 3], w: &[f64], b: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let values = |j: usize| (0..n * l).map(move |i| (i / l * c + j) * l + i % l);
    let count = (n * l) as f64;
    let means: Vec<f64> = (0..c).map(|j| values(j).map(|i| x[i]).sum::<f64>() / count).collect();
    let squares: Vec<f64> = (0..c).map(|j| values(j).map(|i| (x[i] - means[j]).powi(2)).sum()).collect();
    let y = (0..x.len())
        .map(|i| {
            let j = i / l % c;
            w[j] * (x[i] - means[j]) / (squares[j] / count + 0.5).sqrt() + b[j]
        })
        .collect();
    (y, means, squares.iter().map(|s| s / (count - 1.0)).collect())
}

#[test]
fn training_gives_the_formula_and_moves_the_running_statistics() {
    for shape in SHAPES {
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
            let c = shape[1];
            let [x, w, b] = [shaped(shape, 1), noise(&[c], 2), noise(&[c], 3)];
            let (y, mean, var) = reference(&x.to_vec_f64(), shape, &w.to_vec_f64(), &b.to_vec_f64());
            let [x, w, b] = [x, w, b].map(|t| to(&t, dtype));
            let running = (Tensor::full(&[c], 3.0, dtype), Tensor::full(&[c], 2.0, dtype));
            let found = batch_norm(&x, Some((&running.0, &running.1)), Some(&w), Some(&b), TRAIN).unwrap();
            close(&found, &y, tolerance);
            close(&running.0, &mean.iter().map(|m| 0.75 * 3.0 + 0.25 * m).collect::<Vec<_>>(), tolerance);
            close(&running.1, &var.iter().map(|v| 0.75 * 2.0 + 0.25 * v).collect::<Vec<_>>(), tolerance);
            assert_eq!((running.0.storage().version(), running.1.storage().version()), (1, 1));
        }
    }
}

#[test]
fn evaluation_uses_the_running_statistics_and_leaves_them() {
    for shape in SHAPES {
        let c = shape[1];
        let x = shaped(shape, 1);
        let running = (Tensor::full(&[c], 3.0, DType::F64), Tensor::full(&[c], 2.0, DType::F64));
        let y = batch_norm(&x, Some((&running.0, &running.1)), None, None, EVALUATE).unwrap();
        let expected: Vec<f64> = x.to_vec_f64().iter().map(|x| (x - 3.0) / 2.5_f64.sqrt()).collect();
        close(&y, &expected, 1e-14);
        close(&running.0, &vec![3.0; c], 0.0);
        assert_eq!(running.0.storage().version(), 0);
    }
}

#[test]
fn gradients_are_right_in_both_modes() {
    for shape in SHAPES {
        let c = shape[1];
        let (x, w, b) = (shaped(shape, 1), noise(&[c], 2), noise(&[c], 3));
        gradcheck(&[x.clone(), w.clone(), b.clone()], |t| batch_norm(&t[0], None, Some(&t[1]), Some(&t[2]), TRAIN));
        gradcheck(std::slice::from_ref(&x), |t| batch_norm(&t[0], None, None, None, TRAIN));
        gradcheck(&[x, w, b], |t| {
            let (mean, var) = (Tensor::full(&[c], 0.5, t[0].dtype()), Tensor::full(&[c], 2.0, t[0].dtype()));
            batch_norm(&t[0], Some((&mean, &var)), Some(&t[1]), Some(&t[2]), EVALUATE)
        });
    }
}

#[test]
fn bits_do_not_depend_on_the_team() {
    for shape in [[37, 83, 1], [5, 19, 3], [3, 600, 1], [3, 1, 5000], [200, 3, 35], [2, 70, 9]] {
        let c = shape[1];
        let (x, w, b) = (shaped(shape, 1), noise(&[c], 2), noise(&[c], 3));
        let op = BatchNorm { momentum: 0.25, eps: 0.5, training: true, running: None };
        same_bits_for_any_team(&op, &[x.clone(), w.clone(), b.clone()]);
        let grad = BatchNormGrad { eps: 0.5, training: true };
        let inputs = [shaped(shape, 4), x, noise(&[c], 5), noise(&[c], 6), w];
        same_bits_for_any_team(&grad, &inputs);
        if shape[2] > 1 {
            let [g, x, mean, inv_std, w] = &inputs;
            let fused = BatchNormRelu { norm: op, added: true };
            same_bits_for_any_team(&fused, &[x.clone(), w.clone(), b.clone(), g.clone()]);
            for (mask, tensor) in [(Mask::Output, shaped(shape, 7)), (Mask::Bias, b)] {
                let fused = BatchNormReluGrad { norm: grad, mask, added: mask == Mask::Output };
                same_bits_for_any_team(
                    &fused,
                    &[g.clone(), x.clone(), mean.clone(), inv_std.clone(), w.clone(), tensor],
                );
            }
        }
    }
}

#[test]
fn an_empty_batch_changes_nothing() {
    let running = (Tensor::full(&[3], 3.0, DType::F64), Tensor::full(&[3], 2.0, DType::F64));
    for (shape, settings) in
        [(vec![0, 3], TRAIN), (vec![0, 3, 2, 4], TRAIN), (vec![2, 3, 0], TRAIN), (vec![2, 3, 0], EVALUATE)]
    {
        let grads = gradients(&[noise(&shape, 1), noise(&[3], 2), noise(&[3], 3)], |t| {
            batch_norm(&t[0], Some((&running.0, &running.1)), Some(&t[1]), Some(&t[2]), settings)
        });
        assert_eq!(grads[1].to_vec_f64(), [0.0; 3]);
    }
    assert_eq!(running.0.to_vec_f64(), [3.0; 3]);
}

#[test]
fn wrong_shapes_are_named() {
    let run = |x: &[usize], w: &[usize]| {
        let (x, w) = (Tensor::zeros(x, DType::F32), Tensor::zeros(w, DType::F32));
        message(batch_norm(&x, None, Some(&w), Some(&w), TRAIN))
    };
    let expected = "batch_norm: expected more than 1 value per channel when training; got input of shape (1, 4)";
    assert_eq!(run(&[1, 4], &[4]), expected);
    assert_eq!(run(&[2, 3], &[4]), "batch_norm: expected input of shape (n, 4, *); got (2, 3)");
    assert_eq!(run(&[4], &[4]), "batch_norm: expected input of shape (n, 4, *); got (4,)");
}

use super::*;
use crate::ops::batch_norm::Settings;
use crate::ops::gradcheck_nn::{close, gradcheck, gradients, message, noise, same_bits_for_any_team, to};

/// Far from the default, so that a setting left unread shows.
const EPS: f64 = 0.5;
const TRAIN: Settings = Settings { training: true, momentum: 0.25, eps: EPS };

/// y, and mean and unbiased variance of every row.
fn reference(x: &[f64], shape: Groups, w: &[f64], b: &[f64], centered: bool) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let k = shape.row();
    let (mut means, mut vars, mut y) = (vec![], vec![], vec![]);
    for (row, x) in x.chunks(k).enumerate() {
        let mean = if centered { x.iter().sum::<f64>() / k as f64 } else { 0.0 };
        let squares = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        for (i, x) in x.iter().enumerate() {
            let channel = row % shape.groups * shape.channels() + i / shape.l;
            y.push(w[channel] * (x - mean) / (squares / k as f64 + EPS).sqrt() + b[channel]);
        }
        means.push(mean);
        vars.push(squares / (k as f64 - 1.0));
    }
    (y, means, vars)
}

/// Kinds and shapes: odd ones, more than one block of rows that are done together, channels with a length.
fn cases() -> Vec<(Kind, Vec<usize>)> {
    let layer = |x: &[usize], from: usize| (Kind::Layer(x[from..].into()), x.to_vec());
    vec![
        layer(&[5, 3], 1),
        layer(&[2, 3, 7], 1),
        layer(&[9, 33], 1),
        (Kind::Rms(smallvec![17]), vec![6, 17]),
        (Kind::Rms(smallvec![3, 2]), vec![5, 3, 2]),
        (Kind::Group(2), vec![5, 6]),
        (Kind::Group(3), vec![2, 6, 5]),
        (Kind::Group(1), vec![3, 2, 17]),
        (Kind::Group(2), vec![2, 4, 3, 2]),
        (Kind::Instance, vec![3, 2, 7]),
        (Kind::Instance, vec![4, 17]),
    ]
}

fn run(kind: &Kind, t: &[Tensor]) -> Result<Tensor> {
    apply(kind.clone(), &t[0], t.get(1), t.get(2), EPS)
}

#[test]
fn every_kind_gives_its_formula() {
    for (kind, shape) in cases() {
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
            let c = kind.affine(&shape);
            let (x, w, b) = (noise(&shape, 1), noise(&c, 2), noise(&c, 3));
            let groups = kind.groups(&shape, true);
            let bias = if kind.centered() { b.to_vec_f64() } else { vec![0.0; b.numel()] };
            let (y, ..) = reference(&x.to_vec_f64(), groups, &w.to_vec_f64(), &bias, kind.centered());
            let mut t = [x, w, b].map(|t| to(&t, dtype)).to_vec();
            t.truncate(if kind.centered() { 3 } else { 2 });
            close(&run(&kind, &t).unwrap(), &y, tolerance);

            let (ones, zeros) = (vec![1.0; b_len(&groups)], vec![0.0; b_len(&groups)]);
            let (plain, ..) = reference(&t[0].to_vec_f64(), groups, &ones, &zeros, kind.centered());
            close(&run(&kind, &t[..1]).unwrap(), &plain, tolerance);
        }
    }
}

fn b_len(groups: &Groups) -> usize {
    groups.c
}

#[test]
fn gradients_are_right_with_weight_and_bias_and_without() {
    for (kind, shape) in cases() {
        let c = kind.affine(&shape);
        let (x, w, b) = (noise(&shape, 1), noise(&c, 2), noise(&c, 3));
        if kind.centered() {
            gradcheck(&[x.clone(), w.clone(), b.clone()], |t| run(&kind, t));
            gradcheck(&[x.clone(), b], |t| apply(kind.clone(), &t[0], None, Some(&t[1]), EPS));
        }
        gradcheck(&[x.clone(), w], |t| run(&kind, t));
        gradcheck(&[x], |t| run(&kind, t));
    }
}

#[test]
fn bits_do_not_depend_on_the_team() {
    for (kind, shape) in
        [(Kind::Layer(smallvec![83]), vec![37, 83]), (Kind::Group(3), vec![19, 51]), (Kind::Group(3), vec![7, 6, 19])]
    {
        let c = kind.affine(&shape);
        let (x, w, b) = (noise(&shape, 1), noise(&c, 2), noise(&c, 3));
        let op = GroupNorm { kind: kind.clone(), eps: EPS, weight: true, bias: true, running: None };
        same_bits_for_any_team(&op, &[x.clone(), w.clone(), b]);
        let rows = [kind.groups(&shape, true).rows()];
        let grad = GroupNormGrad { kind, eps: EPS, affine: Some(c) };
        same_bits_for_any_team(&grad, &[noise(&shape, 4), x, noise(&rows, 5), noise(&rows, 6), w]);
    }
}

#[test]
fn an_instance_norm_moves_its_running_statistics_by_the_mean_over_samples() {
    let (shape, running) = ([3, 2, 7], (Tensor::full(&[2], 3.0, DType::F64), Tensor::full(&[2], 2.0, DType::F64)));
    let x = noise(&shape, 1);
    let groups = Kind::Instance.groups(&shape, true);
    let (y, means, vars) = reference(&x.to_vec_f64(), groups, &[1.0; 2], &[0.0; 2], true);
    close(&instance_norm(&x, Some((&running.0, &running.1)), None, None, TRAIN).unwrap(), &y, 1e-12);
    for (running, start, rows) in [(&running.0, 3.0, means), (&running.1, 2.0, vars)] {
        let moved = |j: usize| 0.75 * start + 0.25 * (rows[j] + rows[2 + j] + rows[4 + j]) / 3.0;
        close(running, &[moved(0), moved(1)], 1e-14);
        assert_eq!(running.storage().version(), 1);
    }
    let evaluate = Settings { training: false, ..TRAIN };
    let sample = noise(&[2, 1], 2);
    let y = instance_norm(&sample, Some((&running.0, &running.1)), None, None, evaluate).unwrap();
    let [mean, var] = [running.0.to_vec_f64(), running.1.to_vec_f64()];
    let expected: Vec<f64> =
        sample.to_vec_f64().iter().enumerate().map(|(j, x)| (x - mean[j]) / (var[j] + EPS).sqrt()).collect();
    close(&y, &expected, 1e-14);
}

#[test]
fn without_eps_rms_norm_takes_the_rounding_unit() {
    for (dtype, unit) in [(DType::F32, f64::from(f32::EPSILON)), (DType::F64, f64::EPSILON)] {
        let x = to(&Tensor::from_slice(&[1e-8, 0.0], &[1, 2]), dtype);
        let expected = x.to_vec_f64()[0] / (0.5e-16 + unit).sqrt();
        close(&rms_norm(&x, &[2], None, None).unwrap(), &[expected, 0.0], 1e-6);
    }
}

#[test]
fn an_empty_batch_has_gradients_of_zero() {
    let found = gradients(&[noise(&[0, 3], 1), noise(&[3], 2), noise(&[3], 3)], |t| run(&Kind::Layer(smallvec![3]), t));
    assert_eq!(found[0].shape(), [0, 3]);
    assert_eq!((found[1].to_vec_f64(), found[2].to_vec_f64()), (vec![0.0; 3], vec![0.0; 3]));
}

#[test]
fn what_does_not_fit_is_named() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32);
    let found = message(layer_norm(&zeros(&[2, 4]), &[3], None, None, EPS));
    assert_eq!(found, "layer_norm: expected input of shape (*, 3); got (2, 4)");
    let found = message(layer_norm(&zeros(&[2, 4]), &[], None, None, EPS));
    assert_eq!(found, "layer_norm: expected a normalized_shape of 1 or more sizes; got ()");
    let found = message(rms_norm(&zeros(&[2, 4]), &[4], Some(&zeros(&[3])), None));
    assert_eq!(found, "rms_norm: expected weight of shape (4,); got (3,)");
    let found = message(group_norm(&zeros(&[2, 4]), 3, None, None, EPS));
    assert_eq!(found, "group_norm: expected input of shape (n, c, *) with c a multiple of 3; got (2, 4)");
    let found = message(group_norm(&zeros(&[1, 4]), 4, None, None, EPS));
    assert_eq!(found, "group_norm: expected more than 1 value per channel; got input of shape (1, 4)");
    let found = message(instance_norm(&zeros(&[2, 4, 1]), None, None, None, TRAIN));
    assert_eq!(found, "instance_norm: expected more than 1 spatial element; got input of shape (2, 4, 1)");
}

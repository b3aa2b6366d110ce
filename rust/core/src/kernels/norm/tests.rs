//! Every layout against the formulas and against each other.

use super::*;
use crate::kernels::testing::{assert_close, bits, on_all_levels, random, tolerance, transposed, wide};

const EPS: f64 = 0.5;

/// Everything that a batch norm computes: y, mean, `inv_std`, variance, dx, dweight, dbias, then in eval mode y, dx, dweight.
type Results<T> = [Vec<T>; 10];

struct Case<T> {
    x: Vec<T>,
    dy: Vec<T>,
    weight: Vec<T>,
    bias: Vec<T>,
}

/// Samples far from 0, where a one-pass variance has no digit left in f32.
fn case<T: Float>(n: usize, c: usize) -> Case<T> {
    let x = random::<T>(n * c, 30).iter().map(|&x| T::from_f64(100.0) + x).collect();
    Case { x, dy: random(n * c, 31), weight: random(c, 32), bias: random(c, 33) }
}

fn by_feature<T: Float>(case: &Case<T>, n: usize, c: usize) -> Results<T> {
    let new = |len| vec![T::ZERO; len];
    let [mut y, mut dx, mut eval_y, mut eval_dx] = std::array::from_fn(|_| new(n * c));
    let [mut mean, mut inv_std, mut var, mut dw, mut db, mut eval_dw] = std::array::from_fn(|_| new(c));
    let eps = T::from_f64(EPS);
    for j in 0..c {
        let at = j * n..(j + 1) * n;
        let (x, dy, w, b) = (&case.x[at.clone()], &case.dy[at.clone()], case.weight[j], case.bias[j]);
        let m = forward_feature(x, w, b, eps, &mut y[at.clone()]);
        let mut in_place = x.to_vec();
        assert_eq!(forward_feature_in_place(&mut in_place, w, b, eps), m);
        assert_eq!(bits(&in_place), bits(&y[at.clone()]));
        (mean[j], inv_std[j], var[j]) = (m.mean, m.inv_std, m.var_unbiased);
        (dw[j], db[j]) = backward_feature(dy, x, m.mean, m.inv_std, w, &mut dx[at.clone()]);
        let mut in_place = dy.to_vec();
        assert_eq!(backward_feature_in_place(&mut in_place, x, m.mean, m.inv_std, w), (dw[j], db[j]));
        assert_eq!(bits(&in_place), bits(&dx[at.clone()]));
        apply_feature(x, m.mean, m.inv_std, w, b, &mut eval_y[at.clone()]);
        let (eval_dw_j, eval_db_j) = apply_feature_backward(dy, x, m.mean, m.inv_std, w, &mut eval_dx[at]);
        assert_eq!(eval_db_j.to_f64().to_bits(), db[j].to_f64().to_bits());
        eval_dw[j] = eval_dw_j;
    }
    [y, mean, inv_std, var, dx, dw, db, eval_y, eval_dx, eval_dw]
}

/// A row-major matrix.
fn by_column<T: Float>(case: &Case<T>, n: usize, c: usize) -> Results<T> {
    let new = |len| vec![T::ZERO; len];
    let [mut y, mut dx, mut eval_y, mut eval_dx] = std::array::from_fn(|_| new(n * c));
    let [mut mean, mut inv_std, mut var, mut dw, mut db, mut eval_dw] = std::array::from_fn(|_| new(c));
    let shape = Rows { rows: n, cols: c, stride: c };
    let affine = Affine { weight: &case.weight, bias: &case.bias };
    let mut moments = MomentsMut { mean: &mut mean, inv_std: &mut inv_std, var_unbiased: &mut var };
    forward_columns(&case.x, shape, affine, T::from_f64(EPS), &mut y, &mut moments);
    let scaling = Scaling { mean: &mean, inv_std: &inv_std, weight: &case.weight };
    let mut grads = AffineGrad { weight: &mut dw, bias: &mut db };
    backward_columns(&case.dy, &case.x, shape, scaling, &mut dx, &mut grads);
    apply_columns(&case.x, shape, scaling, &case.bias, &mut eval_y);
    let mut grads = AffineGrad { weight: &mut eval_dw, bias: &mut db };
    apply_columns_backward(&case.dy, &case.x, shape, scaling, &mut eval_dx, &mut grads);
    [y, mean, inv_std, var, dx, dw, db, eval_y, eval_dx, eval_dw]
}

fn check_layouts<T: Float>() {
    for (n, c) in [(1, 1), (3, 5), (15, 17), (16, 64), (33, 100), (4097, 3)] {
        let features = case::<T>(n, c);
        let expected = by_feature(&features, n, c);
        let found = on_all_levels(|| by_feature(&features, n, c).map(|v| bits(&v)));
        assert_eq!(found, expected.each_ref().map(|v| bits(v)));
        let turn = |x: &[T]| transposed(x, c, n);
        let (x, dy) = (turn(&features.x), turn(&features.dy));
        let columns = Case { x, dy, weight: features.weight, bias: features.bias };
        let found = on_all_levels(|| by_column(&columns, n, c).map(|v| bits(&v)));
        // y, dx and their like are of the shape of x.
        for (k, expected) in expected.iter().enumerate() {
            let turned = if [0, 4, 7, 8].contains(&k) { turn(expected) } else { expected.clone() };
            assert_eq!(found[k], bits(&turned), "result {k} of ({n}, {c})");
        }
    }
}

#[test]
fn all_layouts_give_the_same_bits() {
    check_layouts::<f32>();
    check_layouts::<f64>();
}

fn check_reference<T: Float>() {
    for n in [2, 3, 16, 17, 100, 4097] {
        let c = 2;
        let case = case::<T>(n, c);
        let [y, mean, inv_std, var, dx, dw, db, _, eval_dx, _] = by_feature(&case, n, c);
        for j in 0..c {
            let at = j * n..(j + 1) * n;
            let (x, g) = (wide(&case.x[at.clone()]), wide(&case.dy[at.clone()]));
            let (w, b, nf) = (case.weight[j].to_f64(), case.bias[j].to_f64(), n as f64);
            let mu = x.iter().sum::<f64>() / nf;
            let squares = x.iter().map(|x| (x - mu) * (x - mu)).sum::<f64>();
            let inv = 1.0 / (squares / nf + EPS).sqrt();
            let normal: Vec<f64> = x.iter().map(|x| (x - mu) * inv).collect();
            let sum = g.iter().sum::<f64>();
            let dot = g.iter().zip(&normal).map(|(g, x)| g * x).sum::<f64>();
            // The mean of f32 near 100 is off by 4e-6 or more, and so is every difference from it.
            let tol = tolerance::<T>() * 4.0;
            assert_close(&[mean[j], inv_std[j], var[j]], &[mu, inv, squares / (nf - 1.0)], tol);
            assert_close(&y[at.clone()], &normal.iter().map(|x| w * x + b).collect::<Vec<_>>(), tol);
            let expected: Vec<f64> =
                g.iter().zip(&normal).map(|(g, x)| w * inv / nf * (nf * g - sum - x * dot)).collect();
            assert_close(&dx[at.clone()], &expected, tol);
            assert_close(&eval_dx[at], &g.iter().map(|g| w * inv * g).collect::<Vec<_>>(), tol);
            assert_close(&[dw[j], db[j]], &[dot, sum], tol * 10.0);
        }
    }
}

#[test]
fn results_match_the_formulas() {
    check_reference::<f32>();
    check_reference::<f64>();
}

#[test]
fn gradients_match_finite_differences() {
    let n = 17;
    let Case { x, dy, weight, bias } = case::<f64>(n, 1);
    let weighted = |x: &[f64], w: f64, b: f64| {
        let mut y = vec![0.0; n];
        forward_feature(x, w, b, EPS, &mut y);
        y.iter().zip(&dy).map(|(y, dy)| y * dy).sum::<f64>()
    };
    let (w, b, h) = (weight[0], bias[0], 1e-5);
    let (mut y, mut dx) = (vec![0.0; n], vec![0.0; n]);
    let m = forward_feature(&x, w, b, EPS, &mut y);
    let (dw, db) = backward_feature(&dy, &x, m.mean, m.inv_std, w, &mut dx);
    for i in 0..n {
        let at = |h: f64| {
            let mut x = x.clone();
            x[i] += h;
            weighted(&x, w, b)
        };
        assert_close(&[dx[i]], &[(at(h) - at(-h)) / (2.0 * h)], 1e-8);
    }
    let expected = [weighted(&x, w + h, b) - weighted(&x, w - h, b), weighted(&x, w, b + h) - weighted(&x, w, b - h)];
    assert_close(&[dw, db], &expected.map(|e| e / (2.0 * h)), 1e-8);
}

#[test]
fn an_empty_weight_and_bias_are_one_and_zero() {
    let (n, c) = (33, 21);
    let full = Case { weight: vec![1.0; c], bias: vec![0.0; c], ..case::<f32>(n, c) };
    let none = Case { weight: vec![], bias: vec![], ..case::<f32>(n, c) };
    assert_eq!(by_column(&full, n, c), by_column(&none, n, c));
}

#[test]
fn a_single_sample_has_no_unbiased_variance() {
    let mut y = [0.0];
    let moments = forward_feature(&[3.0], 2.0, 5.0, 0.25, &mut y);
    assert_eq!((moments, y), (Moments { mean: 3.0, inv_std: 2.0, var_unbiased: 0.0 }, [5.0]));
}

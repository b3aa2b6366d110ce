//! Images against the formulas, and every instruction set against the others.

use super::*;
use crate::kernels::testing::{assert_close, bits, on_all_levels, random, tolerance, wide};

const EPS: f64 = 0.5;

/// The least, planes of less and more than the lanes, planes that are gathered and such as are cut, with a rest each.
const SHAPES: [(usize, usize, usize); 8] =
    [(2, 1, 2), (3, 2, 17), (5, 3, 49), (130, 2, 16), (1, 2, 100), (3, 1, 2049), (2, 2, 5000), (70, 1, 64)];

/// y, mean, `inv_std`, variance, dx, gradients of weight and bias, gradient of what was added; then y and dx of statistics
/// that are fixed.
type Results<T> = [Vec<T>; 10];

struct Case<T> {
    planes: Planes,
    x: Vec<T>,
    dy: Vec<T>,
    added: Vec<T>,
    weight: Vec<T>,
    bias: Vec<T>,
    then: Then,
    /// True if something is added before that.
    adds: bool,
}

/// Samples far from 0, where a one-pass variance has no digit left in f32.
fn case<T: Float>((n, c, l): (usize, usize, usize), (then, adds): (Then, bool)) -> Case<T> {
    let x = random::<T>(n * c * l, 30).iter().map(|&x| T::from_f64(100.0) + x).collect();
    let (dy, added) = (random(n * c * l, 31), random(n * c * l, 34));
    Case { planes: Planes { n, c, l }, x, dy, added, weight: random(c, 32), bias: random(c, 33), then, adds }
}

fn all<T: Float>(case: &Case<T>) -> Results<T> {
    let planes = case.planes;
    let all = planes.c * planes.samples();
    let [mut y, mut dx, mut added, mut eval_y, mut eval_dx] = std::array::from_fn(|_| vec![T::ZERO; all]);
    let [mut mean, mut inv_std, mut var, mut dw, mut db] = std::array::from_fn(|_| vec![T::ZERO; planes.c]);
    let forward = Forward { x: &case.x, added: case.adds.then_some(&case.added[..]), then: case.then };
    let affine = Affine { weight: &case.weight, bias: &case.bias };
    let units = 0..planes.units();
    for j in 0..planes.c {
        let found = Forward::moments(planes, T::from_f64(EPS), units.clone().map(|u| forward.unit(planes, j, u)));
        (mean[j], inv_std[j], var[j]) = (found.mean, found.inv_std, found.var_unbiased);
        for u in units.clone() {
            forward.apply(planes, (j, u), [mean[j], inv_std[j]], affine, &mut y[planes.start(j, u)..]);
            // Statistics of another batch.
            forward.apply(planes, (j, u), [T::ONE, T::ONE], affine, &mut eval_y[planes.start(j, u)..]);
        }
    }
    let scaling = Scaling { mean: &mean, inv_std: &inv_std, weight: &case.weight };
    let gate = match case.then {
        Then::Nothing => Gate::Open,
        Then::Relu if case.adds => Gate::Output(&y),
        Then::Relu => Gate::Bias(&case.bias),
    };
    let gradient = Gradient { dy: &case.dy, x: &case.x, gate };
    let mut over = case.dy.clone();
    for j in 0..planes.c {
        let sums = || units.clone().map(|u| gradient.unit(planes, (j, u), scaling));
        let (slope, [weight, bias]) = Gradient::slope(planes, j, scaling, false, sums());
        let (still, _) = Gradient::slope(planes, j, scaling, true, sums());
        (dw[j], db[j]) = (weight, bias);
        for u in units.clone() {
            let start = planes.start(j, u);
            gradient.apply(planes, (j, u), (scaling, slope), &mut dx[start..], Some(&mut added[start..]));
            gradient.apply(planes, (j, u), (scaling, still), &mut eval_dx[start..], None);
            Gradient { dy: &[], ..gradient }.apply(planes, (j, u), (scaling, slope), &mut over[start..], None);
        }
    }
    assert_eq!(bits(&over), bits(&dx), "written over dy");
    [y, mean, inv_std, var, dx, dw, db, added, eval_y, eval_dx]
}

fn check<T: Float>(what: (Then, bool)) {
    for shape in SHAPES {
        let case = case::<T>(shape, what);
        let found = all(&case);
        assert_eq!(on_all_levels(|| all(&case).map(|v| bits(&v))), found.each_ref().map(|v| bits(v)), "{shape:?}");
        let (n, c, l) = shape;
        let [y, mean, inv_std, var, dx, dw, db, added, eval_y, eval_dx] = found;
        // The mean of f32 near 100 is off by 4e-6 or more, and so is every difference from it.
        let tol = tolerance::<T>() * 4.0;
        let count = (n * l) as f64;
        for j in 0..c {
            let at: Vec<usize> = (0..n * l).map(|i| (i / l * c + j) * l + i % l).collect();
            let take = |v: &[T]| at.iter().map(|&i| v[i]).collect::<Vec<T>>();
            let (x, w, b) = (wide(&take(&case.x)), case.weight[j].to_f64(), case.bias[j].to_f64());
            let mu = x.iter().sum::<f64>() / count;
            let squares = x.iter().map(|x| (x - mu).powi(2)).sum::<f64>();
            let inv = 1.0 / (squares / count + EPS).sqrt();
            assert_close(&[mean[j], inv_std[j], var[j]], &[mu, inv, squares / (count - 1.0)], tol);
            let relu = case.then == Then::Relu;
            let made = |mu: f64, inv: f64| {
                let line = x.iter().zip(take(&case.added)).map(move |(x, more)| {
                    let y = w * (x - mu) * inv + b + if case.adds { more.to_f64() } else { 0.0 };
                    if relu { y.max(0.0) } else { y }
                });
                line.collect::<Vec<_>>()
            };
            assert_close(&take(&y), &made(mu, inv), tol);
            assert_close(&take(&eval_y), &made(1.0, 1.0), tol);
            // The mask is that of what was found: at 0 there is no derivative to compare with.
            let g: Vec<f64> = take(&case.dy)
                .iter()
                .zip(take(&y))
                .map(|(g, y)| if relu && y <= T::ZERO { 0.0 } else { g.to_f64() })
                .collect();
            let (sum, normal) = (g.iter().sum::<f64>(), |x: f64| (x - mu) * inv);
            let dot = g.iter().zip(&x).map(|(g, &x)| g * normal(x)).sum::<f64>();
            let slope = |(g, &x): (&f64, &f64)| w * inv * (g - sum / count - normal(x) * dot / count);
            assert_close(&take(&dx), &g.iter().zip(&x).map(slope).collect::<Vec<_>>(), tol);
            assert_close(&take(&eval_dx), &g.iter().map(|g| w * inv * g).collect::<Vec<_>>(), tol);
            assert_close(&take(&added), &g, 0.0);
            assert_close(&[dw[j], db[j]], &[dot, sum], tol * 10.0);
        }
    }
}

#[test]
fn images_match_the_formulas_at_every_level() {
    for what in [(Then::Nothing, false), (Then::Relu, false), (Then::Relu, true)] {
        check::<f32>(what);
        check::<f64>(what);
    }
}

#[test]
fn every_element_belongs_to_one_unit() {
    for (n, c, l) in SHAPES {
        let planes = Planes { n, c, l };
        let mut seen = vec![0; n * c * l];
        for (j, u) in (0..c).flat_map(|j| (0..planes.units()).map(move |u| (j, u))) {
            let (start, samples) = planes.unit(j, u);
            for i in 0..samples.count {
                for at in 0..samples.len {
                    let element = start + i * samples.stride + at;
                    assert_eq!(element / l % c, j);
                    seen[element] += 1;
                }
            }
        }
        assert!(seen.iter().all(|&count| count == 1), "({n}, {c}, {l})");
    }
}

#[test]
fn nan_passes_the_rectifier() {
    let planes = Planes { n: 1, c: 1, l: 3 };
    let mut y = [0.0_f32; 3];
    let forward = Forward { x: &[f32::NAN, -1.0, 2.0], added: None, then: Then::Relu };
    forward.apply(planes, (0, 0), [0.0, 1.0], Affine { weight: &[], bias: &[] }, &mut y);
    assert!(y[0].is_nan());
    assert_eq!(y[1..], [0.0, 2.0]);
}

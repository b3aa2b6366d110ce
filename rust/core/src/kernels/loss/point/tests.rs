use super::*;
use crate::kernels::testing::{SIZES, assert_close, bits, on_all_levels, random, tolerance, wide};

/// Hold the loops over `op` to the plain function `f`, and its derivatives to central differences of `f`, for `a` and `b` of
/// `shift + scale · [−2, 2)`.
fn check<B32: Binary<f32>, B64: Binary<f64>>(
    op32: B32,
    op64: B64,
    f: impl Fn(f64, f64) -> f64,
    shift: f64,
    scale: f64,
) {
    check_type(op32, &f, shift, scale);
    check_type(op64, &f, shift, scale);
    let place = |x: f64| shift + scale * x;
    for (a, b) in random::<f64>(100, 40).into_iter().map(place).zip(random::<f64>(100, 41).into_iter().map(place)) {
        let h = 1e-6;
        let expected = [(f(a + h, b) - f(a - h, b)) / (2.0 * h), (f(a, b + h) - f(a, b - h)) / (2.0 * h)];
        assert_close(&[op64.grad_a(a, b), op64.grad_b(a, b)], &expected, 1e-6);
    }
}

fn check_type<T: Float, B: Binary<T>>(op: B, f: impl Fn(f64, f64) -> f64, shift: f64, scale: f64) {
    for n in SIZES {
        let place = |x: &T| T::from_f64(shift + scale * x.to_f64());
        let a: Vec<T> = random(n, 42).iter().map(place).collect();
        let b: Vec<T> = random(n, 43).iter().map(place).collect();
        let grad = random::<T>(n, 44);
        let (y, ..) = on_all_levels(|| {
            let [mut y, mut da, mut db] = std::array::from_fn(|_| vec![T::ZERO; n]);
            zip(op, &a, &b, &mut y);
            zip_grad_a(op, &grad, &a, &b, &mut da);
            zip_grad_b(op, &grad, &a, &b, &mut db);
            for i in 0..n {
                let expected = [(grad[i] * op.grad_a(a[i], b[i])).to_f64(), (grad[i] * op.grad_b(a[i], b[i])).to_f64()];
                assert_close(&[da[i], db[i]], &expected, tolerance::<T>());
            }
            (wide(&y), bits(&da), bits(&db))
        });
        let expected: Vec<f64> = a.iter().zip(&b).map(|(a, b)| f(a.to_f64(), b.to_f64())).collect();
        assert_close(&y, &expected, tolerance::<T>());
    }
}

#[test]
fn point_losses_match_their_formulas() {
    let huber = |d: f64, delta: f64| if d.abs() < delta { 0.5 * d * d } else { delta * (d.abs() - 0.5 * delta) };
    check(Mse, Mse, |x, t| (x - t).powi(2), 0.0, 1.0);
    check(L1, L1, |x, t| (x - t).abs(), 0.0, 1.0);
    check(SmoothL1 { beta: 0.5 }, SmoothL1 { beta: 0.5 }, |x, t| huber(x - t, 0.5) / 0.5, 0.0, 1.0);
    check(Huber { delta: 0.5 }, Huber { delta: 0.5 }, |x, t| huber(x - t, 0.5), 0.0, 1.0);
    check(Bce, Bce, |x, t| -t * x.ln() - (1.0 - t) * (1.0 - x).ln(), 0.5, 0.2);
    let logits = |x: f64, t: f64| -3.0 * t * (1.0 / (1.0 + (-x).exp())).ln() - (1.0 - t) * (1.0 / (1.0 + x.exp())).ln();
    check(BceWithLogits { pos_weight: 3.0 }, BceWithLogits { pos_weight: 3.0 }, logits, 0.5, 1.0);
    check(KlDiv, KlDiv, |x, t| t * (t.ln() - x), 3.0, 1.0);
    check(KlDivLog, KlDivLog, |x, t| t.exp() * (t - x), 0.0, 1.0);
}

#[test]
fn edges_of_point_losses_are_those_of_pytorch() {
    assert_eq!(
        [Bce.eval(0.0, 1.0), Bce.eval(1.0, 0.0), Bce.eval(1.0, 1.0), Bce.eval(0.0, 0.0)],
        [100.0, 100.0, 0.0, 0.0]
    );
    assert_eq!([Bce.grad_a(0.0, 1.0), Bce.grad_a(1.0, 0.0)], [-1e12, 1e12]);
    let op = BceWithLogits { pos_weight: 1.0 };
    assert_eq!([op.eval(1e4, 0.0), op.eval(-1e4, 1.0), op.eval(1e4, 1.0)], [1e4, 1e4, 0.0]);
    assert_eq!([L1.grad_a(1.0, 1.0), KlDiv.eval(-3.0, 0.0)], [0.0, 0.0]);
    assert_eq!([Huber { delta: 2.0 }.grad_a(2.0, 0.0), SmoothL1 { beta: 2.0 }.grad_a(-2.0, 0.0)], [2.0, -1.0]);
}

#[test]
fn a_choice_at_run_time_runs_its_function() {
    let place = |x: &f32| 0.5 + 0.2 * x;
    let x: Vec<f32> = random(33, 57).iter().map(place).collect();
    let t: Vec<f32> = random(33, 58).iter().map(place).collect();
    let grad = random::<f32>(33, 59);
    let all = [
        PointLoss::Mse,
        PointLoss::L1,
        PointLoss::SmoothL1 { beta: 0.25 },
        PointLoss::Huber { delta: 0.25 },
        PointLoss::Bce,
        PointLoss::BceWithLogits { pos_weight: 3.0 },
        PointLoss::KlDiv { log_target: false },
        PointLoss::KlDiv { log_target: true },
    ];
    let run = |loss: PointLoss| {
        let mut out: [Vec<f32>; 3] = std::array::from_fn(|_| vec![0.0; 33]);
        loss.forward(&x, &t, &mut out[0]);
        loss.grad_input(&grad, &x, &t, &mut out[1]);
        loss.grad_target(&grad, &x, &t, &mut out[2]);
        out
    };
    for loss in all {
        let mut out: [Vec<f32>; 3] = std::array::from_fn(|_| vec![0.0; 33]);
        with_op!(loss, f32, op => {
            zip(op, &x, &t, &mut out[0]);
            zip_grad_a(op, &grad, &x, &t, &mut out[1]);
            zip_grad_b(op, &grad, &x, &t, &mut out[2]);
        });
        assert_eq!(run(loss), out, "{loss:?}");
    }
    for (i, a) in all.iter().enumerate() {
        assert!(all[..i].iter().all(|b| run(*a) != run(*b)), "{a:?}");
    }
    assert_eq!(run(PointLoss::SmoothL1 { beta: 0.0 }), run(PointLoss::L1));
}

//! Every rule against the textbook in plain f64, and the promises that all rules share.

use super::{Adadelta, Adagrad, Adam, AdamW, RmsProp, Rule, Sgd};
use crate::Float;
use crate::simd::{Level, best_level, set_level};

/// One element's whole history by the textbook: gradients in, parameter after each step out.
fn textbook(rule: &Rule, mut x: f64, grads: &[f64]) -> Vec<f64> {
    let (mut a, mut b, mut c) = (rule.initial_state(0), 0.0_f64, 0.0_f64);
    let mut walk = Vec::new();
    for (i, &grad) in grads.iter().enumerate() {
        let t = (i + 1) as i32;
        let signed = |maximize: bool| if maximize { -grad } else { grad };
        match *rule {
            Rule::Sgd(s) => {
                let g = signed(s.maximize) + s.weight_decay * x;
                a = if t == 1 { g } else { s.momentum * a + (1.0 - s.dampening) * g };
                let velocity = if s.nesterov { g + s.momentum * a } else { a };
                x -= s.lr * if s.momentum == 0.0 { g } else { velocity };
            }
            Rule::Adagrad(s) => {
                let g = signed(s.maximize) + s.weight_decay * x;
                a += g * g;
                x -= s.lr / (1.0 + f64::from(t - 1) * s.lr_decay) * g / (a.sqrt() + s.eps);
            }
            Rule::Adadelta(s) => {
                let g = signed(s.maximize) + s.weight_decay * x;
                a = s.rho * a + (1.0 - s.rho) * g * g;
                let delta = (b + s.eps).sqrt() / (a + s.eps).sqrt() * g;
                b = s.rho * b + (1.0 - s.rho) * delta * delta;
                x -= s.lr * delta;
            }
            Rule::RmsProp(s) => {
                let g = signed(s.maximize) + s.weight_decay * x;
                a = s.alpha * a + (1.0 - s.alpha) * g * g;
                c = s.alpha * c + (1.0 - s.alpha) * g;
                let variance = if s.centered { a - c * c } else { a };
                b = s.momentum * b + g / (variance.sqrt() + s.eps);
                x -= s.lr * b;
            }
            Rule::Adam(Adam { lr, betas, eps, amsgrad, maximize, .. })
            | Rule::AdamW(AdamW { lr, betas, eps, amsgrad, maximize, .. }) => {
                let mut g = signed(maximize);
                match *rule {
                    Rule::Adam(s) => g += s.weight_decay * x,
                    Rule::AdamW(s) => x -= lr * s.weight_decay * x,
                    _ => unreachable!(),
                }
                a = betas.0 * a + (1.0 - betas.0) * g;
                b = betas.1 * b + (1.0 - betas.1) * g * g;
                c = if amsgrad { c.max(b) } else { b };
                let mean = a / (1.0 - betas.0.powi(t));
                x -= lr * mean / ((c / (1.0 - betas.1.powi(t))).sqrt() + eps);
            }
        }
        walk.push(x);
    }
    walk
}

/// Settings far from the defaults and from each other, so that one left unread shows.
fn cases() -> Vec<Rule> {
    let sgd = Sgd { lr: 0.17, momentum: 0.7, dampening: 0.3, weight_decay: 0.2, nesterov: false, maximize: false };
    let adagrad = Adagrad {
        lr: 0.3,
        lr_decay: 0.4,
        weight_decay: 0.2,
        initial_accumulator_value: 0.6,
        eps: 0.5,
        maximize: false,
    };
    let adadelta = Adadelta { lr: 0.8, rho: 0.6, eps: 0.3, weight_decay: 0.2, maximize: false };
    let rmsprop =
        RmsProp { lr: 0.2, alpha: 0.7, eps: 0.4, weight_decay: 0.3, momentum: 0.6, centered: true, maximize: false };
    let adam = Adam { lr: 0.2, betas: (0.6, 0.7), eps: 0.3, weight_decay: 0.4, amsgrad: false, maximize: false };
    let adamw = AdamW { lr: 0.2, betas: (0.8, 0.6), eps: 0.5, weight_decay: 0.7, amsgrad: false, maximize: false };
    vec![
        Sgd::default().into(),
        sgd.into(),
        Sgd { nesterov: true, dampening: 0.0, ..sgd }.into(),
        Sgd { momentum: 0.0, maximize: true, ..sgd }.into(),
        Sgd { maximize: true, ..sgd }.into(),
        Adagrad::default().into(),
        adagrad.into(),
        Adagrad { maximize: true, ..adagrad }.into(),
        Adadelta::default().into(),
        adadelta.into(),
        Adadelta { maximize: true, rho: 0.3, ..adadelta }.into(),
        RmsProp::default().into(),
        rmsprop.into(),
        RmsProp { centered: false, ..rmsprop }.into(),
        RmsProp { momentum: 0.0, ..rmsprop }.into(),
        RmsProp { momentum: 0.0, centered: false, alpha: 0.2, maximize: true, ..rmsprop }.into(),
        RmsProp { alpha: 0.2, ..rmsprop }.into(),
        Adam::default().into(),
        adam.into(),
        Adam { amsgrad: true, ..adam }.into(),
        Adam { betas: (0.0, 0.0), maximize: true, ..adam }.into(),
        Adam { betas: (0.3, 0.2), ..adam }.into(),
        AdamW::default().into(),
        adamw.into(),
        AdamW { amsgrad: true, maximize: true, ..adamw }.into(),
    ]
}

/// Values in (−2, 2) that look random, so that neighbours and steps differ in sign and size.
fn noise(seed: usize, n: usize) -> Vec<f64> {
    (0..n).map(|i| 2.0 * (12.9898 * (i + 1) as f64 + 78.233 * (seed + 1) as f64).sin()).collect()
}

/// `n` parameters through `steps` steps, each step in pieces of the given lengths, repeated; parameter and state.
fn walk<T: Float>(rule: &Rule, n: usize, steps: usize, pieces: &[usize]) -> Vec<Vec<T>> {
    let rounded = |values: Vec<f64>| values.into_iter().map(T::from_f64).collect::<Vec<T>>();
    let mut all = vec![rounded(noise(0, n))];
    all.extend((0..rule.state_names().len()).map(|i| vec![T::from_f64(rule.initial_state(i)); n]));
    for t in 1..=steps {
        let grad = rounded(noise(t, n));
        let mut rest: Vec<&mut [T]> = all.iter_mut().map(Vec::as_mut_slice).collect();
        let mut grad = &grad[..];
        let mut lengths = pieces.iter().cycle();
        while !grad.is_empty() {
            let length = grad.len().min(*lengths.next().unwrap());
            let mut piece: Vec<&mut [T]> =
                rest.iter_mut().map(|slice| slice.split_off_mut(..length).unwrap()).collect();
            let (param, state) = piece.split_first_mut().unwrap();
            rule.update(t as u64, param, grad.split_off(..length).unwrap(), state);
        }
    }
    all
}

fn bits<T: Float>(all: &[Vec<T>]) -> Vec<u64> {
    all.iter().flatten().map(|x| x.to_f64().to_bits()).collect()
}

#[test]
fn trajectories_follow_the_textbook() {
    let (n, steps) = (37, 100);
    for rule in cases() {
        let ours: Vec<Vec<f64>> = (1..=steps).map(|t| walk::<f64>(&rule, n, t, &[n]).swap_remove(0)).collect();
        let start = noise(0, n);
        for i in 0..n {
            let grads: Vec<f64> = (1..=steps).map(|t| noise(t, n)[i]).collect();
            for (t, expected) in textbook(&rule, start[i], &grads).into_iter().enumerate() {
                let got = ours[t][i];
                let error = (got - expected).abs() / expected.abs().max(1.0);
                assert!(error < 1e-12, "{rule:?}, step {}, element {i}: {got} for {expected}", t + 1);
            }
        }
    }
}

#[test]
fn float32_stays_near_float64() {
    // An average's weight is off by up to 3e-8 of 1e-3 in f32 (the default β₂), but not by t of those.
    for rule in cases() {
        let (wide, narrow) = (walk::<f64>(&rule, 100, 50, &[100]), walk::<f32>(&rule, 100, 50, &[100]));
        for (name, (wide, narrow)) in ["param"].iter().chain(rule.state_names()).zip(wide.iter().zip(&narrow)) {
            for (&wide, &narrow) in wide.iter().zip(narrow) {
                let error = (wide - f64::from(narrow)).abs() / wide.abs().max(1.0);
                assert!(error < 4e-6, "{rule:?}, {name}: {narrow} for {wide}");
            }
        }
    }
}

#[test]
fn neither_split_nor_level_changes_a_bit() {
    fn check<T: Float>(rule: &Rule) {
        let n = 203;
        set_level(best_level());
        let whole = bits(&walk::<T>(rule, n, 5, &[n]));
        for pieces in [&[1][..], &[7, 1, 64, 33], &[16], &[32, 3]] {
            assert_eq!(bits(&walk::<T>(rule, n, 5, pieces)), whole, "{rule:?} in pieces of {pieces:?}");
        }
        for level in [Level::Portable, Level::Avx2, Level::Avx512] {
            set_level(level);
            assert_eq!(bits(&walk::<T>(rule, n, 5, &[n])), whole, "{rule:?} on {level:?}");
        }
        set_level(best_level());
    }
    for rule in cases() {
        check::<f32>(&rule);
        check::<f64>(&rule);
    }
}

#[test]
fn a_step_prepared_once_is_the_rule() {
    let rule: Rule = AdamW::default().into();
    let step = rule.at::<f32>(3);
    let tiles = [[0.5, -2.0], [0.1, 0.2], [0.3, 0.4]];
    let (mut prepared, mut direct) = (tiles, tiles);
    let [param, mean, square] = &mut prepared;
    step.update(param, &[1.0, -3.0], &mut [mean, square]);
    let [param, mean, square] = &mut direct;
    rule.update(3, param, &[1.0, -3.0], &mut [mean, square]);
    assert_eq!(prepared, direct);
    assert_ne!(prepared, tiles);
}

#[test]
fn an_infinite_parameter_stays_where_it_is() {
    // As a logit masked with −∞ does: without decay, 0 · ∞ must not reach its gradient.
    for rule in cases() {
        let undecayed: Rule = match rule {
            Rule::Sgd(s) => Sgd { weight_decay: 0.0, ..s }.into(),
            Rule::Adagrad(s) => Adagrad { weight_decay: 0.0, ..s }.into(),
            Rule::Adadelta(s) => Adadelta { weight_decay: 0.0, ..s }.into(),
            Rule::RmsProp(s) => RmsProp { weight_decay: 0.0, ..s }.into(),
            Rule::Adam(s) => Adam { weight_decay: 0.0, ..s }.into(),
            Rule::AdamW(s) => AdamW { weight_decay: 0.0, ..s }.into(),
        };
        let mut state = vec![[undecayed.initial_state(0) as f32]; undecayed.state_names().len()];
        let mut state: Vec<&mut [f32]> = state.iter_mut().map(|slice| &mut slice[..]).collect();
        let mut param = [f32::NEG_INFINITY];
        for t in 1..4 {
            undecayed.update(t, &mut param, &[0.5], &mut state);
            assert_eq!(param, [f32::NEG_INFINITY], "{undecayed:?}");
        }
    }
}

#[test]
fn nan_shows() {
    for rule in cases() {
        let mut state = vec![[1.0_f64]; rule.state_names().len()];
        let mut state: Vec<&mut [f64]> = state.iter_mut().map(|slice| &mut slice[..]).collect();
        let mut param = [1.0];
        rule.update(1, &mut param, &[f64::NAN], &mut state);
        rule.update(2, &mut param, &[1.0], &mut state);
        assert!(param[0].is_nan(), "{rule:?}");
        assert!(state.iter().all(|slice| slice[0].is_nan()), "{rule:?}: {state:?}");
    }
}

#[test]
fn averages_of_dead_units_end_at_zero() {
    let adam: Rule = Adam::default().into();
    let sgd: Rule = Sgd { momentum: 0.9, ..Sgd::default() }.into();
    let rmsprop: Rule = RmsProp { momentum: 0.9, alpha: 0.9, ..RmsProp::default() }.into();
    for (rule, dead) in [(adam, &[0][..]), (sgd, &[0]), (rmsprop, &[0, 1])] {
        let mut state = vec![[0.0_f32]; rule.state_names().len()];
        let mut param = [1.0_f32];
        for t in 1..3000 {
            let grad = if t < 10 { 0.1 } else { 0.0 };
            let mut slices: Vec<&mut [f32]> = state.iter_mut().map(|slice| &mut slice[..]).collect();
            rule.update(t, &mut param, &[grad], &mut slices);
            assert!(state.iter().all(|x| !x[0].is_subnormal()), "{rule:?}, step {t}: {state:?}");
        }
        assert!(dead.iter().all(|&i| state[i] == [0.0]), "{rule:?}: {state:?}");
    }
}

#[test]
fn tiny_squares_count_where_eps_does_not_hide_them() {
    // Every step of Adam is lr at a constant gradient, however small: 1e-20² is subnormal.
    let rule: Rule = Adam { eps: 0.0, ..Adam::default() }.into();
    let (mut param, mut mean, mut square) = ([0.0_f32], [0.0], [0.0]);
    rule.update(1, &mut param, &[1e-20], &mut [&mut mean, &mut square]);
    assert!((param[0] + 1e-3).abs() < 2e-4, "{param:?}");
}

#[test]
fn names_are_pytorchs() {
    let names: Vec<_> = cases().iter().map(|rule| (rule.name(), rule.state_names().join(" "))).collect();
    for expected in [
        ("SGD", ""),
        ("SGD", "momentum_buffer"),
        ("Adagrad", "sum"),
        ("Adadelta", "square_avg acc_delta"),
        ("RMSprop", "square_avg"),
        ("RMSprop", "square_avg grad_avg"),
        ("RMSprop", "square_avg momentum_buffer"),
        ("RMSprop", "square_avg momentum_buffer grad_avg"),
        ("Adam", "exp_avg exp_avg_sq"),
        ("Adam", "exp_avg exp_avg_sq max_exp_avg_sq"),
        ("AdamW", "exp_avg exp_avg_sq max_exp_avg_sq"),
    ] {
        assert!(names.iter().any(|(name, state)| (*name, state.as_str()) == expected), "{expected:?}");
    }
}

#[test]
fn bad_settings_are_named() {
    let sgd = Sgd::default();
    let momentum = "SGD: expected momentum above 0 and dampening of 0 with nesterov; got";
    let cases: Vec<(Rule, String)> = vec![
        (Sgd { lr: -1.0, ..sgd }.into(), "SGD: expected lr of at least 0; got -1".into()),
        (Sgd { lr: f64::NAN, ..sgd }.into(), "SGD: expected lr of at least 0; got nan".into()),
        (Sgd { momentum: -0.5, ..sgd }.into(), "SGD: expected momentum of at least 0; got -0.5".into()),
        (Sgd { weight_decay: -1e-9, ..sgd }.into(), "SGD: expected weight_decay of at least 0; got -1e-9".into()),
        (Sgd { dampening: f64::NAN, ..sgd }.into(), "SGD: expected a number for dampening; got nan".into()),
        (Sgd { nesterov: true, ..sgd }.into(), format!("{momentum} 0 and 0")),
        (Sgd { nesterov: true, momentum: 0.9, dampening: 0.1, ..sgd }.into(), format!("{momentum} 0.9 and 0.1")),
        (
            Adagrad { lr_decay: -1.0, ..Adagrad::default() }.into(),
            "Adagrad: expected lr_decay of at least 0; got -1".into(),
        ),
        (
            Adagrad { initial_accumulator_value: f64::NEG_INFINITY, ..Adagrad::default() }.into(),
            "Adagrad: expected initial_accumulator_value of at least 0; got -inf".into(),
        ),
        (Adadelta { rho: 1.5, ..Adadelta::default() }.into(), "Adadelta: expected rho in [0, 1]; got 1.5".into()),
        (
            RmsProp { alpha: -0.5, ..RmsProp::default() }.into(),
            "RMSprop: expected alpha of at least 0; got -0.5".into(),
        ),
        (Adam { betas: (1.0, 0.9), ..Adam::default() }.into(), "Adam: expected betas[0] in [0, 1); got 1".into()),
        (
            AdamW { betas: (0.9, -0.1), ..AdamW::default() }.into(),
            "AdamW: expected betas[1] in [0, 1); got -0.1".into(),
        ),
        (AdamW { eps: -1.0, ..AdamW::default() }.into(), "AdamW: expected eps of at least 0; got -1".into()),
    ];
    for (rule, message) in cases {
        assert_eq!(rule.validate().unwrap_err().message(), message);
    }
    for rule in self::cases() {
        assert_eq!(rule.validate(), Ok(()), "{rule:?}");
    }
    assert_eq!(Rule::from(Adadelta { rho: 1.0, ..Adadelta::default() }).validate(), Ok(()));
}

//! Every rule against the textbook in plain f64, and the promises that all rules share.

mod textbook;

use self::textbook::{cases, textbook};
use super::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, Asgd, Kind, Lion, NAdam, Nesterov, Progress, RAdam, RmsProp, Rprop, Rule,
    Sgd, Source,
};
use crate::Float;
use crate::simd::{Level, best_level, set_level};

/// Values in (−2, 2) that look random, so that neighbors and steps differ in sign and size.
fn noise(seed: usize, n: usize) -> Vec<f64> {
    (0..n).map(|i| 2.0 * (12.9898 * (i + 1) as f64 + 78.233 * (seed + 1) as f64).sin()).collect()
}

/// `n` parameters through `steps` steps, each step in pieces of the given lengths, repeated; parameter and state.
fn walk<T: Float>(rule: &Rule, n: usize, steps: usize, pieces: &[usize]) -> Vec<Vec<T>> {
    let rounded = |values: Vec<f64>| values.into_iter().map(T::from_f64).collect::<Vec<T>>();
    let mut all = vec![rounded(noise(0, n))];
    all.extend((0..rule.state_names().len()).map(|i| vec![T::from_f64(rule.initial_state(i)); n]));
    let mut progress = Progress::default();
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
            rule.update(&progress, param, grad.split_off(..length).unwrap(), state);
        }
        rule.advance(&mut progress);
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
    let progress = Progress { updates: 2, ..Progress::default() };
    let step = rule.at::<f32>(&progress);
    let tiles = [[0.5, -2.0], [0.1, 0.2], [0.3, 0.4]];
    let (mut prepared, mut direct) = (tiles, tiles);
    let [param, mean, square] = &mut prepared;
    step.update(param, &[1.0, -3.0], &mut [mean, square]);
    let [param, mean, square] = &mut direct;
    rule.update(&progress, param, &[1.0, -3.0], &mut [mean, square]);
    assert_eq!(prepared, direct);
    assert_ne!(prepared, tiles);
}

#[test]
fn an_infinite_parameter_stays_where_it_is() {
    // As a logit masked with −∞ does: without decay, 0 · ∞ must not reach its gradient.
    for rule in cases() {
        let undecayed: Rule = match rule {
            Rule::Sgd(s) => Sgd { weight_decay: 0.0, ..s }.into(),
            Rule::Nesterov(s) => Nesterov { weight_decay: 0.0, ..s }.into(),
            Rule::Adagrad(s) => Adagrad { weight_decay: 0.0, ..s }.into(),
            Rule::Adadelta(s) => Adadelta { weight_decay: 0.0, ..s }.into(),
            Rule::RmsProp(s) => RmsProp { weight_decay: 0.0, ..s }.into(),
            Rule::Rprop(s) => s.into(),
            Rule::Asgd(s) => Asgd { weight_decay: 0.0, ..s }.into(),
            Rule::Adam(s) => Adam { weight_decay: 0.0, ..s }.into(),
            Rule::AdamW(s) => AdamW { weight_decay: 0.0, ..s }.into(),
            Rule::Adamax(s) => Adamax { weight_decay: 0.0, ..s }.into(),
            Rule::NAdam(s) => NAdam { weight_decay: 0.0, ..s }.into(),
            Rule::RAdam(s) => RAdam { weight_decay: 0.0, ..s }.into(),
            Rule::Lion(s) => Lion { weight_decay: 0.0, ..s }.into(),
        };
        let fresh = |i| [undecayed.initial_state(i) as f32];
        let mut state: Vec<[f32; 1]> = (0..undecayed.state_names().len()).map(fresh).collect();
        let mut state: Vec<&mut [f32]> = state.iter_mut().map(|slice| &mut slice[..]).collect();
        let mut param = [f32::NEG_INFINITY];
        let mut progress = Progress::default();
        for _ in 1..4 {
            undecayed.update(&progress, &mut param, &[0.5], &mut state);
            undecayed.advance(&mut progress);
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
        let mut progress = Progress::default();
        rule.update(&progress, &mut param, &[f64::NAN], &mut state);
        rule.advance(&mut progress);
        rule.update(&progress, &mut param, &[1.0], &mut state);
        assert!(param[0].is_nan(), "{rule:?}");
        // The gradient of the last step forgets those before.
        let mut lasting = state.iter().zip(rule.state_names()).filter(|(_, name)| **name != "prev");
        assert!(lasting.all(|(slice, _)| slice[0].is_nan()), "{rule:?}: {state:?}");
    }
}

#[test]
fn averages_of_dead_units_end_at_zero() {
    let adam: Rule = Adam::default().into();
    let sgd: Rule = Sgd { momentum: 0.9, ..Sgd::default() }.into();
    let rmsprop: Rule = RmsProp { momentum: 0.9, alpha: 0.9, ..RmsProp::default() }.into();
    let nesterov: Rule = Nesterov::default().into();
    let adamax: Rule = Adamax::default().into();
    let lion: Rule = Lion { betas: (0.9, 0.9), ..Lion::default() }.into();
    for (rule, dead) in
        [(adam, &[0][..]), (sgd, &[0]), (rmsprop, &[0, 1]), (nesterov, &[0]), (adamax, &[0]), (lion, &[0])]
    {
        let mut state = vec![[0.0_f32]; rule.state_names().len()];
        let mut param = [1.0_f32];
        let mut progress = Progress::default();
        for t in 1..3000 {
            let grad = if t < 10 { 0.1 } else { 0.0 };
            let mut slices: Vec<&mut [f32]> = state.iter_mut().map(|slice| &mut slice[..]).collect();
            rule.update(&progress, &mut param, &[grad], &mut slices);
            rule.advance(&mut progress);
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
    rule.update(&Progress::default(), &mut param, &[1e-20], &mut [&mut mean, &mut square]);
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
        ("Nesterov", "momentum_buffer"),
        ("Rprop", "prev step_size"),
        ("ASGD", "ax"),
        ("Adamax", "exp_avg exp_inf"),
        ("NAdam", "exp_avg exp_avg_sq"),
        ("RAdam", "exp_avg exp_avg_sq"),
        ("Lion", "exp_avg"),
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
        (
            Rprop { etas: (0.5, 1.0), ..Rprop::default() }.into(),
            "Rprop: expected etas[0] in (0, 1) and etas[1] above 1; got 0.5 and 1".into(),
        ),
        (
            Rprop { step_sizes: (0.1, f64::NAN), ..Rprop::default() }.into(),
            "Rprop: expected a number for step_sizes[1]; got nan".into(),
        ),
        (Asgd { t0: f64::NAN, ..Asgd::default() }.into(), "ASGD: expected a number for t0; got nan".into()),
        (
            NAdam { momentum_decay: -0.1, ..NAdam::default() }.into(),
            "NAdam: expected momentum_decay of at least 0; got -0.1".into(),
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

/// A group that answers with the index of each setting.
struct Indices;

impl Source for Indices {
    type Error = std::convert::Infallible;

    fn number(&self, index: usize) -> Result<f64, Self::Error> {
        Ok(index as f64)
    }

    fn pair(&self, index: usize) -> Result<(f64, f64), Self::Error> {
        Ok((index as f64, 0.5))
    }

    fn flag(&self, index: usize) -> Result<bool, Self::Error> {
        Ok(index == 4)
    }
}

#[test]
fn settings_are_read_in_the_order_of_their_names() {
    for &kind in Kind::ALL {
        let Ok(rule) = kind.read(&Indices);
        assert_eq!((rule.kind(), Kind::named(kind.name())), (kind, Some(kind)));
        let shown = format!("{rule:?}");
        for (i, name) in kind.settings().iter().enumerate() {
            let number = format!("{name}: {i}.0");
            let (pair, flag) = (format!("{name}: ({i}.0, 0.5)"), format!("{name}: {}", i == 4));
            assert!([number, pair, flag].iter().any(|s| shown.contains(s)), "{name} of {shown}");
        }
    }
    assert_eq!(Kind::named("adam"), None);
}

#[test]
fn scalars_remember_the_settings_that_were() {
    let fast = NAdam { betas: (0.5, 0.9), ..NAdam::default() };
    let mut progress = Progress::default();
    Rule::from(fast).advance(&mut progress);
    Rule::from(NAdam::default()).advance(&mut progress);
    let mu = |beta: f64, t: f64| beta * (1.0 - 0.5 * 0.96_f64.powf(t * 4e-3));
    assert!((progress.scalars[0] - mu(0.5, 1.0) * mu(0.9, 2.0)).abs() < 1e-15, "{progress:?}");

    let asgd = Asgd { lr: 0.5, lambd: 0.1, t0: 1.0, ..Asgd::default() };
    let mut progress = Progress::default();
    for rate in [0.5, 0.25, 0.125] {
        Rule::from(Asgd { lr: rate, ..asgd }).advance(&mut progress);
    }
    let eta = 0.125 / (1.0 + 0.1 * 0.125 * 3.0_f64).powf(0.75);
    assert!((progress.scalars[0] - eta).abs() < 1e-15 && progress.scalars[1] == 0.5, "{progress:?}");
}

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::*;
use crate::ops::gradcheck_nn::{message, noise, same_bits_for_any_team};
use crate::threads::Team;

/// Tests share one generator: those that seed it take turns.
pub(crate) fn seeded(seed: u64) -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    let guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    manual_seed(seed);
    guard
}

const DRAW: Draw = Draw { seed: 3, stream: 0, call: 5 };

#[test]
fn a_seed_fixes_what_follows_and_a_state_resumes_it() {
    let _guard = seeded(7);
    let first = randn(&[5], DType::F32).unwrap().to_vec_f64();
    let saved = state();
    let second = rand(&[5], DType::F64).unwrap().to_vec_f64();
    let order = permutation(9);
    assert_ne!(randn(&[5], DType::F32).unwrap().to_vec_f64(), first);
    set_state(saved);
    assert_eq!(rand(&[5], DType::F64).unwrap().to_vec_f64(), second);
    assert_eq!(permutation(9), order);
    manual_seed(7);
    assert_eq!(randn(&[5], DType::F32).unwrap().to_vec_f64(), first);
}

#[test]
fn a_thread_with_a_generator_of_its_own_leaves_the_shared_one_alone() {
    let _guard = seeded(7);
    let expected = randn(&[5], DType::F32).unwrap().to_vec_f64();
    set_state((7, 3));
    assert_eq!(set_own_state(Some((7, 0))), None);
    assert_eq!(randn(&[5], DType::F32).unwrap().to_vec_f64(), expected);
    assert_eq!(permutation(9).len(), 9);
    assert_eq!(state(), (7, 2));
    assert_eq!(std::thread::spawn(state).join().unwrap(), (7, 3));
    assert_eq!(set_own_state(Some((9, 5))), Some((7, 2)));
    manual_seed(11);
    assert_eq!(set_own_state(None), Some((11, 0)));
    assert_eq!(state(), (7, 3));
}

/// Run in a thread of its own, which is not the main one.
fn elsewhere<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| scope.spawn(f).join().unwrap())
}

#[test]
fn a_fit_in_the_main_thread_has_the_generator_of_the_process_to_itself() {
    let _guard = seeded(7);
    let _ = next_draw();
    assert!(begin_fit(true, None));
    assert!(!begin_fit(true, None), "a fit inside of a fit");
    assert_eq!(next_draw(), Draw { seed: 7, stream: 0, call: 1 });
    // Another thread draws far away, but a fit begins where this one did.
    let beside: Vec<Draw> = (0..2).map(|_| elsewhere(next_draw)).collect();
    assert!(beside.iter().all(|draw| draw.call >= 1 << 62) && beside[0] != beside[1]);
    let begun = elsewhere(|| (begin_fit(false, None), state(), end_fit().is_some()));
    assert_eq!(begun, (true, (7, 1), true));
    let _ = next_draw();
    assert!(end_fit().is_none());
    assert_eq!((state(), elsewhere(state)), ((7, 3), (7, 3)));
    // Seeding during a fit counts afterwards.
    assert!(begin_fit(true, None));
    manual_seed(9);
    assert!(end_fit().is_none());
    assert_eq!(elsewhere(state), (9, 0));
}

#[test]
fn a_fit_in_another_thread_goes_on_from_the_last_until_the_process_is_seeded() {
    let _guard = seeded(7);
    let fit = |last| {
        elsewhere(|| {
            assert!(begin_fit(false, last));
            let draw = next_draw();
            (draw.seed, draw.call, end_fit())
        })
    };
    let (seed, call, ended) = fit(None);
    assert_eq!((seed, call, state()), (7, 0, (7, 0)));
    assert_eq!((fit(None).1, fit(ended).1), (0, 1));
    manual_seed(8);
    let (seed, call, _) = fit(ended);
    assert_eq!((seed, call), (8, 0));
}

#[test]
fn a_thread_that_trains_or_is_seeded_keeps_a_generator() {
    let _guard = seeded(7);
    let trained = elsewhere(|| {
        let shared = next_draw().call;
        begin_training();
        let own = next_draw().call;
        begin_training();
        assert!(!begin_fit(false, None));
        (shared, own, next_draw().call)
    });
    assert_eq!((trained, state()), ((0, 1, 2), (7, 1)));
    let seeded = elsewhere(|| {
        begin_training();
        manual_seed_own(3);
        begin_training();
        assert!(!begin_fit(false, None));
        let _ = next_draw();
        state()
    });
    assert_eq!((seeded, state()), ((3, 1), (7, 1)));
    let during = elsewhere(|| {
        assert!(begin_fit(false, None));
        manual_seed_own(4);
        (end_fit().is_none(), state())
    });
    assert_eq!((during, state()), ((true, (4, 0)), (7, 1)));
}

#[test]
fn bounds_mean_and_deviation_are_those_asked_for() {
    let _guard = seeded(1);
    let x = Tensor::zeros(&[100, 101], DType::F64);
    let stats = |x: &Tensor| {
        let x = x.to_vec_f64();
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        (mean, (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64).sqrt())
    };
    uniform_(&x, -3.0, 1.0).unwrap();
    assert!(x.to_vec_f64().iter().all(|x| (-3.0..1.0).contains(x)));
    assert!((stats(&x).0 + 1.0).abs() < 0.06 && (stats(&x).1 - 4.0 / 12.0_f64.sqrt()).abs() < 0.06);
    normal_(&x, 5.0, 0.5).unwrap();
    assert!((stats(&x).0 - 5.0).abs() < 0.03 && (stats(&x).1 - 0.5).abs() < 0.03);
    bernoulli_(&x, 0.25).unwrap();
    assert!((stats(&x).0 - 0.25).abs() < 0.03 && x.to_vec_f64().iter().all(|&x| x == 0.0 || x == 1.0));
    let labels = randint(-2, 3, &[5000]).unwrap().to_vec_f64();
    for value in -2..3 {
        let share = labels.iter().filter(|&&x| x == f64::from(value)).count();
        assert!((850..1150).contains(&share), "{value}: {share}");
    }
    let p = Tensor::from_slice(&[0.0_f32, 1.0, 0.0, 1.0], &[4]);
    assert_eq!(bernoulli(&p).unwrap().to_vec_f64(), [0.0, 1.0, 0.0, 1.0]);
}

#[test]
fn a_fill_does_not_see_the_layout() {
    let op = RandomFill { distribution: Distribution::Normal { mean: 1.0, std: 2.0 }, draw: DRAW };
    let (flat, turned) = (Tensor::zeros(&[40, 23], DType::F32), Tensor::zeros(&[23, 40], DType::F32));
    let turned = turned.alias(turned.layout().permute(&[1, 0]));
    for x in [&flat, &turned] {
        op.run(&Run { team: &Team::SOLO, replay: 0 }, &[x.view()], &[]);
    }
    assert_eq!(flat.to_vec_f64(), turned.to_vec_f64());
    let version = flat.storage().version();
    uniform_(&flat, 0.0, 1.0).unwrap();
    assert_eq!(flat.storage().version(), version + 1);
}

#[test]
fn bits_do_not_depend_on_the_team_and_a_replay_draws_anew() {
    let distribution = Distribution::Uniform { low: -1.0, high: 3.0 };
    let op = Random { distribution, draw: DRAW, meta: Meta::new(&[7, 91], DType::F32) };
    same_bits_for_any_team(&op, &[]);
    let p = noise(&[301], 1).to_vec_f64().iter().map(|x| (x + 2.0) / 4.0).collect::<Vec<_>>();
    same_bits_for_any_team(&Bernoulli { draw: DRAW }, &[Tensor::from_slice(&p, &[301])]);
    let run = |draw: Draw, replay: u64| {
        let y = Tensor::zeros(&[7, 91], DType::F32);
        Random { draw, ..op.clone() }.run(&Run { team: &Team::SOLO, replay }, &[], &[y.view()]);
        y.to_vec_f64()
    };
    assert_eq!(run(DRAW, 4), run(Draw { call: 9, ..DRAW }, 0));
    assert_ne!(run(DRAW, 4), run(DRAW, 0));
}

#[test]
fn a_permutation_is_that_of_its_draw_for_any_team() {
    let _guard = seeded(5);
    let expected: Vec<f64> = permutation(301).into_iter().map(f64::from).collect();
    manual_seed(5);
    assert_eq!(randperm(301).unwrap().to_vec_f64(), expected);
    same_bits_for_any_team(&RandPerm { n: 301, draw: DRAW }, &[]);
    assert_eq!(randperm(0).unwrap().shape(), [0]);
    assert_eq!(message(randperm(1 << 32)), "randperm: expected n below 2**32; got 4294967296");
}

#[test]
fn wrong_parameters_are_named() {
    let x = Tensor::zeros(&[2], DType::F32);
    assert_eq!(message(normal_(&x, 0.0, -1.0)), "normal_: expected std >= 0; got -1");
    assert_eq!(message(bernoulli_(&x, 1.5)), "bernoulli_: expected p in [0, 1]; got 1.5");
    assert_eq!(message(uniform_(&x, 1.0, 0.0)), "uniform_: expected low <= high; got 1 and 0");
    assert_eq!(message(rand(&[2], DType::I64)), "rand: expected a floating-point dtype; got int64");
    assert_eq!(message(randint(3, 3, &[2])), "randint: expected low < high; got 3 and 3");
    let p = Tensor::from_slice(&[0.5, 1.5], &[2]);
    assert_eq!(message(bernoulli(&p)), "bernoulli: expected probabilities in [0, 1]; got 1.5");
}

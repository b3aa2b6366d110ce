use std::sync::MutexGuard;

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

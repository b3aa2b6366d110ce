//! The maths is checked from Python, against a float64 reference; here, what Python cannot see.

use super::*;
use crate::kernels::testing::random;

fn state(hidden: usize, visible: usize, chains: usize) -> State {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F64);
    State {
        weight: Tensor::from_slice(&random::<f64>(hidden * visible, 1), &[hidden, visible]),
        visible_bias: Tensor::from_slice(&random::<f64>(visible, 2), &[visible]),
        hidden_bias: Tensor::from_slice(&random::<f64>(hidden, 3), &[hidden]),
        weight_step: zeros(&[hidden, visible]),
        visible_step: zeros(&[visible]),
        hidden_step: zeros(&[hidden]),
        activity: zeros(&[hidden]),
        chains: zeros(&[hidden, chains]),
    }
}

const SETTINGS: Settings = Settings {
    visible: Visible::Gaussian,
    k: 2,
    persistent: false,
    sample_visible: true,
    lr: 0.05,
    momentum: 0.5,
    weight_decay: 0.1,
    sparsity_target: 0.2,
    sparsity_cost: 0.3,
    sparsity_decay: 0.5,
};

#[test]
fn room_is_made_once() {
    let (state, x) = (state(5, 7, 0), Tensor::from_slice(&random::<f64>(20 * 7, 4), &[20, 7]));
    let (mut rbm, order) = (Rbm::new(), (0..20).collect::<Vec<i64>>());
    let mut address = None;
    for _ in 0..3 {
        let mut errors = [f64::NAN; 3];
        assert_eq!(rbm.train(&state, &SETTINGS, &x, &order, 8, &mut errors).unwrap(), 3);
        assert!(errors.iter().all(|e| *e > 0.0));
        let now = rbm.arena.as_ref().map(Storage::ptr);
        assert!(address.is_none_or(|before| before == now));
        address = Some(now);
    }
}

#[test]
fn an_error_that_is_not_finite_ends_the_call_and_changes_nothing() {
    let (state, mut x) = (state(5, 7, 0), random::<f64>(20 * 7, 4));
    x[9 * 7 + 3] = f64::INFINITY;
    let x = Tensor::from_slice(&x, &[20, 7]);
    let (mut rbm, mut errors) = (Rbm::new(), [0.0; 3]);
    let order: Vec<i64> = (8..20).chain(0..8).collect();
    let before = state.weight.to_vec_f64();
    assert_eq!(rbm.train(&state, &SETTINGS, &x, &order, 8, &mut errors).unwrap(), 1);
    assert!(!errors[0].is_finite());
    assert_eq!(state.weight.to_vec_f64(), before);
}

#[test]
fn what_does_not_fit_is_refused() {
    let (good, x) = (state(5, 7, 0), Tensor::zeros(&[4, 7], DType::F64));
    let mut rbm = Rbm::new();
    let mut train = |state: &State, settings: &Settings, x: &Tensor, order: &[i64]| {
        rbm.train(state, settings, x, order, 4, &mut [0.0]).map_err(|e| e.message().to_owned())
    };
    let narrow = Tensor::zeros(&[4, 6], DType::F64);
    assert_eq!(
        train(&good, &SETTINGS, &narrow, &[0]).unwrap_err(),
        "RBM: expected x to be contiguous float64 of shape (n, 7); got float64 of shape [4, 6]"
    );
    assert_eq!(train(&good, &SETTINGS, &x, &[4]).unwrap_err(), "RBM: expected row numbers in [0, 4); got 4");
    let persistent = Settings { persistent: true, ..SETTINGS };
    assert_eq!(train(&good, &persistent, &x, &[0]).unwrap_err(), "RBM: expected at least one chain and one step");
    let bad = State { hidden_bias: Tensor::zeros(&[4], DType::F64), ..good };
    assert_eq!(
        train(&bad, &SETTINGS, &x, &[0]).unwrap_err(),
        "RBM: expected hidden_bias to be contiguous, writable float64 of shape [5]; got float64 of shape [4]"
    );
}

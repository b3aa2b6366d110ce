//! A planned step gives the bits of the eager one, for any number of threads.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{Model, NETS, Net, RULE};
use fastnn_core::optim::{NAdam, Progress, Rule, Sgd};
use fastnn_core::plan::{Parameter, Plan};
use fastnn_core::tensor::tape;
use fastnn_core::tensor::trace;
use fastnn_core::{Error, Float, Result, Tensor, interrupt, ops, threads};

/// The generator and the number of threads belong to the process.
static PROCESS: Mutex<()> = Mutex::new(());

const STEPS: u64 = 4;

/// Awkward sizes besides the nets that are timed: one sample more than a vector, widths of 1, batch norm, dropout.
const AWKWARD: [Net; 4] = [
    Net { name: "odd", widths: &[3, 1, 17, 2], batch: 17, batch_norm: false, dropout: 0.0 },
    Net { name: "odd norm", widths: &[5, 33, 7, 3], batch: 9, batch_norm: true, dropout: 0.25 },
    Net { name: "one sample", widths: &[6, 9, 4], batch: 1, batch_norm: false, dropout: 0.5 },
    Net { name: "linear", widths: &[40, 12], batch: 33, batch_norm: false, dropout: 0.0 },
];

fn bits(model: &Model) -> Vec<u64> {
    let tensors = model.params.iter().chain(model.state.iter().flatten());
    let running = model.running.iter().flat_map(|(m, v)| [m, v]);
    tensors.chain(running).flat_map(Tensor::to_vec_f64).map(f64::to_bits).collect()
}

fn eager<T: Float>(net: Net) -> (Vec<f64>, Vec<u64>) {
    ops::random::manual_seed(5);
    let mut model = Model::new::<T>(net);
    let losses = (0..STEPS)
        .map(|i| {
            let loss = model.eager(&model.batch::<T>(i)).unwrap();
            model.update();
            loss.to_vec_f64()[0]
        })
        .collect();
    (losses, bits(&model))
}

fn planned<T: Float>(net: Net) -> (Vec<f64>, Vec<u64>) {
    ops::random::manual_seed(5);
    let mut model = Model::new::<T>(net);
    let mut plan = model.plan(&model.batch::<T>(0)).unwrap();
    let mut losses = vec![f64::NAN];
    for i in 1..STEPS {
        let batch = model.batch::<T>(i);
        let updates = vec![(RULE, model.progress); model.params.len()];
        losses.push(plan.step(&batch, &updates, false).unwrap());
        RULE.advance(&mut model.progress);
    }
    (losses, bits(&model))
}

fn check<T: Float>(net: Net) {
    let _process = PROCESS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    threads::set_whole_teams(true);
    threads::set_num_threads(1).unwrap();
    let (losses, expected) = eager::<T>(net);
    for threads in [1, 2, 3, 7] {
        threads::set_num_threads(threads).unwrap();
        let (got_losses, got) = planned::<T>(net);
        assert_eq!(got_losses[1..], losses[1..], "losses of {} with {threads} threads", net.name);
        let wrong = got.iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!(wrong, None, "{} with {threads} threads", net.name);
    }
}

#[test]
fn awkward_nets_in_float32() {
    AWKWARD.into_iter().for_each(check::<f32>);
}

#[test]
fn awkward_nets_in_float64() {
    AWKWARD.into_iter().for_each(check::<f64>);
}

#[test]
fn the_nets_that_are_timed() {
    NETS.into_iter().filter(|n| n.name != "wide").for_each(check::<f32>);
}

/// Rates and momenta that differ from step to step, of a rule whose scalars remember those of all steps before.
fn rule(step: u64) -> Rule {
    let nadam = NAdam::default();
    let (beta1, beta2) = nadam.betas;
    let betas = (beta1 - 0.07 * step as f64, beta2);
    NAdam { lr: nadam.lr * (step * step + 1) as f64, betas, ..nadam }.into()
}

/// Weights after five steps, each with a rule of its own.
fn with_rules(at_once: bool) -> (Vec<f64>, Vec<u64>) {
    ops::random::manual_seed(5);
    let net = AWKWARD[1];
    let mut model = Model::new::<f32>(net);
    let mut plan = model.plan(&model.batch::<f32>(0)).unwrap();
    let data = Model::new::<f32>(Net { batch: 5 * net.batch, ..net }).batch::<f32>(1);
    let params = model.params.len();
    let rows: Vec<i64> = (0..5 * net.batch as i64).map(|i| (i * 7) % (5 * net.batch as i64)).collect();
    let mut losses = vec![f64::NAN; 5];
    let mut progress = Progress { updates: 1, scalars: [0.4, 0.0] };
    if at_once {
        let rules: Vec<(Rule, Progress)> = (0..5).flat_map(|step| vec![(rule(step), progress); params]).collect();
        assert_eq!(plan.run_batches(&data, &rows, None, &rules, false, &mut losses).unwrap(), 5);
        let wrong = plan.run_batches(&data, &rows, None, &rules[1..], false, &mut losses.clone()).unwrap_err();
        let message = format!("plan: expected {params} rules, or {params} for each of 5 steps; got {}", 5 * params - 1);
        assert_eq!(wrong.message(), message);
    } else {
        for step in 0..5 {
            let rows = &rows[step as usize * net.batch..][..net.batch];
            let rules = vec![(rule(step), progress); params];
            plan.run_batches(&data, rows, None, &rules, false, &mut losses[step as usize..][..1]).unwrap();
            rule(step).advance(&mut progress);
        }
    }
    (losses, bits(&model))
}

#[test]
fn a_rule_for_each_step_of_a_call() {
    let _process = PROCESS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    threads::set_whole_teams(true);
    threads::set_num_threads(1).unwrap();
    let expected = with_rules(false);
    for threads in [1, 2, 3] {
        threads::set_num_threads(threads).unwrap();
        assert_eq!(with_rules(true), expected, "{threads} threads");
    }
}

/// Number of times that the host lets work go on before it interrupts.
static LOOKS_LEFT: AtomicUsize = AtomicUsize::new(usize::MAX);

fn host() -> Result<()> {
    let left = LOOKS_LEFT.load(Ordering::Relaxed);
    LOOKS_LEFT.store(left.saturating_sub(1), Ordering::Relaxed);
    if left == 0 { Err(Error::state("the host has ended it")) } else { Ok(()) }
}

/// Work enough for the host to be asked, and with running statistics, which are written before it is asked again.
const LONG: Net = Net { name: "long", widths: &[64, 128, 128, 4], batch: 4096, batch_norm: true, dropout: 0.25 };

#[test]
fn a_step_that_the_host_ends_changes_nothing() {
    let _process = PROCESS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    interrupt::look_with(host);
    // However fast the machine is.
    interrupt::look_every(0);
    for threads in [1, 2] {
        threads::set_num_threads(threads).unwrap();
        ops::random::manual_seed(5);
        let mut model = Model::new::<f32>(LONG);
        let mut plan = model.plan(&model.batch::<f32>(0)).unwrap();
        let batch = model.batch::<f32>(1);
        let rules = vec![(RULE, model.progress); model.params.len()];
        let (before, drawn) = (bits(&model), ops::random::state());
        LOOKS_LEFT.store(0, Ordering::Relaxed);
        let ended = plan.step(&batch, &rules, false).unwrap_err();
        assert_eq!(ended.message(), "the host has ended it");
        assert_eq!((bits(&model), ops::random::state()), (before.clone(), drawn));
        // Steps that were complete stay, and count.
        LOOKS_LEFT.store(usize::MAX, Ordering::Relaxed);
        let order: Vec<i64> = (0..3 * 4096).map(|i| i % 4096).collect();
        let mut losses = [0.0; 3];
        assert_eq!(plan.run_batches(&batch, &order, None, &rules, false, &mut losses).unwrap(), 3);
        assert_ne!(bits(&model), before);
    }
}

/// Labels of the batch that are no classes are found by one member for all; so are positions, which no stage of the step computes.
#[test]
fn every_member_of_the_team_meets_the_same_error() {
    let _process = PROCESS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for threads in [1, 2, 3] {
        threads::set_num_threads(threads).unwrap();
        let weight = Tensor::from_slice(&vec![0.5_f32; 3 * 2000], &[3, 2000]);
        weight.set_requires_grad(true).unwrap();
        let index = |last: i64| Tensor::from_slice(&[0, 2, 1, last], &[4]);
        let batch = [index(1)];
        let drawn_from = ops::random::state();
        trace::start();
        let picked = ops::index_select(&weight, 0, &batch[0]).unwrap();
        let loss = ops::sum(&ops::mul(&picked, &picked).unwrap(), None, false).unwrap();
        tape::backward(&loss, None, false).unwrap();
        let trace = trace::finish().unwrap();
        let (state, grad) = (vec![], weight.grad().unwrap());
        let rule: Rule = Sgd { lr: 0.25, ..Sgd::default() }.into();
        let param = Parameter { value: weight.clone(), state, grad, position: 0, max_norm: None, average: None };
        let mut plan = Plan::new(&trace, &batch, &loss, &[param], drawn_from, Arc::default()).unwrap();
        let rules = [(rule, Progress::default())];
        assert!(plan.step(&batch, &rules, false).unwrap().is_finite());
        let before = weight.to_vec_f64();
        for wrong in [3, -1, i64::MIN] {
            let error = plan.step(&[index(wrong)], &rules, false).unwrap_err();
            let message = format!("index_select: expected index in [0, 2] for dimension 0; got {wrong}");
            assert_eq!(error.message(), message);
            assert_eq!(weight.to_vec_f64(), before);
        }
        assert!(plan.step(&batch, &rules, false).unwrap().is_finite());
    }
}

use super::*;
use crate::ops;
use crate::tensor::trace;

/// The fingerprint of `step(x)`, and whether its draws can be repeated.
fn traced(x: &Tensor, step: impl Fn(&Tensor) -> Tensor) -> (Fingerprint, Option<String>) {
    let from = random::state();
    trace::start();
    let y = step(x);
    let trace = trace::finish().unwrap();
    let fingerprint = Fingerprint::new(&trace, std::slice::from_ref(x), &[y], from);
    (fingerprint, foreign_draws(&trace, from, random::state()))
}

fn differ(first: impl Fn(&Tensor) -> Tensor, second: impl Fn(&Tensor) -> Tensor) -> bool {
    let x = Tensor::full(&[3, 5], 2.0, DType::F32);
    traced(&x, first).0.differs(&traced(&x, second).0).is_some()
}

#[test]
fn a_number_of_python_or_another_op_makes_a_difference() {
    let times = |factor: f64| move |x: &Tensor| ops::mul_scalar(x, factor).unwrap();
    assert!(!differ(times(0.1), times(0.1)));
    assert!(differ(times(0.1), times(0.1 + f64::EPSILON)));
    assert!(differ(times(0.0), times(-0.0)));
    assert!(differ(times(0.5), |x| ops::div_scalar(x, 0.5).unwrap()));
    assert!(differ(|x| ops::sub(x, &ops::exp(x).unwrap()).unwrap(), |x| ops::sub(&ops::exp(x).unwrap(), x).unwrap()));
}

#[test]
fn a_new_tensor_counts_by_its_contents_and_an_old_one_by_its_memory() {
    let plus = |value: f64| move |x: &Tensor| ops::add(x, &Tensor::full(&[5], value, DType::F32)).unwrap();
    assert!(!differ(plus(0.25), plus(0.25)));
    assert!(differ(plus(0.25), plus(0.75)));
    let (a, b) = (Tensor::zeros(&[5], DType::F32), Tensor::zeros(&[5], DType::F32));
    let with = |t: &Tensor| {
        let t = t.clone();
        move |x: &Tensor| ops::add(x, &t).unwrap()
    };
    assert!(differ(with(&a), with(&b)));
    assert!(!differ(with(&a), with(&a)));
    // A detached tensor, or another view of the same memory, is the same value.
    assert!(!differ(|x| ops::add(x, &a.detach()).unwrap(), |x| ops::add(x, &a.detach()).unwrap()));
    assert!(!differ(|x| ops::add(x, &a.alias(a.layout().clone())).unwrap(), with(&a)));
}

#[test]
fn draws_count_from_the_beginning_of_the_step() {
    let _guard = random::tests::seeded(3);
    let noisy = |x: &Tensor| ops::add(x, &random::randn(&[3, 5], DType::F32).unwrap()).unwrap();
    assert!(!differ(noisy, noisy));
    assert!(differ(noisy, |x| {
        let _first = random::rand(&[1], DType::F32).unwrap();
        noisy(x)
    }));
}

#[test]
fn a_draw_must_be_that_of_an_op() {
    let _guard = random::tests::seeded(3);
    let x = Tensor::full(&[3, 5], 2.0, DType::F32);
    let of_an_op = |x: &Tensor| ops::dropout::dropout(x, 0.5, true).unwrap();
    assert_eq!(traced(&x, of_an_op).1, None);
    assert_eq!(traced(&x, |x| random::randperm(4).map(|_| x.clone()).unwrap()).1, None);
    let foreign = |step: &dyn Fn(&Tensor) -> Tensor| traced(&x, step).1.unwrap();
    let not_an_op = "forward or loss draws random numbers that are not those of an op";
    let shuffled = |x: &Tensor| {
        let _order = random::permutation(4);
        of_an_op(x)
    };
    assert_eq!(foreign(&shuffled), not_an_op);
    let seeded = |x: &Tensor| {
        random::manual_seed(9);
        x.clone()
    };
    assert_eq!(foreign(&seeded), not_an_op);
    let other = |x: &Tensor| {
        let before = random::set_own_state(Some((77, 0)));
        let y = of_an_op(x);
        let _ = random::set_own_state(before);
        y
    };
    assert_eq!(foreign(&other), "dropout draws from another generator than the step");
}

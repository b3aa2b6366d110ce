use super::{Affine, Interpolation, Kind, Mix, MixKind, Pipeline, Shape, Spec, Value, images};
use crate::rng::Draw;

const DRAW: Draw = Draw { seed: 5, stream: 0, call: 9 };
const SHAPE: Shape = Shape { c: 2, h: 7, w: 19 };

fn one(p: f64, kind: Kind) -> Spec {
    Spec::One { name: "One".into(), p, kind }
}

fn rotation() -> Kind {
    Kind::Affine(Affine {
        degrees: (-40.0, 40.0),
        counterclockwise: true,
        translate: (0.0, 0.0),
        scale: (0.5, 1.5),
        shear: ((0.0, 0.0), (0.0, 0.0)),
        interpolation: Interpolation::Bilinear,
        fill: vec![0.5],
        center: None,
    })
}

fn pipeline() -> Pipeline {
    let hole = Kind::CutOut { size: (3, 3), value: Value::Random };
    let any = Spec::Any { p: 0.8, weights: vec![0.5, 0.5], of: vec![one(1.0, hole), one(1.0, rotation())] };
    Pipeline::new(vec![one(0.5, Kind::HorizontalFlip), one(1.0, rotation()), any], None)
}

fn batch(n: usize) -> Vec<f64> {
    (0..n * SHAPE.numel()).map(|i| (i % 97) as f64 / 97.0).collect()
}

#[test]
fn an_image_does_not_depend_on_those_after_it() {
    let (n, x) = (31, batch(31));
    let mut whole = vec![f64::NAN; x.len()];
    images(&pipeline(), DRAW, n, SHAPE, &x, &mut whole).unwrap();
    let part = 7 * SHAPE.numel();
    let mut first = vec![f64::NAN; part];
    images(&pipeline(), DRAW, 7, SHAPE, &x[..part], &mut first).unwrap();
    assert_eq!(first, whole[..part]);
    assert_ne!(whole, x);
}

#[test]
fn numbers_of_a_transform_do_not_depend_on_whether_others_are_done() {
    let drawn = |p| {
        let specs = vec![one(p, Kind::VerticalFlip), one(1.0, rotation())];
        Pipeline::new(specs, None).drawn(DRAW, 3, SHAPE).pop().unwrap().values
    };
    assert_eq!(drawn(0.0), drawn(1.0));
}

#[test]
fn what_never_draws_takes_no_call() {
    let normalize = || one(1.0, Kind::Normalize { mean: vec![0.5], std: vec![2.0] });
    assert_eq!(Pipeline::new(vec![normalize()], None).draws(), 0);
    assert_eq!(Pipeline::new(vec![normalize(), one(0.5, Kind::VerticalFlip)], None).draws(), 1);
    let mix = |alpha| Mix { p: 1.0, weights: vec![1.0], ways: vec![(1.0, MixKind::Cut, alpha)], classes: None };
    assert_eq!(Pipeline::new(vec![normalize()], Some(mix(0.0))).draws(), 0);
    assert_eq!(Pipeline::new(vec![normalize()], Some(mix(0.1))).draws(), 1);
}

#[test]
fn wrong_lengths_are_errors() {
    let x = batch(3);
    let mut out = vec![0.0; x.len() - 1];
    assert!(images(&pipeline(), DRAW, 3, SHAPE, &x, &mut out).is_err());
}

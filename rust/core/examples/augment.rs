//! Microseconds an image of 28 × 28 on one thread, best of many passes over 1,000 of them.
//!
//! `cargo run --release --example augment [name part]`; `FASTNN_ISA` chooses the level.

use std::time::Instant;

use fastnn_core::data::augment::{Affine, Interpolation, Kind, Pipeline, Shape, Spec, Value, images};
use fastnn_core::rng::Draw;
use fastnn_core::threads;

const N: usize = 1000;
const SHAPE: Shape = Shape { c: 1, h: 28, w: 28 };

fn rotation(interpolation: Interpolation) -> Kind {
    Kind::Affine(Affine {
        degrees: (-15.0, 15.0),
        counterclockwise: true,
        translate: (0.0, 0.0),
        scale: (1.0, 1.0),
        shear: ((0.0, 0.0), (0.0, 0.0)),
        interpolation,
        fill: vec![0.0],
        center: None,
    })
}

fn time(name: &str, kinds: &[(f64, Kind)]) {
    if !name.contains(&std::env::args().nth(1).unwrap_or_default()) {
        return;
    }
    let spec = |(p, kind): &(f64, Kind)| Spec::One { name: name.into(), p: *p, kind: kind.clone() };
    let pipeline = Pipeline::new(kinds.iter().map(spec).collect(), None);
    let x: Vec<f32> = (0..N * SHAPE.numel()).map(|i| (i % 251) as f32 / 250.0).collect();
    let mut out = vec![0.0_f32; x.len()];
    let draw = Draw { seed: 1, stream: 0, call: 1 };
    let best = (0..300).map(|_| {
        let begin = Instant::now();
        images(&pipeline, draw, N, SHAPE, &x, &mut out).expect("these are images");
        begin.elapsed().as_secs_f64()
    });
    println!("{name:10} {:.3} µs", best.fold(f64::INFINITY, f64::min) * 1e6 / N as f64);
}

fn main() {
    threads::set_num_threads(1).expect("one thread is a number of threads");
    let shift = || Kind::Shift { x: 2, y: 2, fill: vec![0.0] };
    let cut = || Kind::CutOut { size: (8, 8), value: Value::Fill(vec![0.0]) };
    let elastic = || Kind::Elastic {
        alpha: (34.0, 34.0),
        sigma: (4.0, 4.0),
        interpolation: Interpolation::Bilinear,
        fill: vec![0.0],
    };
    time("none", &[(0.0, Kind::HorizontalFlip)]);
    time("flip", &[(1.0, Kind::HorizontalFlip)]);
    time("shift", &[(1.0, shift())]);
    time("cut", &[(1.0, cut())]);
    time("nearest", &[(1.0, rotation(Interpolation::Nearest))]);
    time("bilinear", &[(1.0, rotation(Interpolation::Bilinear))]);
    for interpolation in [Interpolation::Nearest, Interpolation::Bilinear] {
        let all = [(0.5, Kind::HorizontalFlip), (1.0, shift()), (1.0, rotation(interpolation)), (1.0, cut())];
        time(&format!("all {interpolation:?}"), &all);
    }
    time("elastic", &[(1.0, elastic())]);
    time("gaussian", &[(1.0, Kind::GaussianNoise { mean: 0.0, sigma: 0.1, clip: true })]);
    time("salt", &[(1.0, Kind::SaltAndPepper { rate: 0.1, salt: 0.5 })]);
}

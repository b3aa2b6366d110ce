//! Times a planned training step of each net: `cargo run --release --example step [net …]`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use common::{Model, NETS, RULE};
use fastnn_core::{ops, threads};

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    for net in NETS.iter().filter(|n| names.is_empty() || names.iter().any(|m| m == n.name)) {
        for width in [1, 2] {
            threads::set_num_threads(width).unwrap();
            ops::random::manual_seed(1);
            let mut model = Model::new::<f32>(*net);
            let batch = model.batch::<f32>(3);
            let mut plan = model.plan(&batch).unwrap();
            if width == 1 {
                println!("{}\n{}", net.name, plan.describe());
            }
            let rules = vec![(RULE, model.progress); model.params.len()];
            let mut best = f64::INFINITY;
            let start = Instant::now();
            let mut rounds = 0;
            while start.elapsed().as_secs_f64() < 1.0 {
                let repeats = (2_000_000 / (net.batch * net.widths[0] * net.widths[1])).clamp(1, 200);
                let begin = Instant::now();
                for _ in 0..repeats {
                    plan.step(&batch, &rules, false).unwrap();
                }
                best = best.min(begin.elapsed().as_secs_f64() / repeats as f64);
                rounds += 1;
            }
            println!("{} threads {width}: best {:.1} µs of {rounds}", net.name, best * 1e6);
        }
    }
}

//! Cost of a region: `cargo run --release -p fastnn-core --example region [threads]`.
//!
//! Prints medians in nanoseconds for a team of that many threads, 2 if none is given. Fork + join: an empty region, right
//! after another and after 100 µs, 1 ms and 10 ms without one. Barrier: a thousand in one region.

use std::hint::{black_box, spin_loop};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fastnn_core::threads::{Team, region, set_num_threads};

fn median(mut times: Vec<Duration>) -> u128 {
    times.sort_unstable();
    times[times.len() / 2].as_nanos()
}

/// Median time of an empty region, `idle` after the one before.
fn fork_join(threads: usize, idle: Duration, repeats: usize) -> u128 {
    let mut times = Vec::with_capacity(repeats);
    for _ in 0..repeats {
        let start = Instant::now();
        if idle >= Duration::from_millis(1) {
            std::thread::sleep(idle);
        }
        while start.elapsed() < idle {
            spin_loop();
        }
        let start = Instant::now();
        region(threads, 0, &|team| {
            black_box(team);
        });
        times.push(start.elapsed());
    }
    median(times)
}

/// Median time of a hot fork + join, clock reading spread over many.
fn fork_join_hot(threads: usize) -> f64 {
    let times = (0..500).map(|_| {
        let start = Instant::now();
        for _ in 0..100 {
            region(threads, 0, &|team| {
                black_box(team);
            });
        }
        start.elapsed()
    });
    median(times.collect()) as f64 / 100.0
}

fn barrier(threads: usize) -> f64 {
    let times = Mutex::new(Vec::new());
    for _ in 0..200 {
        region(threads, 0, &|team: &Team| {
            team.barrier();
            let start = Instant::now();
            for _ in 0..1000 {
                team.barrier();
            }
            if team.rank() == 0 {
                times.lock().unwrap().push(start.elapsed());
            }
        });
    }
    median(times.into_inner().unwrap()) as f64 / 1000.0
}

fn main() {
    let threads = std::env::args().nth(1).map_or(2, |n| n.parse().expect("a number of threads"));
    set_num_threads(threads).expect("a number of threads");
    println!("{threads} threads, median ns");
    println!("fork + join, hot            {:10.0}", fork_join_hot(threads));
    println!("barrier, hot                {:10.0}", barrier(threads));
    println!("fork + join after 20 µs     {:10}", fork_join(threads, Duration::from_micros(20), 2000));
    println!("fork + join after 100 µs    {:10}", fork_join(threads, Duration::from_micros(100), 2000));
    println!("fork + join after 1 ms      {:10}", fork_join(threads, Duration::from_millis(1), 300));
    println!("fork + join after 10 ms     {:10}", fork_join(threads, Duration::from_millis(10), 100));
}

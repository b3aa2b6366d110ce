//! Teams as they form by themselves, on whatever the machine has to give: every task is done once, by as many as came.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use fastnn_core::threads::{self, Counts, cores, counts, region};

/// The workers belong to the process.
static PROCESS: std::sync::Mutex<()> = std::sync::Mutex::new(());

const WORK: usize = 20_000;

fn check(width: usize, tasks: usize) -> usize {
    let done: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
    let members = AtomicUsize::new(0);
    let size = region(width, WORK, &|team| {
        members.fetch_add(1, Ordering::Relaxed);
        for task in team.share(tasks) {
            done[task].fetch_add(1, Ordering::Relaxed);
        }
        team.barrier();
        assert_eq!(members.load(Ordering::Relaxed), team.size());
        assert!(done.iter().all(|d| d.load(Ordering::Relaxed) == 1));
    });
    assert_eq!(members.into_inner(), size);
    size
}

fn told() -> Counts {
    counts().expect("nobody has the workers")
}

#[test]
fn teams_are_no_larger_than_the_cores() {
    let _process = PROCESS.lock().unwrap();
    threads::set_num_threads(16).unwrap();
    for round in 0..2000 {
        let size = check(16, round % 40);
        assert!(size <= cores(), "{size} members on {} cores", cores());
    }
    assert!(told().workers < cores().max(2));
}

/// Pauses longer than workers stay awake: some of these teams form late or not at all.
#[test]
fn after_a_pause() {
    let _process = PROCESS.lock().unwrap();
    threads::set_num_threads(2).unwrap();
    for pause in [0, 50, 140, 150, 160, 300, 3000] {
        for _ in 0..30 {
            thread::sleep(Duration::from_micros(pause));
            check(2, 7);
        }
    }
}

/// Threads that spin on every core take the workers' cores; callers go on, alone if need be.
#[test]
fn beside_others() {
    let _process = PROCESS.lock().unwrap();
    threads::set_num_threads(4).unwrap();
    let stop = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| while stop.load(Ordering::Relaxed) == 0 {});
        }
        for round in 0..3000 {
            check(4, round % 40);
        }
        stop.store(1, Ordering::Relaxed);
    });
}

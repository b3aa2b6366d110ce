//! How many threads a region may have.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

use crate::{Error, Result};

/// More than any machine we know has, and few enough to start.
const MAX_THREADS: usize = 1024;

/// What [`set_num_threads`] was told; 0: nothing. Plain atomics here, no `OnceLock`: a fork in the middle of its
/// initialisation would leave the child waiting for a thread that it does not have.
static REQUESTED: AtomicUsize = AtomicUsize::new(0);
/// The number without a request, once found.
static DEFAULT: AtomicUsize = AtomicUsize::new(0);
/// The cores this process may use, once found.
static CORES: AtomicUsize = AtomicUsize::new(0);

/// How many threads a region may have: what [`set_num_threads`] was told, else the environment's `FASTNN_NUM_THREADS`,
/// else `OMP_NUM_THREADS` (the first number of a list), else the number of cores that affinity and cgroup leave to this
/// process. The environment is read once; values that are no number from 1 to 1024 are ignored.
#[must_use]
pub fn num_threads() -> usize {
    match REQUESTED.load(Ordering::Relaxed) {
        0 => cached(&DEFAULT, || default_threads(|name| std::env::var(name).ok(), cores())),
        requested => requested,
    }
}

/// Let regions have up to `threads` threads, from 1 to 1024. They may be more than there are cores.
pub fn set_num_threads(threads: usize) -> Result<()> {
    if threads == 0 {
        return Err(Error::value("set_num_threads: expected a number of threads of at least 1; got 0"));
    }
    if threads > MAX_THREADS {
        let message = format!("set_num_threads: expected a number of threads of at most {MAX_THREADS}; got {threads}");
        return Err(Error::value(message));
    }
    REQUESTED.store(threads, Ordering::Relaxed);
    Ok(())
}

/// How many cores this process may use.
pub(super) fn cores() -> usize {
    cached(&CORES, || available_parallelism().map_or(1, usize::from))
}

fn cached(cell: &AtomicUsize, find: impl FnOnce() -> usize) -> usize {
    match cell.load(Ordering::Relaxed) {
        0 => {
            let found = find();
            cell.store(found, Ordering::Relaxed);
            found
        }
        found => found,
    }
}

fn default_threads(environment: impl Fn(&str) -> Option<String>, cores: usize) -> usize {
    ["FASTNN_NUM_THREADS", "OMP_NUM_THREADS"]
        .into_iter()
        .find_map(|name| {
            let value = environment(name)?;
            let threads: usize = value.split(',').next()?.trim().parse().ok()?;
            (1..=MAX_THREADS).contains(&threads).then_some(threads)
        })
        .unwrap_or(cores.min(MAX_THREADS))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn environment() {
        // (FASTNN_NUM_THREADS, OMP_NUM_THREADS, threads on 5 cores)
        for (ours, omp, threads) in [
            (None, None, 5),
            (Some("3"), Some("2"), 3),
            (None, Some("2"), 2),
            (Some("0"), Some("2"), 2),
            (Some("many"), None, 5),
            (Some(""), Some(" 7 "), 7),
            (Some("-1"), Some("4,2"), 4),
            (Some("1025"), None, 5),
            (Some("1024"), None, 1024),
        ] {
            let get = |name: &str| match name {
                "FASTNN_NUM_THREADS" => ours.map(str::to_owned),
                "OMP_NUM_THREADS" => omp.map(str::to_owned),
                _ => panic!("{name} was read"),
            };
            assert_eq!(default_threads(get, 5), threads, "{ours:?} {omp:?}");
        }
    }

    #[test]
    fn out_of_range_is_named() {
        let error = |n| set_num_threads(n).unwrap_err().to_string();
        assert_eq!(error(0), "set_num_threads: expected a number of threads of at least 1; got 0");
        assert_eq!(error(1025), "set_num_threads: expected a number of threads of at most 1024; got 1025");
    }
}

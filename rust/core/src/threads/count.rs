//! Number of threads of a region.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Error, Result};

/// More than any machine we know has, and few enough to start.
const MAX_THREADS: usize = 1024;
/// Milliseconds after which environment, affinity and quota are read again.
const FRESH: u64 = 100;

/// Argument of [`set_num_threads`]; 0: none. Plain atomics here, no `OnceLock`: a fork in the middle of its
/// initialization would leave the child waiting for a thread that it does not have.
static REQUESTED: AtomicUsize = AtomicUsize::new(0);
/// Number in the environment; 0: none.
static ENVIRONMENT: AtomicUsize = AtomicUsize::new(0);
/// The cores that affinity and quota leave to this process; 0: not found yet.
static CORES: AtomicUsize = AtomicUsize::new(0);
/// When they were read, in milliseconds of the system's clock.
static READ: AtomicU64 = AtomicU64::new(0);
/// See [`set_whole_teams`].
static WHOLE: AtomicBool = AtomicBool::new(cfg!(test));

/// The most threads of a region: the argument of [`set_num_threads`], else the environment's `FASTNN_NUM_THREADS`,
/// else `OMP_NUM_THREADS` (the first number of a list), else the number of cores that affinity and cgroup leave to this
/// process. Values that are no number from 1 to 1024 are ignored. A region has no more members than there are cores.
#[must_use]
pub fn num_threads() -> usize {
    let cores = cores();
    match (REQUESTED.load(Ordering::Relaxed), ENVIRONMENT.load(Ordering::Relaxed)) {
        (0, 0) => cores.min(MAX_THREADS),
        (0, said) => said,
        (requested, _) => requested,
    }
}

/// Let regions have up to `threads` threads, from 1 to 1024.
pub fn set_num_threads(threads: usize) -> Result<()> {
    if threads == 0 {
        return Err(Error::value("set_num_threads: expected a number of threads of at least 1; got 0"));
    }
    if threads > MAX_THREADS {
        let message = format!("set_num_threads: expected a number of threads of at most {MAX_THREADS}; got {threads}");
        return Err(Error::value(message));
    }
    set_requested(threads);
    Ok(())
}

/// The number that [`set_num_threads`] was told, 0 if it was not called.
#[must_use]
pub fn requested() -> usize {
    REQUESTED.load(Ordering::Relaxed)
}

/// Go back to what [`requested`] returned earlier.
pub fn set_requested(threads: usize) {
    REQUESTED.store(threads, Ordering::Relaxed);
}

/// Form teams of exactly as many members as regions ask for, however busy the machine and however few its cores: for tests of
/// results that must not depend on it.
pub fn set_whole_teams(whole: bool) {
    WHOLE.store(whole, Ordering::Relaxed);
}

pub(super) fn whole_teams() -> bool {
    WHOLE.load(Ordering::Relaxed)
}

/// The largest team that makes sense now.
pub(super) fn most() -> usize {
    if whole_teams() { MAX_THREADS } else { cores() }
}

/// Number of cores that this process may use.
#[must_use]
pub fn cores() -> usize {
    match CORES.load(Ordering::Relaxed) {
        0 => {
            read();
            CORES.load(Ordering::Relaxed)
        }
        cores => cores,
    }
}

/// Read environment, affinity and quota again if that was not done lately. The caller sees to it that no other thread changes
/// the environment meanwhile: in Python, whoever changes it holds the GIL.
#[inline]
pub fn look_around() {
    // A clock that is set back counts as late.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_millis() as u64);
    if now.wrapping_sub(READ.load(Ordering::Relaxed)) >= FRESH {
        READ.store(now, Ordering::Relaxed);
        read();
    }
}

/// Read environment, affinity and quota now; see [`look_around`].
pub fn read() {
    let said = from_environment(|name| std::env::var(name).ok());
    ENVIRONMENT.store(said.unwrap_or(0), Ordering::Relaxed);
    CORES.store(available_parallelism().map_or(1, usize::from), Ordering::Relaxed);
}

fn from_environment(environment: impl Fn(&str) -> Option<String>) -> Option<usize> {
    ["FASTNN_NUM_THREADS", "OMP_NUM_THREADS"].into_iter().find_map(|name| {
        let value = environment(name)?;
        let threads: usize = value.split(',').next()?.trim().parse().ok()?;
        (1..=MAX_THREADS).contains(&threads).then_some(threads)
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn environment() {
        // (FASTNN_NUM_THREADS, OMP_NUM_THREADS, threads)
        for (ours, omp, threads) in [
            (None, None, None),
            (Some("3"), Some("2"), Some(3)),
            (None, Some("2"), Some(2)),
            (Some("0"), Some("2"), Some(2)),
            (Some("many"), None, None),
            (Some(""), Some(" 7 "), Some(7)),
            (Some("-1"), Some("4,2"), Some(4)),
            (Some("1025"), None, None),
            (Some("1024"), None, Some(1024)),
        ] {
            let get = |name: &str| match name {
                "FASTNN_NUM_THREADS" => ours.map(str::to_owned),
                "OMP_NUM_THREADS" => omp.map(str::to_owned),
                _ => panic!("{name} was read"),
            };
            assert_eq!(from_environment(get), threads, "{ours:?} {omp:?}");
        }
    }

    #[test]
    fn out_of_range_is_named() {
        let error = |n| set_num_threads(n).unwrap_err().to_string();
        assert_eq!(error(0), "set_num_threads: expected a number of threads of at least 1; got 0");
        assert_eq!(error(1025), "set_num_threads: expected a number of threads of at most 1024; got 1025");
    }
}

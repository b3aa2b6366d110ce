//! On which processor each member runs: no two on one.
//!
//! A worker that slept may wake on its caller's processor. There the two take turns, each for as long as a whole region
//! takes, while another processor idles; Linux was seen to leave it so for 30 ms and more after every third pause. So a
//! worker that finds itself where a member of lower rank is goes elsewhere, and is then again free to be moved.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Members of higher ranks sit where the system puts them.
const SEATS: usize = 64;
/// Nobody has sat here yet.
const EMPTY: u32 = u32::MAX;
/// A move takes 10 to 20 µs: where every processor is taken by others, it is not made at every region.
const BETWEEN_MOVES: Duration = Duration::from_millis(1);

/// The processor on which each member was when it began its newest region.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Seats([AtomicU32; SEATS]);

impl Seats {
    pub(super) fn new() -> Self {
        Self([const { AtomicU32::new(EMPTY) }; SEATS])
    }

    /// Member `rank` begins a region on this thread, which last moved at `moved`.
    pub(super) fn sit(&self, rank: usize, moved: &mut Option<Instant>) {
        let (Some(mut here), Some(seat)) = (system::processor(), self.0.get(rank)) else { return };
        let taken = |processor| self.0[..rank].iter().any(|seat| seat.load(Ordering::Relaxed) == processor);
        if taken(here) && moved.is_none_or(|at| at.elapsed() > BETWEEN_MOVES) {
            here = system::leave(taken).unwrap_or(here);
            *moved = Some(Instant::now());
        }
        // Only if it is news: a store would take the line away from the others.
        if seat.load(Ordering::Relaxed) != here {
            seat.store(here, Ordering::Relaxed);
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::mem::{size_of, zeroed};

    use libc::{CPU_CLR, CPU_COUNT, CPU_ISSET, CPU_SETSIZE, cpu_set_t, sched_getaffinity, sched_setaffinity};

    /// The processor this thread is on.
    pub(super) fn processor() -> Option<u32> {
        // SAFETY: it has no preconditions.
        u32::try_from(unsafe { libc::sched_getcpu() }).ok()
    }

    /// Move this thread to a processor that is not taken, if it may use one. Where it is then.
    pub(super) fn leave(taken: impl Fn(u32) -> bool) -> Option<u32> {
        let size = size_of::<cpu_set_t>();
        // SAFETY: sets of the size that is given, of this thread; all zeros is the empty set. More processors than a set
        // has room for are an error of the first call, and nothing is changed.
        unsafe {
            let mut allowed: cpu_set_t = zeroed();
            if sched_getaffinity(0, size, &raw mut allowed) != 0 {
                return None;
            }
            let mut free = allowed;
            for processor in 0..CPU_SETSIZE as usize {
                if CPU_ISSET(processor, &allowed) && taken(processor as u32) {
                    CPU_CLR(processor, &mut free);
                }
            }
            if CPU_COUNT(&free) == 0 || sched_setaffinity(0, size, &raw const free) != 0 {
                return None;
            }
            sched_setaffinity(0, size, &raw const allowed);
        }
        processor()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn processor() -> Option<u32> {
        None
    }

    pub(super) fn leave(_taken: impl Fn(u32) -> bool) -> Option<u32> {
        None
    }
}

#[cfg(all(test, target_os = "linux", not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_worker_leaves_its_callers_processor() {
        let allowed = std::thread::available_parallelism().map_or(1, usize::from);
        let seats = Seats::new();
        for _ in 0..20 {
            let here = system::processor().unwrap();
            seats.0[0].store(here, Ordering::Relaxed);
            seats.sit(1, &mut None);
            let sits = seats.0[1].load(Ordering::Relaxed);
            assert!(
                allowed == 1 || sits != here || system::processor() != Some(here),
                "on {sits}, the caller on {here}"
            );
        }
        let still = std::thread::available_parallelism().map_or(1, usize::from);
        assert_eq!(still, allowed, "it may again go everywhere");
    }

    #[test]
    fn not_at_every_region() {
        let seats = Seats::new();
        seats.0[0].store(system::processor().unwrap(), Ordering::Relaxed);
        let now = Some(Instant::now() + Duration::from_secs(1));
        let mut moved = now;
        seats.sit(1, &mut moved);
        assert_eq!(moved, now);
    }
}

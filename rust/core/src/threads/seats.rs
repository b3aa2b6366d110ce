//! On which processor each member runs: no two on one.
//!
//! A worker that slept may wake on its caller's processor. There the two take turns, each for as long as a whole region
//! takes, while another processor idles; Linux was seen to leave it so for 30 ms and more after every third pause. So a
//! caller keeps a sleeper away from the processors of the others before it wakes it. Awake, the worker may again go wherever
//! its caller may, also if that was changed meanwhile.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

/// No processor.
const NOWHERE: u32 = u32::MAX;

/// A thread of the team, and where it was when it last answered.
#[derive(Debug)]
pub(super) struct Seat {
    /// The thread's number in the system; 0 until it runs.
    thread: AtomicI32,
    processor: AtomicU32,
    kept_away: AtomicBool,
}

impl Seat {
    pub(super) const fn new() -> Self {
        Self { thread: AtomicI32::new(0), processor: AtomicU32::new(NOWHERE), kept_away: AtomicBool::new(false) }
    }

    /// This thread takes the seat.
    pub(super) fn take(&self) {
        self.thread.store(system::thread(), Ordering::Relaxed);
    }

    /// This thread, whose seat it is, is awake here now.
    pub(super) fn sit(&self) {
        let here = system::processor().unwrap_or(NOWHERE);
        // Only if it is news: a store would take the line away from the others.
        if self.processor.load(Ordering::Relaxed) != here {
            self.processor.store(here, Ordering::Relaxed);
        }
    }

    /// Have the thread, which sleeps, wake on a processor that none of the `others` is on.
    pub(super) fn keep_away<'a>(&self, others: impl Iterator<Item = &'a Self>) {
        let thread = self.thread.load(Ordering::Relaxed);
        let taken = others.map(|seat| seat.processor.load(Ordering::Relaxed)).filter(|p| *p != NOWHERE);
        if thread != 0 && system::keep_away(thread, taken) {
            self.kept_away.store(true, Ordering::Relaxed);
        }
    }

    /// This thread, whose seat it is, has been woken, and may go wherever the thread of `caller` may.
    pub(super) fn woken(&self, caller: &Self) {
        if self.kept_away.swap(false, Ordering::Relaxed) {
            system::follow(caller.thread.load(Ordering::Relaxed));
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::mem::{size_of, zeroed};

    use libc::{CPU_CLR, CPU_COUNT, CPU_SETSIZE, cpu_set_t, sched_getaffinity, sched_setaffinity};

    const SIZE: usize = size_of::<cpu_set_t>();

    thread_local! {
        static THREAD: i32 = {
            // SAFETY: it has no preconditions. Not `gettid`, which older C libraries lack.
            unsafe { libc::syscall(libc::SYS_gettid) as i32 }
        };
    }

    /// This thread's number.
    pub(super) fn thread() -> i32 {
        THREAD.with(|thread| *thread)
    }

    /// The processor this thread is on.
    pub(super) fn processor() -> Option<u32> {
        // SAFETY: it has no preconditions.
        u32::try_from(unsafe { libc::sched_getcpu() }).ok()
    }

    /// Let a thread run only where this one may, and not on the processors that are taken. False if none would be left.
    pub(super) fn keep_away(thread: i32, taken: impl Iterator<Item = u32>) -> bool {
        // SAFETY: sets of the size that is given; all zeros is the empty set. More processors than a set has room for are an
        // error of the first call, and nothing is changed.
        unsafe {
            let mut free: cpu_set_t = zeroed();
            if sched_getaffinity(0, SIZE, &raw mut free) != 0 {
                return false;
            }
            for processor in taken.filter(|p| *p < CPU_SETSIZE as u32) {
                CPU_CLR(processor as usize, &mut free);
            }
            CPU_COUNT(&free) > 0 && sched_setaffinity(thread, SIZE, &raw const free) == 0
        }
    }

    /// Let this thread run where the other one may.
    pub(super) fn follow(thread: i32) {
        // SAFETY: as above.
        unsafe {
            let mut allowed: cpu_set_t = zeroed();
            if sched_getaffinity(thread, SIZE, &raw mut allowed) == 0 {
                sched_setaffinity(0, SIZE, &raw const allowed);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn thread() -> i32 {
        0
    }

    pub(super) fn processor() -> Option<u32> {
        None
    }

    pub(super) fn keep_away(_thread: i32, _taken: impl Iterator<Item = u32>) -> bool {
        false
    }

    pub(super) fn follow(_thread: i32) {}
}

#[cfg(all(test, target_os = "linux", not(loom)))]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn allowed() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    #[test]
    fn a_sleeper_wakes_apart_from_its_caller() {
        let cores = allowed();
        let (mine, seat) = (&Seat::new(), &Seat::new());
        mine.take();
        let (wake, woken) = channel();
        let (tell, told) = channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                seat.take();
                tell.send((NOWHERE, 0)).unwrap();
                while woken.recv().is_ok() {
                    seat.sit();
                    let sat = seat.processor.load(Ordering::Relaxed);
                    seat.woken(mine);
                    tell.send((sat, allowed())).unwrap();
                }
            });
            told.recv().unwrap();
            for _ in 0..20 {
                mine.sit();
                let here = mine.processor.load(Ordering::Relaxed);
                seat.keep_away([mine].into_iter());
                wake.send(()).unwrap();
                let (sat, free) = told.recv().unwrap();
                assert!(cores == 1 || sat != here, "on {sat}, the caller on {here}");
                assert_eq!(free, cores, "it may again go everywhere");
            }
            drop(wake);
        });
    }
}

//! Waiting: spin while an answer is likely to be near, then let others run in between, then sleep.

use std::sync::PoisonError;
#[cfg(not(loom))]
use std::{
    cell::Cell,
    hint::spin_loop,
    thread::yield_now,
    time::{Duration, Instant},
};

use super::sync::{Condvar, Mutex, MutexGuard};

/// Time to wait awake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Within a region whose members all have a core: 2 ms. Linux wakes a caller who sleeps on the processor of the worker
    /// that woke it, where the two are in each other's way for many regions to come.
    Busy,
    /// Between such regions: 150 µs, which bridges the serial code there. Waking a sleeper takes 5 to 50 µs.
    Hot,
    /// More members than cores: the core one waits on is the core another needs.
    Crowded,
}

impl Patience {
    /// Time that a worker waits for the next region.
    pub(super) const fn between_regions(self) -> Self {
        match self {
            Self::Busy | Self::Hot => Self::Hot,
            Self::Crowded => Self::Crowded,
        }
    }
}

/// A wait of this length was not for work that is well shared: somebody has lost its core.
#[cfg(not(loom))]
const LONG: Duration = Duration::from_micros(100);

#[cfg(not(loom))]
impl Patience {
    /// Pauses in a row, 64 being 1 to 3 µs; how long to keep the core from others; and how long to stay awake.
    const fn limits(self) -> (usize, Duration, Duration) {
        match self {
            // A yield gives a busy neighbor the core for a time slice of some ms.
            Self::Busy => (64, Duration::from_micros(50), Duration::from_millis(2)),
            Self::Hot => (64, Duration::ZERO, Duration::from_micros(150)),
            Self::Crowded => (8, Duration::ZERO, Duration::from_micros(20)),
        }
    }
}

#[cfg(not(loom))]
thread_local! {
    /// See [`waited`].
    static WAITED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Time that this thread has waited so far, waits of less than about 2 µs left out.
#[cfg(not(loom))]
pub(super) fn waited() -> Duration {
    WAITED.get()
}

/// Wait until `done`: awake at first, then asleep in `bed`, where `asleep` leaves the mark (see [`Bed`]). Once the wait is
/// long, `long` is called.
///
/// Most waits end in the first spin. After it the core is offered to others every few µs, which costs 0.3 µs when nobody
/// wants it: a worker woken on its caller's core would keep the caller off it for as long as it spins.
#[cfg(not(loom))]
pub(super) fn wait<T>(
    patience: Patience,
    bed: &Bed<T>,
    mut done: impl FnMut() -> bool,
    asleep: impl FnMut() -> bool,
    long: impl FnOnce(),
) {
    let (pauses, keep, awake) = patience.limits();
    let mut spin = || {
        (0..pauses).any(|_| {
            done() || {
                spin_loop();
                false
            }
        })
    };
    if spin() {
        return;
    }
    let (start, mut long) = (Instant::now(), Some(long));
    loop {
        let so_far = start.elapsed();
        if so_far >= LONG
            && let Some(long) = long.take()
        {
            long();
        }
        if so_far >= awake {
            bed.sleep_while(asleep);
            break;
        }
        if so_far >= keep {
            yield_now();
        }
        if spin() {
            break;
        }
    }
    WAITED.set(WAITED.get() + start.elapsed());
}

/// Wait for an answer that is certain to come soon, without sleeping.
#[cfg(not(loom))]
pub(super) fn attend(mut done: impl FnMut() -> bool) {
    while !(0..64).any(|_| {
        done() || {
            spin_loop();
            false
        }
    }) {
        yield_now();
    }
}

/// Under loom, time does not exist, and sleeping is what is worth testing.
#[cfg(loom)]
pub(super) fn wait<T>(
    _: Patience,
    bed: &Bed<T>,
    mut done: impl FnMut() -> bool,
    asleep: impl FnMut() -> bool,
    _: impl FnOnce(),
) {
    if !done() {
        bed.sleep_while(asleep);
    }
}

#[cfg(loom)]
pub(super) fn waited() -> std::time::Duration {
    std::time::Duration::ZERO
}

#[cfg(loom)]
pub(super) fn attend(mut done: impl FnMut() -> bool) {
    while !done() {
        loom::thread::yield_now();
    }
}

/// A place to sleep, and what its lock guards.
///
/// A sleeper leaves a mark in an atomic while it holds the lock, and sleeps only if that atomic says that there is still
/// something to wait for. A waker changes the atomic first and rings if it found the mark, so no ring is lost.
#[derive(Debug)]
pub(super) struct Bed<T> {
    lock: Mutex<T>,
    bell: Condvar,
}

impl<T> Bed<T> {
    pub(super) fn new(guarded: T) -> Self {
        Self { lock: Mutex::new(guarded), bell: Condvar::new() }
    }

    /// The lock. No code panics while holding it.
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleep for as long as `waiting`, which is called with the lock held and leaves the mark.
    pub(super) fn sleep_while(&self, mut waiting: impl FnMut() -> bool) {
        let mut guard = self.lock();
        while waiting() {
            guard = self.bell.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Wake everybody, after `before` was called with the lock held.
    pub(super) fn wake(&self, before: impl FnOnce()) {
        // A thread that has left the mark is asleep once we hold the lock.
        let guard = self.lock();
        before();
        drop(guard);
        self.bell.notify_all();
    }
}

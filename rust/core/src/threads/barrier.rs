//! The barrier between the phases of a region.
//!
//! One word counts arrivals and never goes back while a region runs: round r is complete at `(r + 1) · size`. So a member
//! makes one atomic addition a round, and those who wait see the addition itself: two cache line transfers for two threads.

use super::sync::atomic::{AtomicU64, Ordering};
use super::wait::{Bed, Patience, wait};

/// Some member panicked: no round will be complete again.
const POISON: u64 = 1 << 63;
/// Somebody sleeps, or did when this was set.
const SLEEPER: u64 = 1 << 62;
/// A member has returned from its work (debug builds).
const LEFT: u64 = 1 << 61;
/// The arrivals.
const COUNT: u64 = LEFT - 1;

/// Why a barrier will not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Another member panicked.
    Poisoned,
    /// Another member has left the region for good.
    Deserted,
}

/// See the head of this file. On lines of its own: 128 bytes, since processors fetch lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Barrier {
    state: AtomicU64,
    bed: Bed<()>,
}

impl Barrier {
    pub(super) fn new() -> Self {
        Self { state: AtomicU64::new(0), bed: Bed::new(()) }
    }

    /// Ready for a new team, when nobody is inside.
    pub(super) fn reset(&self) {
        // Only if it was used: a store would take the line away from the others.
        if self.state.load(Ordering::Relaxed) != 0 {
            self.state.store(0, Ordering::Relaxed);
        }
    }

    /// Wait until all `size` members have come; `long` is called if that takes long. What each did before happens before
    /// what any does after.
    pub(super) fn wait(&self, size: usize, patience: Patience, long: impl FnOnce()) -> Result<(), Broken> {
        let size = size as u64;
        let old = self.state.fetch_add(1, Ordering::AcqRel);
        if old & POISON != 0 {
            return Err(Broken::Poisoned);
        }
        if old & LEFT != 0 {
            return Err(Broken::Deserted);
        }
        let earlier = old & COUNT;
        if (earlier + 1).is_multiple_of(size) {
            if old & SLEEPER != 0 {
                // Those already in the next round are woken too, and leave the mark again.
                self.bed.wake(|| {
                    self.state.fetch_and(!SLEEPER, Ordering::Relaxed);
                });
            }
            return Ok(());
        }
        let complete = (earlier / size + 1) * size;
        let open = |state: u64| state & COUNT >= complete || state & POISON != 0;
        let opened = || open(self.state.load(Ordering::Acquire));
        wait(patience, &self.bed, opened, || !open(self.state.fetch_or(SLEEPER, Ordering::AcqRel)), long);
        // A complete round counts as one even if poison came right after it.
        if self.state.load(Ordering::Acquire) & COUNT >= complete { Ok(()) } else { Err(Broken::Poisoned) }
    }

    /// Let nobody wait any more, now or later.
    pub(super) fn poison(&self) {
        if self.state.fetch_or(POISON, Ordering::AcqRel) & SLEEPER != 0 {
            self.bed.wake(|| {});
        }
    }

    /// True if [`poison`](Self::poison) was called since the last reset.
    pub(super) fn is_poisoned(&self) -> bool {
        self.state.load(Ordering::Relaxed) & POISON != 0
    }

    /// Note that a member will come no more. False if somebody waits for it, who would wait forever.
    #[cfg_attr(not(debug_assertions), allow(dead_code))]
    pub(super) fn leave(&self, size: usize) -> bool {
        let old = self.state.fetch_or(LEFT, Ordering::AcqRel);
        old & POISON != 0 || (old & COUNT).is_multiple_of(size as u64)
    }
}

/// `RUSTFLAGS="--cfg loom" cargo test --release -p fastnn-core --lib threads::`
///
/// Preemptions are bounded, which finds nearly all bugs in seconds. Without the bound, two members pass too, in minutes.
#[cfg(all(test, loom))]
mod tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;

    use super::*;

    const ROUNDS: usize = 2;

    struct Shared {
        barrier: Barrier,
        /// One value a member, without any synchronization of its own: loom reports every race on it.
        values: Vec<UnsafeCell<usize>>,
    }

    /// Every member writes its own value, and after the barrier sees what all have written.
    fn walk(shared: &Shared, rank: usize) {
        let size = shared.values.len();
        for round in 1..=ROUNDS {
            // SAFETY: only member `rank` writes here, and nobody reads between two barriers that enclose this; loom checks.
            shared.values[rank].with_mut(|v| unsafe { *v = round });
            shared.barrier.wait(size, Patience::Hot, || {}).unwrap();
            for value in &shared.values {
                // SAFETY: all writes lie before the barrier; loom checks.
                assert_eq!(value.with(|v| unsafe { *v }), round);
            }
            if round < ROUNDS {
                shared.barrier.wait(size, Patience::Hot, || {}).unwrap();
            }
        }
    }

    fn model(size: usize, preemptions: usize) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.check(move || {
            let values = (0..size).map(|_| UnsafeCell::new(0)).collect();
            let shared = Arc::new(Shared { barrier: Barrier::new(), values });
            let others: Vec<_> = (1..size)
                .map(|rank| {
                    let shared = Arc::clone(&shared);
                    loom::thread::spawn(move || walk(&shared, rank))
                })
                .collect();
            walk(&shared, 0);
            for other in others {
                other.join().unwrap();
            }
        });
    }

    #[test]
    fn two_members() {
        model(2, 4);
    }

    #[test]
    fn three_members() {
        model(3, 2);
    }

    /// Member 0 panics instead of coming to round 2; nobody hangs, and round 1 is complete for all.
    fn poisoned(size: usize, preemptions: usize) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.check(move || {
            let barrier = Arc::new(Barrier::new());
            let others: Vec<_> = (1..size)
                .map(|_| {
                    let barrier = Arc::clone(&barrier);
                    loom::thread::spawn(move || {
                        // Round 1 is complete for all, even for one whom the poison overtakes on the way out.
                        assert_eq!(barrier.wait(size, Patience::Hot, || {}), Ok(()));
                        assert_eq!(barrier.wait(size, Patience::Hot, || {}), Err(Broken::Poisoned));
                    })
                })
                .collect();
            assert_eq!(barrier.wait(size, Patience::Hot, || {}), Ok(()));
            barrier.poison();
            for other in others {
                other.join().unwrap();
            }
        });
    }

    #[test]
    fn two_members_one_panics() {
        poisoned(2, 4);
    }

    #[test]
    fn three_members_one_panics() {
        poisoned(3, 2);
    }
}

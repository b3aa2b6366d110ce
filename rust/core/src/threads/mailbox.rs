//! Where a worker waits for jobs, and the caller for the job's end: one word, on which the two take turns.

use super::sync::atomic::{AtomicU32, Ordering};
use super::wait::{Bed, Patience, poll};

/// Nothing to do.
const IDLE: u32 = 0;
/// Nothing to do, and the worker sleeps.
const PARKED: u32 = 1;
/// A job is here.
const WORK: u32 = 2;
/// A job is here, and the caller sleeps until its end.
const AWAITED: u32 = 3;

/// For one worker and, at any time, one caller, who joins what it has posted before it posts again.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Mailbox<J> {
    state: AtomicU32,
    job: Bed<Option<J>>,
}

impl<J> Mailbox<J> {
    pub(super) fn new() -> Self {
        Self { state: AtomicU32::new(IDLE), job: Bed::new(None) }
    }

    /// Caller: hand over a job.
    pub(super) fn post(&self, job: J) {
        *self.job.lock() = Some(job);
        if self.state.swap(WORK, Ordering::AcqRel) == PARKED {
            self.job.wake(|| {});
        }
    }

    /// Caller: wait until the job is done.
    pub(super) fn join(&self, patience: Patience) {
        if !poll(patience, || self.state.load(Ordering::Acquire) < WORK) {
            self.sleep(WORK, AWAITED);
        }
    }

    /// Worker: wait for a job.
    pub(super) fn take(&self, patience: Patience) -> J {
        loop {
            if !poll(patience, || self.state.load(Ordering::Acquire) >= WORK) {
                self.sleep(IDLE, PARKED);
            }
            if let Some(job) = self.job.lock().take() {
                return job;
            }
        }
    }

    /// Worker: the job is done.
    pub(super) fn finish(&self) {
        if self.state.swap(IDLE, Ordering::AcqRel) == AWAITED {
            self.job.wake(|| {});
        }
    }

    /// Sleep until the other side has changed the word, unless it has changed since it was `awake`.
    fn sleep(&self, awake: u32, asleep: u32) {
        self.job.sleep_while(|| {
            let now = self.state.compare_exchange(awake, asleep, Ordering::AcqRel, Ordering::Acquire);
            now.is_ok() || now == Err(asleep)
        });
    }
}

#[cfg(all(test, loom))]
mod tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;

    use super::*;

    /// The worker doubles what the caller has written; then a second job.
    #[test]
    fn two_jobs() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(4);
        builder.check(|| {
            let shared = Arc::new((Mailbox::new(), UnsafeCell::new(1)));
            let worker = {
                let shared = Arc::clone(&shared);
                loom::thread::spawn(move || {
                    for round in 0..2 {
                        assert_eq!(shared.0.take(Patience::Hot), round);
                        // SAFETY: the caller touches the value only between `join` and `post`; loom checks.
                        shared.1.with_mut(|v| unsafe { *v *= 2 });
                        shared.0.finish();
                    }
                })
            };
            for round in 0..2 {
                shared.0.post(round);
                shared.0.join(Patience::Hot);
                // SAFETY: the worker has finished; loom checks.
                shared.1.with_mut(|v| unsafe { *v += 1 });
            }
            worker.join().unwrap();
            // SAFETY: the worker has ended.
            assert_eq!(shared.1.with(|v| unsafe { *v }), 7);
        });
    }
}

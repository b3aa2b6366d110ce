//! Mailboxes: one word for a caller and a worker, which write it in turns.
//!
//! A caller does not wait for a worker that sleeps, or whose core somebody else has. It invites; a worker that is awake
//! answers; and the caller withdraws the invitation from those who have not answered in time, and posts the job to the rest.
//! Both sides change the word by compare-and-swap, so that an answer and a withdrawal never both succeed.
//!
//! ```text
//! IDLE ──invite──► INVITED ──answer──► READY ──post──► WORK ──finish──► IDLE
//!  │ ▲ ◄───────withdraw──┘                              │ ▲
//!  ▼ └─ invite, ring                                    ▼ │ finish, ring
//! PARKED                                              AWAITED
//! ```

use super::sync::atomic::{AtomicU32, Ordering};
use super::wait::{Bed, Patience, attend, wait};

/// Nothing to do.
const IDLE: u32 = 0;
/// Nothing to do, and the worker sleeps.
const PARKED: u32 = 1;
/// The caller asks for the worker.
const INVITED: u32 = 2;
/// The worker is awake, and waits for the job.
const READY: u32 = 3;
/// A job is here.
const WORK: u32 = 4;
/// A job is here, and the caller sleeps until its end.
const AWAITED: u32 = 5;

/// For one worker and, at any time, one caller, who joins what it has posted before it invites again.
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

    /// Caller: ask for the worker. If it sleeps, `before_waking` is called, and then it is woken.
    pub(super) fn invite(&self, before_waking: impl FnOnce()) {
        if self.state.compare_exchange(IDLE, INVITED, Ordering::AcqRel, Ordering::Acquire) == Err(PARKED) {
            before_waking();
            self.state.store(INVITED, Ordering::Release);
            self.job.wake(|| {});
        }
    }

    /// Caller: whether the invited worker has answered.
    pub(super) fn has_answered(&self) -> bool {
        self.state.load(Ordering::Acquire) == READY
    }

    /// Caller: take the invitation back. False if the worker has answered after all.
    pub(super) fn withdraw(&self) -> bool {
        self.state.compare_exchange(INVITED, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Caller: hand over a job to a worker that has answered.
    pub(super) fn post(&self, job: J) {
        *self.job.lock() = Some(job);
        self.state.store(WORK, Ordering::Release);
    }

    /// True if a job was posted and is not done yet.
    pub(super) fn is_at_work(&self) -> bool {
        self.state.load(Ordering::Acquire) >= WORK
    }

    /// Caller: wait until the job is done; `long` is called if that takes long.
    pub(super) fn join(&self, patience: Patience, long: impl FnOnce()) {
        wait(patience, &self.job, || !self.is_at_work(), || self.lie_down(WORK, AWAITED), long);
    }

    /// Worker: wait for a job; `woken` is called after a sleep, and `answering` before an answer.
    pub(super) fn take(&self, patience: Patience, woken: impl Fn(), answering: impl Fn()) -> J {
        loop {
            let mut slept = false;
            let invited = || self.state.load(Ordering::Acquire) == INVITED;
            wait(patience, &self.job, invited, || self.doze(&mut slept), || {});
            if slept {
                woken();
            }
            answering();
            // Fails if the invitation was withdrawn: the next one finds this worker awake.
            if self.state.compare_exchange(INVITED, READY, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                attend(|| self.is_at_work());
                if let Some(job) = self.job.lock().take() {
                    return job;
                }
            }
        }
    }

    /// Worker: the job is done.
    pub(super) fn finish(&self) {
        if self.state.swap(IDLE, Ordering::AcqRel) == AWAITED {
            self.job.wake(|| {});
        }
    }

    /// True if the worker stays asleep: until it is rung for, even if the invitation has been withdrawn by then.
    fn doze(&self, slept: &mut bool) -> bool {
        if *slept {
            return self.state.load(Ordering::Acquire) == PARKED;
        }
        *slept = self.lie_down(IDLE, PARKED);
        *slept
    }

    /// Leave the mark of a sleeper, unless the other side has changed the word since it was `awake`.
    fn lie_down(&self, awake: u32, asleep: u32) -> bool {
        let now = self.state.compare_exchange(awake, asleep, Ordering::AcqRel, Ordering::Acquire);
        now.is_ok() || now == Err(asleep)
    }
}

#[cfg(all(test, loom))]
mod tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;

    use super::*;

    /// The worker doubles what the caller has written, for every job that it gets; the caller goes on alone where the worker
    /// has not answered at once.
    fn jobs(rounds: usize, patient: bool) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(move || {
            let shared = Arc::new((Mailbox::new(), UnsafeCell::new(1)));
            let worker = {
                let shared = Arc::clone(&shared);
                loom::thread::spawn(move || {
                    while shared.0.take(Patience::Hot, || {}, || {}) {
                        // SAFETY: the caller touches the value only between `join` and `post`; loom checks.
                        shared.1.with_mut(|v| unsafe { *v *= 2 });
                        shared.0.finish();
                    }
                })
            };
            let mut expected = 1;
            let form = |patient: bool| {
                shared.0.invite(|| {});
                if patient {
                    attend(|| shared.0.has_answered());
                }
                !shared.0.withdraw()
            };
            for _ in 0..rounds {
                if form(patient) {
                    shared.0.post(true);
                    shared.0.join(Patience::Hot, || {});
                    expected *= 2;
                }
                // SAFETY: the worker has finished, or has no job; loom checks.
                shared.1.with_mut(|v| unsafe { *v += 1 });
                expected += 1;
            }
            assert!(form(true));
            shared.0.post(false);
            worker.join().unwrap();
            // SAFETY: the worker has ended.
            assert_eq!(shared.1.with(|v| unsafe { *v }), expected);
        });
    }

    #[test]
    fn every_invitation_is_awaited() {
        jobs(1, true);
    }

    #[test]
    fn invitations_are_withdrawn() {
        jobs(2, false);
    }
}

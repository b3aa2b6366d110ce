//! The workers, and how a region is run on them.

use std::any::Any;
use std::cell::Cell;
use std::mem::{forget, transmute};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::thread::Builder;
use std::time::Instant;

use super::barrier::Barrier;
use super::count::cores;
use super::mailbox::Mailbox;
use super::seats::Seats;
use super::wait::Patience;
use super::{Poisoned, Team};

/// Named, so that std does not look into the environment, which another thread may hold locked while we fork.
const STACK_BYTES: usize = 2 << 20;

/// What a region does, for any lifetime of what it borrows.
type Work<'a> = dyn Fn(&Team) + Sync + 'a;

/// A region, as its workers see it.
#[derive(Clone, Copy)]
struct Job {
    work: &'static Work<'static>,
    size: usize,
    patience: Patience,
}

/// The workers of one process. Never freed: they run until the process ends.
pub(super) struct Pool {
    /// One mailbox a worker, that of rank r at r - 1. Whoever holds the lock has the workers to itself.
    crew: Mutex<Vec<&'static Mailbox<Job>>>,
    barrier: Barrier,
    seats: Seats,
    /// What the first panic of this region said.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

thread_local! {
    /// Whether this thread is a member of a team now. Workers always are.
    static IN_REGION: Cell<bool> = const { Cell::new(false) };
}

/// The pool of this process, null before the first region and in a child that was just forked.
static POOL: AtomicPtr<Pool> = AtomicPtr::new(ptr::null_mut());

impl Pool {
    pub(super) fn new() -> Self {
        Self { crew: Mutex::new(Vec::new()), barrier: Barrier::new(), seats: Seats::new(), panic: Mutex::new(None) }
    }

    /// This process' pool.
    pub(super) fn get() -> &'static Self {
        let mut pool = POOL.load(Ordering::Acquire);
        if pool.is_null() {
            fork::watch();
            let new = Box::into_raw(Box::new(Self::new()));
            match POOL.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => pool = new,
                Err(winner) => {
                    // SAFETY: `new` came from `Box::into_raw` and nobody else has seen it.
                    drop(unsafe { Box::from_raw(new) });
                    pool = winner;
                }
            }
        }
        // SAFETY: a pointer in `POOL` came from `Box::into_raw` and is never freed.
        unsafe { &*pool }
    }

    /// Run `work` on up to `width` members, the caller being rank 0. False, with nothing done, if the team would be the
    /// caller alone: within a region, while another thread has the workers, or when no worker can be started.
    pub(super) fn run(&'static self, width: usize, work: &Work<'_>) -> bool {
        if IN_REGION.get() {
            return false;
        }
        let mut crew = match self.crew.try_lock() {
            Ok(crew) => crew,
            Err(TryLockError::Poisoned(crew)) => crew.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        self.hire(&mut crew, width - 1);
        let size = width.min(crew.len() + 1);
        if size == 1 {
            return false;
        }
        let crew_of_job = &crew[..size - 1];
        let patience = if size > cores() { Patience::Crowded } else { Patience::Busy };
        // SAFETY: only the lifetime changes. Workers use `work` between `post` and `finish`. From the first `post` to the
        // last `join` nothing here unwinds, `member` catching every panic, so no worker uses it after we return.
        let work = unsafe { transmute::<&Work<'_>, &'static Work<'static>>(work) };
        let job = Job { work, size, patience };

        self.barrier.reset();
        self.seats.sit(0, &mut None);
        for mailbox in crew_of_job {
            mailbox.post(job);
        }
        IN_REGION.set(true);
        self.member(0, job);
        IN_REGION.set(false);
        for mailbox in crew_of_job {
            mailbox.join(patience);
        }

        if self.barrier.is_poisoned() {
            let payload = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(crew);
            if let Some(payload) = payload {
                resume_unwind(payload);
            }
        }
        true
    }

    /// Start workers until there are `workers`, or the system gives no more.
    fn hire(&'static self, crew: &mut Vec<&'static Mailbox<Job>>, workers: usize) {
        while crew.len() < workers {
            let rank = crew.len() + 1;
            let mailbox = Box::leak(Box::new(Mailbox::new()));
            let mailbox: &'static Mailbox<Job> = mailbox;
            let thread = Builder::new().name(format!("fastnn-{rank}")).stack_size(STACK_BYTES);
            if thread.spawn(move || self.serve(rank, mailbox)).is_err() {
                return;
            }
            crew.push(mailbox);
        }
    }

    /// A worker's life.
    fn serve(&'static self, rank: usize, mailbox: &Mailbox<Job>) {
        IN_REGION.set(true);
        let (mut patience, mut moved): (_, Option<Instant>) = (Patience::Hot, None);
        loop {
            let job = mailbox.take(patience);
            patience = job.patience.between_regions();
            if job.patience == Patience::Busy {
                self.seats.sit(rank, &mut moved);
            }
            self.member(rank, job);
            mailbox.finish();
        }
    }

    /// Do one member's part. Never unwinds.
    fn member(&'static self, rank: usize, job: Job) {
        let team = Team::new(rank, job.size, &self.barrier, job.patience);
        let result = catch_unwind(AssertUnwindSafe(|| {
            (job.work)(&team);
            team.leave();
        }));
        if let Err(payload) = result {
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            if first.is_none() && !payload.is::<Poisoned>() {
                *first = Some(payload);
            } else {
                // Dropping it might panic, and nobody is here to catch that.
                forget(payload);
            }
            drop(first);
            self.barrier.poison();
        }
    }
}

/// A forked child has its parent's memory but none of its threads.
mod fork {
    #[cfg(unix)]
    pub(super) fn watch() {
        use std::sync::atomic::{AtomicBool, Ordering};
        static WATCHED: AtomicBool = AtomicBool::new(false);

        extern "C" fn child() {
            // The old pool is left as it is, its locks in whatever state the fork found them.
            super::POOL.store(std::ptr::null_mut(), Ordering::Release);
        }

        if !WATCHED.load(Ordering::Acquire) {
            // Two threads may both come here; forgetting the pool twice does no harm.
            // SAFETY: the handler only stores to an atomic, and this library stays loaded as long as its threads run.
            unsafe { libc::pthread_atfork(None, None, Some(child)) };
            WATCHED.store(true, Ordering::Release);
        }
    }

    #[cfg(not(unix))]
    pub(super) fn watch() {}
}

//! The workers, and how a region is run on them.

use std::any::Any;
use std::cell::Cell;
use std::hint::spin_loop;
use std::mem::{forget, transmute};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::barrier::{Barrier, Broken};
use super::mailbox::Mailbox;
use super::rest::{self, Rest};
use super::seats::Seat;
use super::wait::{Patience, attend, waited};
use super::{Poisoned, Team, count};

/// Named, so that std does not look into the environment, which another thread may hold locked while we fork.
const STACK_BYTES: usize = 2 << 20;
/// Time that a caller waits for answers: workers that are awake answer in a fraction of the first. One that has to be
/// woken is waited for if the region is long; at most for this part of the work and at most for the last.
const ANSWER: Duration = Duration::from_micros(3);
const WORTH_WAITING: u32 = 8;
const LONGEST_ANSWER: Duration = Duration::from_micros(500);

/// The closure of a region, for any lifetime of what it borrows.
type Work<'a> = dyn Fn(&Team) + Sync + 'a;

/// A region, as its members see it.
#[derive(Clone, Copy)]
struct Job {
    work: &'static Work<'static>,
    rank: usize,
    size: usize,
    patience: Patience,
}

/// A worker, as its caller sees it.
struct Worker {
    mailbox: Mailbox<Job>,
    seat: Seat,
    /// Number of barriers of the region that it has come to.
    rounds: AtomicU32,
    /// True if the caller had to wait for it for long.
    late: AtomicBool,
}

/// The workers, and counts of their teams: state of the caller that holds them.
#[derive(Default)]
struct Crew {
    workers: Vec<(&'static Worker, Rest)>,
    counts: Counts,
}

/// Counts of teams so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Regions of several members.
    pub teams: u64,
    /// Regions that a caller did alone, because its workers rested.
    pub rested: u64,
    /// Regions that a caller did alone, because nobody answered.
    pub unanswered: u64,
    /// Times that a worker was left alone for a while, because its core was somebody else's.
    pub rests: u64,
    /// Workers that rest now.
    pub resting: usize,
    /// Workers there are.
    pub workers: usize,
}

/// The workers of one process. Never freed: they run until the process ends.
pub(super) struct Pool {
    /// The workers: the thread that holds the lock has them to itself.
    crew: Mutex<Crew>,
    barrier: Barrier,
    /// Of the thread that calls.
    seat: Seat,
    /// Of the region that runs now.
    members: Mutex<Members>,
    /// Payload of the first panic of this region.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// The barrier of a team, as one member uses it.
pub(super) struct Meeting {
    pool: &'static Pool,
    /// Of a member that is not the caller.
    worker: Option<&'static Worker>,
    patience: Patience,
    /// Number of barriers that this member has come to.
    rounds: Cell<u32>,
}

impl std::fmt::Debug for Meeting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meeting").field("rounds", &self.rounds).finish_non_exhaustive()
    }
}

impl Meeting {
    /// Wait for all `size` members.
    pub(super) fn wait(&self, size: usize) -> Result<(), Broken> {
        let round = self.rounds.get().wrapping_add(1);
        self.rounds.set(round);
        if let Some(worker) = self.worker {
            worker.rounds.store(round, Ordering::Relaxed);
        }
        self.pool.barrier.wait(size, self.patience, || {
            if self.worker.is_none() {
                self.pool.note_late(|worker| worker.rounds.load(Ordering::Relaxed) != round);
            }
        })
    }

    /// Come no more; see [`Barrier::leave`].
    #[cfg(debug_assertions)]
    pub(super) fn leave(&self, size: usize) -> bool {
        self.pool.barrier.leave(size)
    }
}

/// The members of a team that are not the caller, and the numbers of their workers.
type Members = SmallVec<[(usize, &'static Worker); 16]>;

thread_local! {
    /// True if this thread is a member of a team now. Workers always are.
    static IN_REGION: Cell<bool> = const { Cell::new(false) };
}

/// The pool of this process, null before the first region and in a child that was just forked.
static POOL: AtomicPtr<Pool> = AtomicPtr::new(ptr::null_mut());

impl Pool {
    pub(super) fn new() -> Self {
        Self {
            crew: Mutex::new(Crew::default()),
            barrier: Barrier::new(),
            seat: Seat::new(),
            members: Mutex::new(Members::new()),
            panic: Mutex::new(None),
        }
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

    /// Run `work` on up to `width` members, the caller being rank 0, and return how many there were; 1, with nothing done, if
    /// the team would be the caller alone: within a region, while another thread has the workers, when none can be started,
    /// or when none of them comes in time. `nanoseconds` says how much work it is for one thread.
    pub(super) fn run(&'static self, width: usize, nanoseconds: usize, work: &Work<'_>) -> usize {
        if IN_REGION.get() {
            return 1;
        }
        let Some(mut crew) = self.crew() else { return 1 };
        self.hire(&mut crew, width - 1);
        let begun = Instant::now();
        let members = self.form(&mut crew, width - 1, Duration::from_nanos(nanoseconds as u64), begun);
        let size = members.len() + 1;
        if size == 1 {
            return 1;
        }
        crew.counts.teams += 1;
        let patience = if size > count::cores() { Patience::Crowded } else { Patience::Busy };
        // SAFETY: only the lifetime changes. Workers use `work` between `post` and `finish`. From the first `post` to the
        // last `join` nothing here unwinds, `member` catching every panic, so no worker uses it after we return.
        let work = unsafe { transmute::<&Work<'_>, &'static Work<'static>>(work) };

        self.barrier.reset();
        for (i, (_, worker)) in members.iter().enumerate() {
            worker.rounds.store(0, Ordering::Relaxed);
            worker.mailbox.post(Job { work, rank: i + 1, size, patience });
        }
        self.members().clone_from(&members);
        let before = waited();
        IN_REGION.set(true);
        self.member(None, Job { work, rank: 0, size, patience });
        IN_REGION.set(false);
        for (_, worker) in &members {
            worker.mailbox.join(patience, || self.note_late(|worker| worker.mailbox.is_at_work()));
        }
        crew.judge(&members, begun, waited().saturating_sub(before));

        if self.barrier.is_poisoned() {
            let payload = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(crew);
            if let Some(payload) = payload {
                resume_unwind(payload);
            }
        }
        size
    }

    /// Counts of the teams so far, unless another thread has the workers now.
    pub(super) fn counts(&self) -> Option<Counts> {
        let crew = self.crew()?;
        let now = Instant::now();
        let rests = crew.workers.iter().map(|(_, rest)| rest.count).sum();
        let resting = crew.workers.iter().filter(|(_, rest)| rest.lasts(now)).count();
        Some(Counts { rests, resting, workers: crew.workers.len(), ..crew.counts })
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The caller has waited for long: mark the workers that it waits for.
    fn note_late(&self, is_late: impl Fn(&Worker) -> bool) {
        for (_, worker) in self.members().iter().filter(|(_, worker)| is_late(worker)) {
            worker.late.store(true, Ordering::Relaxed);
        }
    }

    fn crew(&self) -> Option<MutexGuard<'_, Crew>> {
        match self.crew.try_lock() {
            Ok(crew) => Some(crew),
            Err(TryLockError::Poisoned(crew)) => Some(crew.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Ask up to `wanted` workers, and take those who answer in time.
    fn form(&self, crew: &mut Crew, wanted: usize, work: Duration, now: Instant) -> Members {
        let whole = count::whole_teams();
        let asked: Members = crew.workers[..wanted.min(crew.workers.len())]
            .iter()
            .enumerate()
            .filter(|(_, (_, rest))| whole || !rest.lasts(now))
            .map(|(i, (worker, _))| (i, *worker))
            .collect();
        if asked.is_empty() {
            crew.counts.rested += 1;
            return asked;
        }
        self.seat.take();
        self.seat.sit();
        let mut woken = false;
        for (i, worker) in &asked {
            worker.mailbox.invite(|| {
                woken = true;
                let others = crew.workers.iter().enumerate().filter(|(j, _)| j != i).map(|(_, (w, _))| &w.seat);
                worker.seat.keep_away(others.chain([&self.seat]));
            });
        }
        if whole {
            asked.iter().for_each(|(_, worker)| attend(|| worker.mailbox.has_answered()));
            return asked;
        }
        let limit = if woken { (work / WORTH_WAITING).clamp(ANSWER, LONGEST_ANSWER) } else { ANSWER };
        let mut answered = 0;
        let asking = Instant::now();
        loop {
            while answered < asked.len() && asked[answered].1.mailbox.has_answered() {
                answered += 1;
            }
            if answered == asked.len() || asking.elapsed() > limit {
                break;
            }
            (0..8).for_each(|_| spin_loop());
        }
        if answered == asked.len() {
            return asked;
        }
        let here: Members = asked.iter().copied().filter(|(_, worker)| !worker.mailbox.withdraw()).collect();
        let lost = asking.elapsed();
        for (i, _) in asked.iter().filter(|(i, _)| here.iter().all(|(j, _)| i != j)) {
            crew.workers[*i].1.lost(lost, now);
        }
        crew.counts.unanswered += u64::from(here.is_empty());
        here
    }

    /// Start workers until there are `workers`, or the system gives no more.
    fn hire(&'static self, crew: &mut Crew, workers: usize) {
        while crew.workers.len() < workers {
            let worker = Box::leak(Box::new(Worker {
                mailbox: Mailbox::new(),
                seat: Seat::new(),
                rounds: AtomicU32::new(0),
                late: AtomicBool::new(false),
            }));
            let worker: &'static Worker = worker;
            let thread = Builder::new().name(format!("fastnn-{}", crew.workers.len() + 1)).stack_size(STACK_BYTES);
            if thread.spawn(move || self.serve(worker)).is_err() {
                return;
            }
            crew.workers.push((worker, Rest::default()));
        }
    }

    /// A worker's life.
    fn serve(&'static self, worker: &'static Worker) {
        IN_REGION.set(true);
        worker.seat.take();
        let mut patience = Patience::Hot;
        loop {
            let job = worker.mailbox.take(patience, || worker.seat.woken(&self.seat), || worker.seat.sit());
            patience = job.patience.between_regions();
            self.member(Some(worker), job);
            worker.mailbox.finish();
        }
    }

    /// Do one member's part. Never unwinds.
    fn member(&'static self, worker: Option<&'static Worker>, job: Job) {
        let team =
            Team::new(job.rank, job.size, Meeting { pool: self, worker, patience: job.patience, rounds: Cell::new(0) });
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

impl Crew {
    /// Let workers rest that cost more than they brought.
    fn judge(&mut self, members: &Members, begun: Instant, waited: Duration) {
        if waited.is_zero() {
            return;
        }
        let now = Instant::now();
        let loss = rest::loss(members.len() + 1, now.saturating_duration_since(begun), waited);
        for (i, worker) in members {
            let rest = &mut self.workers[*i].1;
            if worker.late.swap(false, Ordering::Relaxed) && !loss.is_zero() {
                rest.lost(loss, now);
            } else {
                rest.useful();
            }
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

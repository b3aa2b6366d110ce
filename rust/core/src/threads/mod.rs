//! The team of threads that walks a parallel region together.
//!
//! [`region`] runs one closure on every member of a team, which share the work by rank and meet at barriers:
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use fastnn_core::threads::region;
//!
//! let (sum, values) = (AtomicU64::new(0), [1_u64, 2, 3, 4, 5]);
//! region(2, 0, &|team| {
//!     let mine: u64 = values[team.share(values.len())].iter().sum();
//!     sum.fetch_add(mine, Ordering::Relaxed);
//!     team.barrier();
//!     assert_eq!(sum.load(Ordering::Relaxed), 15); // every member sees all
//! });
//! ```
//!
//! The unit of work is an op of at least 20 µs, a whole step or an epoch; barriers inside are cheap. A team may be smaller
//! than asked for, so results must not depend on its size: a caller invites the workers and goes on with those that answer
//! within a few microseconds, since others would keep it waiting for a time slice of some ms where cores are shared.
//!
//! | file | what it holds |
//! |---|---|
//! | `count` | how many threads, how many cores |
//! | `pool` | the workers, who of them comes; panics; fork |
//! | `mailbox` | how a worker is invited and gets a job, and the caller learns of its end |
//! | `rest` | when a worker is left alone |
//! | `seats` | members on processors of their own |
//! | `barrier` | where the members of a team meet |
//! | `wait` | spin, yield, sleep |

mod barrier;
mod count;
mod mailbox;
mod pool;
mod rest;
mod seats;
mod sync;
#[cfg(all(test, not(loom)))]
mod tests;
mod wait;

use std::ops::Range;
use std::panic::resume_unwind;

use barrier::Broken;
pub use count::{cores, look_around, num_threads, read, requested, set_num_threads, set_requested, set_whole_teams};
pub use pool::Counts;
use pool::{Meeting, Pool};

/// A member of a team: its rank, the team's size, and the barrier.
#[derive(Debug)]
pub struct Team {
    rank: usize,
    size: usize,
    /// None in a team of one. A member is a thread: its team stays there, which the cells within see to.
    meeting: Option<Meeting>,
}

/// Payload that unwinds a member whose barrier will not open because another has panicked.
struct Poisoned;

impl Team {
    /// A team of one, for work too small to share.
    pub const SOLO: Self = Self { rank: 0, size: 1, meeting: None };

    const fn new(rank: usize, size: usize, meeting: Meeting) -> Self {
        Self { rank, size, meeting: Some(meeting) }
    }

    /// This member's number, from 0.
    #[must_use]
    pub const fn rank(&self) -> usize {
        self.rank
    }

    /// Number of members.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Wait until every member has come here. What they wrote before, all see after.
    ///
    /// All members must come to the same number of barriers; debug builds panic where one leaves others waiting. When a
    /// member panics, the others unwind from here.
    pub fn barrier(&self) {
        let Some(meeting) = &self.meeting else { return };
        match meeting.wait(self.size) {
            Ok(()) => {}
            Err(Broken::Poisoned) => resume_unwind(Box::new(Poisoned)),
            Err(Broken::Deserted) => panic!("Team::barrier: another member has already left the region"),
        }
    }

    /// This member's share of `tasks` tasks: contiguous, disjoint from the others', together all. Shares differ by at
    /// most one task, the larger first.
    #[must_use]
    pub const fn share(&self, tasks: usize) -> Range<usize> {
        share(tasks, self.size, self.rank)
    }

    /// This member's share of `tasks` tasks in whole granules of `granule`, at least 1: every share starts at a multiple
    /// of it, and only the last one that is not empty may end elsewhere.
    #[must_use]
    pub fn share_aligned(&self, tasks: usize, granule: usize) -> Range<usize> {
        let granules = self.share(tasks.div_ceil(granule));
        let task = |granules: usize| granules.saturating_mul(granule).min(tasks);
        task(granules.start)..task(granules.end)
    }

    /// This member's work is done.
    fn leave(&self) {
        #[cfg(debug_assertions)]
        if let Some(meeting) = &self.meeting {
            assert!(meeting.leave(self.size), "region: a member has returned while another waits at a barrier");
        }
        #[cfg(not(debug_assertions))]
        let _ = self;
    }
}

/// Part `i` of `tasks` tasks in as many parts: see [`Team::share`].
#[must_use]
pub const fn share(tasks: usize, parts: usize, i: usize) -> Range<usize> {
    let (each, more) = (tasks / parts, tasks % parts);
    let before = if i < more { i } else { more };
    let start = i * each + before;
    start..start + each + (i < more) as usize
}

/// Run `work` on every member of a team of at most `width` threads, the calling one included as rank 0, and return when
/// all have: how many there were. `nanoseconds` says how much work it is for one thread.
///
/// The team is [`Team::SOLO`] if `width`, [`num_threads`] or the number of cores is 1, inside another team's region, while
/// another thread has the workers, and where no worker comes in time: one that sleeps, or whose core somebody else has. If
/// members panic, the first panic goes on in the caller once all have ended.
pub fn region(width: usize, nanoseconds: usize, work: &(dyn Fn(&Team) + Sync)) -> usize {
    let width = width.min(num_threads()).min(count::most());
    let size = if width > 1 { Pool::get().run(width, nanoseconds, work) } else { 1 };
    if size == 1 {
        work(&Team::SOLO);
    }
    size
}

/// Counts of the teams so far, unless another thread has the workers now.
#[must_use]
pub fn counts() -> Option<Counts> {
    Pool::get().counts()
}

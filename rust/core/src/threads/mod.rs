//! The team of threads that walks a parallel region together.
//!
//! [`region`] runs one closure on every member of a team, which share the work by rank and meet at barriers:
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use fastnn_core::threads::region;
//!
//! let (sum, values) = (AtomicU64::new(0), [1_u64, 2, 3, 4, 5]);
//! region(2, &|team| {
//!     let mine: u64 = values[team.share(values.len())].iter().sum();
//!     sum.fetch_add(mine, Ordering::Relaxed);
//!     team.barrier();
//!     assert_eq!(sum.load(Ordering::Relaxed), 15); // every member sees all
//! });
//! ```
//!
//! The unit of work is a whole step or epoch, 20 µs and more; barriers inside are cheap. A team may be smaller than
//! asked for, so results must not depend on its size.
//!
//! | file | what it holds |
//! |---|---|
//! | `count` | how many threads |
//! | `pool` | the workers; panics; fork |
//! | `mailbox` | how a worker gets a job, and the caller learns of its end |
//! | `seats` | members on processors of their own |
//! | `barrier` | where the members of a team meet |
//! | `wait` | spin, yield, sleep |

mod barrier;
mod count;
mod mailbox;
mod pool;
mod seats;
mod sync;
#[cfg(all(test, not(loom)))]
mod tests;
mod wait;

use std::marker::PhantomData;
use std::ops::Range;
use std::panic::resume_unwind;

use barrier::{Barrier, Broken};
pub use count::{num_threads, set_num_threads};
use pool::Pool;
use wait::Patience;

/// What one member of a team knows: its rank, the team's size, and where to wait for the others.
#[derive(Debug)]
pub struct Team {
    rank: usize,
    size: usize,
    barrier: Option<&'static Barrier>,
    patience: Patience,
    /// A member is a thread: its team stays there.
    not_sync: PhantomData<*const ()>,
}

/// What unwinds a member whose barrier will not open because another has panicked.
struct Poisoned;

impl Team {
    /// A team of one, for work too small to share.
    pub const SOLO: Self = Self { rank: 0, size: 1, barrier: None, patience: Patience::Hot, not_sync: PhantomData };

    const fn new(rank: usize, size: usize, barrier: &'static Barrier, patience: Patience) -> Self {
        Self { rank, size, barrier: Some(barrier), patience, not_sync: PhantomData }
    }

    /// This member's number, from 0.
    #[must_use]
    pub const fn rank(&self) -> usize {
        self.rank
    }

    /// How many members there are.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Wait until every member has come here. What they wrote before, all see after.
    ///
    /// All members must come to the same number of barriers; debug builds panic where one leaves others waiting. When a
    /// member panics, the others unwind from here.
    pub fn barrier(&self) {
        let Some(barrier) = self.barrier else { return };
        match barrier.wait(self.size, self.patience) {
            Ok(()) => {}
            Err(Broken::Poisoned) => resume_unwind(Box::new(Poisoned)),
            Err(Broken::Deserted) => panic!("Team::barrier: another member has already left the region"),
        }
    }

    /// This member's share of `tasks` tasks: contiguous, disjoint from the others', together all. Shares differ by at
    /// most one task, the larger first.
    #[must_use]
    pub const fn share(&self, tasks: usize) -> Range<usize> {
        let (each, more) = (tasks / self.size, tasks % self.size);
        let before = if self.rank < more { self.rank } else { more };
        let start = self.rank * each + before;
        start..start + each + (self.rank < more) as usize
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
        if let Some(barrier) = self.barrier {
            assert!(barrier.leave(self.size), "region: a member has returned while another waits at a barrier");
        }
        #[cfg(not(debug_assertions))]
        let _ = self;
    }
}

/// Run `work` on every member of a team of at most `width` threads, the calling one included as rank 0, and return when
/// all have.
///
/// The team is [`Team::SOLO`] if `width` or [`num_threads`] is 1, inside another team's region, and while another thread
/// has the workers. If members panic, the first panic goes on in the caller once all have ended.
pub fn region(width: usize, work: &(dyn Fn(&Team) + Sync)) {
    let width = width.min(num_threads());
    if width <= 1 || !Pool::get().run(width, work) {
        work(&Team::SOLO);
    }
}

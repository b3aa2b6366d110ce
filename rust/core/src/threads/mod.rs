//! The team of threads that walks a parallel region together.

use std::ops::Range;

/// What one member of a team knows: its rank, the team's size, and where to wait for the others.
#[derive(Debug)]
pub struct Team {
    rank: usize,
    size: usize,
}

impl Team {
    /// A team of one, for work too small to share.
    pub const SOLO: Self = Self { rank: 0, size: 1 };

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
    pub fn barrier(&self) {}

    /// This member's share of `tasks` tasks: contiguous, disjoint from the others', together all.
    #[must_use]
    pub fn share(&self, tasks: usize) -> Range<usize> {
        tasks * self.rank / self.size..tasks * (self.rank + 1) / self.size
    }
}

/// Run `work` on every member of a team of at most `width` threads, the calling one included, and return when all have.
pub fn region(width: usize, work: &(dyn Fn(&Team) + Sync)) {
    let _ = width;
    work(&Team::SOLO);
}

/// How many threads a region may have.
#[must_use]
pub fn num_threads() -> usize {
    1
}

//! Buffers that a stage reads and writes, from which the places of barriers follow.

use super::BufferId;

/// Buffers and memory that a stage touches.
#[derive(Clone, Debug, Default)]
pub struct Touches {
    /// Buffers read.
    pub reads: Vec<BufferId>,
    /// Buffers written, and maybe read.
    pub writes: Vec<BufferId>,
}

impl Touches {
    /// Note buffers that are read.
    pub fn read(&mut self, buffers: impl IntoIterator<Item = BufferId>) {
        self.reads.extend(buffers);
    }

    /// Note buffers that are written, and maybe read.
    pub fn write(&mut self, buffers: impl IntoIterator<Item = BufferId>) {
        self.writes.extend(buffers);
    }

    /// True if two stages may not run at the same time.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        let meets = |a: &[BufferId], b: &[BufferId]| a.iter().any(|x| b.contains(x));
        meets(&self.writes, &other.writes) || meets(&self.writes, &other.reads) || meets(&self.reads, &other.writes)
    }

    /// Do all that `other` does as well.
    pub fn add(&mut self, other: &Self) {
        self.reads.extend_from_slice(&other.reads);
        self.writes.extend_from_slice(&other.writes);
    }
}

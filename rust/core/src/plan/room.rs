//! The memory that the plans of one model work in: one step runs at a time, and none leaves anything behind there.

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use crate::error::{Error, Result};
use crate::tensor::Storage;

/// An arena as large as the largest plan needs, and room for a gathered batch.
#[derive(Debug, Default)]
pub struct Room {
    arena: Option<Storage>,
    gathered: Vec<Storage>,
}

/// A room that plans share.
#[derive(Clone, Debug, Default)]
pub struct SharedRoom(Arc<Mutex<Room>>);

impl SharedRoom {
    /// Use it alone.
    pub(super) fn enter(&self) -> Result<MutexGuard<'_, Room>> {
        match self.0.try_lock() {
            Ok(room) => Ok(room),
            Err(TryLockError::Poisoned(room)) => Ok(room.into_inner()),
            Err(TryLockError::WouldBlock) => Err(Error::state("step: expected one thread at a time; got two")),
        }
    }

    /// Number of bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.enter().map_or(0, |room| room.arena.iter().chain(&room.gathered).map(Storage::bytes).sum())
    }
}

/// Memory of at least so many bytes. What was there goes first, so that both are never held together.
fn at_least(storage: &mut Option<Storage>, bytes: usize) -> &Storage {
    if storage.as_ref().is_some_and(|storage| storage.bytes() < bytes) {
        *storage = None;
    }
    storage.get_or_insert_with(|| {
        let storage = Storage::alloc(bytes);
        // Rows are padded to whole vectors; what is never written is at least never a signalling pattern.
        // SAFETY: fresh memory of that size.
        unsafe { std::ptr::write_bytes(storage.ptr(), 0, storage.bytes()) };
        storage
    })
}

impl Room {
    /// Make room for an arena, and for these tensors of a batch, each so many bytes.
    pub(super) fn reserve(&mut self, arena: usize, batch: impl Iterator<Item = usize>) {
        at_least(&mut self.arena, arena);
        for (i, bytes) in batch.enumerate() {
            let mut old = (i < self.gathered.len()).then(|| self.gathered.swap_remove(i));
            at_least(&mut old, bytes);
            self.gathered.extend(old);
            let last = self.gathered.len() - 1;
            self.gathered.swap(i, last);
        }
    }

    /// The arena's first byte.
    pub(super) fn arena(&self) -> *mut u8 {
        self.arena.as_ref().map_or(std::ptr::null_mut(), Storage::ptr)
    }

    /// Memory for each tensor of a gathered batch.
    pub(super) fn gathered(&self) -> &[Storage] {
        &self.gathered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_the_largest_and_no_further() {
        let shared = SharedRoom::default();
        let reserve = |arena, batch: &[usize]| shared.enter().unwrap().reserve(arena, batch.iter().copied());
        reserve(1 << 14, &[1 << 15, 1 << 13]);
        assert_eq!(shared.bytes(), (1 << 14) + (1 << 15) + (1 << 13));
        reserve(1 << 13, &[]);
        reserve(1 << 13, &[1 << 14, 1 << 14, 64]);
        assert_eq!(shared.bytes(), (1 << 14) + (1 << 15) + (1 << 14) + 64);
        let sizes: Vec<usize> = shared.enter().unwrap().gathered().iter().map(Storage::bytes).collect();
        assert_eq!(sizes, [1 << 15, 1 << 14, 64]);
        let inside = shared.enter().unwrap();
        assert_eq!(shared.enter().unwrap_err().message(), "step: expected one thread at a time; got two");
        drop(inside);
    }
}

//! The memory behind tensors: our own, aligned to a cache line, or somebody else's that is kept alive.

use std::alloc::{Layout as Memory, alloc, dealloc};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::reserve::exhausted;

/// Bytes to which owned memory is aligned: a cache line and an AVX-512 register.
pub const ALIGNMENT: usize = 64;

/// A block of bytes that tensors share.
///
/// Like a NumPy array's, its contents may be changed through any tensor that shares it; callers that write must not run
/// beside others that read or write the same elements. `version` counts in-place changes, so that the tape notices.
pub struct Storage {
    ptr: *mut u8,
    bytes: usize,
    owner: Owner,
    version: AtomicU64,
    rebased: AtomicU64,
    claimed: AtomicBool,
    /// The id of the first tensor that was made after it.
    born: u64,
}

/// An object that keeps somebody else's memory alive.
pub trait Keeper: Send + Sync {
    /// True if the memory may be written now.
    fn writable(&self) -> bool;
}

enum Owner {
    Ours(Memory),
    Foreign(Box<dyn Keeper>),
}

// SAFETY: the pointer is to memory that lives as long as the storage; the type's contract above says who may write.
unsafe impl Send for Storage {}
// SAFETY: as above.
unsafe impl Sync for Storage {}

impl Storage {
    fn new(ptr: *mut u8, bytes: usize, owner: Owner) -> Self {
        Self {
            ptr,
            bytes,
            owner,
            version: AtomicU64::new(0),
            rebased: AtomicU64::new(0),
            claimed: AtomicBool::new(false),
            born: super::Tensor::next_id(),
        }
    }

    /// Uninitialized memory of our own; the caller writes every element before anyone reads. Unwinds as [`exhausted`] where
    /// there is none.
    #[must_use]
    pub fn alloc(bytes: usize) -> Self {
        let Ok(memory) = Memory::from_size_align(spare::rounded(bytes), ALIGNMENT) else { exhausted(bytes) };
        if let Some(ptr) = spare::take(memory.size()).or_else(|| large::take(memory.size())) {
            return Self::new(ptr, bytes, Owner::Ours(memory));
        }
        // SAFETY: the size is not zero.
        let ptr = unsafe { alloc(memory) };
        if ptr.is_null() {
            exhausted(bytes);
        }
        Self::new(ptr, bytes, Owner::Ours(memory))
    }

    /// The id of the first tensor that was made after this memory.
    pub(crate) fn born(&self) -> u64 {
        self.born
    }

    /// Memory of somebody else.
    ///
    /// # Safety
    /// `ptr` must be valid for `bytes` bytes, and aligned for the elements, for as long as `keep` lives.
    #[must_use]
    pub unsafe fn foreign(ptr: *mut u8, bytes: usize, keep: Box<dyn Keeper>) -> Self {
        Self::new(ptr, bytes, Owner::Foreign(keep))
    }

    /// Its first byte.
    #[must_use]
    pub fn ptr(&self) -> *mut u8 {
        self.ptr
    }

    /// Its size.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// True if it may be changed: false for an array that is read-only now.
    #[must_use]
    pub fn writable(&self) -> bool {
        match &self.owner {
            Owner::Ours(_) => true,
            Owner::Foreign(keeper) => keeper.writable(),
        }
    }

    /// True if it is somebody else's memory.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        matches!(self.owner, Owner::Foreign(_))
    }

    /// Number of changes in place.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// Claim it for training; false if somebody else has.
    #[must_use]
    pub fn try_claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::Acquire)
    }

    /// Give the claim back.
    pub fn release(&self) {
        self.claimed.store(false, Ordering::Release);
    }

    /// Number of changes in place that were put on the tape.
    pub(super) fn rebased(&self) -> u64 {
        self.rebased.load(Ordering::Acquire)
    }

    /// Note an in-place change that was put on the tape: views have to look for their place there again.
    pub(super) fn rebase(&self) {
        self.rebased.fetch_add(1, Ordering::Release);
    }

    /// Note an in-place change.
    pub fn bump(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("bytes", &self.bytes).field("version", &self.version()).finish_non_exhaustive()
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Owner::Ours(memory) = self.owner
            && !spare::keep(self.ptr, memory.size())
            && !large::keep(self.ptr, memory.size())
        {
            // SAFETY: allocated in `alloc` with this very layout.
            unsafe { dealloc(self.ptr, memory) };
        }
    }
}

/// Small blocks that this thread gave back and will want again: an aligned block from the allocator costs more than the
/// addition of two small tensors.
mod spare {
    use std::alloc::{Layout as Memory, dealloc};
    use std::cell::RefCell;

    use super::ALIGNMENT;

    /// Sizes are 64 bytes times a power of two, up to 64 · 2⁷ = 8 KiB.
    const CLASSES: usize = 8;
    /// Blocks kept of each size.
    const BLOCKS: usize = 32;

    struct Spare([Vec<*mut u8>; CLASSES]);

    thread_local! {
        static SPARE: RefCell<Spare> = const { RefCell::new(Spare([const { Vec::new() }; CLASSES])) };
    }

    /// The size of the block that so many bytes get.
    pub(super) const fn rounded(bytes: usize) -> usize {
        if bytes > ALIGNMENT << (CLASSES - 1) {
            bytes
        } else if bytes <= ALIGNMENT {
            ALIGNMENT
        } else {
            bytes.next_power_of_two()
        }
    }

    /// Of a rounded size.
    const fn class(size: usize) -> Option<usize> {
        if size > ALIGNMENT << (CLASSES - 1) { None } else { Some((size / ALIGNMENT).trailing_zeros() as usize) }
    }

    /// A block of this rounded size, if one is spare.
    pub(super) fn take(size: usize) -> Option<*mut u8> {
        let class = class(size)?;
        // No blocks are kept by a thread that ends.
        SPARE.try_with(|spare| spare.borrow_mut().0[class].pop()).ok().flatten()
    }

    /// Keep a block for later; false if it is to be freed.
    pub(super) fn keep(ptr: *mut u8, size: usize) -> bool {
        let Some(class) = class(size) else { return false };
        SPARE
            .try_with(|spare| {
                let blocks = &mut spare.borrow_mut().0[class];
                let room = blocks.len() < BLOCKS;
                if room {
                    blocks.push(ptr);
                }
                room
            })
            .unwrap_or(false)
    }

    impl Drop for Spare {
        fn drop(&mut self) {
            for (class, blocks) in self.0.iter_mut().enumerate() {
                for ptr in blocks.drain(..) {
                    // SAFETY: allocated with this rounded size, and owned by nobody else.
                    unsafe { dealloc(ptr, Memory::from_size_align_unchecked(ALIGNMENT << class, ALIGNMENT)) };
                }
            }
        }
    }
}

/// Large blocks that were given back and will be wanted again: fresh memory is cleared by the system page by page, which takes as
/// long as a kernel over it. A block serves requests of its size only, as steps of one shape make them.
mod large {
    use std::alloc::{Layout as Memory, dealloc};
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::ALIGNMENT;

    /// Sizes that the allocator asks the system for.
    const SIZES: std::ops::RangeInclusive<usize> = 1 << 17..=1 << 25;
    /// Bytes that are kept, of which the oldest go first.
    const KEPT: usize = 1 << 26;

    struct Kept {
        blocks: VecDeque<(usize, *mut u8)>,
        bytes: usize,
    }

    // SAFETY: the blocks belong to nobody else.
    unsafe impl Send for Kept {}

    static BLOCKS: Mutex<Kept> = Mutex::new(Kept { blocks: VecDeque::new(), bytes: 0 });

    /// A block of this size, if one is kept. Who finds another thread at it does without, as does a forked child whose parent
    /// was.
    pub(super) fn take(size: usize) -> Option<*mut u8> {
        if !SIZES.contains(&size) {
            return None;
        }
        let mut kept = BLOCKS.try_lock().ok()?;
        // The newest, which the caches may still hold.
        let place = kept.blocks.iter().rposition(|&(bytes, _)| bytes == size)?;
        kept.bytes -= size;
        kept.blocks.remove(place).map(|(_, ptr)| ptr)
    }

    /// Keep a block for later; false if it is to be freed.
    pub(super) fn keep(ptr: *mut u8, size: usize) -> bool {
        if !SIZES.contains(&size) {
            return false;
        }
        let Ok(mut kept) = BLOCKS.try_lock() else { return false };
        kept.blocks.push_back((size, ptr));
        kept.bytes += size;
        while kept.bytes > KEPT
            && let Some((bytes, oldest)) = kept.blocks.pop_front()
        {
            kept.bytes -= bytes;
            // SAFETY: allocated with this very layout, and owned by nobody else.
            unsafe { dealloc(oldest, Memory::from_size_align_unchecked(bytes, ALIGNMENT)) };
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::large;
    use std::alloc::{Layout as Memory, alloc, dealloc};

    /// Of a size that no other test has.
    #[test]
    fn large_blocks_serve_their_size_again_and_only_so_many_are_kept() {
        let size = (1 << 25) - 64 * 7;
        let memory = Memory::from_size_align(size, super::ALIGNMENT).unwrap();
        // SAFETY: the size is not zero.
        let blocks: Vec<*mut u8> = (0..3).map(|_| unsafe { alloc(memory) }).collect();
        // Another test may hold the lock just then.
        let kept = blocks.iter().filter(|&&ptr| (0..1000).any(|_| large::keep(ptr, size))).count();
        assert_eq!(kept, 3);
        assert_eq!(large::take(size - 64), None);
        let mut back = Vec::new();
        for _ in 0..1000 {
            back.extend(large::take(size));
        }
        // Two of them are nearly all that is kept; the oldest was freed.
        assert!(back.len() <= 2 && back.iter().all(|ptr| blocks[1..].contains(ptr)), "{} came back", back.len());
        for ptr in back {
            // SAFETY: allocated above.
            unsafe { dealloc(ptr, memory) };
        }
        assert!(!large::keep(std::ptr::null_mut(), 1 << 26) && !large::keep(std::ptr::null_mut(), 1 << 16));
    }
}

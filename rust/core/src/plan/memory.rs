//! The plan's buffers as addresses, and slices of them.
//!
//! Safe code cannot say that the members of a team write disjoint parts of one buffer, so these are raw. What makes it
//! sound: a stage's member writes only its own share of rows, columns or elements; what others read was written before
//! the last barrier ([`Program::set_barriers`](super::program::Program::set_barriers)); buffers that live at the same
//! time do not overlap ([`place`](super::place)).

#[cfg(debug_assertions)]
use super::program::Touches;
use super::program::{Buffer, BufferId, Features, Home, Operand};
use crate::element::{Element, Float};
use crate::tensor::View;

/// Addresses of the buffers during one call.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a> {
    buffers: &'a [Buffer],
    arena: *mut u8,
    batch: &'a [*mut u8],
    /// Of the stage that runs: access to any other buffer is a race, or memory that others share.
    #[cfg(debug_assertions)]
    touches: Option<&'a Touches>,
}

// SAFETY: addresses; the module's head says why members of a team may use them together.
unsafe impl Send for Memory<'_> {}
// SAFETY: as above.
unsafe impl Sync for Memory<'_> {}

impl<'a> Memory<'a> {
    /// The buffers of a program whose arena and batch lie at these addresses.
    ///
    /// # Safety
    /// The arena must be as large as the program says, and each batch address valid for its tensor, for `'a`; nobody
    /// else may use the arena or write to the tensors outside meanwhile.
    #[must_use]
    pub unsafe fn new(buffers: &'a [Buffer], arena: *mut u8, batch: &'a [*mut u8]) -> Self {
        Self {
            buffers,
            arena,
            batch,
            #[cfg(debug_assertions)]
            touches: None,
        }
    }

    /// The same for a stage that touches no other buffers. Debug builds check it: a buffer that a stage forgets to name would
    /// be a race, and memory that it shares with others.
    #[cfg(debug_assertions)]
    #[must_use]
    pub fn only<'b>(&self, touches: &'b Touches) -> Memory<'b>
    where
        'a: 'b,
    {
        Memory { touches: Some(touches), ..*self }
    }

    /// Refuse to read a buffer that the stage does not touch.
    #[inline]
    fn reads(&self, buffer: BufferId) {
        #[cfg(debug_assertions)]
        if let Some(t) = self.touches {
            let named = t.reads.contains(&buffer) || t.writes.contains(&buffer);
            assert!(named, "a stage reads buffer {buffer}, which is not among those that it touches: {t:?}");
        }
        let _ = buffer;
    }

    /// Refuse to write a buffer that the stage does not write.
    #[inline]
    fn writes(&self, buffer: BufferId) {
        #[cfg(debug_assertions)]
        if let Some(t) = self.touches {
            let named = t.writes.contains(&buffer);
            assert!(named, "a stage writes buffer {buffer}, which is not among those that it writes: {t:?}");
        }
        let _ = buffer;
    }

    /// The address of a buffer's first element.
    fn address<T: Element>(&self, buffer: BufferId) -> *mut T {
        match &self.buffers[buffer].home {
            // SAFETY: `place` gave it room inside the arena.
            Home::Arena(offset) => unsafe { self.arena.add(*offset).cast() },
            Home::Outside(tensor) => tensor.storage().ptr().cast(),
            Home::Batch(i) => self.batch[*i].cast(),
        }
    }

    /// The address of a buffer's first element, to be read.
    #[must_use]
    pub fn ptr<T: Element>(&self, buffer: BufferId) -> *const T {
        self.reads(buffer);
        self.address(buffer)
    }

    /// The address of a buffer's first element, to be written.
    #[must_use]
    pub fn ptr_mut<T: Element>(&self, buffer: BufferId) -> *mut T {
        self.writes(buffer);
        self.address(buffer)
    }

    /// `len` elements of a buffer from `start`.
    ///
    /// # Safety
    /// They lie in the buffer, and nobody writes them while the slice is used.
    #[must_use]
    pub unsafe fn slice<T: Element>(&self, buffer: BufferId, start: usize, len: usize) -> &'a [T] {
        debug_assert!(matches!(self.buffers[buffer].home, Home::Batch(_)) || self.fits::<T>(buffer, start + len));
        // SAFETY: by this function's contract.
        unsafe { std::slice::from_raw_parts(self.ptr::<T>(buffer).add(start), len) }
    }

    /// `len` elements of a buffer from `start`, to be written.
    ///
    /// # Safety
    /// They lie in the buffer, and nobody else uses them while the slice is used.
    #[must_use]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice_mut<T: Element>(&self, buffer: BufferId, start: usize, len: usize) -> &'a mut [T] {
        debug_assert!(self.fits::<T>(buffer, start + len));
        // SAFETY: by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.ptr_mut::<T>(buffer).add(start), len) }
    }

    fn fits<T: Element>(&self, buffer: BufferId, end: usize) -> bool {
        end * T::DTYPE.size() <= self.buffers[buffer].bytes
    }

    /// The samples of feature `f`.
    ///
    /// # Safety
    /// As [`slice`](Self::slice).
    #[must_use]
    pub unsafe fn row<T: Float>(&self, x: Features, f: usize, samples: usize) -> &'a [T] {
        // SAFETY: by this function's contract.
        unsafe { self.slice(x.buffer, f * x.ld, samples) }
    }

    /// The samples of feature `f`, to be written.
    ///
    /// # Safety
    /// As [`slice_mut`](Self::slice_mut).
    #[must_use]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn row_mut<T: Float>(&self, x: Features, f: usize, samples: usize) -> &'a mut [T] {
        // SAFETY: by this function's contract.
        unsafe { self.slice_mut(x.buffer, f * x.ld, samples) }
    }

    /// A row-major operand as ops read it.
    #[must_use]
    pub fn view<'o>(&self, operand: &'o Operand) -> View<'o> {
        self.reads(operand.buffer);
        self.view_of(operand)
    }

    /// A row-major operand as ops write it.
    #[must_use]
    pub fn view_mut<'o>(&self, operand: &'o Operand) -> View<'o> {
        self.writes(operand.buffer);
        self.view_of(operand)
    }

    fn view_of<'o>(&self, operand: &'o Operand) -> View<'o> {
        // SAFETY: the layout was made for this buffer; the memory lives as long as the call.
        unsafe {
            let first = self.address::<u8>(operand.buffer).add(operand.layout.offset * operand.dtype.size());
            View::new(first, &operand.layout, operand.dtype)
        }
    }
}

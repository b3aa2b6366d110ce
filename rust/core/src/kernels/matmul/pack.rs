//! Copies of an operand in the order in which the microkernel reads it.
//!
//! A strip is some rows of A or columns of B over some steps of the inner index; packed, element `i` of step `p` lies
//! at `p * width + i`, the width being a multiple of a register.

use std::alloc::{Layout, alloc, dealloc};
use std::cell::Cell;

use crate::element::Float;
use crate::kernels::transpose::{Matrix, transpose as turn};
use crate::kernels::vector::{Vector, prefetch};
use crate::reserve::exhausted;

/// A cache line, and the widest register.
const ALIGN: usize = 64;
/// Prefetch distance of a copied strip, in steps: hardware does not follow strides of a page.
const STEPS_AHEAD: usize = 12;

/// Address and size of a strip.
pub(super) struct Strip<T> {
    pub src: *const T,
    /// From one step of the inner index to the next.
    pub step_stride: isize,
    /// From one of the strip's rows of A or columns of B to the next.
    pub stride: isize,
    pub count: usize,
    pub depth: usize,
    pub width: usize,
}

/// # Safety
/// As for [`copy`], and the machine has V's instruction set.
#[inline(always)]
unsafe fn copy_steps<V: Vector>(s: &Strip<V::Elem>, dst: *mut V::Elem) {
    let whole = (s.count - 1) / V::LANES * V::LANES;
    let ahead = STEPS_AHEAD as isize * s.step_stride;
    // SAFETY: the caller gives a strip that exists and room for `depth * width`; the last register is loaded through a
    // mask, and its other lanes fall below `width`. The hint may go past the end.
    unsafe {
        let mask = V::first(s.count - whole);
        for p in 0..s.depth {
            let src = s.src.wrapping_offset(p as isize * s.step_stride);
            let dst = dst.add(p * s.width);
            for i in (0..whole).step_by(V::LANES) {
                prefetch(src.wrapping_offset(ahead + i as isize));
                V::load(src.add(i)).store(dst.add(i));
            }
            prefetch(src.wrapping_offset(ahead + whole as isize));
            V::load_part(src.add(whole), mask).store(dst.add(whole));
        }
    }
}

/// Pack a strip whose `stride` is 1.
///
/// # Safety
/// The strip exists, and `dst` has room for `depth * width` elements.
pub(super) unsafe fn copy<V: Vector>(s: &Strip<V::Elem>, dst: *mut V::Elem) {
    // SAFETY: the caller's promise; V needs no instruction set.
    unsafe { copy_steps::<V>(s, dst) }
}

/// [`copy`] by AVX2.
///
/// # Safety
/// As for [`copy`], and the machine has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi2")]
pub(super) unsafe fn copy_avx2<V: Vector>(s: &Strip<V::Elem>, dst: *mut V::Elem) {
    // SAFETY: the caller's promise.
    unsafe { copy_steps::<V>(s, dst) }
}

/// [`copy`] by AVX-512.
///
/// # Safety
/// As for [`copy`], and the machine has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
pub(super) unsafe fn copy_avx512<V: Vector>(s: &Strip<V::Elem>, dst: *mut V::Elem) {
    // SAFETY: the caller's promise.
    unsafe { copy_steps::<V>(s, dst) }
}

/// Pack a strip of any strides.
///
/// # Safety
/// As for [`copy`].
pub(super) unsafe fn transpose<T: Float>(s: &Strip<T>, dst: *mut T) {
    if s.step_stride == 1 && s.stride >= s.depth as isize {
        // Rows and the packed steps lie one after the other.
        let (stride, len) = (s.stride as usize, |lines: usize, step: usize, last: usize| (lines - 1) * step + last);
        let shape = Matrix { rows: s.count, cols: s.depth, stride };
        // SAFETY: the caller gives rows that exist and room for `depth * width`; packed memory may have any content.
        let (src, dst) = unsafe {
            (
                std::slice::from_raw_parts(s.src, len(s.count, stride, s.depth)),
                std::slice::from_raw_parts_mut(dst, len(s.depth, s.width, s.count)),
            )
        };
        return turn(src, shape, dst, s.width);
    }
    // SAFETY: the caller's promise, for all steps.
    unsafe { transpose_from(s, dst, 0) }
}

/// Pack the steps from `first` on.
///
/// # Safety
/// As for [`copy`].
pub(super) unsafe fn transpose_from<T: Float>(s: &Strip<T>, dst: *mut T, first: usize) {
    for i in 0..s.count {
        for p in first..s.depth {
            // SAFETY: the caller gives a strip that exists and room for `depth * width`.
            unsafe { *dst.add(p * s.width + i) = *s.src.offset(i as isize * s.stride + p as isize * s.step_stride) };
        }
    }
}

/// Memory of a thread's packed operands, kept from call to call.
pub(super) struct Buffer {
    ptr: *mut u8,
    bytes: usize,
}

impl Buffer {
    const EMPTY: Self = Self { ptr: std::ptr::null_mut(), bytes: 0 };

    /// Room for at least `len` elements, aligned to a cache line, its content unknown.
    pub(super) fn reserve<T: Float>(&mut self, len: usize) -> *mut T {
        let bytes = len.saturating_mul(size_of::<T>());
        if self.bytes < bytes {
            *self = Self::EMPTY;
            let Ok(layout) = Layout::from_size_align(bytes, ALIGN) else { exhausted(bytes) };
            // SAFETY: `bytes` is above `self.bytes`, so above 0.
            let ptr = unsafe { alloc(layout) };
            if ptr.is_null() {
                exhausted(bytes);
            }
            *self = Self { ptr, bytes };
        }
        self.ptr.cast()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: allocated by `reserve` with this very layout.
            unsafe { dealloc(self.ptr, Layout::from_size_align_unchecked(self.bytes, ALIGN)) };
        }
    }
}

/// A thread's buffers: packed A, packed B, and sums of a group of chunks.
pub(super) struct Buffers {
    pub a: Buffer,
    pub b: Buffer,
    pub sums: Buffer,
}

thread_local! {
    static BUFFERS: Cell<Buffers> = const { Cell::new(Buffers::EMPTY) };
}

impl Buffers {
    const EMPTY: Self = Self { a: Buffer::EMPTY, b: Buffer::EMPTY, sums: Buffer::EMPTY };

    /// Take this thread's buffers. They are gone until [`Buffers::put_back`]: a product inside of a product's callback
    /// gets empty ones.
    pub(super) fn take() -> Self {
        BUFFERS.replace(Self::EMPTY)
    }

    /// Keep the buffers for this thread's next product.
    pub(super) fn put_back(self) {
        BUFFERS.set(self);
    }
}

//! Borrowed tensors, as kernels' callers see them: a pointer, a layout, a dtype.

use std::marker::PhantomData;
use std::ops::Range;

use super::layout::Layout;
use crate::element::{DType, Element};

/// An operand of an op: elements somewhere in memory, for as long as `'a`.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The element at index 0 in every dimension.
    ptr: *mut u8,
    layout: &'a Layout,
    dtype: DType,
    memory: PhantomData<&'a u8>,
}

// SAFETY: a view is a borrow of memory that several members of a team may read; writers go through `part`, whose
// contract keeps their ranges apart.
unsafe impl Send for View<'_> {}
// SAFETY: as above.
unsafe impl Sync for View<'_> {}

impl<'a> View<'a> {
    /// Borrow memory as `layout` describes it, `ptr` being the place of the layout's first element (its offset applied).
    ///
    /// # Safety
    /// Every element of the layout must lie in live memory for `'a`.
    #[must_use]
    pub unsafe fn new(ptr: *mut u8, layout: &'a Layout, dtype: DType) -> Self {
        Self { ptr, layout, dtype, memory: PhantomData }
    }

    /// The element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Sizes of the dimensions.
    #[must_use]
    pub fn shape(&self) -> &'a [usize] {
        &self.layout.shape
    }

    /// Steps in elements.
    #[must_use]
    pub fn strides(&self) -> &'a [isize] {
        &self.layout.strides
    }

    /// The whole layout.
    #[must_use]
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// Number of elements.
    #[must_use]
    pub fn numel(&self) -> usize {
        self.layout.numel()
    }

    /// The address of the element at index 0 in every dimension.
    #[must_use]
    pub fn address(&self) -> *mut u8 {
        self.ptr
    }

    /// The element at index 0 in every dimension.
    #[must_use]
    pub fn ptr<T: Element>(&self) -> *mut T {
        debug_assert_eq!(T::DTYPE, self.dtype);
        self.ptr.cast()
    }

    /// All elements in row-major order. The layout must be contiguous and the type right.
    #[must_use]
    pub fn slice<T: Element>(&self) -> &'a [T] {
        assert!(T::DTYPE == self.dtype && self.layout.is_contiguous(), "an op was given a layout it did not ask for");
        // SAFETY: contiguous, so the elements are `numel` in a row, all in live memory by `new`'s contract.
        unsafe { std::slice::from_raw_parts(self.ptr.cast(), self.numel()) }
    }

    /// Some elements of a contiguous output, to be written.
    ///
    /// # Safety
    /// No two members of a team, and no two calls whose results live at the same time, may have ranges that overlap,
    /// and nobody may read them meanwhile.
    #[must_use]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part<T: Element>(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(T::DTYPE == self.dtype && self.layout.is_contiguous(), "an op was given a layout it did not ask for");
        assert!(range.start <= range.end && range.end <= self.numel(), "a share lies outside the output");
        // SAFETY: inside live memory by the check; unshared by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.cast::<T>().add(range.start), range.len()) }
    }
}

/// Call `$body` with `$t` bound to the element type of a float dtype.
#[macro_export]
macro_rules! with_float {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            $crate::DType::F32 => {
                type $t = f32;
                $body
            }
            $crate::DType::F64 => {
                type $t = f64;
                $body
            }
            other => unreachable!("an op let a dtype through that it does not compute in: {other}"),
        }
    };
}

/// Call `$body` with `$t` bound to the element type of any dtype.
#[macro_export]
macro_rules! with_element {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            $crate::DType::F32 => {
                type $t = f32;
                $body
            }
            $crate::DType::F64 => {
                type $t = f64;
                $body
            }
            $crate::DType::I64 => {
                type $t = i64;
                $body
            }
            $crate::DType::Bool => {
                type $t = u8;
                $body
            }
        }
    };
}

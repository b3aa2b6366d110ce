//! True if there can be a tensor of some shape at all, or a geometry of some settings.

use std::alloc::{Layout as Memory, alloc, dealloc};

use super::layout::show;
use super::storage::ALIGNMENT;
use crate::element::DType;
use crate::error::{Error, Result};
use crate::reserve;

/// Bytes from which on memory is tried before it is promised: below, the system has always given it.
const LARGE: usize = 1 << 28;

/// The greatest setting of a geometry: a stride, a padding, a kernel's or a window's size. Products of two, and sums of some of
/// those, are far from overflowing.
pub const GREATEST: usize = i32::MAX as usize;

/// Refuse settings outside of `least..=GREATEST`; `got` says how the user gave them.
pub fn settings(op: &str, name: &str, values: &[usize], least: usize, got: impl FnOnce() -> String) -> Result<()> {
    if values.iter().any(|&value| value > GREATEST) {
        return Err(Error::value(format!("{op}: expected {name} in [{least}, {GREATEST}]; got {}", got())));
    }
    if values.iter().any(|&value| value < least) {
        return Err(Error::value(format!("{op}: expected {name} of at least {least}; got {}", got())));
    }
    Ok(())
}

/// Refuse more elements than can be counted. Where a dimension is empty, so are strides that cannot.
pub fn countable(op: &str, shape: &[usize]) -> Result<usize> {
    let bytes = shape.iter().try_fold(size_of::<u64>(), |n, &size| n.checked_mul(size.max(1)));
    match bytes {
        Some(bytes) if isize::try_from(bytes).is_ok() => Ok(shape.iter().product()),
        _ => Err(Error::value(format!("{op}: expected sizes that fit in memory; got {}", show(shape)))),
    }
}

/// Refuse that, and more elements than there is memory for.
pub fn check(op: &str, shape: &[usize], dtype: DType) -> Result<()> {
    let bytes = countable(op, shape)? * dtype.size();
    if bytes < LARGE {
        return Ok(());
    }
    let given = Memory::from_size_align(bytes, ALIGNMENT).is_ok_and(|memory| {
        // SAFETY: the size is not zero; what was given is given back at once, untouched.
        unsafe {
            // Opaque: the compiler may take an allocation that nobody uses for granted.
            let ptr = std::hint::black_box(alloc(memory));
            if !ptr.is_null() {
                dealloc(ptr, memory);
            }
            !ptr.is_null()
        }
    });
    if given { Ok(()) } else { Err(reserve::refused(op, bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_a_range() {
        let check = |value| settings("conv1d", "stride", &[2, value], 1, || value.to_string());
        assert!(check(1).is_ok() && check(GREATEST).is_ok());
        let message = |value| check(value).unwrap_err().message().to_owned();
        assert_eq!(message(0), "conv1d: expected stride of at least 1; got 0");
        assert_eq!(message(1 << 62), "conv1d: expected stride in [1, 2147483647]; got 4611686018427387904");
    }

    #[test]
    fn what_no_memory_holds_is_refused() {
        assert!(check("zeros", &[1000, 1000], DType::F32).is_ok());
        let message = |shape: &[usize]| check("zeros", shape, DType::F32).unwrap_err().message().to_owned();
        assert_eq!(
            message(&[1 << 40, 1 << 40]),
            "zeros: expected sizes that fit in memory; got (1099511627776, 1099511627776)"
        );
        assert_eq!(
            message(&[1 << 40, 0, 1 << 40]),
            "zeros: expected sizes that fit in memory; got (1099511627776, 0, 1099511627776)"
        );
        assert_eq!(message(&[1 << 50]), "zeros: can't allocate memory: you tried to allocate 4503599627370496 bytes");
    }
}

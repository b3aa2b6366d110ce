//! Whether there can be a tensor of some shape at all.

use std::alloc::{Layout as Memory, alloc, dealloc};

use super::layout::show;
use super::storage::ALIGNMENT;
use crate::element::DType;
use crate::error::{Error, Result};

/// Bytes from which on memory is tried before it is promised: below, the system has always given it.
const LARGE: usize = 1 << 28;

/// Refuse more elements than can be counted.
pub fn countable(op: &str, shape: &[usize]) -> Result<usize> {
    let bytes = shape.iter().try_fold(size_of::<u64>(), |n, &size| n.checked_mul(size));
    match bytes {
        Some(bytes) if isize::try_from(bytes).is_ok() => Ok(bytes / size_of::<u64>()),
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
            // Hidden from the compiler, which would leave out memory that nobody uses.
            let ptr = std::hint::black_box(alloc(memory));
            if !ptr.is_null() {
                dealloc(ptr, memory);
            }
            !ptr.is_null()
        }
    });
    if given {
        Ok(())
    } else {
        Err(Error::state(format!("{op}: can't allocate memory: you tried to allocate {bytes} bytes")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_memory_holds_is_refused() {
        assert!(check("zeros", &[1000, 1000], DType::F32).is_ok());
        let message = |shape: &[usize]| check("zeros", shape, DType::F32).unwrap_err().message().to_owned();
        assert_eq!(
            message(&[1 << 40, 1 << 40]),
            "zeros: expected sizes that fit in memory; got (1099511627776, 1099511627776)"
        );
        assert_eq!(message(&[1 << 50]), "zeros: can't allocate memory: you tried to allocate 4503599627370496 bytes");
    }
}

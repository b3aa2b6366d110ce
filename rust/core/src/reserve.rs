//! Memory whose size a caller decides, which the system may not have.
//!
//! Kernels cannot return an error: [`filled`] and the like unwind, and [`guard`], around every op and every call from outside,
//! turns that into [`Error::Memory`]. Other panics pass.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::error::{Error, Result};

/// Payload of the unwinding when memory ran out: the bytes that were asked for.
struct Exhausted(usize);

/// Unwind to the nearest [`guard`]: there is no memory for `bytes` bytes.
#[cold]
pub fn exhausted(bytes: usize) -> ! {
    // No panic: its hook would print, and nothing is wrong here.
    resume_unwind(Box::new(Exhausted(bytes)))
}

/// The error of an op that `bytes` bytes were refused to.
#[cold]
#[must_use]
pub fn refused(op: &str, bytes: usize) -> Error {
    let op = if op.is_empty() { String::new() } else { format!("{op}: ") };
    Error::Memory(format!("{op}can't allocate memory: you tried to allocate {bytes} bytes"))
}

/// Run `work`, and turn two ways of unwinding into errors that name `op`: memory ran out, and a size that overflowed.
pub fn guard<T>(op: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(payload) => unwound(op, payload),
    }
}

#[cold]
fn unwound<T>(op: &str, payload: Box<dyn Any + Send>) -> Result<T> {
    if let Some(&Exhausted(bytes)) = payload.downcast_ref() {
        return Err(refused(op, bytes));
    }
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    match text {
        // The compiler's words for checked arithmetic, and the standard library's for a vector past all memory.
        Some(text) if text.ends_with("with overflow") || text == "capacity overflow" => {
            let op = if op.is_empty() { String::new() } else { format!("{op}: ") };
            Err(Error::value(format!("{op}expected sizes that 64 bits can count; got more ({text})")))
        }
        _ => resume_unwind(payload),
    }
}

/// Bytes of `n` elements, as far as they can be counted.
const fn bytes_of<T>(n: usize) -> usize {
    n.saturating_mul(size_of::<T>())
}

/// An empty vector with room for `n` elements.
#[must_use]
pub fn with_capacity<T>(n: usize) -> Vec<T> {
    let mut vec = Vec::new();
    grow(&mut vec, n);
    vec
}

/// Make room for `n` more elements.
pub fn grow<T>(vec: &mut Vec<T>, n: usize) {
    if vec.try_reserve_exact(n).is_err() {
        exhausted(bytes_of::<T>(vec.len().saturating_add(n)));
    }
}

/// `n` elements `value`.
#[must_use]
pub fn filled<T: Clone>(n: usize, value: T) -> Vec<T> {
    let mut vec = with_capacity(n);
    vec.resize(n, value);
    vec
}

/// Lengthen or shorten a vector to `n` elements, new ones being `value`.
pub fn resize<T: Clone>(vec: &mut Vec<T>, n: usize, value: T) {
    grow(vec, n.saturating_sub(vec.len()));
    vec.resize(n, value);
}

/// All elements of an iterator, whose length is known.
#[must_use]
pub fn collected<T>(items: impl ExactSizeIterator<Item = T>) -> Vec<T> {
    let mut vec = with_capacity(items.len());
    vec.extend(items);
    vec
}

/// A copy of a slice.
#[must_use]
pub fn copied<T: Copy>(slice: &[T]) -> Vec<T> {
    collected(slice.iter().copied())
}

/// Unwind as [`with_capacity`] does if the system has no room for `n` objects of `bytes` bytes, each allocated by itself.
pub fn check(n: usize, bytes: usize) {
    drop(with_capacity::<u8>(n.saturating_mul(bytes)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUGE: usize = 1 << 60;

    #[test]
    fn what_no_memory_holds_is_an_error_of_the_op() {
        let refused = |work: fn() -> Result<Vec<u64>>| guard("op", work).unwrap_err();
        let expected = format!("op: can't allocate memory: you tried to allocate {} bytes", usize::MAX);
        for work in [
            || Ok(with_capacity(HUGE << 1)),
            || Ok(filled(HUGE << 1, 0)),
            || {
                let mut vec = vec![1];
                resize(&mut vec, HUGE << 1, 0);
                Ok(vec)
            },
        ] as [fn() -> _; 3]
        {
            assert_eq!(refused(work), Error::Memory(expected.clone()));
        }
        assert!(matches!(refused(|| Ok(Vec::with_capacity(usize::MAX))), Error::Value(_)));
        assert_eq!(guard("op", || Ok(filled(3, 1_u8))).unwrap(), [1; 3]);
    }

    #[test]
    fn other_panics_pass() {
        let passed = catch_unwind(|| guard::<()>("op", || panic!("a bug")));
        assert_eq!(passed.unwrap_err().downcast_ref(), Some(&"a bug"));
    }
}

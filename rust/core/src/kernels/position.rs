//! Positions and labels in memory that others may change at any time, such as a NumPy array's.
//!
//! A check made beforehand says nothing about the number read later: each is read once, and checked where it is used.

/// The number at `p`, read once: the compiler may not read it again behind a check.
///
/// # Safety
/// `p` is aligned and in live memory.
#[inline(always)]
#[must_use]
pub unsafe fn read(p: *const i64) -> i64 {
    // SAFETY: by this function's contract.
    unsafe { p.read_volatile() }
}

/// The number in a reference, read once.
#[inline(always)]
#[must_use]
pub fn read_ref(p: &i64) -> i64 {
    // SAFETY: a reference is aligned, and its memory live.
    unsafe { read(p) }
}

/// A number as a position below `n`.
#[inline(always)]
#[must_use]
pub fn within(value: i64, n: usize) -> Option<usize> {
    let position = value as u64;
    (position < n as u64).then_some(position as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_positions_below_the_end_pass() {
        let passed: Vec<_> = [0, 6, 7, -1, i64::MIN, i64::MAX].map(|value| within(value, 7)).into();
        assert_eq!(passed, [Some(0), Some(6), None, None, None, None]);
        assert_eq!(within(0, 0), None);
    }
}

//! A thread's room for frames and columns, kept from call to call.

use std::cell::Cell;

use crate::element::Float;
use crate::reserve;

/// A cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [u8; LINE]);
const LINE: usize = 64;

thread_local! {
    static ROOM: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// Call `work` with slices of these lengths, their content unknown.
pub(super) fn with<T: Float, const N: usize, R>(lens: [usize; N], work: impl FnOnce([&mut [T]; N]) -> R) -> R {
    let lines = lens.map(|len| len.saturating_mul(size_of::<T>()).div_ceil(LINE));
    let mut room = ROOM.take();
    let needed = lines.iter().fold(0, |sum: usize, &n| sum.saturating_add(n));
    if room.len() < needed {
        // The old room goes first, so that both are never there at once.
        drop(room);
        room = reserve::filled(needed, Line([0; LINE]));
    }
    let mut rest = room.as_mut_slice();
    let slices = std::array::from_fn(|i| {
        let (mine, others) = std::mem::take(&mut rest).split_at_mut(lines[i]);
        rest = others;
        // SAFETY: initialized memory, as long and aligned at least as well; every bit pattern is a float.
        unsafe { std::slice::from_raw_parts_mut(mine.as_mut_ptr().cast::<T>(), lens[i]) }
    });
    let result = work(slices);
    ROOM.set(room);
    result
}

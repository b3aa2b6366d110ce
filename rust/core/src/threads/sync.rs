//! The primitives that [`barrier`](super::barrier) and [`mailbox`](super::mailbox) stand on: std's, or loom's under
//! `--cfg loom`, which then tries every interleaving.

#[cfg(loom)]
pub(super) use loom::sync::{Condvar, Mutex, MutexGuard, atomic};
#[cfg(not(loom))]
pub(super) use std::sync::{Condvar, Mutex, MutexGuard, atomic};

//! True if ops are recorded on this thread, and for what.

use std::cell::Cell;

thread_local! {
    static ENABLED: Cell<bool> = const { Cell::new(true) };
    /// True if what is recorded is a derivative.
    static DERIVING: Cell<bool> = const { Cell::new(false) };
}

/// True if ops are recorded on this thread.
#[must_use]
pub fn is_grad_enabled() -> bool {
    ENABLED.get()
}

/// True if the ops that are recorded compute a derivative, in which an op without one must not pass for a constant.
#[must_use]
pub fn is_deriving() -> bool {
    DERIVING.get()
}

/// Switch recording on or off on this thread; returns what it was.
#[allow(clippy::must_use_candidate)] // called for its effect
pub fn set_grad_enabled(value: bool) -> bool {
    ENABLED.replace(value)
}

/// Run `f` with these switches, and set them back whatever happens.
pub(super) fn switched<R>(enabled: bool, deriving: bool, f: impl FnOnce() -> R) -> R {
    struct Restore(bool, bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ENABLED.set(self.0);
            DERIVING.set(self.1);
        }
    }
    let _restore = Restore(set_grad_enabled(enabled), DERIVING.replace(deriving));
    f()
}

/// Run `f` without recording.
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    switched(false, DERIVING.get(), f)
}

//! Looking for the op where NaN begins: off unless asked for, as every tensor is read once more.

use std::cell::RefCell;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Tensor;
use crate::with_float;

static ENABLED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static SCOPE: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

/// What is noted of an op while NaN is looked for.
#[derive(Clone, Debug, Default)]
pub struct Note {
    /// Which layer ran it.
    scope: Option<Arc<str>>,
    /// Whether its outputs hold NaN though its inputs hold none.
    made_nan: bool,
}

/// Look for NaN from now on, in all threads, or no longer; returns what it was.
#[allow(clippy::must_use_candidate)] // called for its effect
pub fn set_enabled(value: bool) -> bool {
    ENABLED.swap(value, Ordering::Relaxed)
}

/// Whether NaN is looked for.
#[must_use]
pub fn is_enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// Say which layer runs on this thread from now on; returns which did.
#[must_use]
pub fn set_scope(scope: Option<Arc<str>>) -> Option<Arc<str>> {
    SCOPE.replace(scope)
}

/// Whether a tensor holds NaN.
#[must_use]
pub fn has_nan(tensor: &Tensor) -> bool {
    if !tensor.dtype().is_float() {
        return false;
    }
    if !tensor.layout().is_contiguous() {
        return tensor.to_vec_f64().iter().any(|x| x.is_nan());
    }
    with_float!(tensor.dtype(), T => tensor.view().slice::<T>().iter().any(|x| x.is_nan()))
}

impl Note {
    /// Look at an op that has just run.
    #[must_use]
    pub fn of(inputs: &[&Tensor], outputs: &[Tensor]) -> Self {
        let made_nan = outputs.iter().any(has_nan) && !inputs.iter().any(|t| has_nan(t));
        Self { scope: SCOPE.with_borrow(Clone::clone), made_nan }
    }

    /// Whether NaN began here.
    #[must_use]
    pub fn made_nan(&self) -> bool {
        self.made_nan
    }

    /// The op with its layer.
    #[must_use]
    pub fn place(&self, op: &str) -> String {
        let mut place = op.to_owned();
        if let Some(scope) = &self.scope {
            let _ = write!(place, " in {scope}");
        }
        place
    }
}

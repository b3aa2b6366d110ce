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

/// Notes on an op while NaN is looked for.
#[derive(Clone, Debug, Default)]
pub struct Note {
    /// The layer that ran it.
    scope: Option<Arc<str>>,
    /// True if its outputs hold NaN though its inputs hold none.
    made_nan: bool,
}

/// Look for NaN from now on, in all threads, or no longer; returns what it was.
#[allow(clippy::must_use_candidate)] // called for its effect
pub fn set_enabled(value: bool) -> bool {
    ENABLED.swap(value, Ordering::Relaxed)
}

/// True if NaN is looked for.
#[must_use]
pub fn is_enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// Say which layer runs on this thread from now on; returns which did.
#[must_use]
pub fn set_scope(scope: Option<Arc<str>>) -> Option<Arc<str>> {
    SCOPE.replace(scope)
}

/// True if a tensor holds NaN.
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

    /// True if NaN began here.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_op_makes_nan_only_where_none_came_in() {
        let (nan, one) = (Tensor::from_slice(&[1.0_f32, f32::NAN, 2.0], &[3]), Tensor::from_slice(&[1.0_f32; 3], &[3]));
        assert!(Note::of(&[&one], std::slice::from_ref(&nan)).made_nan());
        assert!(!Note::of(&[&one, &nan], std::slice::from_ref(&nan)).made_nan());
        assert!(!Note::of(&[&one], std::slice::from_ref(&one)).made_nan());
        assert!(!has_nan(&Tensor::from_slice(&[1_i64], &[1])));
    }

    #[test]
    fn a_view_that_leaves_nan_out_holds_none() {
        let matrix = Tensor::from_slice(&[1.0_f64, f64::NAN, 2.0, f64::NAN], &[2, 2]);
        let columns = crate::ops::split(&matrix, 1, 1).unwrap();
        assert!(!has_nan(&columns[0]));
        assert!(has_nan(&columns[1]));
    }

    #[test]
    fn the_place_names_the_layer() {
        let outer = set_scope(Some("layer '1'".into()));
        let note = Note::of(&[], &[]);
        assert_eq!(set_scope(outer).as_deref(), Some("layer '1'"));
        assert_eq!(note.place("log"), "log in layer '1'");
        assert_eq!(Note::default().place("log"), "log");
    }
}

//! Tracing: what one eager step did, op by op.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::ops::Op;
use crate::tensor::Tensor;

/// One op that ran while tracing. The tensors are kept alive, so that their ids stay unique.
#[derive(Debug)]
pub struct Step {
    /// The op that ran.
    pub op: Arc<dyn Op>,
    /// On what.
    pub inputs: Vec<Tensor>,
    /// Its outputs; for a view, another tensor on the same memory.
    pub outputs: Vec<Tensor>,
}

/// A whole step as it ran.
#[derive(Debug, Default)]
pub struct Trace {
    /// Every op, in order.
    pub steps: Vec<Step>,
    /// Why the step cannot be planned, if it cannot.
    pub obstacle: Option<String>,
    /// The id of the first tensor that was made since the trace began.
    first_id: u64,
    /// Detached tensors, and what they were detached from.
    same: HashMap<u64, u64>,
}

impl Trace {
    /// The id under which a tensor stands in the steps.
    #[must_use]
    pub fn original(&self, mut id: u64) -> u64 {
        while let Some(&of) = self.same.get(&id) {
            id = of;
        }
        id
    }

    /// True if the memory of a tensor was made since the trace began.
    #[must_use]
    pub fn is_new(&self, tensor: &Tensor) -> bool {
        tensor.storage().born() >= self.first_id
    }
}

thread_local! {
    static TRACE: RefCell<Option<Trace>> = const { RefCell::new(None) };
}

/// Start to record what runs on this thread.
pub fn start() {
    TRACE.set(Some(Trace { first_id: Tensor::next_id(), ..Trace::default() }));
}

/// Stop recording.
#[must_use]
pub fn finish() -> Option<Trace> {
    TRACE.take()
}

/// True if this thread records.
#[must_use]
pub fn is_tracing() -> bool {
    TRACE.with_borrow(Option::is_some)
}

/// Note that `detached` has the values of `of`.
pub fn same(detached: &Tensor, of: &Tensor) {
    TRACE.with_borrow_mut(|trace| {
        if let Some(trace) = trace {
            trace.same.insert(detached.id(), of.id());
        }
    });
}

/// Note an op that ran.
pub fn record(op: &Arc<dyn Op>, inputs: &[&Tensor], outputs: &[Tensor]) {
    TRACE.with_borrow_mut(|trace| {
        let Some(trace) = trace else { return };
        trace.steps.push(Step {
            op: Arc::clone(op),
            inputs: inputs.iter().map(|t| (*t).clone()).collect(),
            outputs: outputs.to_vec(),
        });
    });
}

/// Python reads values: what it does with them cannot be repeated.
pub fn read(how: &str) {
    TRACE.with_borrow_mut(|trace| {
        if let Some(trace) = trace {
            trace.obstacle.get_or_insert_with(|| format!("values were read by {how}"));
        }
    });
}

/// Something ran that no plan can repeat.
pub fn obstacle(reason: &str) {
    TRACE.with_borrow_mut(|trace| {
        if let Some(trace) = trace {
            trace.obstacle.get_or_insert_with(|| reason.to_owned());
        }
    });
}

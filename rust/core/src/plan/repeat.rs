//! True if a step can be repeated: what a second trace must have in common with the first, and where draws come from.
//!
//! A plan repeats the ops of one trace, with the numbers that Python gave them. A second trace of the same step shows
//! whether Python gives the same ones again. Values that live outside the step, such as parameters, are the same if they
//! have the same memory; those that Python made for the step, such as `full((3,), 0.5)`, if they have the same contents.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::element::DType;
use crate::error::{Error, Result};
use crate::ops::{Op, random};
use crate::rng::Draw;
use crate::tensor::trace::{Step, Trace};
use crate::tensor::{Layout, Storage, Tensor, for_each_offset};

/// A value that no op of the step made. The memory is kept, so that nothing else can take its address.
#[derive(Debug)]
struct Outside {
    storage: Arc<Storage>,
    layout: Layout,
    dtype: DType,
    /// A hash of the contents at the end of the step, if the memory was made during it; 0 if an op wrote them.
    contents: Option<u64>,
}

impl Outside {
    fn of(tensor: &Tensor, trace: &Trace, written: bool) -> Self {
        let contents = trace.is_new(tensor).then(|| if written { 0 } else { contents(tensor) });
        Self { storage: Arc::clone(tensor.storage()), layout: tensor.layout().clone(), dtype: tensor.dtype(), contents }
    }

    fn same(&self, other: &Self) -> bool {
        let memory = Arc::ptr_eq(&self.storage, &other.storage);
        let alike = self.layout.shape == other.layout.shape && self.dtype == other.dtype;
        let placed = self.layout.strides == other.layout.strides && self.layout.offset == other.layout.offset;
        alike && ((memory && placed) || (self.contents.is_some() && self.contents == other.contents))
    }
}

fn contents(tensor: &Tensor) -> u64 {
    let mut hasher = DefaultHasher::new();
    crate::with_element!(tensor.dtype(), T => {
        let first = tensor.view().ptr::<T>();
        for_each_offset(tensor.layout(), |offset| {
            // SAFETY: offsets of the tensor's layout; the elements are plain numbers, and nobody writes them now.
            let bytes = unsafe { std::slice::from_raw_parts(first.offset(offset).cast::<u8>(), size_of::<T>()) };
            hasher.write(bytes);
        });
    });
    hasher.finish()
}

/// Record of a trace, to be compared with the next one.
#[derive(Debug)]
pub struct Fingerprint {
    /// Of every op that is needed: what it is, on what it ran, what it made.
    steps: Vec<u64>,
    outside: Vec<Outside>,
}

impl Fingerprint {
    /// That of a trace on `batch` that has just ended, whose results are `wanted`. `drawn_from` is the state of the generator
    /// before it.
    #[must_use]
    pub fn new(trace: &Trace, batch: &[Tensor], wanted: &[Tensor], drawn_from: (u64, u64)) -> Self {
        let mut builder = Builder { trace, numbers: HashMap::new(), outside: Vec::new() };
        for tensor in batch {
            builder.numbers.insert(tensor.id(), builder.numbers.len());
        }
        let needed = needed(trace, wanted);
        let mut steps: Vec<u64> =
            trace.steps.iter().zip(needed).filter(|(_, n)| *n).map(|(s, _)| builder.step(s, drawn_from)).collect();
        let (seed, call) = random::state();
        steps.extend([seed, call.wrapping_sub(drawn_from.1)]);
        steps.extend(wanted.iter().map(|tensor| builder.number(tensor, false) as u64));
        Self { steps, outside: builder.outside }
    }

    /// The first difference to another trace of the step, if any.
    #[must_use]
    pub fn differs(&self, other: &Self) -> Option<&'static str> {
        if self.steps != other.steps {
            return Some("forward or loss does not compute the same at every step, or with other numbers from Python");
        }
        let same = self.outside.len() == other.outside.len()
            && self.outside.iter().zip(&other.outside).all(|(a, b)| a.same(b));
        (!same).then_some("forward or loss makes or takes other tensors at every step")
    }
}

/// Steps that the `wanted` tensors, and changes in place, need: a plan leaves out the others, such as unread gradients.
fn needed(trace: &Trace, wanted: &[Tensor]) -> Vec<bool> {
    let mut read: HashSet<u64> = wanted.iter().map(|t| trace.original(t.id())).collect();
    let mut needed: Vec<bool> = trace
        .steps
        .iter()
        .rev()
        .map(|step| {
            let needed = step.op.changes_outside() || step.outputs.iter().any(|t| read.contains(&t.id()));
            if needed {
                read.extend(step.inputs.iter().map(|t| trace.original(t.id())));
            }
            needed
        })
        .collect();
    needed.reverse();
    needed
}

struct Builder<'a> {
    trace: &'a Trace,
    /// Tensor id → the number of the value.
    numbers: HashMap<u64, usize>,
    outside: Vec<Outside>,
}

impl Builder<'_> {
    /// The number of a value; one seen for the first time lives outside. `written` says that an op is about to write it.
    fn number(&mut self, tensor: &Tensor, written: bool) -> usize {
        let next = self.numbers.len();
        let number = *self.numbers.entry(self.trace.original(tensor.id())).or_insert(next);
        if number == next {
            self.outside.push(Outside::of(tensor, self.trace, written));
        }
        number
    }

    fn step(&mut self, step: &Step, drawn_from: (u64, u64)) -> u64 {
        let mut hasher = DefaultHasher::new();
        describe(&*step.op, drawn_from).hash(&mut hasher);
        for (i, tensor) in step.inputs.iter().enumerate() {
            let written = i == 0 && step.op.in_place() && step.op.writes_all();
            self.number(tensor, written).hash(&mut hasher);
            (tensor.shape(), &tensor.layout().strides[..]).hash(&mut hasher);
        }
        for tensor in &step.outputs {
            let next = self.numbers.len();
            self.numbers.insert(tensor.id(), next);
            tensor.shape().hash(&mut hasher);
        }
        for tensor in step.op.changed_outside() {
            self.number(tensor, false).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// An op with all its settings; its draw counts from the beginning of the step.
fn describe(op: &dyn Op, (_, first): (u64, u64)) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write!(text, "{} {op:?}", op.name());
    match op.draw() {
        Some(draw) => {
            let relative = Draw { call: draw.call.wrapping_sub(first), ..draw };
            text.replace(&format!("{draw:?}"), &format!("{relative:?}"))
        }
        None => text,
    }
}

/// Why the draws between two states of the generator cannot be repeated, if they cannot: a plan draws for its ops alone.
#[must_use]
pub fn foreign_draws(trace: &Trace, (seed, first): (u64, u64), after: (u64, u64)) -> Option<String> {
    let count = after.1.wrapping_sub(first);
    let mut taken: Vec<u64> = Vec::new();
    for step in &trace.steps {
        let Some(draw) = step.op.draw() else { continue };
        let call = draw.call.wrapping_sub(first);
        if draw.seed != seed || call >= count {
            return Some(format!("{} draws from another generator than the step", step.op.name()));
        }
        taken.push(call);
    }
    taken.sort_unstable();
    taken.dedup();
    let all = after.0 == seed && taken.len() as u64 == count;
    (!all).then(|| "forward or loss draws random numbers that are not those of an op".to_owned())
}

/// Memory that is made anew at every step, outside of ops, such as `zeros(3)`. A plan makes it once, so what changes it
/// would find what the step before has left, unless it is first written as a whole.
#[derive(Debug, Default)]
pub struct Renewed {
    read: HashSet<*mut u8>,
    written: HashSet<*mut u8>,
}

impl Renewed {
    /// Refuse a step that changes such memory. `is_outside` tells which of its inputs no op made.
    pub fn check(&mut self, trace: &Trace, step: &Step, is_outside: impl Fn(usize) -> bool) -> Result<()> {
        let refused = || {
            let name = step.op.name();
            Err(Error::state(format!("{name}: a tensor that is made anew at every step is changed in place")))
        };
        let is_view = step.inputs.first().is_some_and(|from| step.op.view(from.layout()).is_some());
        if is_view {
            return Ok(());
        }
        if step.op.changed_outside().iter().any(|tensor| trace.is_new(tensor)) {
            return refused();
        }
        for (i, tensor) in step.inputs.iter().enumerate().filter(|(i, t)| is_outside(*i) && trace.is_new(t)) {
            let (storage, layout) = (tensor.storage(), tensor.layout());
            if i == 0 && step.op.in_place() && !self.written.contains(&storage.ptr()) {
                let whole = layout.is_contiguous() && layout.numel() * tensor.dtype().size() == storage.bytes();
                if !(step.op.writes_all() && whole) || self.read.contains(&storage.ptr()) {
                    return refused();
                }
                self.written.insert(storage.ptr());
            }
            self.read.insert(storage.ptr());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

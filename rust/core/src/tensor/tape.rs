//! The tape: which op made a tensor, and the walk back along it.

mod mode;
mod owned;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use smallvec::SmallVec;

use mode::switched;
pub use mode::{is_deriving, is_grad_enabled, no_grad, set_grad_enabled};
pub use owned::for_each_owned_op;

use super::anomaly::{self, Note};
use super::{Meta, Tensor};
use crate::element::DType;
use crate::error::{Error, Result};
use crate::interrupt::Watch;
use crate::ops::{self, Grads, Op};

/// Destination of the gradient of an input.
enum Edge {
    /// Nowhere: it needs none.
    None,
    /// Into the `grad` of a leaf.
    Leaf(Tensor),
    /// To the op that made it, as gradient of that output.
    Node(Arc<Node>, usize),
}

impl Edge {
    fn is_wanted(&self) -> bool {
        !matches!(self, Self::None)
    }
}

/// A tensor that backward reads, and how often it had been changed when the op read it.
struct Saved {
    tensor: Tensor,
    version: u64,
}

/// Inputs and outputs that an op's backward reads.
#[derive(Default)]
struct SavedTensors {
    inputs: SmallVec<[Option<Saved>; 3]>,
    outputs: SmallVec<[Option<Saved>; 1]>,
}

/// One op that ran, on the tape.
pub struct Node {
    id: u64,
    op: Arc<dyn Op>,
    edges: SmallVec<[Edge; 3]>,
    input_meta: SmallVec<[Meta; 3]>,
    output_meta: SmallVec<[Meta; 1]>,
    /// None once a backward has gone through and freed it.
    saved: Mutex<Option<SavedTensors>>,
    /// Only while NaN is looked for.
    note: Option<Note>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Node {
    /// Record `op` with what its backward reads.
    #[must_use]
    pub fn record(
        op: Arc<dyn Op>,
        inputs: &[&Tensor],
        outputs: &[Tensor],
        input_meta: SmallVec<[Meta; 3]>,
        output_meta: SmallVec<[Meta; 1]>,
    ) -> Arc<Self> {
        let edges: SmallVec<[Edge; 3]> = inputs
            .iter()
            .map(|t| match t.node() {
                Some((node, index)) => Edge::Node(node, index),
                None if t.requires_grad() => Edge::Leaf((*t).clone()),
                None => Edge::None,
            })
            .collect();
        let wants: SmallVec<[bool; 4]> = edges.iter().map(Edge::is_wanted).collect();
        let saves = op.saves_for(&wants);
        let keep = |tensor: Tensor| Saved { version: tensor.storage().version(), tensor };
        let saved = SavedTensors {
            inputs: inputs.iter().enumerate().map(|(i, t)| saves.input(i).then(|| keep(t.snapshot()))).collect(),
            // Detached, or the node would keep itself alive.
            outputs: outputs.iter().enumerate().map(|(i, t)| saves.output(i).then(|| keep(t.detach()))).collect(),
        };
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let note = anomaly::is_enabled().then(|| Note::of(inputs, outputs));
        Arc::new(Self { id, op, edges, input_meta, output_meta, saved: Mutex::new(Some(saved)), note })
    }

    /// The name of the op.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.op.name()
    }

    /// The op, and the layer it ran in if that was noted.
    fn place(&self) -> String {
        self.note.as_ref().map_or_else(|| self.name().to_owned(), |note| note.place(self.name()))
    }

    /// A saved output as backward reads it: on the tape again where that is recorded.
    fn output(self: &Arc<Self>, i: usize, saved: &Tensor) -> Tensor {
        if !is_grad_enabled() || !saved.dtype().is_float() {
            return saved.clone();
        }
        let output = saved.detach();
        output.set_node(Arc::clone(self), i);
        output
    }

    /// Gradients of the inputs, given those of the outputs.
    fn backward(self: &Arc<Self>, grads: &[Option<Tensor>], retain: bool) -> Result<Grads> {
        let mut slot = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(saved) = slot.as_ref() else {
            return Err(Error::state(
                "backward: Trying to backward through the graph a second time (or directly access saved tensors after \
                 they have already been freed). Specify retain_graph=True if you need to backward through the graph a \
                 second time.",
            ));
        };
        for (what, kept) in [("input", saved.inputs.as_slice()), ("output", saved.outputs.as_slice())] {
            for (i, s) in kept.iter().enumerate() {
                if let Some(s) = s
                    && s.tensor.storage().version() != s.version
                {
                    return Err(Error::state(format!(
                        "backward: one of the variables needed for gradient computation has been modified by an \
                         inplace operation: {what} {i} of {}, of shape {}, is at version {}; expected version {} \
                         instead",
                        self.op.name(),
                        super::layout::show(s.tensor.shape()),
                        s.tensor.storage().version(),
                        s.version
                    )));
                }
            }
        }
        let needs: SmallVec<[bool; 4]> = self.edges.iter().map(Edge::is_wanted).collect();
        let output = |(i, s): (usize, &Option<Saved>)| s.as_ref().map(|s| self.output(i, &s.tensor));
        let context = Backward {
            inputs: saved.inputs.iter().map(|s| s.as_ref().map(|s| s.tensor.clone())).collect(),
            outputs: saved.outputs.iter().enumerate().map(output).collect(),
            input_meta: &self.input_meta,
            output_meta: &self.output_meta,
            grads,
            needs: &needs,
        };
        let freed = if retain { None } else { slot.take() };
        drop(slot);
        // Saved tensors may hold the last reference to a graph, so they are dropped when nothing is locked.
        drop(freed);
        self.op.backward(&context)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.op.name(), self.id)
    }
}

impl Drop for Node {
    /// Long chains are taken apart in a loop: freeing one node from within another would overflow the stack.
    fn drop(&mut self) {
        let mut pending: Vec<Arc<Node>> = Vec::new();
        let take = |node: &mut Node, pending: &mut Vec<Arc<Node>>| {
            for edge in node.edges.drain(..) {
                if let Edge::Node(next, _) = edge {
                    pending.push(next);
                }
            }
            let saved = node.saved.get_mut().unwrap_or_else(PoisonError::into_inner).take();
            for s in saved.into_iter().flat_map(|s| s.inputs).flatten() {
                // The last owner of a saved tensor would free its node from here.
                if let Some((next, _)) = s.tensor.autograd().node.clone() {
                    pending.push(next);
                }
            }
        };
        take(self, &mut pending);
        while let Some(next) = pending.pop() {
            if let Some(mut node) = Arc::into_inner(next) {
                take(&mut node, &mut pending);
            }
        }
    }
}

/// Arguments of an op's backward.
pub struct Backward<'a> {
    inputs: SmallVec<[Option<Tensor>; 3]>,
    outputs: SmallVec<[Option<Tensor>; 1]>,
    /// Shapes and dtypes of the inputs.
    pub input_meta: &'a [Meta],
    /// Shapes and dtypes of the outputs.
    pub output_meta: &'a [Meta],
    grads: &'a [Option<Tensor>],
    needs: &'a [bool],
}

impl Backward<'_> {
    /// Input `i`, which the op said it saves.
    #[must_use]
    pub fn input(&self, i: usize) -> &Tensor {
        self.inputs[i].as_ref().expect("an op reads an input in backward that it does not save")
    }

    /// Output `i`, which the op said it saves.
    #[must_use]
    pub fn output(&self, i: usize) -> &Tensor {
        self.outputs[i].as_ref().expect("an op reads an output in backward that it does not save")
    }

    /// True if anybody wants the gradient of input `i`.
    #[must_use]
    pub fn needs(&self, i: usize) -> bool {
        self.needs[i]
    }

    /// Gradient of the first output, contiguous or not.
    #[must_use]
    pub fn grad(&self) -> &Tensor {
        self.grads[0].as_ref().expect("backward runs only where a gradient arrived")
    }

    /// Gradient of output `i`, if one arrived.
    #[must_use]
    pub fn grad_of(&self, i: usize) -> Option<&Tensor> {
        self.grads[i].as_ref()
    }
}

/// State that a backward keeps. `true` is a graph that is retained, `false` one that is freed.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// True if what the ops saved stays for another backward.
    pub retain: bool,
    /// True if the backward itself is recorded, so that its gradients can be differentiated.
    pub create: bool,
}

impl From<bool> for Keep {
    fn from(retain: bool) -> Self {
        Self { retain, create: false }
    }
}

/// Elements of gradients, and ops, after which a walk looks at the clock: more often, the clock would cost small nets time.
const ELEMENTS_TO_LOOK: usize = 1 << 14;

struct Pending {
    node: Arc<Node>,
    grads: SmallVec<[Option<Tensor>; 1]>,
}

/// Destination of the gradients of leaves.
type Sink<'a> = &'a mut dyn FnMut(&Tensor, Tensor) -> Result<()>;

/// The op in whose forward pass these roots first had a NaN, as a clause; empty if there is none.
fn began(roots: &[(Tensor, Tensor)]) -> String {
    let mut pending: BTreeMap<u64, Arc<Node>> = BTreeMap::new();
    pending.extend(roots.iter().filter_map(|(root, _)| root.node()).map(|(node, _)| (node.id, node)));
    let mut first = None;
    // Every op is newer than those whose results it takes, so none is met twice, and the last one found is the first.
    while let Some((_, node)) = pending.pop_last() {
        for edge in &node.edges {
            if let Edge::Node(next, _) = edge {
                pending.insert(next.id, Arc::clone(next));
            }
        }
        if node.note.as_ref().is_some_and(Note::made_nan) {
            first = Some(node);
        }
    }
    first.map_or_else(String::new, |node| format!("; the first nan came out of the forward pass of {}", node.place()))
}

/// Refuse NaN among values of the roots, from which no gradient is worth having.
fn refuse_nan_roots(roots: &[(Tensor, Tensor)]) -> Result<()> {
    if anomaly::is_enabled() && roots.iter().any(|(root, _)| anomaly::has_nan(root)) {
        return Err(Error::state(format!("detect_anomaly: backward began at a nan{}", began(roots))));
    }
    Ok(())
}

/// Refuse NaN among the gradients that an op's backward made.
fn refuse_nan_grads(node: &Node, grads: &Grads, roots: &[(Tensor, Tensor)]) -> Result<()> {
    if !anomaly::is_enabled() {
        return Ok(());
    }
    match grads.iter().position(|grad| grad.as_ref().is_some_and(anomaly::has_nan)) {
        None => Ok(()),
        Some(input) => Err(Error::state(format!(
            "detect_anomaly: the backward of {} returned nan as the gradient of input {input}{}",
            node.place(),
            began(roots)
        ))),
    }
}

/// Results whose gradients are wanted too.
struct Stops<'a> {
    tensors: &'a [Tensor],
    /// True if the walk ends there.
    end: bool,
}

/// Refuse a gradient that does not have the shape and dtype of the tensor that it belongs to, as after an assignment to
/// `data`.
fn fits(op: &str, shape: &[usize], dtype: DType, grad: &Tensor) -> Result<()> {
    if grad.shape() == shape && grad.dtype() == dtype {
        return Ok(());
    }
    Err(Error::state(format!(
        "backward: {op} was given an invalid gradient: expected one of shape {} and dtype {dtype}; got {} and {}",
        super::layout::show(shape),
        super::layout::show(grad.shape()),
        grad.dtype()
    )))
}

/// Walk from `roots` back to the leaves, newest op first; each root comes with its gradient.
fn walk(roots: &[(Tensor, Tensor)], keep: Keep, stops: &Stops<'_>, leaf: Sink<'_>) -> Result<()> {
    switched(keep.create, keep.create, || steps(roots, keep.retain, stops, leaf))
}

fn steps(roots: &[(Tensor, Tensor)], retain: bool, stops: &Stops<'_>, leaf: Sink<'_>) -> Result<()> {
    refuse_nan_roots(roots)?;
    // Ids grow as ops run, so the newest pending op depends on no other pending one.
    let mut pending: BTreeMap<u64, Pending> = BTreeMap::new();
    let stop_at: Vec<(u64, usize, &Tensor)> =
        stops.tensors.iter().filter_map(|t| t.node().map(|(node, index)| (node.id, index, t))).collect();
    let send = |pending: &mut BTreeMap<u64, Pending>, node: &Arc<Node>, index: usize, grad: Tensor| -> Result<()> {
        let entry = pending.entry(node.id).or_insert_with(|| Pending {
            node: Arc::clone(node),
            grads: node.output_meta.iter().map(|_| None).collect(),
        });
        fits(node.name(), &node.output_meta[index].shape, node.output_meta[index].dtype, &grad)?;
        let slot = &mut entry.grads[index];
        *slot = Some(match slot.take() {
            Some(sum) => ops::add(&sum, &grad)?,
            None => grad,
        });
        Ok(())
    };
    for (root, grad) in roots {
        match root.node() {
            Some((node, index)) => send(&mut pending, &node, index, grad.clone())?,
            None => leaf(&root.heir(), grad.clone())?,
        }
    }
    let watch = Watch::begin();
    let mut unseen = 0;
    while let Some((id, Pending { node, grads })) = pending.pop_last() {
        unseen += 1 + node.output_meta.iter().map(|meta| meta.shape.iter().product::<usize>()).sum::<usize>();
        if unseen > ELEMENTS_TO_LOOK {
            unseen = 0;
            watch.look()?;
        }
        let mut found = false;
        for &(_, index, tensor) in stop_at.iter().filter(|s| s.0 == id) {
            found = true;
            if let Some(grad) = &grads[index] {
                leaf(tensor, grad.clone())?;
            }
        }
        if found && stops.end {
            continue;
        }
        let input_grads = node.backward(&grads, retain)?;
        refuse_nan_grads(&node, &input_grads, roots)?;
        drop(grads);
        for (edge, grad) in node.edges.iter().zip(input_grads) {
            match (edge, grad) {
                (Edge::None, _) | (_, None) => {}
                (Edge::Leaf(tensor), Some(grad)) => {
                    let tensor = tensor.heir();
                    fits("AccumulateGrad", tensor.shape(), tensor.dtype(), &grad)?;
                    leaf(&tensor, grad)?;
                }
                (Edge::Node(next, index), Some(grad)) => send(&mut pending, next, *index, grad)?,
            }
        }
    }
    Ok(())
}

fn seed(op: &str, root: &Tensor, grad: Option<&Tensor>) -> Result<Tensor> {
    root.check_place(op)?;
    if !root.requires_grad() {
        return Err(Error::state(format!(
            "{op}: element 0 of tensors does not require grad and does not have a grad_fn"
        )));
    }
    match grad {
        Some(grad) if grad.shape() != root.shape() => Err(Error::value(format!(
            "{op}: expected a gradient of shape {}; got {}",
            super::layout::show(root.shape()),
            super::layout::show(grad.shape())
        ))),
        Some(grad) => ops::cast(grad, root.dtype()),
        None if root.numel() == 1 => Ok(Tensor::full(root.shape(), 1.0, root.dtype())),
        None => Err(Error::state(format!("{op}: grad can be implicitly created only for scalar outputs"))),
    }
}

/// The gradient to start from; off the tape unless the walk is on it.
fn start(op: &str, root: &Tensor, grad: Option<&Tensor>, keep: Keep) -> Result<Tensor> {
    let grad = seed(op, root, grad)?;
    Ok(if grad.requires_grad() && !keep.create { grad.detach() } else { grad })
}

/// Add the gradient of `root` with respect to every leaf that requires one to that leaf's `grad`. If an op fails, or the
/// host interrupts the walk, no leaf has changed.
pub fn backward(root: &Tensor, grad: Option<&Tensor>, keep: impl Into<Keep>) -> Result<()> {
    let keep = keep.into();
    let grad = start("backward", root, grad, keep)?;
    let mut totals: BTreeMap<u64, (Tensor, Tensor)> = BTreeMap::new();
    walk(&[(root.clone(), grad)], keep, &Stops { tensors: &[], end: false }, &mut |leaf, grad| {
        let sum = match totals.get(&leaf.id()) {
            Some((_, sum)) => Some(sum.clone()),
            None => leaf.grad(),
        };
        let total = match sum {
            Some(sum) => ops::add(&sum, &grad)?,
            // A gradient that another holds too must not be shared: clipping one would change the other.
            None if grad.is_unshared() || crate::tensor::trace::is_tracing() => grad,
            None => ops::copy(&grad)?,
        };
        totals.insert(leaf.id(), (leaf.clone(), total));
        Ok(())
    })?;
    for (leaf, total) in totals.into_values() {
        leaf.set_grad(Some(total));
    }
    Ok(())
}

/// Gradients of `roots` with respect to `inputs`, which keep theirs unchanged; None where none flows.
pub fn grad(
    roots: &[Tensor],
    root_grads: &[Option<Tensor>],
    inputs: &[Tensor],
    keep: impl Into<Keep>,
) -> Result<Vec<Option<Tensor>>> {
    let keep = keep.into();
    let seeded = roots
        .iter()
        .zip(root_grads)
        .map(|(root, grad)| Ok((root.clone(), start("grad", root, grad.as_ref(), keep)?)))
        .collect::<Result<Vec<_>>>()?;
    collect(&seeded, inputs, false, keep)
}

fn collect(roots: &[(Tensor, Tensor)], inputs: &[Tensor], end: bool, keep: Keep) -> Result<Vec<Option<Tensor>>> {
    let mut found: Vec<Option<Tensor>> = vec![None; inputs.len()];
    walk(roots, keep, &Stops { tensors: inputs, end }, &mut |leaf, grad| {
        for (slot, _) in found.iter_mut().zip(inputs).filter(|(_, t)| t.id() == leaf.id()) {
            *slot = Some(match slot.take() {
                Some(sum) => ops::add(&sum, &grad)?,
                None => grad.clone(),
            });
        }
        Ok(())
    })?;
    Ok(found)
}

/// The backward of an op, given the op once more: `f` computes its outputs from its inputs by ops that have a backward.
/// The op must save all its inputs.
pub fn through(cx: &Backward<'_>, f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>>) -> Result<Grads> {
    let create = is_grad_enabled();
    let (inputs, outputs) = switched(true, true, || {
        // Tensors of their own, where the walk ends.
        let own = |i: usize| {
            let input = cx.input(i);
            if cx.needs(i) && create {
                return ops::alias(input);
            }
            let leaf = input.detach();
            if cx.needs(i) {
                leaf.set_requires_grad(true)?;
            }
            Ok(leaf)
        };
        let inputs = (0..cx.input_meta.len()).map(own).collect::<Result<Vec<_>>>()?;
        let outputs = f(&inputs)?;
        Ok((inputs, outputs))
    })?;
    let with_grad =
        |(i, y): (usize, Tensor)| cx.grad_of(i).filter(|_| y.requires_grad()).map(|g| (y.clone(), g.clone()));
    let roots: Vec<_> = outputs.into_iter().enumerate().filter_map(with_grad).collect();
    Ok(collect(&roots, &inputs, true, Keep { retain: create, create })?.into())
}

impl Tensor {
    /// True if nobody else can see its elements.
    fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.0) == 1 && Arc::strong_count(&self.0.storage) == 1 && self.0.layout.is_contiguous()
    }
}

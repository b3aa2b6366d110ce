//! The ops that one owner keeps alive, for a garbage collector.

use std::collections::BTreeMap;
use std::sync::{Arc, TryLockError};

use super::{Edge, Node};
use crate::ops::Op;
use crate::tensor::{Autograd, Tensor};

/// Call `f` for every op that would be freed with `root`: those whose nodes nobody holds but `root`, its graph, and the
/// tensors that the graph saved. Nothing is waited for: what another thread works on passes for somebody else's.
pub fn for_each_owned_op(root: &Arc<Node>, f: &mut dyn FnMut(&dyn Op)) {
    // References found so far. They come from newer nodes only, so that all are counted when a node is the newest.
    let mut found: BTreeMap<u64, (&Arc<Node>, usize)> = BTreeMap::from([(root.id, (root, 1))]);
    let mut saved = Vec::new();
    // Locks are held to the end: what they guard is borrowed.
    while let Some((_, (node, references))) = found.pop_last() {
        if Arc::strong_count(node) != references {
            continue;
        }
        if Arc::strong_count(&node.op) == 1 {
            f(&*node.op);
        }
        for edge in &node.edges {
            if let Edge::Node(next, _) = edge {
                found.entry(next.id).or_insert((next, 0)).1 += 1;
            }
        }
        let guard = match node.saved.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => continue,
        };
        for tensor in guard.iter().flat_map(|s| &s.inputs).flatten().map(|s| &s.tensor) {
            if Arc::strong_count(&tensor.0) == 1
                && let Ok(autograd) = tensor.0.autograd.try_lock()
                && let Some((next, _)) = &autograd.node
            {
                saved.push(next.id);
            }
        }
        for id in saved.drain(..) {
            // A node that is saved is an edge as well, so it has been found.
            if let Some((_, references)) = found.get_mut(&id) {
                *references += 1;
            }
        }
    }
}

impl Tensor {
    /// [`for_each_owned_op`] of the tensor's place on the tape, if nobody else holds the tensor.
    pub fn for_each_owned_op(&self, f: &mut dyn FnMut(&dyn Op)) {
        if Arc::strong_count(&self.0) == 1
            && let Ok(autograd) = self.0.autograd.try_lock()
        {
            let Autograd { node: Some((node, _)), .. } = &*autograd else { return };
            for_each_owned_op(node, f);
        }
    }
}

//! Views and in-place changes on the tape: a view follows its base.
//!
//! A recorded change of a tensor gives it a new place on the tape; one of a view gives its base a new place, as the op that
//! puts the view's new elements into the base's old ones. All other views of that memory notice that it was changed, and
//! record themselves once more, from the place where the base stands now, when somebody asks for theirs.
//!
//! Source: `PyTorch`'s `CopySlices` and `DifferentiableViewMeta`, in terms of the ops that made the views.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::tape::{self, Node};
use super::{Autograd, Inner, Layout, Tensor};
use crate::error::{Error, Result};
use crate::ops::{self, Op};

/// Relation of a tensor to the owner of its memory.
pub(super) enum Relation {
    /// Its own.
    Own,
    /// Another tensor's, of which the tape is to know nothing.
    Detached,
    /// Another tensor's, seen while nothing was recorded and no gradient flowed.
    Unrecorded,
    /// The parent's, as the op shows it; `recorded` if the tape knows of it.
    View { parent: Tensor, op: Arc<dyn Op>, recorded: bool },
}

/// The tape's state of a view.
#[derive(Clone, Copy, Default)]
pub(super) struct State {
    /// Number of times the memory had been rebased when the view last looked.
    seen: u64,
    /// True if it is one of several outputs, which PyTorch does not let change in place.
    one_of_several: bool,
    /// Why it cannot follow a change of its memory on the tape.
    lost: Option<&'static str>,
}

const SEVERAL: &str = "is one of several views that one call (split, chunk, unbind) returned, or a view of one";
const UNRECORDED: &str = "was made in no_grad mode, or is a view of one that was";

impl Tensor {
    /// A view of `self`, made by `op`.
    #[must_use]
    pub(crate) fn viewed(&self, layout: Layout, op: &Arc<dyn Op>) -> Self {
        let recorded = tape::is_grad_enabled();
        let relation = if recorded || self.requires_grad() {
            Relation::View { parent: self.clone(), op: Arc::clone(op), recorded }
        } else {
            Relation::Unrecorded
        };
        let seen = self.storage().rebased();
        let view = Self::build(Arc::clone(self.storage()), layout, self.dtype(), relation);
        view.autograd().view.seen = seen;
        view
    }

    /// Note that `self` is one of several views that one call returned.
    pub(crate) fn mark_one_of_several(&self) {
        self.autograd().view.one_of_several = true;
    }

    /// The same elements at the same place on the tape, under the same id, for a node to save. A node that saved the tensor
    /// itself would stay alive for ever once the tensor is changed in place by a result of the node.
    pub(super) fn snapshot(&self) -> Self {
        let autograd = self.followed();
        if autograd.requires_grad && autograd.node.is_none() {
            drop(autograd);
            return self.clone();
        }
        let kept =
            Autograd { requires_grad: autograd.requires_grad, node: autograd.node.clone(), ..Autograd::default() };
        drop(autograd);
        let relation = if self.is_view() { Relation::Detached } else { Relation::Own };
        Self(Arc::new(Inner {
            id: self.id(),
            storage: Arc::clone(self.storage()),
            layout: self.layout().clone(),
            dtype: self.dtype(),
            relation,
            autograd: kept.into(),
        }))
    }

    /// The view's parent, if the memory was rebased since the view last looked.
    fn stale(&self) -> Option<&Self> {
        let Relation::View { parent, .. } = &self.0.relation else { return None };
        (self.autograd().view.seen != self.storage().rebased()).then_some(parent)
    }

    /// Find the place on the tape again, if the memory was changed there.
    #[inline]
    pub(super) fn follow(&self) {
        if matches!(self.0.relation, Relation::View { .. }) && self.storage().rebased() != 0 {
            self.follow_parents();
        }
    }

    #[cold]
    fn follow_parents(&self) {
        // Oldest last; a loop, since views of views may be many.
        let mut stale: Vec<&Self> = Vec::new();
        let mut view = self;
        while let Some(parent) = view.stale() {
            stale.push(view);
            view = parent;
        }
        for view in stale.into_iter().rev() {
            view.record_again();
        }
    }

    fn record_again(&self) {
        let Relation::View { parent, op, recorded } = &self.0.relation else { return };
        let (parent_flows, parent_lost) = {
            let parent = parent.autograd();
            (parent.requires_grad, parent.view.lost)
        };
        let seen = self.storage().rebased();
        let mut autograd = self.autograd();
        autograd.view.seen = seen;
        if !parent_flows {
            return;
        }
        let own = if autograd.view.one_of_several { Some(SEVERAL) } else { (!recorded).then_some(UNRECORDED) };
        if let Some(why) = own.or(parent_lost) {
            autograd.view.lost = Some(why);
            autograd.requires_grad = true;
            return;
        }
        drop(autograd);
        let node = Node::record(
            Arc::clone(op),
            &[parent],
            std::slice::from_ref(self),
            smallvec![parent.meta()],
            smallvec![self.meta()],
        );
        self.set_node(node, 0);
    }

    /// Refuse a view whose gradient would be wrong: its memory was changed on the tape, and it cannot follow.
    pub(crate) fn check_place(&self, op: &str) -> Result<()> {
        if !matches!(self.0.relation, Relation::View { .. }) {
            return Ok(());
        }
        let Some(why) = self.followed().view.lost else { return Ok(()) };
        Err(Error::state(format!(
            "{op}: this view {why}, and its base or another view of its base has been modified inplace; expected an \
             out-of-place change there, or clone() here"
        )))
    }

    /// Refuse a change in place that the tape cannot follow.
    pub(crate) fn check_recordable(&self, op: &str) -> Result<()> {
        self.check_place(op)?;
        let leaf = |t: &Self| t.requires_grad() && t.is_leaf();
        let refuse = |what: &str| Err(Error::state(format!("{op}: {what}; expected this under no_grad()")));
        if leaf(self) {
            return refuse("a leaf tensor that requires grad is changed in place");
        }
        if matches!(self.0.relation, Relation::Unrecorded) {
            return refuse("a view that was made in no_grad mode is changed in place while gradients are recorded");
        }
        let mut base = self;
        while let Relation::View { parent, recorded, .. } = &base.0.relation {
            if base.autograd().view.one_of_several {
                return Err(Error::state(format!(
                    "{op}: one of several views that one call (split, chunk, unbind) returned is changed in place; \
                     expected an out-of-place change"
                )));
            }
            if !recorded {
                return refuse("a view that was made in no_grad mode is changed in place while gradients are recorded");
            }
            base = parent;
        }
        if leaf(base) {
            return refuse("a view of a leaf tensor that requires grad is changed in place");
        }
        Ok(())
    }
}

/// Put the elements of `new` into `target`, on the tape: gradients flow from `target`, and from whatever shows the same
/// memory, to where `new` came from. `new` has the shape and dtype of `target`, and memory of its own.
pub fn rebase(target: &Tensor, new: &Tensor) -> Result<()> {
    tape::no_grad(|| ops::copy_(target, new))?;
    let mut path: SmallVec<[Arc<dyn Op>; 2]> = SmallVec::new();
    let mut base = target;
    while let Relation::View { parent, op, .. } = &base.0.relation {
        path.push(Arc::clone(op));
        base = parent;
    }
    path.reverse();
    let (node, index) = match new.node() {
        Some(place) if path.is_empty() => place,
        _ => (ops::put_view_node(path, base, new), 0),
    };
    base.set_node(node, index);
    base.storage().rebase();
    Ok(())
}

impl Drop for Inner {
    /// Long chains of views are taken apart in a loop: dropping one view from within another would overflow the stack.
    fn drop(&mut self) {
        let mut relation = std::mem::replace(&mut self.relation, Relation::Own);
        while let Relation::View { parent, .. } = relation {
            match Arc::into_inner(parent.0) {
                Some(mut inner) => relation = std::mem::replace(&mut inner.relation, Relation::Own),
                None => break,
            }
        }
    }
}

#[cfg(test)]
mod tests;

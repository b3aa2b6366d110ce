//! Putting elements where a view shows them: the place on the tape of a tensor whose view was changed.
//!
//! ```text
//! y = x, but view(y) = v          grad_x = put_view(g, 0), grad_v = view(g)
//! ```
//! `view` is a path of views, one of the other; an empty one is all of x.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::walk::map;
use super::{Grads, Op, Outputs, Run, apply, apply_many};
use crate::error::Result;
use crate::kernels::elementwise::To;
use crate::tensor::tape::{Backward, Node};
use crate::tensor::{Layout, Meta, Tensor, View, for_each_offset};
use crate::with_element;

type Path = SmallVec<[Arc<dyn Op>; 2]>;

/// Inputs x, v.
#[derive(Clone, Debug)]
struct PutView {
    path: Path,
}

impl PutView {
    /// Layout that the path shows of contiguous memory; None if a reshape has to copy.
    fn layout(&self, shape: &[usize]) -> Option<Layout> {
        self.path.iter().try_fold(Layout::contiguous(shape), |layout, op| op.view(&layout))
    }

    /// For every element of the view, its place in contiguous memory of this shape.
    fn places(&self, shape: &[usize]) -> Vec<usize> {
        let mut layout = Layout::contiguous(shape);
        let mut places: Vec<usize> = (0..layout.numel()).collect();
        let read = |layout: &Layout, places: &[usize]| {
            let mut shown = Vec::with_capacity(layout.numel());
            for_each_offset(layout, |offset| shown.push(places[(layout.offset as isize + offset) as usize]));
            shown
        };
        for op in &self.path {
            layout = op.view(&layout).unwrap_or_else(|| {
                places = read(&layout, &places);
                op.view(&Layout::contiguous(&layout.shape)).expect("contiguous memory has every shape")
            });
        }
        read(&layout, &places)
    }
}

impl Op for PutView {
    fn name(&self) -> &'static str {
        "put_view"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![inputs[0].clone()])
    }

    fn strided(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let (x, v, y) = (&inputs[0], &inputs[1], &outputs[0]);
        with_element!(y.dtype(), T => {
            map::<T, _>(run.team, To(T::default()), x, y);
            run.team.barrier();
            if let Some(layout) = self.layout(y.shape()) {
                if layout.numel() > 0 {
                    // SAFETY: places inside the output.
                    let shown = unsafe { View::new(y.ptr::<T>().add(layout.offset).cast(), &layout, y.dtype()) };
                    map::<T, _>(run.team, To(T::default()), v, &shown);
                }
            } else if run.team.rank() == 0 {
                let places = self.places(y.shape());
                let (mut places, from, to) = (places.iter(), v.ptr::<T>(), y.ptr::<T>());
                for_each_offset(v.layout(), |offset| {
                    let &place = places.next().expect("v has the view's elements");
                    // SAFETY: an element of v, and a place inside the output that only this member writes now.
                    unsafe { *to.add(place) = *from.offset(offset) };
                });
            }
        });
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let g = cx.grad();
        let rest = || {
            let v = &cx.input_meta[1];
            apply(self.clone(), &[g, &Tensor::zeros(&v.shape, v.dtype)])
        };
        let shown =
            || self.path.iter().try_fold(g.clone(), |g, op| Ok(apply_many(Arc::clone(op), &[&g])?.swap_remove(0)));
        Ok(smallvec![cx.needs(0).then(rest).transpose()?, cx.needs(1).then(shown).transpose()?])
    }
}

/// The place on the tape of `base` after the elements that `path` shows of it have become those of `v`.
pub(crate) fn put_view_node(path: Path, base: &Tensor, v: &Tensor) -> Arc<Node> {
    let op = Arc::new(PutView { path });
    Node::record(op, &[base, v], std::slice::from_ref(base), smallvec![base.meta(), v.meta()], smallvec![base.meta()])
}

/// `v` in place of all elements of `x`, from which no gradient flows any more.
pub(super) fn overwritten(x: &Tensor, v: &Tensor) -> Result<Tensor> {
    apply(PutView { path: SmallVec::new() }, &[x, v])
}

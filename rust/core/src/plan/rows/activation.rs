//! Activations and their gradients.

use super::super::fuse::{Lowering, downcast};
use super::super::graph::{GraphNode, NodeId};
use super::super::program::{Features, Touches};
use super::{Block, RowWork};
use crate::element::Float;
use crate::kernels::activation::Activation;
use crate::ops::activation;

/// y = act(x)
#[derive(Clone, Debug)]
pub struct Activate {
    act: Activation,
    x: Features,
    y: Features,
}

/// out = g · act′
#[derive(Clone, Debug)]
pub struct ActivateGrad {
    act: Activation,
    g: Features,
    /// The activation's input and output, where the derivative takes them.
    x: Option<Features>,
    y: Option<Features>,
    out: Features,
}

impl RowWork for Activate {
    fn recognize(lowering: &mut Lowering<'_>, n: NodeId, node: &GraphNode) -> Option<()> {
        let &activation::Activate(act) = downcast(node)?;
        let (input, out) = (node.inputs[0], node.outputs[0]);
        let x = lowering.held(input)?;
        let stage = lowering.row_stage(&[input]);
        let y = lowering.in_place_or_new(input, n, out);
        lowering.add_row_op(stage, Self { act, x, y }, Some((out, y)));
        Some(())
    }

    fn name(&self) -> &'static str {
        self.act.name()
    }

    fn touches(&self, t: &mut Touches) {
        t.read([self.x.buffer]);
        t.write([self.y.buffer]);
    }

    unsafe fn run<T: Float>(&self, at: &Block<'_>) {
        let Self { act, x, y } = *self;
        // SAFETY: rows are this member's; the same row is not taken twice.
        unsafe {
            if x == y {
                at.rows.clone().for_each(|f| act.forward_in_place::<T>(at.row_mut(x, f)));
            } else {
                at.rows.clone().for_each(|f| act.forward::<T>(at.row(x, f), at.row_mut(y, f)));
            }
        }
    }
}

impl RowWork for ActivateGrad {
    fn recognize(lowering: &mut Lowering<'_>, n: NodeId, node: &GraphNode) -> Option<()> {
        let &activation::ActivateGrad(act) = downcast(node)?;
        let (gradient, out) = (node.inputs[0], node.outputs[0]);
        let g = lowering.held(gradient)?;
        if node.inputs.iter().any(|&v| lowering.resident(v).is_none()) {
            return None;
        }
        let stage = lowering.row_stage(&node.inputs);
        let mut saved = node.inputs[1..].iter().map(|&v| lowering.resident(v).map(|m| m.features));
        let x = if act.needs_input() { saved.next()? } else { None };
        let y = if act.needs_output() { saved.next()? } else { None };
        let result = lowering.in_place_or_new(gradient, n, out);
        lowering.add_row_op(stage, Self { act, g, x, y, out: result }, Some((out, result)));
        Some(())
    }

    fn name(&self) -> &'static str {
        "activation gradient"
    }

    fn touches(&self, t: &mut Touches) {
        t.read([self.g.buffer]);
        t.read(self.x.iter().chain(&self.y).map(|f| f.buffer));
        t.write([self.out.buffer]);
    }

    unsafe fn run<T: Float>(&self, at: &Block<'_>) {
        let Self { act, g, x, y, out } = *self;
        // SAFETY: rows are this member's; the same row is not taken twice.
        unsafe {
            let row = |v: Option<Features>, f| v.map_or(&[] as &[T], |v| at.row(v, f));
            for f in at.rows.clone() {
                if g == out {
                    act.backward_in_place(at.row_mut(g, f), row(x, f), row(y, f));
                } else {
                    act.backward(at.row(g, f), row(x, f), row(y, f), at.row_mut(out, f));
                }
            }
        }
    }
}

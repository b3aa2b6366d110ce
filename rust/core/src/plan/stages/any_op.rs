//! Any op as it is, on row-major memory.

use std::sync::Arc;

use smallvec::SmallVec;

use super::super::fuse::Lowering;
use super::super::graph::{GraphNode, NodeId, Source, ValueId};
use super::super::program::{BufferId, Operand, Touches};
use super::{At, Work};
use crate::element::Float;
use crate::error::Result;
use crate::ops::{Copy, Op, Run};
use crate::tensor::{Layout, View};

/// Any op, on row-major operands.
#[derive(Clone, Debug)]
pub struct AnyOp {
    /// The op.
    pub op: Arc<dyn Op>,
    /// On what.
    pub inputs: Vec<Operand>,
    /// Its outputs.
    pub outputs: Vec<Operand>,
    /// Memory that it changes besides its outputs.
    pub changed: Vec<BufferId>,
}

impl Work for AnyOp {
    fn describe(&self) -> String {
        format!("op {}", self.op.name())
    }

    fn touches(&self, t: &mut Touches) {
        t.read(self.inputs.iter().map(|o| o.buffer));
        t.write(self.outputs.iter().map(|o| o.buffer));
        t.write(self.changed.iter().copied());
        if self.op.in_place() {
            t.write(self.inputs.iter().map(|o| o.buffer));
        }
    }

    fn run<T: Float>(&self, at: &At<'_>) -> Result<()> {
        let inputs: SmallVec<[View<'_>; 4]> = self.inputs.iter().map(|o| at.memory.view(o)).collect();
        let outputs: SmallVec<[View<'_>; 4]> = self.outputs.iter().map(|o| at.memory.view_mut(o)).collect();
        if self.op.checks() {
            // Others may change it, and members that disagree would wait for each other for ever.
            let shared = self.inputs.iter().any(|o| !at.program.is_in_arena(o.buffer));
            if shared { at.agree(|| self.op.check(&inputs))? } else { self.op.check(&inputs)? }
        }
        self.op.run(&Run { team: at.team, replay: at.step.replay }, &inputs, &outputs);
        Ok(())
    }
}

impl Lowering<'_> {
    /// True if an op's first output may take its first input's memory, which is in cache already: nobody reads it later. One
    /// element is not worth it, and sums of losses are made twice ([`late_penalties`](Self::late_penalties)).
    fn may_overwrite(&self, n: NodeId, node: &GraphNode) -> bool {
        let ([v, others @ ..], [out, ..]) = (&node.inputs[..], &node.outputs[..]) else { return false };
        let (value, made) = (&self.graph.values[*v], &self.graph.values[*out]);
        let alike = value.meta.shape == made.meta.shape && value.meta.dtype == made.meta.dtype;
        let in_arena = self.rows_of[*v].is_some_and(|b| self.program.is_in_arena(b));
        let metas: Vec<_> = node.inputs.iter().map(|&v| self.graph.values[v].meta.clone()).collect();
        node.op.overwrites(&metas)
            && alike
            && value.meta.numel() > 1
            && in_arena
            && matches!(value.source, Source::Made(_))
            && !self.graph.is_among(*v, &self.wanted)
            && others.iter().all(|&w| self.graph.root(w) != *v)
            && self.graph.readers(*v).iter().all(|&reader| reader <= n)
    }

    /// An op as it is, on row-major operands.
    pub fn any_op(&mut self, n: NodeId, node: &GraphNode) {
        let inputs: Vec<Operand> = node.inputs.iter().map(|&v| self.operand(v)).collect();
        let over = self.may_overwrite(n, node).then(|| inputs[0].buffer);
        let outputs: Vec<Operand> = node
            .outputs
            .iter()
            .enumerate()
            .map(|(i, &v)| {
                let over = over.filter(|_| i == 0);
                let buffer = over.unwrap_or_else(|| self.new_vector(v));
                self.rows_of[v] = Some(buffer);
                let meta = &self.graph.values[v].meta;
                Operand { buffer, layout: Layout::contiguous(&meta.shape), dtype: meta.dtype }
            })
            .collect();
        let metas = |ids: &[ValueId]| ids.iter().map(|&v| self.graph.values[v].meta.clone()).collect::<Vec<_>>();
        self.program.work += node.op.work(&metas(&node.inputs), &metas(&node.outputs));
        let changed = node.op.changed_outside().into_iter().map(|t| self.outside(t)).collect();
        self.push(AnyOp { op: Arc::clone(&node.op), inputs, outputs, changed });
    }

    /// A value's elements in a row from the start of a buffer: a copy, if it is a view such as a transpose or a stretched sum.
    pub fn row_major(&mut self, v: ValueId) -> BufferId {
        let operand = self.operand(v);
        if operand.layout.is_contiguous() && operand.layout.offset == 0 {
            return operand.buffer;
        }
        let meta = self.graph.values[v].meta.clone();
        let (buffer, layout) = (self.arena(meta.numel(), meta.dtype), Layout::contiguous(&meta.shape));
        let output = Operand { buffer, layout, dtype: meta.dtype };
        let op = Arc::new(Copy { dtype: meta.dtype });
        self.push(AnyOp { op, inputs: vec![operand], outputs: vec![output], changed: Vec::new() });
        buffer
    }
}

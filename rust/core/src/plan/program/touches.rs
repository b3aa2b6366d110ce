//! Buffers that a stage reads and writes, from which the places of barriers follow.

use super::{BufferId, RowOp, Stage, Update, Weight};

/// Buffers and memory that a stage touches.
#[derive(Clone, Debug, Default)]
pub struct Touches {
    /// Buffers read.
    pub reads: Vec<BufferId>,
    /// Buffers written.
    pub writes: Vec<BufferId>,
}

impl Touches {
    fn read(&mut self, buffers: impl IntoIterator<Item = BufferId>) {
        self.reads.extend(buffers);
    }

    fn write(&mut self, buffers: impl IntoIterator<Item = BufferId>) {
        self.writes.extend(buffers);
    }

    /// True if two stages may not run at the same time.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        let meets = |a: &[BufferId], b: &[BufferId]| a.iter().any(|x| b.contains(x));
        meets(&self.writes, &other.writes) || meets(&self.writes, &other.reads) || meets(&self.reads, &other.writes)
    }

    /// Do all that `other` does as well.
    pub fn add(&mut self, other: &Self) {
        self.reads.extend_from_slice(&other.reads);
        self.writes.extend_from_slice(&other.writes);
    }
}

impl RowOp {
    fn touches(&self, t: &mut Touches) {
        match self {
            Self::Bias { y, bias } => {
                t.read([*bias]);
                t.write([y.buffer]);
            }
            Self::Activate { x, y, .. } | Self::Dropout { x, y, .. } => {
                t.read([x.buffer]);
                t.write([y.buffer]);
            }
            Self::ActivateGrad { g, x, y, out, .. } => {
                t.read([g.buffer]);
                t.read(x.iter().chain(y).map(|f| f.buffer));
                t.write([out.buffer]);
            }
            Self::MaskGrad { g, y, out, .. } => {
                t.read([g.buffer, y.buffer]);
                t.write([out.buffer]);
            }
            Self::Norm { affine, running, x, y, mean, inv_std, .. } => {
                t.read([x.buffer]);
                t.read(affine.iter().flat_map(|&(w, b)| [w, b]));
                t.write([y.buffer, *mean, *inv_std]);
                t.write(running.iter().flat_map(|&(m, v)| [m, v]));
            }
            Self::NormGrad { weight, g, x, mean, inv_std, out, grad_weight, grad_bias } => {
                t.read([g.buffer, x.buffer, *mean, *inv_std]);
                t.read(*weight);
                t.write([out.buffer, *grad_weight, *grad_bias]);
            }
            Self::Sum { g, sums } => {
                t.read([g.buffer]);
                t.write([*sums]);
            }
            Self::Add { a, b, y } => {
                t.read([a.buffer, b.buffer]);
                t.write([y.buffer]);
            }
            Self::Penalty { weight, sums, .. } => {
                t.read([*weight]);
                t.write([*sums]);
            }
        }
    }
}

impl Update {
    fn touches(&self, t: &mut Touches) {
        t.write([self.value]);
        t.write(self.state.iter().copied().chain(self.average));
    }
}

impl Stage {
    /// True if it changes parameters.
    #[must_use]
    pub fn updates(&self) -> bool {
        matches!(self, Self::Update(_) | Self::Weight(Weight { update: Some(_), .. }))
    }

    /// Buffers and memory that it reads and writes.
    #[must_use]
    pub fn touches(&self) -> Touches {
        let mut t = Touches::default();
        match self {
            Self::Op { op, inputs, outputs, changed } => {
                t.read(inputs.iter().map(|o| o.buffer));
                t.write(outputs.iter().map(|o| o.buffer));
                t.write(changed.iter().copied());
                if op.in_place() {
                    t.write(inputs.iter().map(|o| o.buffer));
                }
            }
            Self::ToFeatures { from, to, .. } => {
                t.read([from.buffer]);
                t.write([to.buffer]);
            }
            Self::ToRows { from, to, .. } => {
                t.read([from.buffer]);
                t.write([*to]);
            }
            Self::Rows(rows) => {
                if let Some(p) = &rows.product {
                    t.read([p.weight, p.x.buffer]);
                    t.write([p.y.buffer]);
                }
                for op in &rows.ops {
                    op.touches(&mut t);
                }
                t.write(rows.copies.iter().map(|c| c.1));
            }
            Self::Weight(w) => {
                t.read([w.g.buffer, w.x.buffer]);
                t.read(w.penalty.as_ref().map(|p| p.weight));
                t.write(w.penalty.as_ref().and_then(|p| p.sums));
                t.write(w.norms);
                match &w.update {
                    Some(update) => update.touches(&mut t),
                    None => t.write([w.grad]),
                }
            }
            Self::CrossEntropy(c) => {
                t.read([c.logits.buffer, c.labels.buffer]);
                t.read(c.weight);
                t.write([c.losses, c.max, c.sum, c.scale]);
                t.write(c.grad.map(|g| g.buffer));
            }
            Self::Loss(c) => {
                t.read([c.losses, c.labels.buffer]);
                t.read(c.weight);
                t.write([c.loss]);
            }
            Self::Penalty(p) => {
                t.read(p.rows.iter().map(|r| r.0));
                t.write([p.to]);
                for &[a, b, c] in &p.sums {
                    t.read([a, b]);
                    t.write([c]);
                }
            }
            Self::Norms(norms) => {
                t.read(norms.iter().map(|n| n.grad));
                t.write(norms.iter().map(|n| n.norms));
            }
            Self::Update(updates) => {
                t.read(updates.norms.iter().map(|n| n.0));
                for (update, grad) in &updates.items {
                    t.read([*grad]);
                    update.touches(&mut t);
                }
            }
        }
        t
    }
}

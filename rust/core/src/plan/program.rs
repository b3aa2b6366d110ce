//! What a plan runs: stages over buffers, with barriers between those that touch the same memory.
//!
//! Activations are held *feature-major*, (features × batch) with the batch contiguous: then the rows of a weight are the
//! rows of a product, so weights stay in PyTorch's layout; whatever concerns one feature (bias, activation, dropout,
//! batch norm, the bias' gradient) is one contiguous row that the thread which computed it still has in its cache; and
//! any width, however odd, is vectorised over the batch.

use std::sync::Arc;

use crate::element::DType;
use crate::error::Result;
use crate::kernels::activation::Activation;
use crate::ops::{Op, cross_entropy};
use crate::rng::Draw;
use crate::tensor::{Layout, Tensor};

/// Index of a buffer in [`Program::buffers`].
pub type BufferId = usize;

/// Where a buffer's memory is.
#[derive(Clone, Debug)]
pub enum Home {
    /// In the plan's arena; the offset in bytes is found by `place`.
    Arena(usize),
    /// In a tensor outside, which is kept alive.
    Outside(Tensor),
    /// In the memory the caller hands over as batch tensor number so-and-so.
    Batch(usize),
}

/// A piece of memory that stages read and write.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Its size.
    pub bytes: usize,
    /// Where it is.
    pub home: Home,
}

/// A feature-major matrix: feature f's samples begin at element `f · ld`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Its memory.
    pub buffer: BufferId,
    /// Elements between features.
    pub ld: usize,
}

/// A row-major operand in any layout.
#[derive(Clone, Debug)]
pub struct Operand {
    /// Its memory.
    pub buffer: BufferId,
    /// Where in the memory.
    pub layout: Layout,
    /// The element type.
    pub dtype: DType,
}

/// A product that makes the rows of a stage: rows of C = A · B with B feature-major.
#[derive(Clone, Copy, Debug)]
pub struct RowProduct {
    /// The weight (out × in), row-major.
    pub weight: BufferId,
    /// Its first element.
    pub weight_offset: usize,
    /// Elements between rows and between columns of A: (in, 1) forward, (1, in) for the gradient of the input.
    pub strides: (usize, usize),
    /// The inner dimension.
    pub inner: usize,
    /// The features multiplied.
    pub x: Features,
    /// The features made.
    pub y: Features,
}

/// Something done to one feature's samples at a time. In and out may be the same features.
#[derive(Clone, Debug)]
pub enum RowOp {
    /// y\[f\] += bias\[f\]
    Bias { y: Features, bias: BufferId },
    /// y = act(x)
    Activate { act: Activation, x: Features, y: Features },
    /// out = g · act′
    ActivateGrad { act: Activation, g: Features, x: Option<Features>, y: Option<Features>, out: Features },
    /// y = x · mask / (1 − p)
    Dropout { draw: Draw, threshold: u32, scale: f64, x: Features, y: Features },
    /// out = y > 0 ? g · scale : 0, the gradient of `ReLU` and dropout together
    MaskGrad { scale: f64, g: Features, y: Features, out: Features },
    /// Batch norm while training
    Norm {
        eps: f64,
        momentum: f64,
        affine: Option<(BufferId, BufferId)>,
        running: Option<(BufferId, BufferId)>,
        x: Features,
        y: Features,
        mean: BufferId,
        inv_std: BufferId,
    },
    /// Its gradients
    NormGrad {
        weight: Option<BufferId>,
        g: Features,
        x: Features,
        mean: BufferId,
        inv_std: BufferId,
        out: Features,
        grad_weight: BufferId,
        grad_bias: BufferId,
    },
    /// sums\[f\] = Σ g\[f\]
    Sum { g: Features, sums: BufferId },
    /// y = a + b
    Add { a: Features, b: Features, y: Features },
}

/// Rows of one width: an optional product, then ops on each row while it is hot, then row-major copies.
#[derive(Clone, Debug)]
pub struct Rows {
    /// How many rows.
    pub features: usize,
    /// Samples in each.
    pub samples: usize,
    /// What makes them.
    pub product: Option<RowProduct>,
    /// What is done to them, in order.
    pub ops: Vec<RowOp>,
    /// Which of them are copied to sample-major memory, for the products that make weights' gradients.
    pub copies: Vec<(Features, BufferId)>,
}

/// How a parameter learns.
#[derive(Clone, Debug)]
pub struct Update {
    /// Which of the optimizer's parameters.
    pub param: usize,
    /// The parameter's memory, and those of the optimizer's state.
    pub value: BufferId,
    /// The optimizer's memories for it.
    pub state: Vec<BufferId>,
    /// Elements.
    pub len: usize,
    /// Their type.
    pub dtype: DType,
}

/// The gradient of a weight, and the update with it.
#[derive(Clone, Debug)]
pub struct Weight {
    /// Rows and columns of the weight, and samples.
    pub rows: usize,
    /// Columns of the weight.
    pub cols: usize,
    /// The inner dimension: samples.
    pub samples: usize,
    /// The gradient of the layer's output.
    pub g: Features,
    /// The layer's input, sample-major.
    pub x: Operand,
    /// Where the gradient goes, if no update uses it up.
    pub grad: BufferId,
    /// The update to do while the gradient's rows are hot.
    pub update: Option<Update>,
}

/// Cross entropy of feature-major logits with class labels: losses and the gradient at once.
#[derive(Clone, Debug)]
pub struct CrossEntropyStage {
    /// Classes.
    pub classes: usize,
    /// Samples.
    pub samples: usize,
    /// The logits.
    pub logits: Features,
    /// The labels, i64.
    pub labels: Operand,
    /// Whether they are a tensor of the batch as it is, one a sample, and so are checked before the step.
    pub labels_checked: bool,
    /// Class weights.
    pub weight: Option<BufferId>,
    /// Labels that do not count.
    pub ignore_index: i64,
    /// ε
    pub label_smoothing: f64,
    /// Divide by the sum of the samples' weights.
    pub mean: bool,
    /// The loss of every sample.
    pub losses: BufferId,
    /// The greatest logit of every sample.
    pub max: BufferId,
    /// Σ e^(logit − max) of every sample.
    pub sum: BufferId,
    /// The gradient of every sample's loss.
    pub scale: BufferId,
    /// The gradient of the logits, unless only the loss is asked for.
    pub grad: Option<Features>,
    /// The loss.
    pub loss: BufferId,
}

/// A unit of work that the team does together.
#[derive(Clone, Debug)]
pub enum Stage {
    /// Any op, on row-major operands.
    Op { op: Arc<dyn Op>, inputs: Vec<Operand>, outputs: Vec<Operand> },
    /// Row-major (n × c) to feature-major.
    ToFeatures { from: Operand, to: Features, samples: usize, features: usize },
    /// Feature-major to row-major (n × c).
    ToRows { from: Features, to: BufferId, samples: usize, features: usize },
    /// Rows of features.
    Rows(Rows),
    /// A weight's gradient.
    Weight(Weight),
    /// The loss and its gradient.
    CrossEntropy(CrossEntropyStage),
    /// The loss from the samples' losses.
    Loss(CrossEntropyStage),
    /// Updates with finished gradients, which are (buffer, first element).
    Update(Vec<(Update, BufferId)>),
}

/// What a stage touches.
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

    /// Whether two stages may not run at the same time.
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
    fn name(&self) -> &'static str {
        match self {
            Self::Bias { .. } => "bias",
            Self::Activate { act, .. } => act.name(),
            Self::ActivateGrad { .. } => "activation gradient",
            Self::Dropout { .. } => "dropout",
            Self::MaskGrad { .. } => "relu and dropout gradient",
            Self::Norm { .. } => "batch norm",
            Self::NormGrad { .. } => "batch norm gradient",
            Self::Sum { .. } => "sum",
            Self::Add { .. } => "add",
        }
    }

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
        }
    }
}

impl Update {
    fn touches(&self, t: &mut Touches) {
        t.write([self.value]);
        t.write(self.state.iter().copied());
    }
}

impl Stage {
    /// Whether it changes parameters.
    #[must_use]
    pub fn updates(&self) -> bool {
        matches!(self, Self::Update(_) | Self::Weight(Weight { update: Some(_), .. }))
    }

    /// What it reads and writes.
    #[must_use]
    pub fn touches(&self) -> Touches {
        let mut t = Touches::default();
        match self {
            Self::Op { op, inputs, outputs } => {
                t.read(inputs.iter().map(|o| o.buffer));
                t.write(outputs.iter().map(|o| o.buffer));
                if op.changes_outside() {
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
            Self::Update(updates) => {
                for (update, grad) in updates {
                    t.read([*grad]);
                    update.touches(&mut t);
                }
            }
        }
        t
    }
}

/// A lowered step.
#[derive(Debug)]
pub struct Program {
    /// All memory.
    pub buffers: Vec<Buffer>,
    /// The stages in order, each with whether the team meets before it.
    pub stages: Vec<(bool, Stage)>,
    /// The loss: its buffer, place in it, and type.
    pub loss: (BufferId, usize, DType),
    /// Bytes of the arena.
    pub arena: usize,
    /// Roughly how many nanoseconds one thread needs for a step.
    pub work: usize,
    /// The dtype of the features.
    pub dtype: Option<DType>,
}

impl Program {
    /// One without stages.
    #[must_use]
    pub fn new(dtype: Option<DType>) -> Self {
        let loss = (0, 0, dtype.unwrap_or(DType::F32));
        Self { buffers: Vec::new(), stages: Vec::new(), loss, arena: 0, work: 0, dtype }
    }

    /// Put barriers where a stage touches what a stage since the last barrier touched.
    pub fn set_barriers(&mut self) {
        let mut since = Touches::default();
        for (barrier, stage) in &mut self.stages {
            let mut touches = stage.touches();
            if stage.updates() {
                touches.reads.push(self.loss.0);
            }
            *barrier = since.conflicts(&touches);
            if *barrier {
                since = Touches::default();
            }
            since.add(&touches);
        }
    }
}

/// What labels a cross entropy takes.
#[derive(Clone, Copy, Debug)]
pub struct LabelLimits {
    /// Which tensor of the batch holds them.
    pub batch_tensor: usize,
    classes: usize,
    ignore_index: i64,
}

impl LabelLimits {
    /// Refuse a label outside.
    pub fn check(&self, label: i64, position: usize) -> Result<()> {
        if label == self.ignore_index || (0..self.classes as i64).contains(&label) {
            return Ok(());
        }
        Err(cross_entropy::label_error("cross_entropy", label, position, self.classes, self.ignore_index))
    }
}

/// The limits on labels that are checked before a step.
pub fn labels(program: &Program) -> impl Iterator<Item = LabelLimits> + '_ {
    program.stages.iter().filter_map(|(_, stage)| match stage {
        Stage::CrossEntropy(c) if c.labels_checked => match program.buffers[c.labels.buffer].home {
            Home::Batch(batch_tensor) => {
                Some(LabelLimits { batch_tensor, classes: c.classes, ignore_index: c.ignore_index })
            }
            _ => None,
        },
        _ => None,
    })
}

/// The stages, a line each.
#[must_use]
pub fn describe(program: &Program) -> String {
    let mut text = String::new();
    for (barrier, stage) in &program.stages {
        if *barrier {
            text.push_str("---\n");
        }
        let line = match stage {
            Stage::Op { op, .. } => format!("op {}", op.name()),
            Stage::ToFeatures { samples, features, .. } => format!("to features ({samples}, {features})"),
            Stage::ToRows { samples, features, .. } => format!("to rows ({samples}, {features})"),
            Stage::Rows(rows) => {
                let product = rows.product.map_or(String::new(), |p| format!(" product over {}", p.inner));
                let ops: Vec<&str> = rows.ops.iter().map(RowOp::name).collect();
                format!("rows ({}, {}){product} {}", rows.features, rows.samples, ops.join(" + "))
            }
            Stage::Weight(w) => {
                let update = if w.update.is_some() { " + update" } else { "" };
                format!("weight ({}, {}) over {}{update}", w.rows, w.cols, w.samples)
            }
            Stage::CrossEntropy(c) => format!("cross entropy ({}, {})", c.samples, c.classes),
            Stage::Loss(_) => "loss".to_owned(),
            Stage::Update(updates) => format!("update {} parameters", updates.len()),
        };
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

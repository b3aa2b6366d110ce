//! Program of a plan: stages over buffers, with barriers between those that touch the same memory.
//!
//! Activations are held *feature-major*, (features × batch) with the batch contiguous: then the rows of a weight are the
//! rows of a product, so weights stay in PyTorch's layout; whatever concerns one feature (bias, activation, dropout,
//! batch norm, the bias' gradient) is one contiguous row that the thread which computed it still has in its cache; and
//! any width, however odd, is vectorized over the batch.

mod describe;
mod touches;

use std::sync::Arc;

pub use describe::{describe, labels};
pub use touches::Touches;

use crate::element::DType;
use crate::kernels::activation::Activation;
use crate::kernels::penalty::Penalty;
use crate::ops::Op;
use crate::rng::Draw;
use crate::tensor::{Layout, Tensor};

/// Index of a buffer in [`Program::buffers`].
pub type BufferId = usize;

/// Home of a buffer's memory.
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
    /// Home of the memory.
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
    /// Layout in the memory.
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
    /// sums\[f\] = penalty of row f of a weight, which the product has just read; if `late`, 0 where the row is small, until
    /// the penalty's gradient brings the sum
    Penalty { penalty: Penalty, weight: BufferId, cols: usize, sums: BufferId, late: bool },
}

/// Rows of one width: an optional product, then ops on each row while it is hot, then row-major copies.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Number of rows.
    pub features: usize,
    /// Samples in each.
    pub samples: usize,
    /// The product that makes the rows.
    pub product: Option<RowProduct>,
    /// Ops on the rows, in order.
    pub ops: Vec<RowOp>,
    /// Rows that are copied to sample-major memory, for the products that make weights' gradients.
    pub copies: Vec<(Features, BufferId)>,
}

/// Update of a parameter.
#[derive(Clone, Debug)]
pub struct Update {
    /// Number of the parameter in the optimizer.
    pub param: usize,
    /// The parameter's memory, and those of the optimizer's state.
    pub value: BufferId,
    /// The optimizer's memories for it.
    pub state: Vec<BufferId>,
    /// Elements.
    pub len: usize,
    /// Their type.
    pub dtype: DType,
    /// Elements of a row.
    pub cols: usize,
    /// The place of its first element among those of all parameters.
    pub position: usize,
    /// The greatest norm of a row.
    pub max_norm: Option<f64>,
    /// The memory of its average.
    pub average: Option<BufferId>,
}

/// All updates that no product does, with finished gradients.
#[derive(Clone, Debug)]
pub struct Updates {
    /// Each with its gradient's buffer.
    pub items: Vec<(Update, BufferId)>,
    /// Buffers of the squared norms of every gradient's rows, and their lengths, if the norm of all is limited.
    pub norms: Vec<(BufferId, usize)>,
}

/// The rows of a finished gradient whose squared norms are wanted.
#[derive(Clone, Debug)]
pub struct RowNorms {
    /// The gradient.
    pub grad: BufferId,
    /// Its type.
    pub dtype: DType,
    /// Number of rows.
    pub rows: usize,
    /// Elements of each.
    pub cols: usize,
    /// Buffer of their norms, in f64.
    pub norms: BufferId,
}

/// The penalty whose gradient joins that of a weight.
#[derive(Clone, Debug)]
pub struct WeightPenalty {
    /// The penalty.
    pub penalty: Penalty,
    /// The weight.
    pub weight: BufferId,
    /// Buffer of the penalties of its rows, if they are summed up here.
    pub sums: Option<BufferId>,
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
    /// Buffer of the gradient, if no update uses it up.
    pub grad: BufferId,
    /// A penalty on the weight, whose gradient belongs to this one.
    pub penalty: Option<WeightPenalty>,
    /// Buffer of the squared norms of the gradient's rows.
    pub norms: Option<BufferId>,
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
    /// True if they are a tensor of the batch as it is, one a sample, and so are checked before the step.
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

/// The penalties of weights from those of their rows, and the sums that take them up.
#[derive(Clone, Debug)]
pub struct Penalties {
    /// Buffers of the rows' penalties, and their lengths.
    pub rows: Vec<(BufferId, usize)>,
    /// Buffer of their sum.
    pub to: BufferId,
    /// Sums of two scalars after that, up to the loss: c = a + b, each a buffer's first element.
    pub sums: Vec<[BufferId; 3]>,
    /// The type of all.
    pub dtype: DType,
}

/// A unit of work that the team does together.
#[derive(Clone, Debug)]
pub enum Stage {
    /// Any op, on row-major operands, and what it changes besides its outputs.
    Op { op: Arc<dyn Op>, inputs: Vec<Operand>, outputs: Vec<Operand>, changed: Vec<BufferId> },
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
    /// The penalties of weights.
    Penalty(Penalties),
    /// The squared norms of the rows of gradients.
    Norms(Vec<RowNorms>),
    /// Updates with finished gradients.
    Update(Updates),
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

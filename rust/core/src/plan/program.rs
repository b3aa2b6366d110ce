//! Program of a plan: stages over buffers, with barriers between those that touch the same memory.
//!
//! Activations are held *feature-major*, (features × batch) with the batch contiguous: then the rows of a weight are the
//! rows of a product, so weights stay in PyTorch's layout; whatever concerns one feature (bias, activation, dropout,
//! batch norm, the bias' gradient) is one contiguous row that the thread which computed it still has in its cache; and
//! any width, however odd, is vectorized over the batch.

mod touches;

pub use touches::Touches;

use super::stages::Stage;
use crate::element::DType;
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

    /// True if the plan owns the buffer's memory.
    #[must_use]
    pub fn is_in_arena(&self, buffer: BufferId) -> bool {
        matches!(self.buffers[buffer].home, Home::Arena(_))
    }

    /// Put barriers where a stage touches what a stage since the last barrier touched.
    pub fn set_barriers(&mut self) {
        let mut since = Touches::default();
        for (barrier, stage) in &mut self.stages {
            let mut touches = stage.touches();
            if stage.updates() {
                touches.read([self.loss.0]);
            }
            *barrier = since.conflicts(&touches);
            if *barrier {
                since = Touches::default();
            }
            since.add(&touches);
        }
    }

    /// The stages, a line each, and barriers.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (barrier, stage) in &self.stages {
            if *barrier {
                text.push_str("---\n");
            }
            text.push_str(stage.describe().trim_end());
            text.push('\n');
        }
        text
    }
}

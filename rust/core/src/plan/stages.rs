//! Stages: units of work that the team does together, a file each, and their list.
//!
//! A file holds what there is to say of a stage: the ops that it takes the place of, the buffers that it touches, its
//! line in a plan's description, and what each member of the team does. To add one: a file here, and its name in `stages!`.

mod any_op;
mod cross_entropy;
mod norms;
mod penalties;
mod turn;
mod updates;
mod weight;

pub use any_op::AnyOp;
pub use cross_entropy::{CrossEntropy, Loss, labels};
pub use norms::{Norms, RowNorms};
pub use penalties::Penalties;
pub use turn::{ToFeatures, ToRows, turn};
pub use updates::{Update, Updates};
pub use weight::{Weight, WeightPenalty};

use super::fuse::Lowering;
use super::graph::{GraphNode, NodeId};
use super::halt::Exit;
use super::memory::Memory;
use super::program::{Program, Touches};
pub use super::rows::Rows;
use super::run::Step;
use crate::element::Float;
use crate::error::Result;
use crate::threads::Team;

/// The circumstances in which a member of the team runs a stage.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The program of the stage.
    pub program: &'a Program,
    /// Its memory.
    pub memory: &'a Memory<'a>,
    /// The team.
    pub team: &'a Team,
    /// Inputs of the step.
    pub step: &'a Step<'a>,
    /// Handle by which to leave the step.
    pub exit: &'a Exit<'a>,
    /// The number of the place at which this stage may leave it.
    pub place: usize,
}

impl At<'_> {
    /// As [`Halt::agree`](super::halt::Halt::agree): a check of memory that others may change meanwhile.
    pub fn agree(&self, check: impl FnOnce() -> Result<()>) -> Result<()> {
        self.exit.halt.agree(self.place, self.team, check)
    }
}

/// Work of a stage.
pub trait Work: Sized {
    /// Push the stages that do what a node does, if this is one of the nodes that they are for. The node has inputs and outputs.
    fn recognize(lowering: &mut Lowering<'_>, n: NodeId, node: &GraphNode) -> Option<()> {
        let _ = (lowering, n, node);
        None
    }

    /// Its line in a plan's description.
    fn describe(&self) -> String;

    /// Note the buffers that it reads and writes.
    fn touches(&self, t: &mut Touches);

    /// True if it changes parameters.
    fn updates(&self) -> bool {
        false
    }

    /// Do a member's share. An error is met by all members alike, before anything is changed.
    fn run<T: Float>(&self, at: &At<'_>) -> Result<()>;
}

macro_rules! stages {
    ($($stage:ident),+ $(,)?) => {
        /// A unit of work that the team does together.
        #[derive(Clone, Debug)]
        pub enum Stage {
            $(#[doc = concat!("[`", stringify!($stage), "`].")] $stage($stage),)+
        }

        $(impl From<$stage> for Stage {
            fn from(stage: $stage) -> Self {
                Self::$stage(stage)
            }
        })+

        impl Stage {
            /// Push the stages that do what a node does, if it is recognized.
            pub fn recognize(lowering: &mut Lowering<'_>, n: NodeId, node: &GraphNode) -> Option<()> {
                None$(.or_else(|| $stage::recognize(lowering, n, node)))+
            }

            /// Its line in a plan's description.
            #[must_use]
            pub fn describe(&self) -> String {
                match self { $(Self::$stage(stage) => stage.describe(),)+ }
            }

            /// Buffers and memory that it reads and writes.
            #[must_use]
            pub fn touches(&self) -> Touches {
                let mut t = Touches::default();
                match self { $(Self::$stage(stage) => stage.touches(&mut t),)+ }
                t
            }

            /// True if it changes parameters.
            #[must_use]
            pub fn updates(&self) -> bool {
                match self { $(Self::$stage(stage) => stage.updates(),)+ }
            }

            /// Do a member's share.
            pub fn run<T: Float>(&self, at: &At<'_>) -> Result<()> {
                match self { $(Self::$stage(stage) => stage.run::<T>(at),)+ }
            }
        }
    };
}

stages! { Rows, Weight, CrossEntropy, Loss, Penalties, Norms, Updates, ToFeatures, ToRows, AnyOp }

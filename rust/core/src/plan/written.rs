//! The memory that a plan writes and that is not its own: parameters, the optimizer's state, averages, running statistics.

use std::sync::Arc;

use super::program::{BufferId, Home, Program};
use super::stages::{Stage, Update};
use crate::element::DType;
use crate::error::{Error, Result};
use crate::tensor::layout::show;
use crate::tensor::overlap::{Pieces, first_shared};
use crate::tensor::{Layout, Storage, Tensor};

/// All of it.
#[derive(Debug)]
pub struct Written {
    /// A tensor of each memory.
    tensors: Vec<Tensor>,
    /// Those whose memory is somebody else's, who may make it read-only.
    foreign: Vec<Tensor>,
    pieces: Pieces,
}

/// A tensor over the whole of a storage, as bytes that are compared.
fn whole(tensor: &Tensor) -> Tensor {
    let storage = tensor.storage();
    Tensor::from_storage(Arc::clone(storage), Layout::contiguous(&[storage.bytes()]), DType::Bool)
}

fn updates(program: &Program) -> impl Iterator<Item = &Update> {
    program.stages.iter().flat_map(|(_, stage)| -> Vec<&Update> {
        match stage {
            Stage::Updates(updates) => updates.items.iter().map(|(update, _)| update).collect(),
            Stage::Weight(weight) => weight.update.iter().collect(),
            _ => Vec::new(),
        }
    })
}

impl Written {
    /// Memory that a program writes. It is refused if memory that is written is part of two tensors, whose writers and
    /// readers barriers could not keep apart.
    pub fn of(program: &Program) -> Result<Self> {
        let outside = |buffer: BufferId| match &program.buffers[buffer].home {
            Home::Outside(tensor) => Some(tensor),
            _ => None,
        };
        let mut written = vec![false; program.buffers.len()];
        for (_, stage) in &program.stages {
            stage.touches().writes.into_iter().for_each(|buffer| written[buffer] = true);
        }
        let mut updated = vec![false; program.buffers.len()];
        for update in updates(program) {
            for &buffer in std::iter::once(&update.value).chain(&update.state).chain(&update.average) {
                if std::mem::replace(&mut updated[buffer], true) {
                    return Err(shared());
                }
            }
        }
        let tensors: Vec<Tensor> = (0..written.len()).filter(|&b| written[b]).filter_map(outside).cloned().collect();
        // Tensors over one storage share a buffer; those over several may still meet.
        let all: Vec<Tensor> = (0..written.len()).filter_map(outside).map(whole).collect();
        let pieces = Pieces::of(&tensors.iter().map(whole).collect::<Vec<_>>());
        let in_pieces: Vec<Tensor> = all.into_iter().filter(|tensor| pieces.meet(tensor)).collect();
        if first_shared(&in_pieces).is_some() {
            return Err(shared());
        }
        let foreign = tensors.iter().filter(|t| t.storage().is_foreign()).cloned().collect();
        let written = Self { tensors, foreign, pieces };
        written.check_writable()?;
        Ok(written)
    }

    /// Refuse memory that is read-only, or has become so.
    pub fn check_writable(&self) -> Result<()> {
        match self.foreign.iter().find(|tensor| !tensor.storage().writable()) {
            Some(tensor) => Err(Error::value(format!(
                "TrainStep: expected parameters and running statistics to be writable; got a read-only array of shape {}",
                show(tensor.shape())
            ))),
            None => Ok(()),
        }
    }

    /// True if a tensor lies where something is written.
    pub fn meets(&self, tensor: &Tensor) -> bool {
        self.pieces.meet(tensor)
    }

    /// Note that all has changed.
    pub fn bump(&self) {
        self.tensors.iter().map(Tensor::storage).for_each(|storage| Storage::bump(storage));
    }
}

fn shared() -> Error {
    Error::state("memory that a step writes is part of two tensors")
}

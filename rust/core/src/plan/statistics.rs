//! Running statistics, kept so that a step which fails can be undone.

use super::program::{Home, Program};
use crate::tensor::{Storage, Tensor};

/// Tensors that a step changes in place besides parameters and their states, and copies of them.
#[derive(Debug)]
pub struct Statistics {
    /// The tensors.
    pub tensors: Vec<Tensor>,
    copies: Vec<Storage>,
    /// Number of the first stages that change nothing else outside.
    pub undoable: usize,
}

impl Statistics {
    /// Those that the program changes before a barrier after which nobody changes them any more. Others are not undone.
    pub fn of(program: &Program) -> Self {
        let mut tensors: Vec<Tensor> = Vec::new();
        for (i, (_, stage)) in program.stages.iter().enumerate() {
            if stage.updates() || !program.stages[i + 1..].iter().any(|(barrier, _)| *barrier) {
                continue;
            }
            for buffer in stage.touches().writes {
                let Home::Outside(tensor) = &program.buffers[buffer].home else { continue };
                let whole = tensor.numel() * tensor.dtype().size() == tensor.storage().bytes();
                if whole && tensors.iter().all(|t| t.storage().ptr() != tensor.storage().ptr()) {
                    tensors.push(tensor.clone());
                }
            }
        }
        let copies = tensors.iter().map(|t| Storage::alloc(t.storage().bytes())).collect();
        let kept = |tensor: &Tensor| tensors.iter().any(|t| t.storage().ptr() == tensor.storage().ptr());
        let lasting = |buffer: &usize| match &program.buffers[*buffer].home {
            Home::Outside(tensor) => !kept(tensor),
            _ => false,
        };
        let undoable =
            program.stages.iter().position(|(_, stage)| stage.updates() || stage.touches().writes.iter().any(lasting));
        Self { copies, undoable: undoable.unwrap_or(program.stages.len()), tensors }
    }

    /// Remember them as they are. One thread, while nobody writes them.
    pub fn keep(&self) {
        self.each(|tensor, copy, bytes| {
            // SAFETY: memory of this size, the copy being this plan's own.
            unsafe { std::ptr::copy_nonoverlapping(tensor, copy, bytes) };
        });
    }

    /// Make them again what they were.
    pub fn restore(&self) {
        self.each(|tensor, copy, bytes| {
            // SAFETY: as above; the plan may write what its stages write.
            unsafe { std::ptr::copy_nonoverlapping(copy, tensor, bytes) };
        });
    }

    fn each(&self, copy: impl Fn(*mut u8, *mut u8, usize)) {
        for (tensor, kept) in self.tensors.iter().zip(&self.copies) {
            copy(tensor.storage().ptr(), kept.ptr(), kept.bytes());
        }
    }
}

//! The engine of fastnn: tensors, tape, kernels, optimizers and the planned step. It knows no Python.
//!
//! | module | what it holds | what it may see |
//! |---|---|---|
//! | [`mod@simd`] | the instruction-set level, chosen once at run time | – |
//! | [`mod@reserve`] | memory that may not be there, and the error that this becomes | – |
//! | [`threads`] | the team that walks a parallel region together | – |
//! | [`rng`] | randomness by position (Philox) | – |
//! | [`kernels`] | loops over slices; no shapes, no graph, no allocation | `simd`, `element` |
//! | [`tensor`] | buffers, views, the tape | `element` |
//! | [`ops`] | one file an op: shape rule, forward, backward | `kernels`, `tensor`, `threads` |
//! | [`plan`] | a traced step: fused, placed in one arena, run in one call | all above |
//! | [`data`] | augmentation: what changes at random before a step | `kernels`, `threads` |
//! | [`interrupt`] | how the host ends long work | – |
//! | [`rbm`] | restricted Boltzmann machines: chunks of batches, and Gibbs sampling, in one call | `kernels`, `tensor`, `threads` |
//!
//! Conventions. Matrices are row-major. A reduction runs over [`element::LANES`] virtual lanes and a tree fixed by the
//! shape, so that a result has the same bits for every instruction set and any number of threads; blocks of a long axis are added in
//! double precision. Products accumulate one chain of fused multiply-adds per output element, the inner index ascending, and add
//! up the chunks of a long one.

// Tests compare with the system's functions.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod data;
pub mod element;
pub mod error;
pub mod interrupt;
pub mod kernels;
pub mod ops;
pub mod optim;
pub mod plan;
pub mod rbm;
pub mod reserve;
pub mod rng;
pub mod simd;
pub mod tensor;
pub mod threads;

pub use element::{DType, Element, Float};
pub use error::{Error, Result};
pub use tensor::Tensor;

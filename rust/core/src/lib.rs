//! The engine of fastnn: tensors, tape, kernels, optimizers and the planned step. It knows no Python.
//!
//! A module uses those above it in this table, and those of its own line; `tests/test_architecture.py` checks it.
//!
//! | modules | what they hold |
//! |---|---|
//! | [`mod@simd`], [`error`] | the instruction set, chosen once at run time; the errors |
//! | [`math`], [`mod@reserve`], [`interrupt`], [`threads`] | elementary functions; memory that may not be there; how the host ends long work; the team that walks a parallel region together |
//! | [`element`] | the types of elements |
//! | [`rng`] | randomness by position (Philox) |
//! | [`kernels`] | loops over slices; no shapes, no graph, no allocation |
//! | [`tensor`], [`ops`] | buffers, views, the tape and the trace; one file an op: shape rule, forward, backward. One line, since the tape records ops, and backwards are written with ops |
//! | [`optim`], [`data`], [`rbm`] | one update rule a file; augmentation: what changes at random before a step; restricted Boltzmann machines |
//! | [`plan`] | a traced step: fused, placed in one arena, run in one call |
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
pub mod math;
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

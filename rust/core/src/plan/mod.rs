//! The planned step: trace → fuse → place → run.

pub mod trace;

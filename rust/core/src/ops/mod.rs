//! The ops: one file each, with shape rule, forward and backward side by side.
//!
//! [`apply`] runs any of them: shape rule, output, kernels on a team, tape, trace. Backwards are written with the same
//! ops, so that whatever runs in a step, forward or backward, is a list of ops that a plan can repeat.

pub mod activation;
pub mod batch_norm;
pub mod bilinear;
mod binary;
mod compare;
pub mod conv;
mod copy;
mod create;
pub mod cross_entropy;
pub mod dropout;
#[cfg(test)]
pub(crate) mod gradcheck;
#[cfg(test)]
mod gradcheck_nn;
pub mod group_norm;
mod in_place;
mod index;
mod join;
pub mod linear;
pub mod matmul;
pub mod max_pool;
pub mod nll_loss;
pub mod noise;
pub mod pad;
pub mod penalty;
pub mod point_loss;
pub mod pooling;
mod product;
mod put_view;
pub mod random;
mod reduce;
mod scalar;
pub(crate) mod second;
mod select;
pub mod separable;
mod shape;
pub mod softmax;
mod unary;
pub mod walk;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use crate::element::DType;
use crate::error::{Error, Result};
use crate::reserve;
use crate::rng::Draw;
use crate::simd::Flush;
use crate::tensor::overlap::Pieces;
use crate::tensor::tape::{self, Backward, Node};
use crate::tensor::trace;
use crate::tensor::{Layout, Meta, Tensor, View, room};
use crate::threads::{self, Team};

pub use binary::{Arithmetic, Binary, add, div, floor_divide, mul, pow, promote, remainder, sub};
pub use compare::{
    eq, eq_scalar, ge, ge_scalar, gt, gt_scalar, isfinite, isinf, isnan, le, le_scalar, logical_and, logical_not,
    logical_or, logical_xor, lt, lt_scalar, ne, ne_scalar,
};
pub use copy::{Copy, cast, contiguous, copy};
pub use create::{arange, eye, full, linspace, one_hot, ones};
pub use in_place::{
    add_, add_scalar_, assign, clamp_, copy_, div_, div_scalar_, fill_, floor_divide_, floor_divide_scalar_, mul_,
    mul_scalar_, remainder_, remainder_scalar_, sub_, sub_scalar_, zero_,
};
pub use index::{
    Index, gather, index, index_add, index_put_, index_select, narrow, nonzero, scatter_add, select, slice,
};
pub use join::{cat, chunk, split, split_sizes, stack, unbind};
pub(crate) use put_view::put_view_node;
pub use reduce::{
    all, amax, amin, any, argmax, argmin, item, max, max_along, mean, min, min_along, norm, norm_dtype, prod, std, sum,
    sum_to, var,
};
pub use scalar::{
    Scalar, add_scalar, div_scalar, floor_divide_scalar, mul_scalar, pow_scalar, rdiv_scalar, remainder_scalar,
    rpow_scalar, rsub_scalar, sub_scalar,
};
pub use select::{clamp, masked_fill, maximum, maximum_scalar, minimum, minimum_scalar, where_};
pub use shape::{
    alias, broadcast_to, expand, expand_keeping, flatten, permute, reshape, squeeze, t, transpose, unsqueeze, view,
};
pub use unary::{
    abs, ceil, cos, erf, exp, expm1, floor, log, log1p, neg, reciprocal, round, rsqrt, sign, sin, sqrt, square, trunc,
};

/// Gradients of an op's inputs; None where none is wanted.
pub type Grads = SmallVec<[Option<Tensor>; 3]>;
/// Shapes and dtypes of an op's outputs.
pub type Outputs = SmallVec<[Meta; 1]>;

/// Inputs and outputs that an op's backward reads, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Saves {
    /// Bit i: input i.
    pub inputs: u32,
    /// Bit i: output i.
    pub outputs: u32,
}

impl Saves {
    /// All inputs.
    pub const ALL: Self = Self { inputs: u32::MAX, outputs: 0 };

    /// Backward reads nothing but gradients and shapes.
    pub const NONE: Self = Self { inputs: 0, outputs: 0 };

    /// These inputs, by bits.
    #[must_use]
    pub const fn inputs(bits: u32) -> Self {
        Self { inputs: bits, outputs: 0 }
    }

    /// These outputs, by bits.
    #[must_use]
    pub const fn outputs(bits: u32) -> Self {
        Self { inputs: 0, outputs: bits }
    }

    /// Those of a product of inputs 0 and 1: each is read for the gradient of the other.
    fn of_factors(wants: &[bool]) -> Self {
        Self::inputs(u32::from(wants[1]) | u32::from(wants[0]) << 1)
    }

    /// True if input `i` is read.
    #[must_use]
    pub const fn input(self, i: usize) -> bool {
        bit(self.inputs, i)
    }

    /// True if output `i` is read.
    #[must_use]
    pub const fn output(self, i: usize) -> bool {
        bit(self.outputs, i)
    }
}

/// Bit `i`; those that there are no bits for are as the last one.
const fn bit(bits: u32, i: usize) -> bool {
    bits >> if i < 31 { i } else { 31 } & 1 == 1
}

/// The circumstances in which an op runs.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The threads that run it together.
    pub team: &'a Team,
    /// Number that a plan adds to the call number of an op that draws, so that each step draws anew. 0 when eager.
    pub replay: u64,
}

/// An operation on tensors.
pub trait Op: fmt::Debug + Any + Send + Sync {
    /// Name in errors: PyTorch's, if it has the op.
    fn name(&self) -> &'static str;

    /// Shapes and dtypes of the outputs, or why the inputs do not fit.
    fn infer(&self, inputs: &[Meta]) -> Result<Outputs>;

    /// Look at values that may be wrong, such as labels, before anything is changed.
    fn check(&self, inputs: &[View<'_>]) -> Result<()> {
        let _ = inputs;
        Ok(())
    }

    /// True if [`check`](Self::check) looks at anything.
    fn checks(&self) -> bool {
        false
    }

    /// Compute the outputs. Every member of the team calls it and does its share. On return of the last member all
    /// outputs are complete; barriers inside are the op's own affair. Inputs are contiguous unless
    /// [`strided`](Op::strided); outputs always are.
    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]);

    /// For an op that only looks at memory in another way: the new layout, for these inputs' first.
    fn view(&self, input: &Layout) -> Option<Layout> {
        let _ = input;
        None
    }

    /// True if inputs may have any strides.
    fn strided(&self) -> bool {
        false
    }

    /// True if `run` changes its first input (and makes no output).
    fn in_place(&self) -> bool {
        false
    }

    /// True if an op that is [`in_place`](Op::in_place) writes every element of its first input, and reads none.
    fn writes_all(&self) -> bool {
        false
    }

    /// True if output 0 may lie where input 0 does, if both have the same shape and nobody reads the input afterwards: their
    /// views then have one address.
    fn overwrites(&self, inputs: &[Meta]) -> bool {
        let _ = inputs;
        false
    }

    /// True if it changes memory that is not its output: in place, or a running statistic.
    fn changes_outside(&self) -> bool {
        self.in_place() || !self.changed_outside().is_empty()
    }

    /// Tensors that it changes and that are neither inputs nor outputs: running statistics.
    fn changed_outside(&self) -> SmallVec<[&Tensor; 2]> {
        SmallVec::new()
    }

    /// Source of the op's random numbers, if it draws any. A plan adds [`Run::replay`] to the call number.
    fn draw(&self) -> Option<Draw> {
        None
    }

    /// Tensors that backward reads.
    fn saves(&self) -> Saves {
        Saves::NONE
    }

    /// Tensors that backward reads if these inputs want a gradient: the others may be changed in place.
    fn saves_for(&self, wants: &[bool]) -> Saves {
        let _ = wants;
        self.saves()
    }

    /// True if gradients flow through it.
    fn differentiable(&self) -> bool {
        true
    }

    /// Gradients of the inputs, built of ops.
    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let _ = cx;
        Err(no_derivative(self.name()))
    }

    /// Roughly how many nanoseconds one thread needs, to choose the team's size.
    fn work(&self, inputs: &[Meta], outputs: &[Meta]) -> usize {
        inputs.iter().chain(outputs).map(Meta::numel).max().unwrap_or(0) / 2
    }
}

/// True if output 0 lies where input 0 does, as an op that [`overwrites`](Op::overwrites) may find it.
fn is_over(inputs: &[View<'_>], outputs: &[View<'_>]) -> bool {
    inputs[0].address() == outputs[0].address()
}

/// Work below this many nanoseconds is not worth waking a second thread.
const SERIAL_WORK: usize = 20_000;

/// Threads for this much work: one for every `SERIAL_WORK`.
#[must_use]
pub fn team_width(work: usize) -> usize {
    if work < SERIAL_WORK { 1 } else { (work / SERIAL_WORK + 1).min(threads::num_threads()) }
}

/// Run an op that has one output.
pub fn apply(op: impl Op, inputs: &[&Tensor]) -> Result<Tensor> {
    let mut outputs = apply_many(Arc::new(op), inputs)?;
    Ok(outputs.swap_remove(0))
}

/// Run an op: shape rule, checks, kernels, tape, trace.
#[allow(clippy::needless_pass_by_value)] // the tape keeps it
pub fn apply_many(op: Arc<dyn Op>, inputs: &[&Tensor]) -> Result<SmallVec<[Tensor; 1]>> {
    let input_meta: SmallVec<[Meta; 3]> = inputs.iter().map(|t| t.meta()).collect();
    let output_meta = op.infer(&input_meta)?;
    let view = if let [first, ..] = inputs { op.view(first.layout()) } else { None };
    if let Some(layout) = &view {
        room::countable(op.name(), &layout.shape)?;
    } else {
        output_meta.iter().try_for_each(|m| room::check(op.name(), &m.shape, m.dtype))?;
    }
    let flows = tape::is_grad_enabled() && inputs.iter().any(|t| t.requires_grad());
    if flows {
        inputs.iter().try_for_each(|t| t.check_place(op.name()))?;
    }
    let recorded = flows && op.differentiable();
    if flows && !recorded && tape::is_deriving() && output_meta.iter().any(|m| m.dtype.is_float()) {
        return Err(no_derivative(op.name()));
    }

    if let (Some(layout), [first, ..]) = (view, inputs) {
        let same = layout == *first.layout();
        let outputs: SmallVec<[Tensor; 1]> = smallvec![first.viewed(layout, &op)];
        if same {
            trace::same(&outputs[0], first);
        } else {
            trace::record(&op, inputs, &outputs);
        }
        return Ok(finish(&op, inputs, outputs, input_meta, output_meta, recorded));
    }

    // Copies stand on the tape and in the trace as ops of their own. What lies where the op changes statistics is read before.
    let changed = op.changed_outside();
    let changed = if changed.is_empty() { None } else { Some(Pieces::of(changed)) };
    let as_it_is = |t: &Tensor| {
        (op.strided() || t.layout().is_contiguous()) && changed.as_ref().is_none_or(|changed| !changed.meet(t))
    };
    let copies: SmallVec<[Option<Tensor>; 3]> =
        inputs.iter().map(|t| if as_it_is(t) { Ok(None) } else { copy(t).map(Some) }).collect::<Result<_>>()?;
    let ready: SmallVec<[&Tensor; 3]> = copies.iter().zip(inputs).map(|(c, t)| c.as_ref().unwrap_or(t)).collect();

    let views: SmallVec<[View<'_>; 3]> = ready.iter().map(|t| t.view()).collect();
    op.check(&views)?;
    let outputs = reserve::guard(op.name(), || {
        let outputs: SmallVec<[Tensor; 1]> = output_meta.iter().map(|m| Tensor::empty(&m.shape, m.dtype)).collect();
        let targets: SmallVec<[View<'_>; 1]> = outputs.iter().map(Tensor::view).collect();
        execute(&*op, &input_meta, &output_meta, &views, &targets);
        drop(targets);
        Ok(outputs)
    })?;
    drop(views);
    trace::record(&op, &ready, &outputs);
    Ok(finish(&op, &ready, outputs, input_meta, output_meta, recorded))
}

fn execute(op: &dyn Op, input_meta: &[Meta], output_meta: &[Meta], inputs: &[View<'_>], outputs: &[View<'_>]) {
    let work = op.work(input_meta, output_meta);
    let width = team_width(work);
    if width == 1 {
        let _flush = Flush::begin();
        op.run(&Run { team: &Team::SOLO, replay: 0 }, inputs, outputs);
    } else {
        threads::region(width, work, &|team| {
            let _flush = Flush::begin();
            op.run(&Run { team, replay: 0 }, inputs, outputs);
        });
    }
}

fn finish(
    op: &Arc<dyn Op>,
    inputs: &[&Tensor],
    outputs: SmallVec<[Tensor; 1]>,
    input_meta: SmallVec<[Meta; 3]>,
    output_meta: Outputs,
    recorded: bool,
) -> SmallVec<[Tensor; 1]> {
    if recorded {
        let node = Node::record(Arc::clone(op), inputs, &outputs, input_meta, output_meta);
        for (i, output) in outputs.iter().enumerate() {
            if output.dtype().is_float() {
                output.set_node(Arc::clone(&node), i);
            }
        }
    }
    outputs
}

/// Refuse to write a read-only array.
fn check_writable(op: &str, target: &Tensor) -> Result<()> {
    if target.storage().writable() {
        return Ok(());
    }
    Err(Error::value(format!("{op}: expected a writable tensor; got a read-only array")))
}

/// Run an op that changes its first input in memory, where the tape need not know: see [`in_place`].
fn apply_in_place(op: impl Op, target: &Tensor, others: &[&Tensor]) -> Result<()> {
    let op: Arc<dyn Op> = Arc::new(op);
    if tape::is_grad_enabled() && target.requires_grad() {
        return Err(Error::state(format!(
            "{}: a tensor that requires grad is changed in place; expected this under no_grad()",
            op.name()
        )));
    }
    check_writable(op.name(), target)?;
    let inputs: SmallVec<[&Tensor; 3]> = std::iter::once(target).chain(others.iter().copied()).collect();
    let metas: SmallVec<[Meta; 3]> = inputs.iter().map(|t| t.meta()).collect();
    op.infer(&metas)?;
    let views: SmallVec<[View<'_>; 3]> = inputs.iter().map(|t| t.view()).collect();
    op.check(&views)?;
    reserve::guard(op.name(), || {
        execute(&*op, &metas, &[], &views, &[]);
        Ok(())
    })?;
    target.storage().bump();
    trace::record(&op, &inputs, &[]);
    Ok(())
}

fn no_derivative(op: &str) -> Error {
    Error::state(format!("{op}: expected an op that has a derivative; this one has none"))
}

/// An error in the house form: `op: expected …; got (2, 3)`.
#[must_use]
pub fn shape_error(op: &str, expected: &str, got: &[usize]) -> Error {
    Error::value(format!("{op}: expected {expected}; got {}", crate::tensor::layout::show(got)))
}

/// All inputs must share one float dtype, which is returned.
pub fn float_dtype(op: &str, inputs: &[Meta]) -> Result<DType> {
    let dtype = inputs[0].dtype;
    if let Some(other) = inputs.iter().find(|m| !m.dtype.is_float() || m.dtype != dtype) {
        return Err(Error::dtype(if other.dtype.is_float() {
            format!("{op}: expected tensors of one dtype; got {dtype} and {}", other.dtype)
        } else {
            format!("{op}: expected a floating-point tensor; got {}", other.dtype)
        }));
    }
    Ok(dtype)
}

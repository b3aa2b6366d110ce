//! Arithmetic of two tensors that broadcast together.
//!
//! ```text
//! add      y = a + b        grad_a = g               grad_b = g
//! sub      y = a − b        grad_a = g               grad_b = −g
//! mul      y = a · b        grad_a = g · b           grad_b = g · a
//! div      y = a / b        grad_a = g / b           grad_b = −g · y / b
//! pow      y = aᵇ           grad_a = g · b · aᵇ⁻¹    grad_b = g · y · ln a
//!
//! floor_divide  y = ⌊a / b⌋           grad_a = 0     grad_b = 0
//! remainder     y = a − ⌊a / b⌋ · b   grad_a = g     grad_b = −g · ⌊a / b⌋
//! ```
//! Gradients are summed over the dimensions along which an operand was stretched. Of `pow`, `grad_a` is 0 where b is 0,
//! and `grad_b` is 0 where a is 0 and b is not negative.
//!
//! Operands of two dtypes are converted to the one that [`promote`] names. Integers wrap around; to divide one by 0 is an error.
//! Of masks, `+` is *or* and `·` is *and*.

use smallvec::smallvec;

use super::walk::{zip, zip_in_place};
use super::{
    Grads, Op, Outputs, Run, Saves, apply, cast, eq, ge, is_over, log, logical_and, masked_fill, neg, sub_scalar,
    sum_to, where_,
};
use crate::element::DType;
use crate::error::{Error, Result};
use crate::kernels::elementwise as kernels;
use crate::tensor::layout::broadcast;
use crate::tensor::tape::{self, Backward};
use crate::tensor::{Meta, Tensor, View, for_each_offset};
use crate::{with_element, with_float};

/// An arithmetic operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// a + b
    Add,
    /// a − b
    Sub,
    /// a · b
    Mul,
    /// a / b
    Div,
    /// aᵇ
    Pow,
    /// ⌊a / b⌋
    FloorDiv,
    /// a − ⌊a / b⌋ · b, which has the sign of b
    Remainder,
}

impl Arithmetic {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Mul => "mul",
            Self::Div => "div",
            Self::Pow => "pow",
            Self::FloorDiv => "floor_divide",
            Self::Remainder => "remainder",
        }
    }

    /// True if it can compute in this dtype; division is of floats.
    pub(super) fn check_dtype(self, dtype: DType) -> Result<()> {
        let (fits, expected) = match self {
            Self::Add | Self::Mul => (true, ""),
            Self::Sub | Self::Pow | Self::FloorDiv | Self::Remainder => (dtype != DType::Bool, "numbers"),
            Self::Div => (dtype.is_float(), "a floating-point tensor"),
        };
        if fits { Ok(()) } else { Err(Error::dtype(format!("{}: expected {expected}; got {dtype}", self.name()))) }
    }

    /// y ← a ∘ b, this member's share.
    #[inline]
    pub(super) fn run(self, run: &Run<'_>, a: &View<'_>, b: &View<'_>, y: &View<'_>) {
        match self {
            Self::Add => with_element!(y.dtype(), T => zip::<T, _>(run.team, kernels::Add, a, b, y)),
            Self::Sub => with_element!(y.dtype(), T => zip::<T, _>(run.team, kernels::Sub, a, b, y)),
            Self::Mul => with_element!(y.dtype(), T => zip::<T, _>(run.team, kernels::Mul, a, b, y)),
            Self::Div => with_float!(y.dtype(), T => zip::<T, _>(run.team, kernels::Div, a, b, y)),
            Self::Pow => with_element!(y.dtype(), T => zip::<T, _>(run.team, kernels::Pow, a, b, y)),
            Self::FloorDiv => with_element!(y.dtype(), T => zip::<T, _>(run.team, kernels::FloorDiv, a, b, y)),
            Self::Remainder => with_element!(y.dtype(), T => zip::<T, _>(run.team, kernels::Remainder, a, b, y)),
        }
    }

    /// y ← y ∘ b, this member's share.
    pub(super) fn run_in_place(self, run: &Run<'_>, y: &View<'_>, b: &View<'_>) {
        match self {
            Self::Add => with_element!(y.dtype(), T => zip_in_place::<T, _>(run.team, kernels::Add, y, b)),
            Self::Sub => with_element!(y.dtype(), T => zip_in_place::<T, _>(run.team, kernels::Sub, y, b)),
            Self::Mul => with_element!(y.dtype(), T => zip_in_place::<T, _>(run.team, kernels::Mul, y, b)),
            Self::Div => with_float!(y.dtype(), T => zip_in_place::<T, _>(run.team, kernels::Div, y, b)),
            Self::Pow => with_element!(y.dtype(), T => zip_in_place::<T, _>(run.team, kernels::Pow, y, b)),
            Self::FloorDiv => with_element!(y.dtype(), T => zip_in_place::<T, _>(run.team, kernels::FloorDiv, y, b)),
            Self::Remainder => with_element!(y.dtype(), T => zip_in_place::<T, _>(run.team, kernels::Remainder, y, b)),
        }
    }

    /// That no integer is divided by 0.
    pub(super) fn check_divisor(self, name: &str, a: &View<'_>, b: &View<'_>) -> Result<()> {
        if b.dtype() != DType::I64 || !matches!(self, Self::FloorDiv | Self::Remainder) || a.numel() == 0 {
            return Ok(());
        }
        let (first, mut zero) = (b.ptr::<i64>(), false);
        for_each_offset(b.layout(), |offset| {
            // SAFETY: the layout's offsets lie in its memory.
            zero |= unsafe { *first.offset(offset) } == 0;
        });
        if zero { Err(Error::ZeroDivision(format!("{name}: expected divisors other than 0; got 0"))) } else { Ok(()) }
    }

    /// Roughly how many nanoseconds one element takes, times 8.
    pub(super) const fn work_per_8(self) -> usize {
        match self {
            Self::Pow => 64,
            Self::FloorDiv | Self::Remainder => 32,
            _ => 4,
        }
    }
}

/// Arithmetic of two tensors, as an op.
#[derive(Clone, Copy, Debug)]
pub struct Binary(pub Arithmetic);

impl Op for Binary {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = same_dtype(self.name(), inputs)?;
        self.0.check_dtype(dtype)?;
        Ok(smallvec![Meta { shape: broadcast(self.name(), &inputs[0].shape, &inputs[1].shape)?, dtype }])
    }

    fn strided(&self) -> bool {
        true
    }

    fn overwrites(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn check(&self, inputs: &[View<'_>]) -> Result<()> {
        self.0.check_divisor(self.name(), &inputs[0], &inputs[1])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        if is_over(inputs, outputs) {
            return self.0.run_in_place(run, &outputs[0], &inputs[1]);
        }
        self.0.run(run, &inputs[0], &inputs[1], &outputs[0]);
    }

    fn saves(&self) -> Saves {
        match self.0 {
            Arithmetic::Add | Arithmetic::Sub | Arithmetic::FloorDiv => Saves::NONE,
            Arithmetic::Mul | Arithmetic::Remainder | Arithmetic::Div => Saves::inputs(0b11),
            Arithmetic::Pow => Saves { inputs: 0b11, outputs: 1 },
        }
    }

    fn saves_for(&self, wants: &[bool]) -> Saves {
        match self.0 {
            Arithmetic::Mul => Saves::of_factors(wants),
            Arithmetic::Div if !wants[1] => Saves::inputs(0b10),
            Arithmetic::Pow => Saves { inputs: 0b11, outputs: u32::from(wants[1]) },
            _ => self.saves(),
        }
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let g = cx.grad();
        let grad_a = || match self.0 {
            Arithmetic::Add | Arithmetic::Sub | Arithmetic::Remainder => Ok(g.clone()),
            Arithmetic::FloorDiv => Ok(Tensor::zeros(g.shape(), g.dtype())),
            Arithmetic::Mul => mul(g, cx.input(1)),
            Arithmetic::Div => div(g, cx.input(1)),
            Arithmetic::Pow => {
                let (a, b) = (cx.input(0), cx.input(1));
                let slope = mul(b, &pow(a, &sub_scalar(b, 1)?)?)?;
                masked_fill(&mul(g, &slope)?, &eq(b, &zero(b))?, 0)
            }
        };
        let grad_b = || match self.0 {
            Arithmetic::Add => Ok(g.clone()),
            Arithmetic::Sub => neg(g),
            Arithmetic::Mul => mul(g, cx.input(0)),
            Arithmetic::FloorDiv => Ok(Tensor::zeros(g.shape(), g.dtype())),
            Arithmetic::Remainder => neg(&mul(g, &floor_divide(cx.input(0), cx.input(1))?)?),
            // The quotient once more, rather than the output, which may be changed in place.
            Arithmetic::Div => neg(&div(&mul(g, &div(cx.input(0), cx.input(1))?)?, cx.input(1))?),
            Arithmetic::Pow => {
                let (a, b) = (cx.input(0), cx.input(1));
                let flat = logical_and(&eq(a, &zero(a))?, &ge(b, &zero(b))?)?;
                // The logarithm of 0 has no derivative; what is masked anyway must not make a NaN of the second one.
                let base = if tape::is_grad_enabled() {
                    where_(&flat, &Tensor::full(&[], 1.0, a.dtype()), a)?
                } else {
                    a.clone()
                };
                mul(g, &masked_fill(&mul(cx.output(0), &log(&base)?)?, &flat, 0)?)
            }
        };
        let a = if cx.needs(0) { Some(sum_to(&grad_a()?, &cx.input_meta[0].shape)?) } else { None };
        let b = if cx.needs(1) { Some(sum_to(&grad_b()?, &cx.input_meta[1].shape)?) } else { None };
        Ok(smallvec![a, b])
    }

    fn work(&self, _inputs: &[Meta], outputs: &[Meta]) -> usize {
        outputs.first().map_or(0, Meta::numel) * self.0.work_per_8() / 8
    }
}

fn zero(like: &Tensor) -> Tensor {
    Tensor::zeros(&[], like.dtype())
}

/// The inputs' one dtype.
pub(super) fn same_dtype(op: &str, inputs: &[Meta]) -> Result<DType> {
    let dtype = inputs[0].dtype;
    match inputs.iter().find(|m| m.dtype != dtype) {
        Some(other) => {
            Err(Error::dtype(format!("{op}: expected tensors of one dtype; got {dtype} and {}", other.dtype)))
        }
        None => Ok(dtype),
    }
}

/// Bool < int64 < floats.
const fn category(dtype: DType) -> u8 {
    match dtype {
        DType::Bool => 0,
        DType::I64 => 1,
        DType::F32 | DType::F64 => 2,
    }
}

/// The dtype in which two tensors are computed, as `torch.result_type`.
///
/// The greater of the two, in the order bool < int64 < float32 < float64; but a tensor without dimensions only counts if
/// it is of a higher kind (mask, integer, float) than the other, so that a float64 number does not turn a float32 array
/// into float64.
#[must_use]
pub fn promote(a: &Tensor, b: &Tensor) -> DType {
    let (x, y) = (a.dtype(), b.dtype());
    if x == y {
        return x;
    }
    match (a.ndim() == 0, b.ndim() == 0) {
        (true, false) if category(x) <= category(y) => y,
        (false, true) if category(y) <= category(x) => x,
        _ => wider(x, y),
    }
}

/// The greater of two dtypes.
pub(super) fn wider(x: DType, y: DType) -> DType {
    let rank = |dtype| (category(dtype), dtype == DType::F64);
    if rank(x) >= rank(y) { x } else { y }
}

/// The two tensors in the dtype that [`promote`] names.
pub(super) fn promoted(a: &Tensor, b: &Tensor) -> Result<(Tensor, Tensor)> {
    let dtype = promote(a, b);
    Ok((cast(a, dtype)?, cast(b, dtype)?))
}

#[inline]
fn binary(op: Arithmetic, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let dtype = if a.dtype() == b.dtype() { a.dtype() } else { promote(a, b) };
    let dtype = if op == Arithmetic::Div && !dtype.is_float() { DType::F32 } else { dtype };
    if a.dtype() == dtype && b.dtype() == dtype {
        return apply(Binary(op), &[a, b]);
    }
    apply(Binary(op), &[&cast(a, dtype)?, &cast(b, dtype)?])
}

/// a + b
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    binary(Arithmetic::Add, a, b)
}

/// a − b
pub fn sub(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    binary(Arithmetic::Sub, a, b)
}

/// a · b
pub fn mul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    binary(Arithmetic::Mul, a, b)
}

/// a / b; of integers and masks, a float32.
pub fn div(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    binary(Arithmetic::Div, a, b)
}

/// aᵇ; an integer to a negative power is rounded toward 0.
pub fn pow(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    binary(Arithmetic::Pow, a, b)
}

/// ⌊a / b⌋, of integers exactly.
pub fn floor_divide(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    binary(Arithmetic::FloorDiv, a, b)
}

/// a − ⌊a / b⌋ · b, exactly: it has the sign of b.
pub fn remainder(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    binary(Arithmetic::Remainder, a, b)
}

#[cfg(test)]
mod tests;

//! Ops that change their first operand.
//!
//! ```text
//! add_      x ← x + α · b          copy_     x ← b
//! sub_      x ← x − α · b          fill_     x ← s
//! mul_      x ← x · b              zero_     x ← 0
//! div_      x ← x / b              clamp_    x ← x held to [min, max]
//!
//! floor_divide_   x ← ⌊x / b⌋
//! remainder_      x ← x − ⌊x / b⌋ · b
//! ```
//! x keeps its shape and dtype: b must broadcast to the one and be of no higher kind than the other. What may not be
//! changed is refused: a leaf that requires grad while gradients are recorded, a read-only array, an expanded tensor.
//!
//! If a gradient flows, the change is an op on the tape as well: see [`rebase`].

use smallvec::{SmallVec, smallvec};

use super::binary::Arithmetic;
use super::put_view::overwritten;
use super::scalar::with_view;
use super::select::clamp_bounds;
use super::walk::{map, map_in_place, zip_in_place};
use super::{
    Op, Outputs, Run, Scalar, add, add_scalar, apply_in_place, broadcast_to, cast, clamp, copy, div, div_scalar,
    floor_divide, floor_divide_scalar, full, mul, mul_scalar, pow, pow_scalar, remainder, remainder_scalar,
    shape_error, sub, sub_scalar,
};
use crate::element::{DType, Element, Float};
use crate::error::{Error, Result};
use crate::kernels::elementwise::{Map, Number, To, Zip};
use crate::kernels::unary::{Clamp, Unary};
use crate::tensor::layout::show;
use crate::tensor::trace;
use crate::tensor::{Meta, Tensor, View, overlap, rebase, tape};
use crate::{with_element, with_float};

/// y + α · b, of floats rounded once.
#[derive(Clone, Copy, Debug)]
struct AddScaled<T>(T);

impl Zip<f32> for AddScaled<f32> {
    type Out = f32;
    #[inline(always)]
    fn call(self, y: f32, b: f32) -> f32 {
        Float::mul_add(self.0, b, y)
    }
}
impl Zip<f64> for AddScaled<f64> {
    type Out = f64;
    #[inline(always)]
    fn call(self, y: f64, b: f64) -> f64 {
        Float::mul_add(self.0, b, y)
    }
}
impl Zip<i64> for AddScaled<i64> {
    type Out = i64;
    #[inline(always)]
    fn call(self, y: i64, b: i64) -> i64 {
        y.plus(self.0.times(b))
    }
}
impl Zip<u8> for AddScaled<u8> {
    type Out = u8;
    #[inline(always)]
    fn call(self, y: u8, b: u8) -> u8 {
        y.plus(self.0.times(b))
    }
}

/// A number, whatever was there.
#[derive(Clone, Copy, Debug)]
struct Constant<T>(T);

impl<T: Element> Map<T> for Constant<T> {
    type Out = T;
    #[inline(always)]
    fn call(self, _: T) -> T {
        self.0
    }
}

impl<T: Float> Map<T> for Clamp<T> {
    type Out = T;
    #[inline(always)]
    fn call(self, x: T) -> T {
        self.eval(x)
    }
}

/// New value of x.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// x ∘ b
    Arithmetic(Arithmetic),
    /// x ∘ s
    ArithmeticScalar(Arithmetic, Scalar),
    /// x + α · b
    AddScaled(Scalar),
    Copy,
    Fill(Scalar),
    Clamp(Option<Scalar>, Option<Scalar>),
}

#[derive(Clone, Copy, Debug)]
struct InPlace {
    name: &'static str,
    change: Change,
}

impl Op for InPlace {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let x = &inputs[0];
        if let Change::Arithmetic(op) | Change::ArithmeticScalar(op, _) = self.change {
            op.check_dtype(x.dtype).map_err(|e| Error::dtype(e.message().replacen(op.name(), self.name, 1)))?;
        }
        if let Some(b) = inputs.get(1) {
            let new = x.shape.len().checked_sub(b.shape.len());
            let fits = new.is_some_and(|new| b.shape.iter().zip(&x.shape[new..]).all(|(&n, &m)| n == m || n == 1));
            if !fits {
                return Err(shape_error(
                    self.name,
                    &format!("a tensor that broadcasts to {}", show(&x.shape)),
                    &b.shape,
                ));
            }
        }
        Ok(smallvec![])
    }

    fn strided(&self) -> bool {
        true
    }

    fn in_place(&self) -> bool {
        true
    }

    fn check(&self, inputs: &[View<'_>]) -> Result<()> {
        match self.change {
            Change::Arithmetic(op) => op.check_divisor(self.name, &inputs[0], &inputs[1]),
            Change::ArithmeticScalar(op, s) => {
                with_view(s, inputs[0].dtype(), |b| op.check_divisor(self.name, &inputs[0], b))
            }
            _ => Ok(()),
        }
    }

    fn writes_all(&self) -> bool {
        matches!(self.change, Change::Copy | Change::Fill(_))
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], _outputs: &[View<'_>]) {
        let x = &inputs[0];
        match self.change {
            Change::Arithmetic(op) => op.run_in_place(run, x, &inputs[1]),
            Change::ArithmeticScalar(op, s) => with_view(s, x.dtype(), |b| op.run_in_place(run, x, b)),
            Change::AddScaled(alpha) => with_element!(x.dtype(), T => {
                zip_in_place::<T, _>(run.team, AddScaled::<T>(alpha.element()), x, &inputs[1]);
            }),
            Change::Copy => with_element!(inputs[1].dtype(), S => with_element!(x.dtype(), D => {
                map::<S, _>(run.team, To(D::default()), &inputs[1], x);
            })),
            Change::Fill(value) => with_element!(x.dtype(), T => {
                map_in_place::<T, _>(run.team, Constant::<T>(value.element()), x);
            }),
            Change::Clamp(min, max) => with_float!(x.dtype(), T => {
                map_in_place::<T, _>(run.team, clamp_bounds::<T>(min, max), x);
            }),
        }
    }

    fn differentiable(&self) -> bool {
        false
    }
}

/// That each element of x has a place of its own.
pub(super) fn check_target(op: &str, x: &Tensor) -> Result<()> {
    if overlap::repeats(x.layout()) {
        let shape = show(x.shape());
        return Err(Error::state(format!(
            "{op}: expected a tensor whose elements have places of their own; got an expanded one of shape {shape} (use \
             clone())"
        )));
    }
    Ok(())
}

/// True if the tensors' memory may overlap.
fn overlaps(a: &Tensor, b: &Tensor) -> bool {
    let range = |t: &Tensor| (t.storage().ptr() as usize, t.storage().ptr() as usize + t.storage().bytes());
    let ((a, a_end), (b, b_end)) = (range(a), range(b));
    a < b_end && b < a_end
}

/// Rank of a dtype: bool, then integers, then floats.
fn kind(x: &Tensor) -> (bool, bool) {
    (x.dtype().is_float(), x.dtype() != DType::Bool)
}

/// b as an operand of a change of x: in x's dtype, and not in the memory that changes.
fn operand(op: &str, x: &Tensor, b: &Tensor) -> Result<Tensor> {
    if kind(b) > kind(x) {
        return Err(Error::dtype(format!("{op}: expected an operand that {} can hold; got {}", x.dtype(), b.dtype())));
    }
    let b = cast(b, x.dtype())?;
    if overlaps(x, &b) { copy(&b) } else { Ok(b) }
}

fn number(op: &str, x: &Tensor, s: Scalar) -> Result<()> {
    if s.promote(x.dtype()) == x.dtype() {
        return Ok(());
    }
    Err(Error::dtype(format!("{op}: expected a number that {} can hold; got {s}", x.dtype())))
}

/// True if a change of x by the others has a gradient that must not be lost.
pub(super) fn flows(x: &Tensor, others: &[&Tensor]) -> bool {
    let flows = || x.requires_grad() || others.iter().any(|t| t.requires_grad());
    x.dtype().is_float() && tape::is_grad_enabled() && flows()
}

/// Change x on the tape, to what `recorded` makes of a copy of it: its backward may read the old value.
pub(super) fn change_on_tape(op: &str, x: &Tensor, recorded: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<()> {
    x.check_recordable(op)?;
    if !x.storage().writable() {
        return Err(Error::value(format!("{op}: expected a writable tensor; got a read-only array")));
    }
    trace::obstacle("a result on the tape was changed in place");
    rebase(x, &cast(&recorded(&copy(x)?)?, x.dtype())?)
}

/// x ← f(x), for an `f` whose result has the shape of x and a dtype that x can hold.
pub fn assign(
    op: &'static str,
    x: &Tensor,
    others: &[&Tensor],
    f: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<()> {
    check_target(op, x)?;
    let checked = |x: &Tensor| {
        let y = f(x)?;
        if y.shape() != x.shape() {
            return Err(shape_error(op, &format!("an operand that broadcasts to {}", show(x.shape())), y.shape()));
        }
        if kind(&y) > kind(x) {
            return Err(Error::dtype(format!(
                "{op}: expected an operand that {} can hold; got {}",
                x.dtype(),
                y.dtype()
            )));
        }
        Ok(y)
    };
    if flows(x, others) { change_on_tape(op, x, checked) } else { copy_(x, &checked(x)?) }
}

/// Change x: in memory, or where a gradient flows, on the tape as well, as what `recorded` makes of the old x.
fn change(
    change: InPlace,
    x: &Tensor,
    others: &[&Tensor],
    recorded: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<()> {
    if !flows(x, others) {
        return apply_in_place(change, x, others);
    }
    let metas: SmallVec<[Meta; 2]> = std::iter::once(x).chain(others.iter().copied()).map(Tensor::meta).collect();
    change.infer(&metas)?;
    change_on_tape(change.name, x, recorded)
}

fn add_scaled_(name: &'static str, x: &Tensor, b: &Tensor, alpha: Scalar) -> Result<()> {
    check_target(name, x)?;
    number(name, x, alpha)?;
    let how = if alpha.to_f64() == 1.0 { Change::Arithmetic(Arithmetic::Add) } else { Change::AddScaled(alpha) };
    let b = operand(name, x, b)?;
    change(InPlace { name, change: how }, x, &[&b], |x| match how {
        Change::AddScaled(_) => add(x, &mul_scalar(&b, alpha)?),
        _ => add(x, &b),
    })
}

/// x ← x + α · b
pub fn add_(x: &Tensor, b: &Tensor, alpha: impl Into<Scalar>) -> Result<()> {
    add_scaled_("add_", x, b, alpha.into())
}

/// x ← x − α · b
pub fn sub_(x: &Tensor, b: &Tensor, alpha: impl Into<Scalar>) -> Result<()> {
    if x.dtype() == DType::Bool {
        return Err(Error::dtype("sub_: expected numbers; got bool"));
    }
    let alpha = match alpha.into() {
        Scalar::Bool(a) => Scalar::Int(-i64::from(a)),
        Scalar::Int(a) => Scalar::Int(a.wrapping_neg()),
        Scalar::Float(a) => Scalar::Float(-a),
    };
    add_scaled_("sub_", x, b, alpha)
}

fn arithmetic(name: &'static str, op: Arithmetic, x: &Tensor, b: &Tensor) -> Result<()> {
    check_target(name, x)?;
    let b = operand(name, x, b)?;
    change(InPlace { name, change: Change::Arithmetic(op) }, x, &[&b], |x| binary(op, x, &b))
}

fn binary(op: Arithmetic, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match op {
        Arithmetic::Add => add(a, b),
        Arithmetic::Sub => sub(a, b),
        Arithmetic::Mul => mul(a, b),
        Arithmetic::Div => div(a, b),
        Arithmetic::Pow => pow(a, b),
        Arithmetic::FloorDiv => floor_divide(a, b),
        Arithmetic::Remainder => remainder(a, b),
    }
}

/// x ← x · b
pub fn mul_(x: &Tensor, b: &Tensor) -> Result<()> {
    arithmetic("mul_", Arithmetic::Mul, x, b)
}

/// x ← x / b, of floats.
pub fn div_(x: &Tensor, b: &Tensor) -> Result<()> {
    arithmetic("div_", Arithmetic::Div, x, b)
}

/// x ← ⌊x / b⌋
pub fn floor_divide_(x: &Tensor, b: &Tensor) -> Result<()> {
    arithmetic("floor_divide_", Arithmetic::FloorDiv, x, b)
}

/// x ← x − ⌊x / b⌋ · b
pub fn remainder_(x: &Tensor, b: &Tensor) -> Result<()> {
    arithmetic("remainder_", Arithmetic::Remainder, x, b)
}

fn arithmetic_scalar(name: &'static str, op: Arithmetic, x: &Tensor, s: Scalar) -> Result<()> {
    check_target(name, x)?;
    number(name, x, s)?;
    change(InPlace { name, change: Change::ArithmeticScalar(op, s) }, x, &[], |x| match op {
        Arithmetic::Add => add_scalar(x, s),
        Arithmetic::Sub => sub_scalar(x, s),
        Arithmetic::Mul => mul_scalar(x, s),
        Arithmetic::Div => div_scalar(x, s),
        Arithmetic::Pow => pow_scalar(x, s),
        Arithmetic::FloorDiv => floor_divide_scalar(x, s),
        Arithmetic::Remainder => remainder_scalar(x, s),
    })
}

/// x ← x + s
pub fn add_scalar_(x: &Tensor, s: impl Into<Scalar>) -> Result<()> {
    arithmetic_scalar("add_", Arithmetic::Add, x, s.into())
}

/// x ← x − s
pub fn sub_scalar_(x: &Tensor, s: impl Into<Scalar>) -> Result<()> {
    arithmetic_scalar("sub_", Arithmetic::Sub, x, s.into())
}

/// x ← x · s
pub fn mul_scalar_(x: &Tensor, s: impl Into<Scalar>) -> Result<()> {
    arithmetic_scalar("mul_", Arithmetic::Mul, x, s.into())
}

/// x ← x / s, of floats.
pub fn div_scalar_(x: &Tensor, s: impl Into<Scalar>) -> Result<()> {
    arithmetic_scalar("div_", Arithmetic::Div, x, s.into())
}

/// x ← ⌊x / s⌋
pub fn floor_divide_scalar_(x: &Tensor, s: impl Into<Scalar>) -> Result<()> {
    arithmetic_scalar("floor_divide_", Arithmetic::FloorDiv, x, s.into())
}

/// x ← x − ⌊x / s⌋ · s
pub fn remainder_scalar_(x: &Tensor, s: impl Into<Scalar>) -> Result<()> {
    arithmetic_scalar("remainder_", Arithmetic::Remainder, x, s.into())
}

/// x ← b, converted to x's dtype and broadcast to its shape.
pub fn copy_(x: &Tensor, b: &Tensor) -> Result<()> {
    check_target("copy_", x)?;
    let b = if overlaps(x, b) { copy(b)? } else { b.clone() };
    change(InPlace { name: "copy_", change: Change::Copy }, x, &[&b], |x| {
        overwritten(x, &copy(&broadcast_to(&cast(&b, x.dtype())?, x.shape())?)?)
    })
}

fn fill_with(name: &'static str, x: &Tensor, s: Scalar) -> Result<()> {
    check_target(name, x)?;
    change(InPlace { name, change: Change::Fill(s) }, x, &[], |x| overwritten(x, &full(x.shape(), s, Some(x.dtype()))))
}

/// x ← s, converted to x's dtype.
pub fn fill_(x: &Tensor, s: impl Into<Scalar>) -> Result<()> {
    fill_with("fill_", x, s.into())
}

/// x ← 0
pub fn zero_(x: &Tensor) -> Result<()> {
    fill_with("zero_", x, Scalar::Int(0))
}

/// x ← x held to `[min, max]`; a bound may be missing.
pub fn clamp_(x: &Tensor, min: Option<Scalar>, max: Option<Scalar>) -> Result<()> {
    check_target("clamp_", x)?;
    if x.dtype() == DType::I64 {
        [min, max].into_iter().flatten().try_for_each(|s| number("clamp_", x, s))?;
        return copy_(x, &clamp(x, min, max)?);
    }
    super::float_dtype("clamp_", &[x.meta()])?;
    change(InPlace { name: "clamp_", change: Change::Clamp(min, max) }, x, &[], |x| clamp(x, min, max))
}

#[cfg(test)]
mod tests;

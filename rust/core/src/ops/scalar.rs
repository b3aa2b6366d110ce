//! Arithmetic of a tensor and a Python number.
//!
//! ```text
//! add_scalar   y = x + s    grad_x = g              rsub_scalar   y = s − x    grad_x = −g
//! sub_scalar   y = x − s    grad_x = g              rdiv_scalar   y = s / x    grad_x = −g · y / x
//! mul_scalar   y = x · s    grad_x = g · s          rpow_scalar   y = sˣ       grad_x = g · y · ln s
//! div_scalar   y = x / s    grad_x = g / s
//! pow_scalar   y = xˢ       grad_x = g · s · xˢ⁻¹, and 0 if s is 0
//!
//! floor_divide_scalar  y = ⌊x / s⌋    grad_x = 0
//! remainder_scalar     y = x − ⌊x / s⌋ · s    grad_x = g
//! ```
//! The tensor keeps its dtype, unless the number is of a higher kind: a float makes float32 of an integer tensor, and an
//! integer makes int64 of a mask.

use std::fmt;

use smallvec::smallvec;

use super::binary::Arithmetic;
use super::{Grads, Op, Outputs, Run, Saves, apply, cast, ge_scalar, masked_fill, mul, neg};
use crate::element::{DType, Element, Float};
use crate::error::{Error, Result};
use crate::kernels::unary;
use crate::tensor::layout::Layout;
use crate::tensor::tape::{Backward, through};
use crate::tensor::{Meta, Tensor, View};
use crate::{with_element, with_float};

/// A Python number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// `True` or `False`.
    Bool(bool),
    /// An `int`.
    Int(i64),
    /// A `float`.
    Float(f64),
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
impl From<i64> for Scalar {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}
impl From<i32> for Scalar {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}
impl From<f64> for Scalar {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(x) => f.write_str(if *x { "True" } else { "False" }),
            Self::Int(x) => x.fmt(f),
            Self::Float(x) => x.fmt(f),
        }
    }
}

impl Scalar {
    /// The value as a float.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Bool(x) => f64::from(u8::from(x)),
            Self::Int(x) => x as f64,
            Self::Float(x) => x,
        }
    }

    /// The value, if it is no float.
    #[must_use]
    pub fn whole(self) -> Option<i64> {
        match self {
            Self::Bool(x) => Some(x.into()),
            Self::Int(x) => Some(x),
            Self::Float(_) => None,
        }
    }

    /// The dtype that a tensor made of it has.
    #[must_use]
    pub fn dtype(self) -> DType {
        match self {
            Self::Bool(_) => DType::Bool,
            Self::Int(_) => DType::I64,
            Self::Float(_) => DType::F32,
        }
    }

    /// The dtype of its arithmetic with a tensor of `dtype`.
    #[must_use]
    pub fn promote(self, dtype: DType) -> DType {
        match (dtype, self) {
            (DType::I64 | DType::Bool, Self::Float(_)) => DType::F32,
            (DType::Bool, Self::Int(_)) => DType::I64,
            _ => dtype,
        }
    }

    /// A tensor without dimensions that holds the very value: floats as float64.
    #[must_use]
    pub fn exact(self) -> Tensor {
        self.tensor(if self.dtype() == DType::F32 { DType::F64 } else { self.dtype() })
    }

    /// The value as an element, converted as `NumPy`'s `astype`.
    pub(super) fn element<T: FromScalar>(self) -> T {
        T::from_scalar(self)
    }

    /// A tensor of one element without dimensions.
    #[must_use]
    pub fn tensor(self, dtype: DType) -> Tensor {
        with_element!(dtype, T => Tensor::from_slice(&[self.element::<T>()], &[]))
    }
}

/// Element types as which a number can be had.
pub(super) trait FromScalar: Element {
    fn from_scalar(value: Scalar) -> Self;
}

macro_rules! from_scalar {
    ($($t:ty: |$x:ident| $float:expr, |$i:ident| $int:expr;)+) => {$(
        impl FromScalar for $t {
            #[allow(clippy::cast_lossless)]
            fn from_scalar(value: Scalar) -> Self {
                match value {
                    Scalar::Float($x) => $float,
                    Scalar::Int($i) => $int,
                    Scalar::Bool(b) => u8::from(b) as $t,
                }
            }
        }
    )+};
}
from_scalar! {
    f32: |x| x as f32, |i| i as f32;
    f64: |x| x, |i| i as f64;
    i64: |x| x as i64, |i| i;
    u8: |x| u8::from(x != 0.0), |i| u8::from(i != 0);
}

/// Call `f` with a view of the number as an element of `dtype`.
pub(super) fn with_view<R>(value: Scalar, dtype: DType, f: impl FnOnce(&View<'_>) -> R) -> R {
    let layout = Layout::contiguous(&[]);
    with_element!(dtype, T => {
        let mut element: T = value.element();
        // SAFETY: one element, alive until `f` returns, and of the layout's one place.
        f(&unsafe { View::new((&raw mut element).cast(), &layout, dtype) })
    })
}

/// x ∘ s, or s ∘ x if reversed.
#[derive(Clone, Copy, Debug)]
struct WithScalar {
    op: Arithmetic,
    value: Scalar,
    reversed: bool,
}

impl Op for WithScalar {
    fn name(&self) -> &'static str {
        match (self.op, self.reversed) {
            (Arithmetic::Sub, true) => "rsub",
            (Arithmetic::Div, true) => "rdiv",
            (Arithmetic::Pow, true) => "rpow",
            _ => self.op.name(),
        }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        self.op.check_dtype(inputs[0].dtype)?;
        Ok(smallvec![inputs[0].clone()])
    }

    fn strided(&self) -> bool {
        true
    }

    fn check(&self, inputs: &[View<'_>]) -> Result<()> {
        with_view(self.value, inputs[0].dtype(), |s| {
            let (a, b) = if self.reversed { (s, &inputs[0]) } else { (&inputs[0], s) };
            self.op.check_divisor(self.name(), a, b)
        })
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let (x, y) = (&inputs[0], &outputs[0]);
        with_view(self.value, y.dtype(), |s| {
            let (a, b) = if self.reversed { (s, x) } else { (x, s) };
            self.op.run(run, a, b, y);
        });
    }

    fn saves(&self) -> Saves {
        match (self.op, self.reversed) {
            (Arithmetic::Div, true) => Saves { inputs: 1, outputs: 1 },
            // The base 0 has no logarithm; its gradient depends on the sign of the exponent.
            (Arithmetic::Pow, true) => Saves { inputs: u32::from(self.value.to_f64() == 0.0), outputs: 1 },
            _ => Saves::NONE,
        }
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let (g, s) = (cx.grad(), self.value);
        let grad = match (self.op, self.reversed) {
            (Arithmetic::Add, _) | (Arithmetic::Sub | Arithmetic::Remainder, false) => g.clone(),
            (Arithmetic::FloorDiv, _) => Tensor::zeros(g.shape(), g.dtype()),
            (Arithmetic::Remainder, true) => unreachable!("a number's remainder by a tensor is that of two tensors"),
            (Arithmetic::Sub, true) => neg(g)?,
            (Arithmetic::Mul, _) => mul_scalar(g, s)?,
            (Arithmetic::Div, false) => div_scalar(g, s)?,
            (Arithmetic::Div, true) => neg(&super::div(&mul(g, cx.output(0))?, cx.input(0))?)?,
            (Arithmetic::Pow, true) => {
                let log = Float::ln(s.to_f64());
                let grad = mul(g, &mul_scalar(cx.output(0), log)?)?;
                if s.to_f64() == 0.0 { masked_fill(&grad, &ge_scalar(cx.input(0), 0)?, 0)? } else { grad }
            }
            (Arithmetic::Pow, false) => {
                unreachable!("powers of floats are PowScalar, those of integers have no gradient")
            }
        };
        Ok(smallvec![Some(grad)])
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel() * self.op.work_per_8() / 8
    }
}

/// xˢ of floats, or its gradient g · s · xˢ⁻¹ of the inputs (g, x).
#[derive(Clone, Copy, Debug)]
struct PowScalar {
    exponent: f64,
    gradient: bool,
}

impl Op for PowScalar {
    fn name(&self) -> &'static str {
        if self.gradient { "pow_backward" } else { "pow" }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![inputs[0].clone()])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let share = run.team.share(outputs[0].numel());
        with_float!(outputs[0].dtype(), T => {
            // SAFETY: shares of a team do not overlap.
            let y = unsafe { outputs[0].part::<T>(share.clone()) };
            let first = &inputs[0].slice::<T>()[share.clone()];
            if self.gradient {
                unary::pow_scalar_grad(self.exponent, first, &inputs[1].slice::<T>()[share], y);
            } else {
                unary::pow_scalar(self.exponent, first, y);
            }
        });
    }

    fn saves(&self) -> Saves {
        if self.gradient { Saves::ALL } else { Saves::inputs(1) }
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        if self.gradient {
            return through(cx, |t| {
                let slope = pow_scalar(&t[1], self.exponent - 1.0)?;
                let flat = self.exponent == 0.0;
                Ok(vec![if flat { mul_scalar(&t[0], 0.0)? } else { mul(&t[0], &mul_scalar(&slope, self.exponent)?)? }])
            });
        }
        let grad = apply(Self { gradient: true, ..*self }, &[cx.grad(), cx.input(0)])?;
        Ok(smallvec![Some(grad)])
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        let cheap = [-1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0].contains(&self.exponent);
        inputs[0].numel() * if cheap { 1 } else { 8 }
    }
}

fn with_scalar(op: Arithmetic, x: &Tensor, value: Scalar, reversed: bool) -> Result<Tensor> {
    let dtype = value.promote(x.dtype());
    let dtype = if op == Arithmetic::Div && !dtype.is_float() { DType::F32 } else { dtype };
    let op = WithScalar { op, value, reversed };
    if x.dtype() == dtype { apply(op, &[x]) } else { apply(op, &[&cast(x, dtype)?]) }
}

/// x + s
pub fn add_scalar(x: &Tensor, s: impl Into<Scalar>) -> Result<Tensor> {
    with_scalar(Arithmetic::Add, x, s.into(), false)
}

/// x − s
pub fn sub_scalar(x: &Tensor, s: impl Into<Scalar>) -> Result<Tensor> {
    with_scalar(Arithmetic::Sub, x, s.into(), false)
}

/// s − x
pub fn rsub_scalar(x: &Tensor, s: impl Into<Scalar>) -> Result<Tensor> {
    with_scalar(Arithmetic::Sub, x, s.into(), true)
}

/// x · s
pub fn mul_scalar(x: &Tensor, s: impl Into<Scalar>) -> Result<Tensor> {
    with_scalar(Arithmetic::Mul, x, s.into(), false)
}

/// x / s; of integers and masks, a float32.
pub fn div_scalar(x: &Tensor, s: impl Into<Scalar>) -> Result<Tensor> {
    with_scalar(Arithmetic::Div, x, s.into(), false)
}

/// s / x; of integers and masks, a float32.
pub fn rdiv_scalar(x: &Tensor, s: impl Into<Scalar>) -> Result<Tensor> {
    with_scalar(Arithmetic::Div, x, s.into(), true)
}

/// xˢ. ½ is a square root and small whole exponents are products. An integer to a negative power is an error.
pub fn pow_scalar(x: &Tensor, s: impl Into<Scalar>) -> Result<Tensor> {
    let s = s.into();
    let dtype = s.promote(x.dtype());
    if dtype.is_float() {
        let exponent = s.to_f64();
        return apply(PowScalar { exponent, gradient: false }, &[&cast(x, dtype)?]);
    }
    if s.to_f64() < 0.0 {
        return Err(Error::value(format!("pow: expected an exponent of integers of at least 0; got {s}")));
    }
    with_scalar(Arithmetic::Pow, x, s, false)
}

/// ⌊x / s⌋
pub fn floor_divide_scalar(x: &Tensor, s: impl Into<Scalar>) -> Result<Tensor> {
    with_scalar(Arithmetic::FloorDiv, x, s.into(), false)
}

/// x − ⌊x / s⌋ · s
pub fn remainder_scalar(x: &Tensor, s: impl Into<Scalar>) -> Result<Tensor> {
    with_scalar(Arithmetic::Remainder, x, s.into(), false)
}

/// sˣ
pub fn rpow_scalar(x: &Tensor, s: impl Into<Scalar>) -> Result<Tensor> {
    with_scalar(Arithmetic::Pow, x, s.into(), true)
}

#[cfg(test)]
mod tests;

//! Elementary functions of one tensor.
//!
//! | op | y | `grad_x` |
//! |---|---|---|
//! | neg | −x | −g |
//! | exp, expm1 | eˣ, eˣ − 1 | g · eˣ |
//! | log, log1p | ln x, ln(1 + x) | g / x, g / (1 + x) |
//! | sqrt, rsqrt | √x, 1/√x | g / 2y, −½ · g · y³ |
//! | square, reciprocal | x², 1/x | 2 · g · x, −g · y² |
//! | abs | \|x\| | g · sign x, 0 at 0 |
//! | sin, cos | sin x, cos x | g · cos x, −g · sin x |
//! | erf | the error function | g · 2/√π · exp(−x²) |
//! | sign, floor, ceil, round, trunc | as named; round takes halves to even | 0 |
//!
//! Integers and masks become float32, except in neg, abs, square, sign and the roundings, which keep integers.

use smallvec::smallvec;

use super::walk::map;
use super::{Grads, Op, Outputs, Run, Saves, add, add_scalar, apply, cast, div, mul, mul_scalar};
use crate::element::{DType, Element, Float};
use crate::error::{Error, Result};
use crate::kernels::elementwise::{Map, Number, maps};
use crate::kernels::unary::{self as kernels, Unary, unary};
use crate::tensor::tape::{Backward, through};
use crate::tensor::{Meta, Tensor, View};
use crate::{with_element, with_float};

unary!(
    /// The error function.
    Erf,
    input,
    |self, x| x.erf(),
    |x, _y| kernels::c::<T>(std::f64::consts::FRAC_2_SQRT_PI) * (-(x * x)).exp()
);
maps! {
    /// −x
    NegNumber for Number, |x| x.negate() => T;
    /// |x|
    AbsNumber for Number, |x| x.magnitude() => T;
    /// x²
    SquareNumber for Number, |x| x.times(x) => T;
    /// −1, 0 or 1
    SignNumber for Number, |x| x.signum() => T;
}

/// A function of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Neg,
    Exp,
    Expm1,
    Log,
    Log1p,
    Sqrt,
    Rsqrt,
    Square,
    Reciprocal,
    Abs,
    Sin,
    Cos,
    Erf,
    Sign,
}

/// Call `$body` with `$f` bound to the kernel of a function.
macro_rules! with_function {
    ($function:expr, $f:ident => $body:expr) => {
        with_function!(@arms $function, $f, $body,
            Neg: kernels::Neg, Exp: kernels::Exp, Expm1: kernels::Expm1, Log: kernels::Ln, Log1p: kernels::Log1p,
            Sqrt: kernels::Sqrt, Rsqrt: kernels::Rsqrt, Square: kernels::Square, Reciprocal: kernels::Reciprocal,
            Abs: kernels::Abs, Sin: kernels::Sin, Cos: kernels::Cos, Erf: Erf, Sign: kernels::Sign)
    };
    (@arms $function:expr, $f:ident, $body:expr, $($name:ident: $kernel:expr),+) => {
        match $function {
            $(Function::$name => {
                let $f = $kernel;
                $body
            })+
        }
    };
}

/// Tensors that the backward of a function reads.
fn saves_of<U: Unary<f64>>(_: U) -> Saves {
    Saves { inputs: U::NEEDS_INPUT.into(), outputs: U::NEEDS_OUTPUT.into() }
}

impl Function {
    const fn name(self) -> &'static str {
        match self {
            Self::Neg => "neg",
            Self::Exp => "exp",
            Self::Expm1 => "expm1",
            Self::Log => "log",
            Self::Log1p => "log1p",
            Self::Sqrt => "sqrt",
            Self::Rsqrt => "rsqrt",
            Self::Square => "square",
            Self::Reciprocal => "reciprocal",
            Self::Abs => "abs",
            Self::Sin => "sin",
            Self::Cos => "cos",
            Self::Erf => "erf",
            Self::Sign => "sign",
        }
    }

    /// True if integers stay integers.
    const fn keeps_integers(self) -> bool {
        matches!(self, Self::Neg | Self::Square | Self::Abs | Self::Sign)
    }

    /// [`FunctionGrad`] of ops that have a backward.
    fn slope(self, inputs: &[Tensor]) -> Result<Tensor> {
        let g = &inputs[0];
        // x or y, whichever the gradient reads.
        let kept = inputs.last().unwrap_or(g);
        let slope = match self {
            Self::Neg => return neg(g),
            Self::Sign => return mul_scalar(g, 0.0),
            Self::Log => return div(g, kept),
            Self::Log1p => return div(g, &add_scalar(kept, 1.0)?),
            Self::Sqrt => return div(g, &add(kept, kept)?),
            Self::Exp => kept.clone(),
            Self::Expm1 => add_scalar(kept, 1.0)?,
            Self::Rsqrt => mul_scalar(&mul(&square(kept)?, kept)?, -0.5)?,
            Self::Square => add(kept, kept)?,
            Self::Reciprocal => neg(&square(kept)?)?,
            Self::Abs => sign(kept)?,
            Self::Sin => cos(kept)?,
            Self::Cos => neg(&sin(kept)?)?,
            Self::Erf => mul_scalar(&exp(&neg(&square(kept)?)?)?, std::f64::consts::FRAC_2_SQRT_PI)?,
        };
        mul(g, &slope)
    }

    /// Roughly how many nanoseconds one element takes, times 8.
    const fn work_per_8(self) -> usize {
        match self {
            Self::Neg | Self::Square | Self::Abs | Self::Sign => 4,
            Self::Sqrt | Self::Rsqrt | Self::Reciprocal => 8,
            _ => 16,
        }
    }
}

impl Op for Function {
    fn name(&self) -> &'static str {
        Self::name(*self)
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        if *self == Self::Neg && inputs[0].dtype == DType::Bool {
            return Err(Error::dtype("neg: expected numbers; got bool"));
        }
        Ok(smallvec![inputs[0].clone()])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let (x, y) = (&inputs[0], &outputs[0]);
        if !y.dtype().is_float() {
            with_element!(y.dtype(), T => match self {
                Self::Neg => map::<T, _>(run.team, NegNumber, x, y),
                Self::Abs => map::<T, _>(run.team, AbsNumber, x, y),
                Self::Square => map::<T, _>(run.team, SquareNumber, x, y),
                Self::Sign => map::<T, _>(run.team, SignNumber, x, y),
                _ => unreachable!("integers were cast to float"),
            });
            return;
        }
        let share = run.team.share(y.numel());
        with_float!(y.dtype(), T => {
            // SAFETY: shares of a team do not overlap.
            let y = unsafe { y.part::<T>(share.clone()) };
            with_function!(self, f => kernels::map(f, &x.slice::<T>()[share], y));
        });
    }

    fn saves(&self) -> Saves {
        with_function!(self, f => saves_of(f))
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let op = FunctionGrad(*self);
        let saves = self.saves();
        let grad = if saves.input(0) {
            apply(op, &[cx.grad(), cx.input(0)])?
        } else if saves.output(0) {
            apply(op, &[cx.grad(), cx.output(0)])?
        } else {
            apply(op, &[cx.grad()])?
        };
        Ok(smallvec![Some(grad)])
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel() * self.work_per_8() / 8
    }
}

/// The gradient of a function; inputs g, and x or y where it reads one.
#[derive(Clone, Copy, Debug)]
struct FunctionGrad(Function);

impl Op for FunctionGrad {
    fn name(&self) -> &'static str {
        "unary_backward"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![inputs[0].clone()])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let saves = self.0.saves();
        let share = run.team.share(outputs[0].numel());
        with_float!(outputs[0].dtype(), T => {
            // SAFETY: shares of a team do not overlap.
            let out = unsafe { outputs[0].part::<T>(share.clone()) };
            let kept: &[T] = inputs.get(1).map_or(&[], |kept| &kept.slice::<T>()[share.clone()]);
            let (x, y): (&[T], &[T]) = if saves.input(0) { (kept, &[]) } else { (&[], kept) };
            with_function!(self.0, f => kernels::map_grad(f, &inputs[0].slice::<T>()[share], x, y, out));
        });
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        through(cx, |t| Ok(vec![self.0.slope(t)?]))
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel() * self.0.work_per_8() / 8
    }
}

fn function(f: Function, x: &Tensor) -> Result<Tensor> {
    if x.dtype().is_float() || f.keeps_integers() { apply(f, &[x]) } else { apply(f, &[&cast(x, DType::F32)?]) }
}

macro_rules! functions {
    ($($name:ident: $function:ident, $text:literal;)+) => {$(
        #[doc = $text]
        pub fn $name(x: &Tensor) -> Result<Tensor> {
            function(Function::$function, x)
        }
    )+};
}
functions! {
    neg: Neg, "−x";
    exp: Exp, "eˣ";
    expm1: Expm1, "eˣ − 1, exact near 0";
    log: Log, "ln x; NaN below 0";
    log1p: Log1p, "ln(1 + x), exact near 0";
    sqrt: Sqrt, "√x; NaN below 0";
    rsqrt: Rsqrt, "1 / √x";
    square: Square, "x²";
    reciprocal: Reciprocal, "1 / x";
    abs: Abs, "|x|";
    sin: Sin, "sin x";
    cos: Cos, "cos x";
    erf: Erf, "The error function, 2/√π · ∫₀ˣ exp(−t²) dt";
    sign: Sign, "−1, 0 or 1; 0 for NaN";
}

/// A whole number near x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rounding {
    Floor,
    Ceil,
    Round,
    Trunc,
}

macro_rules! rounding_maps {
    ($($name:ident: $method:ident;)+) => {$(
        #[derive(Clone, Copy, Debug)]
        struct $name;
        impl Map<f32> for $name {
            type Out = f32;
            #[inline(always)]
            fn call(self, x: f32) -> f32 {
                x.$method()
            }
        }
        impl Map<f64> for $name {
            type Out = f64;
            #[inline(always)]
            fn call(self, x: f64) -> f64 {
                x.$method()
            }
        }
    )+};
}
rounding_maps! {
    Floor: floor;
    Ceil: ceil;
    Round: round_ties_even;
    Trunc: trunc;
}

impl Rounding {
    fn run<T: Float + Element>(self, run: &Run<'_>, x: &View<'_>, y: &View<'_>)
    where
        Floor: Map<T>,
        Ceil: Map<T>,
        Round: Map<T>,
        Trunc: Map<T>,
    {
        match self {
            Self::Floor => map::<T, _>(run.team, Floor, x, y),
            Self::Ceil => map::<T, _>(run.team, Ceil, x, y),
            Self::Round => map::<T, _>(run.team, Round, x, y),
            Self::Trunc => map::<T, _>(run.team, Trunc, x, y),
        }
    }
}

impl Op for Rounding {
    fn name(&self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Ceil => "ceil",
            Self::Round => "round",
            Self::Trunc => "trunc",
        }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        if inputs[0].dtype == DType::Bool {
            return Err(Error::dtype(format!("{}: expected numbers; got bool", self.name())));
        }
        Ok(smallvec![inputs[0].clone()])
    }

    fn strided(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_float!(outputs[0].dtype(), T => Rounding::run::<T>(*self, run, &inputs[0], &outputs[0]));
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let meta = &cx.input_meta[0];
        Ok(smallvec![Some(Tensor::zeros(&meta.shape, meta.dtype))])
    }
}

macro_rules! roundings {
    ($($name:ident: $rounding:ident, $text:literal;)+) => {$(
        #[doc = $text]
        pub fn $name(x: &Tensor) -> Result<Tensor> {
            if x.dtype() == DType::I64 { Ok(x.clone()) } else { apply(Rounding::$rounding, &[x]) }
        }
    )+};
}
roundings! {
    floor: Floor, "The greatest whole number not above x.";
    ceil: Ceil, "The least whole number not below x.";
    round: Round, "The whole number nearest to x; of two, the even one.";
    trunc: Trunc, "x without its fraction.";
}

#[cfg(test)]
mod tests;

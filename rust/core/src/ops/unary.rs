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
use super::{Grads, Op, Outputs, Run, Saves, apply, cast};
use crate::element::{DType, Element, Float};
use crate::error::{Error, Result};
use crate::kernels::elementwise::{Map, Number, maps};
use crate::kernels::unary::{self as kernels, Unary, unary};
use crate::tensor::tape::Backward;
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

/// Which function.
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

/// What backward reads of a function.
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

    /// Whether integers stay integers.
    const fn keeps_integers(self) -> bool {
        matches!(self, Self::Neg | Self::Square | Self::Abs | Self::Sign)
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

    fn differentiable(&self) -> bool {
        false
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
mod tests {
    use super::*;
    use crate::kernels::testing::assert_close;
    use crate::ops::gradcheck::{between, gradcheck};
    use crate::ops::permute;

    type Case = (fn(&Tensor) -> Result<Tensor>, fn(f64) -> f64);
    const CASES: [Case; 18] = [
        (neg, |x| -x),
        (exp, f64::exp),
        (expm1, f64::exp_m1),
        (log, f64::ln),
        (log1p, f64::ln_1p),
        (sqrt, f64::sqrt),
        (rsqrt, |x| 1.0 / x.sqrt()),
        (square, |x| x * x),
        (reciprocal, |x| 1.0 / x),
        (abs, f64::abs),
        (sin, f64::sin),
        (cos, f64::cos),
        (erf, libm::erf),
        (sign, f64::signum),
        (floor, f64::floor),
        (ceil, f64::ceil),
        (round, f64::round_ties_even),
        (trunc, f64::trunc),
    ];

    #[test]
    fn values_and_gradients() {
        for shape in [vec![], vec![33], vec![3, 5], vec![0, 4]] {
            let x = between(0.3, 2.9, &shape, 1);
            for (op, f) in CASES {
                let expected: Vec<f64> = x.to_vec_f64().iter().map(|&x| f(x)).collect();
                assert_close(&op(&x).unwrap().to_vec_f64(), &expected, 1e-14);
                let narrow = crate::ops::cast(&x, DType::F32).unwrap();
                assert_close(&op(&narrow).unwrap().to_vec_f64(), &expected, 2e-6);
                gradcheck(|x| op(&x[0]), std::slice::from_ref(&x));
            }
        }
        for (op, f) in [CASES[0], CASES[2], CASES[7], CASES[8], CASES[9], CASES[10], CASES[11], CASES[12], CASES[13]] {
            let x = permute(&between(-2.9, -0.3, &[3, 7], 2), &[1, 0]).unwrap();
            let expected: Vec<f64> = x.to_vec_f64().iter().map(|&x| f(x)).collect();
            assert_close(&op(&x).unwrap().to_vec_f64(), &expected, 1e-14);
            gradcheck(|x| op(&x[0]), &[x]);
        }
    }

    #[test]
    fn halves_are_rounded_to_even() {
        let x = Tensor::from_slice(&[0.5_f32, 1.5, 2.5, -0.5, -1.5], &[5]);
        assert_eq!(round(&x).unwrap().to_vec_f64(), [0.0, 2.0, 2.0, 0.0, -2.0]);
    }

    #[test]
    fn integers_stay_integers_where_the_result_is_one() {
        let x = Tensor::from_slice(&[-3_i64, 0, 4], &[3]);
        for (op, expected) in
            [(neg as fn(&Tensor) -> _, [3, 0, -4]), (abs, [3, 0, 4]), (square, [9, 0, 16]), (sign, [-1, 0, 1])]
        {
            assert_eq!(op(&x).unwrap().view().slice::<i64>(), expected);
        }
        assert_eq!(floor(&x).unwrap().id(), x.id());
        assert_eq!(exp(&x).unwrap().dtype(), DType::F32);
        let mask = Tensor::from_slice(&[1_u8], &[1]);
        assert_eq!(neg(&mask).unwrap_err(), Error::Type("neg: expected numbers; got bool".into()));
    }

    #[test]
    fn kinks_and_zeros() {
        let slope_at_zero = |f: fn(&Tensor) -> Result<Tensor>| {
            let x = Tensor::zeros(&[], DType::F64);
            x.set_requires_grad(true).unwrap();
            crate::tensor::tape::backward(&f(&x).unwrap(), None, false).unwrap();
            x.grad().unwrap().to_vec_f64()[0]
        };
        assert_eq!(slope_at_zero(abs), 0.0);
        assert_eq!(slope_at_zero(sqrt), f64::INFINITY);
    }
}

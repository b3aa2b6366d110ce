//! Functions of one variable with their derivatives, and the loops that apply them.
//!
//! Formulas and derivatives at kinks are `PyTorch`'s. The activations of networks are in [`super::activation`].

use crate::element::Float;
use crate::simd;

/// A differentiable function of one variable, `y = f(x)`.
pub trait Unary<T: Float>: Copy {
    /// True if [`grad`](Self::grad) reads `x`, so that it must be kept for backward.
    const NEEDS_INPUT: bool;
    /// True if [`grad`](Self::grad) reads `y`.
    const NEEDS_OUTPUT: bool;

    /// `f(x)`.
    fn eval(self, x: T) -> T;

    /// `f′(x)`, given `x` and `y = f(x)`; one that is not needed may be any number.
    fn grad(self, x: T, y: T) -> T;

    /// The gradient with respect to `x`, given the one with respect to `y`. A function that cuts gradients off gives 0 even if
    /// `grad_y` is infinite.
    #[inline(always)]
    fn backward(self, grad_y: T, x: T, y: T) -> T {
        grad_y * self.grad(x, y)
    }
}

/// One [`Unary`] function: documentation, name, fields, what its derivative reads, `f(x)`, `f′(x, y)`.
macro_rules! unary {
    (@needs input) => { const NEEDS_INPUT: bool = true; const NEEDS_OUTPUT: bool = false; };
    (@needs output) => { const NEEDS_INPUT: bool = false; const NEEDS_OUTPUT: bool = true; };
    (@needs both) => { const NEEDS_INPUT: bool = true; const NEEDS_OUTPUT: bool = true; };
    (@needs nothing) => { const NEEDS_INPUT: bool = false; const NEEDS_OUTPUT: bool = false; };
    (@functions |$self:ident, $x:ident| $eval:expr, |$gx:ident, $gy:ident| $grad:expr $(, |$by:ident, $bx:ident, $bo:ident| $backward:expr)?) => {
        #[inline(always)]
        fn eval($self, $x: T) -> T { $eval }
        #[inline(always)]
        fn grad($self, $gx: T, $gy: T) -> T { $grad }
        $(
            #[inline(always)]
            fn backward($self, $by: T, $bx: T, $bo: T) -> T { $backward }
        )?
    };
    ($(#[$meta:meta])* $name:ident, $needs:ident, $($functions:tt)+) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name;
        impl<T: Float> Unary<T> for $name {
            unary!(@needs $needs);
            unary!(@functions $($functions)+);
        }
    };
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident),+ }, $needs:ident, $($functions:tt)+) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name<T> { $($(#[$field_meta])* pub $field: T),+ }
        impl<T: Float> Unary<T> for $name<T> {
            unary!(@needs $needs);
            unary!(@functions $($functions)+);
        }
    };
}
pub(crate) use unary;

/// The nearest value to a constant.
#[inline(always)]
pub(crate) fn c<T: Float>(x: f64) -> T {
    T::from_f64(x)
}

/// −1, 0 or 1; 0 for NaN, as `torch.sign`.
#[inline(always)]
pub(crate) fn sign<T: Float>(x: T) -> T {
    let positive = if x > T::ZERO { T::ONE } else { T::ZERO };
    if x < T::ZERO { -T::ONE } else { positive }
}

/// `x` held to `min..=max`; NaN stays, and `max` wins over a greater `min`.
#[inline(always)]
pub(crate) fn clamp<T: Float>(x: T, min: T, max: T) -> T {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

unary!(/** −x. */ Neg, nothing, |self, x| -x, |_x, _y| -T::ONE, |grad_y, _x, _y| -grad_y);
unary!(/** eˣ. */ Exp, output, |self, x| x.exp(), |_x, y| y);
unary!(/** ln x. */ Ln, input, |self, x| x.ln(), |x, _y| T::ONE / x);
unary!(/** ln(1 + x). */ Log1p, input, |self, x| x.ln_1p(), |x, _y| T::ONE / (x + T::ONE));
unary!(/** eˣ − 1. */ Expm1, output, |self, x| x.exp_m1(), |_x, y| y + T::ONE);
unary!(/** √x. */ Sqrt, output, |self, x| x.sqrt(), |_x, y| T::ONE / (y + y));
unary!(/** 1 / √x. */ Rsqrt, output, |self, x| T::ONE / x.sqrt(), |_x, y| c::<T>(-0.5) * (y * y * y));
unary!(/** 1 / x. */ Reciprocal, output, |self, x| T::ONE / x, |_x, y| -(y * y));
unary!(/** |x|, with derivative 0 at 0. */ Abs, input, |self, x| x.abs(), |x, _y| sign(x));
unary!(/** The sign of x, 0 for NaN; its derivative is 0. */ Sign, nothing, |self, x| sign(x), |_x, _y| T::ZERO);
unary!(/** sin x. */ Sin, input, |self, x| x.sin(), |x, _y| x.cos());
unary!(/** cos x. */ Cos, input, |self, x| x.cos(), |x, _y| -x.sin());
unary!(/** x². */ Square, input, |self, x| x * x, |x, _y| x + x);
unary!(/** x³. */ Cube, input, |self, x| x * x * x, |x, _y| c::<T>(3.0) * (x * x));
unary!(
    /// x held to `min..=max`, where an infinite bound is none. The derivative is 1 at both ends.
    Clamp {
        /// The least value.
        min,
        /// The greatest value; it wins over a greater `min`.
        max
    },
    input,
    |self, x| clamp(x, self.min, self.max),
    |x, _y| if (x >= self.min) & (x <= self.max) { T::ONE } else { T::ZERO },
    |grad_y, x, _y| if (x >= self.min) & (x <= self.max) { grad_y } else { T::ZERO }
);
unary!(
    /// x to the power `exponent`; see [`pow_scalar`] for the fast exponents.
    PowScalar {
        /// The exponent.
        exponent
    },
    input,
    |self, x| x.pow(self.exponent),
    |x, _y| if self.exponent == T::ZERO { T::ZERO } else { self.exponent * x.pow(self.exponent - T::ONE) }
);

/// One step of backward over slices, of which `x` and `y` may be empty where `op` does not read them.
macro_rules! for_each_grad {
    ($op:ident: $u:ident, $x:ident, $y:ident, $outs:expr, |$out:ident, $xv:ident, $yv:ident| $body:expr) => {
        match ($u::NEEDS_INPUT, $u::NEEDS_OUTPUT) {
            (false, false) => {
                let ($xv, $yv) = (T::ZERO, T::ZERO);
                for $out in $outs {
                    $body;
                }
            }
            (true, false) => {
                let $yv = T::ZERO;
                for ($out, &$xv) in $outs.zip($x) {
                    $body;
                }
            }
            (false, true) => {
                let $xv = T::ZERO;
                for ($out, &$yv) in $outs.zip($y) {
                    $body;
                }
            }
            (true, true) => {
                for (($out, &$xv), &$yv) in $outs.zip($x).zip($y) {
                    $body;
                }
            }
        }
    };
}

simd! {
    /// y ← f(x)
    pub fn map<T: Float, U: Unary<T>>(op: U, x: &[T], y: &mut [T]) {
        debug_assert_eq!(x.len(), y.len());
        for (y, &x) in y.iter_mut().zip(x) {
            *y = op.eval(x);
        }
    }

    /// x ← f(x)
    pub fn map_in_place<T: Float, U: Unary<T>>(op: U, x: &mut [T]) {
        for x in x {
            *x = op.eval(*x);
        }
    }

    /// out ← grad · f′. `x` or `y` may be empty where the derivative does not read it.
    pub fn map_grad<T: Float, U: Unary<T>>(op: U, grad: &[T], x: &[T], y: &[T], out: &mut [T]) {
        debug_assert_eq!(grad.len(), out.len());
        debug_assert!(!U::NEEDS_INPUT || x.len() == out.len());
        debug_assert!(!U::NEEDS_OUTPUT || y.len() == out.len());
        for_each_grad!(op: U, x, y, out.iter_mut().zip(grad), |pair, x, y| *pair.0 = op.backward(*pair.1, x, y));
    }

    /// grad ← grad · f′. `x` or `y` may be empty where the derivative does not read it.
    pub fn map_grad_in_place<T: Float, U: Unary<T>>(op: U, grad: &mut [T], x: &[T], y: &[T]) {
        debug_assert!(!U::NEEDS_INPUT || x.len() == grad.len());
        debug_assert!(!U::NEEDS_OUTPUT || y.len() == grad.len());
        for_each_grad!(op: U, x, y, grad.iter_mut(), |grad, x, y| *grad = op.backward(*grad, x, y));
    }
}

/// y ← `x` to the power `exponent`. As in `PyTorch`, ½ is a square root and small whole exponents are products.
pub fn pow_scalar<T: Float>(exponent: f64, x: &[T], y: &mut [T]) {
    if exponent == 0.0 {
        y.fill(T::ONE);
    } else if exponent == 1.0 {
        y.copy_from_slice(x);
    } else if exponent == 2.0 {
        map(Square, x, y);
    } else if exponent == 3.0 {
        map(Cube, x, y);
    } else if exponent == 0.5 {
        map(Sqrt, x, y);
    } else if exponent == -0.5 {
        map(Rsqrt, x, y);
    } else if exponent == -1.0 {
        map(Reciprocal, x, y);
    } else {
        map(PowScalar { exponent: c::<T>(exponent) }, x, y);
    }
}

/// out ← grad · exponent · `x` to the power `exponent − 1`; 0 for exponent 0.
pub fn pow_scalar_grad<T: Float>(exponent: f64, grad: &[T], x: &[T], out: &mut [T]) {
    if exponent == 0.0 {
        out.fill(T::ZERO);
    } else if exponent == 1.0 {
        out.copy_from_slice(grad);
    } else if exponent == 2.0 {
        map_grad(Square, grad, x, &[], out);
    } else if exponent == 3.0 {
        map_grad(Cube, grad, x, &[], out);
    } else {
        map_grad(PowScalar { exponent: c::<T>(exponent) }, grad, x, &[], out);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::kernels::testing::{SIZES, assert_close, bits, on_all_levels, random, tolerance, wide};

    /// Hold the loops over `op` to the plain function `f`, and its derivative to a central difference of `f`. The inputs are
    /// `shift + scale · [−2, 2)`.
    pub fn check<U32: Unary<f32>, U64: Unary<f64>>(
        op32: U32,
        op64: U64,
        f: impl Fn(f64) -> f64,
        shift: f64,
        scale: f64,
    ) {
        check_type(op32, &f, shift, scale);
        check_type(op64, &f, shift, scale);
        let x: Vec<f64> = random(100, 7).iter().map(|x: &f64| shift + scale * x).collect();
        for x in x {
            let h = 1e-6;
            let expected = (f(x + h) - f(x - h)) / (2.0 * h);
            let found = op64.grad(x, op64.eval(x));
            assert!((found - expected).abs() < 1e-6 * expected.abs().max(1.0), "f′({x}) = {found}, not {expected}");
        }
    }

    fn check_type<T: Float, U: Unary<T>>(op: U, f: impl Fn(f64) -> f64, shift: f64, scale: f64) {
        for n in SIZES {
            let x: Vec<T> = random::<T>(n, 8).iter().map(|x| c(shift + scale * x.to_f64())).collect();
            let grad = random::<T>(n, 9);
            let results = on_all_levels(|| {
                let mut y = vec![T::ZERO; n];
                map(op, &x, &mut y);
                let mut again = x.clone();
                map_in_place(op, &mut again);
                assert_eq!(bits(&y), bits(&again));
                let (x_kept, y_kept) =
                    (if U::NEEDS_INPUT { &x[..] } else { &[] }, if U::NEEDS_OUTPUT { &y[..] } else { &[] });
                let mut dx = vec![T::ZERO; n];
                map_grad(op, &grad, x_kept, y_kept, &mut dx);
                let mut dx_again = grad.clone();
                map_grad_in_place(op, &mut dx_again, x_kept, y_kept);
                assert_eq!(bits(&dx), bits(&dx_again));
                for i in 0..n {
                    assert_close(&[dx[i]], &[(grad[i] * op.grad(x[i], y[i])).to_f64()], tolerance::<T>());
                }
                (wide(&y), bits(&dx))
            });
            assert_close(&results.0, &x.iter().map(|x| f(x.to_f64())).collect::<Vec<_>>(), tolerance::<T>());
        }
    }

    #[test]
    fn functions_match_the_standard_library() {
        check(Neg, Neg, |x| -x, 0.0, 1.0);
        check(Exp, Exp, f64::exp, 0.0, 1.0);
        check(Ln, Ln, f64::ln, 3.0, 1.0);
        check(Log1p, Log1p, f64::ln_1p, 3.0, 1.0);
        check(Expm1, Expm1, f64::exp_m1, 0.0, 1.0);
        check(Sqrt, Sqrt, f64::sqrt, 3.0, 1.0);
        check(Rsqrt, Rsqrt, |x| 1.0 / x.sqrt(), 3.0, 1.0);
        check(Reciprocal, Reciprocal, |x| 1.0 / x, 3.0, 1.0);
        check(Abs, Abs, f64::abs, 0.0, 1.0);
        check(Sign, Sign, |x| if x > 0.0 { 1.0 } else { -1.0 }, 0.0, 1.0);
        check(Sin, Sin, f64::sin, 0.0, 1.0);
        check(Cos, Cos, f64::cos, 0.0, 1.0);
        check(Square, Square, |x| x * x, 0.0, 1.0);
        check(Cube, Cube, |x| x * x * x, 0.0, 1.0);
        check(Clamp { min: -0.5, max: 1.25 }, Clamp { min: -0.5, max: 1.25 }, |x| x.clamp(-0.5, 1.25), 0.0, 1.0);
        check(PowScalar { exponent: 2.5 }, PowScalar { exponent: 2.5 }, |x| x.powf(2.5), 3.0, 1.0);
    }

    #[test]
    fn kinks_are_those_of_pytorch() {
        let nan = f64::NAN;
        assert_eq!([Abs.grad(0.0, 0.0), Abs.grad(-0.0, 0.0), Sign.eval(0.0), Sign.eval(nan)], [0.0; 4]);
        let op = Clamp { min: -1.0, max: 2.0 };
        assert_eq!(
            [op.grad(-1.0, -1.0), op.grad(2.0, 2.0), op.grad(2.5, 2.0), op.grad(nan, nan)],
            [1.0, 1.0, 0.0, 0.0]
        );
        assert!(op.eval(nan).is_nan());
        assert_eq!(Clamp { min: 3.0, max: 2.0 }.eval(0.0), 2.0);
        assert_eq!(op.backward(f64::INFINITY, 5.0, 2.0), 0.0);
    }

    #[test]
    fn scalar_powers_take_the_shortcuts() {
        let x: Vec<f64> = random(33, 10).iter().map(|x: &f64| 3.0 + x).collect();
        let grad = random::<f64>(33, 11);
        for exponent in [0.0, 1.0, 2.0, 3.0, 0.5, -0.5, -1.0, -2.0, 1.7] {
            let (mut y, mut dx) = (vec![0.0; 33], vec![0.0; 33]);
            pow_scalar(exponent, &x, &mut y);
            pow_scalar_grad(exponent, &grad, &x, &mut dx);
            assert_close(&y, &x.iter().map(|x| x.powf(exponent)).collect::<Vec<_>>(), 1e-12);
            let expected: Vec<f64> = x.iter().zip(&grad).map(|(x, g)| g * exponent * x.powf(exponent - 1.0)).collect();
            assert_close(&dx, &expected, 1e-12);
        }
        let mut y = [1.0];
        pow_scalar_grad(0.0, &[1.0], &[0.0_f32], &mut y);
        assert_eq!(y, [0.0]);
    }
}

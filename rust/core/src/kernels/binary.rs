//! Functions of two variables with their derivatives, and the loops that apply them.
//!
//! Formulas and derivatives at ties are `PyTorch`'s. With one operand a scalar, such a function is a [`Unary`] one: see
//! [`WithRight`] and [`WithLeft`].

use super::reduce::{greater, less};
use super::unary::{Unary, c};
use crate::element::Float;
use crate::simd;

/// A differentiable function of two variables.
pub trait Binary<T: Float>: Copy {
    /// `f(a, b)`.
    fn eval(self, a: T, b: T) -> T;
    /// ∂f/∂a.
    fn grad_a(self, a: T, b: T) -> T;
    /// ∂f/∂b.
    fn grad_b(self, a: T, b: T) -> T;
}

/// One [`Binary`] function: documentation, name, fields, `f(a, b)`, ∂f/∂a, ∂f/∂b.
macro_rules! binary {
    (@functions |$self:ident, $a:ident, $b:ident| $eval:expr, $grad_a:expr, $grad_b:expr) => {
        #[inline(always)]
        fn eval($self, $a: T, $b: T) -> T { $eval }
        #[inline(always)]
        #[allow(unused_variables)]
        fn grad_a($self, $a: T, $b: T) -> T { $grad_a }
        #[inline(always)]
        #[allow(unused_variables)]
        fn grad_b($self, $a: T, $b: T) -> T { $grad_b }
    };
    ($(#[$meta:meta])* $name:ident, $($functions:tt)+) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name;
        impl<T: Float> Binary<T> for $name {
            binary!(@functions $($functions)+);
        }
    };
    ($(#[$meta:meta])* $name:ident { $(#[$field_meta:meta])* $field:ident }, $($functions:tt)+) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name<T> { $(#[$field_meta])* pub $field: T }
        impl<T: Float> Binary<T> for $name<T> {
            binary!(@functions $($functions)+);
        }
    };
}
pub(crate) use binary;

/// The share of the gradient that the winning operand takes: all, or half of a tie.
#[inline(always)]
fn share<T: Float>(loses: bool, tie: bool) -> T {
    let share = if tie { c(0.5) } else { T::ONE };
    if loses { T::ZERO } else { share }
}

binary!(/** a + b. */ Add, |self, a, b| a + b, T::ONE, T::ONE);
binary!(/** a − b. */ Sub, |self, a, b| a - b, T::ONE, -T::ONE);
binary!(/** a · b. */ Mul, |self, a, b| a * b, b, a);
binary!(/** a / b. */ Div, |self, a, b| a / b, T::ONE / b, -((a / b) / b));
binary!(
    /// The greater, or NaN; a tie halves the gradient.
    Maximum,
    |self, a, b| if a.is_nan() { a } else { greater(a, b) },
    share(a < b, a == b),
    share(a > b, a == b)
);
binary!(
    /// The smaller, or NaN; a tie halves the gradient.
    Minimum,
    |self, a, b| if a.is_nan() { a } else { less(a, b) },
    share(a > b, a == b),
    share(a < b, a == b)
);
binary!(
    /// a to the power b. ∂/∂a is 0 where b is 0, ∂/∂b where a is 0 and b is not negative.
    Pow,
    |self, a, b| a.pow(b),
    if b == T::ZERO { T::ZERO } else { b * a.pow(b - T::ONE) },
    if (a == T::ZERO) & (b >= T::ZERO) { T::ZERO } else { a.pow(b) * a.ln() }
);

/// `x → f(x, b)` for a scalar `b`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WithRight<B, T>(pub B, pub T);

impl<T: Float, B: Binary<T>> Unary<T> for WithRight<B, T> {
    const NEEDS_INPUT: bool = true;
    const NEEDS_OUTPUT: bool = false;

    #[inline(always)]
    fn eval(self, x: T) -> T {
        self.0.eval(x, self.1)
    }

    #[inline(always)]
    fn grad(self, x: T, _y: T) -> T {
        self.0.grad_a(x, self.1)
    }
}

/// `x → f(a, x)` for a scalar `a`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WithLeft<B, T>(pub B, pub T);

impl<T: Float, B: Binary<T>> Unary<T> for WithLeft<B, T> {
    const NEEDS_INPUT: bool = true;
    const NEEDS_OUTPUT: bool = false;

    #[inline(always)]
    fn eval(self, x: T) -> T {
        self.0.eval(self.1, x)
    }

    #[inline(always)]
    fn grad(self, x: T, _y: T) -> T {
        self.0.grad_b(self.1, x)
    }
}

simd! {
    /// out ← f(a, b)
    pub fn zip<T: Float, B: Binary<T>>(op: B, a: &[T], b: &[T], out: &mut [T]) {
        debug_assert!(a.len() == out.len() && b.len() == out.len());
        for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
            *out = op.eval(a, b);
        }
    }

    /// a ← f(a, b)
    pub fn zip_in_place<T: Float, B: Binary<T>>(op: B, a: &mut [T], b: &[T]) {
        debug_assert_eq!(a.len(), b.len());
        for (a, &b) in a.iter_mut().zip(b) {
            *a = op.eval(*a, b);
        }
    }

    /// out ← grad · ∂f/∂a
    pub fn zip_grad_a<T: Float, B: Binary<T>>(op: B, grad: &[T], a: &[T], b: &[T], out: &mut [T]) {
        debug_assert!(a.len() == out.len() && b.len() == out.len() && grad.len() == out.len());
        for (((out, &grad), &a), &b) in out.iter_mut().zip(grad).zip(a).zip(b) {
            *out = grad * op.grad_a(a, b);
        }
    }

    /// out ← grad · ∂f/∂b
    pub fn zip_grad_b<T: Float, B: Binary<T>>(op: B, grad: &[T], a: &[T], b: &[T], out: &mut [T]) {
        debug_assert!(a.len() == out.len() && b.len() == out.len() && grad.len() == out.len());
        for (((out, &grad), &a), &b) in out.iter_mut().zip(grad).zip(a).zip(b) {
            *out = grad * op.grad_b(a, b);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::kernels::testing::{SIZES, assert_close, bits, on_all_levels, random, tolerance, wide};
    use crate::kernels::unary::{map, map_grad};

    /// Hold the loops over `op` to the plain function `f`, and its derivatives to central differences of `f`, for `a` and `b` of
    /// `shift + scale · [−2, 2)`.
    pub fn check<B32: Binary<f32>, B64: Binary<f64>>(
        op32: B32,
        op64: B64,
        f: impl Fn(f64, f64) -> f64,
        shift: f64,
        scale: f64,
    ) {
        check_type(op32, &f, shift, scale);
        check_type(op64, &f, shift, scale);
        let place = |x: f64| shift + scale * x;
        for (a, b) in random::<f64>(100, 40).into_iter().map(place).zip(random::<f64>(100, 41).into_iter().map(place)) {
            let h = 1e-6;
            let expected = [(f(a + h, b) - f(a - h, b)) / (2.0 * h), (f(a, b + h) - f(a, b - h)) / (2.0 * h)];
            assert_close(&[op64.grad_a(a, b), op64.grad_b(a, b)], &expected, 1e-6);
        }
    }

    fn check_type<T: Float, B: Binary<T>>(op: B, f: impl Fn(f64, f64) -> f64, shift: f64, scale: f64) {
        for n in SIZES {
            let place = |x: &T| T::from_f64(shift + scale * x.to_f64());
            let a: Vec<T> = random(n, 42).iter().map(place).collect();
            let b: Vec<T> = random(n, 43).iter().map(place).collect();
            let grad = random::<T>(n, 44);
            let (y, ..) = on_all_levels(|| {
                let [mut y, mut da, mut db] = std::array::from_fn(|_| vec![T::ZERO; n]);
                zip(op, &a, &b, &mut y);
                let mut in_place = a.clone();
                zip_in_place(op, &mut in_place, &b);
                assert_eq!(bits(&in_place), bits(&y));
                zip_grad_a(op, &grad, &a, &b, &mut da);
                zip_grad_b(op, &grad, &a, &b, &mut db);
                for i in 0..n {
                    let expected =
                        [(grad[i] * op.grad_a(a[i], b[i])).to_f64(), (grad[i] * op.grad_b(a[i], b[i])).to_f64()];
                    assert_close(&[da[i], db[i]], &expected, tolerance::<T>());
                }
                (wide(&y), bits(&da), bits(&db))
            });
            let expected: Vec<f64> = a.iter().zip(&b).map(|(a, b)| f(a.to_f64(), b.to_f64())).collect();
            assert_close(&y, &expected, tolerance::<T>());
        }
    }

    #[test]
    fn functions_match_the_standard_library() {
        check(Add, Add, |a, b| a + b, 0.0, 1.0);
        check(Sub, Sub, |a, b| a - b, 0.0, 1.0);
        check(Mul, Mul, |a, b| a * b, 0.0, 1.0);
        check(Div, Div, |a, b| a / b, 3.0, 1.0);
        check(Maximum, Maximum, f64::max, 0.0, 1.0);
        check(Minimum, Minimum, f64::min, 0.0, 1.0);
        check(Pow, Pow, f64::powf, 1.5, 0.5);
    }

    #[test]
    fn ties_and_nan_are_those_of_pytorch() {
        assert_eq!([Maximum.grad_a(1.0, 1.0), Maximum.grad_b(1.0, 1.0), Minimum.grad_a(1.0, 1.0)], [0.5; 3]);
        let nan = f64::NAN;
        assert!(Maximum.eval(nan, 1.0).is_nan() && Maximum.eval(1.0, nan).is_nan() && Minimum.eval(nan, 1.0).is_nan());
        assert_eq!([Pow.grad_a(0.0, 0.0), Pow.grad_b(0.0, 2.0), Pow.grad_b(0.0, 0.0)], [0.0; 3]);
    }

    #[test]
    fn a_scalar_operand_keeps_its_side() {
        let x = [4.0_f32, 8.0];
        let mut out = [0.0; 2];
        map(WithRight(Div, 2.0), &x, &mut out);
        assert_eq!(out, [2.0, 4.0]);
        map(WithLeft(Div, 2.0), &x, &mut out);
        assert_eq!(out, [0.5, 0.25]);
        map_grad(WithRight(Div, 2.0), &[1.0, 3.0], &x, &[], &mut out);
        assert_eq!(out, [0.5, 1.5]);
        map_grad(WithLeft(Sub, 2.0), &[1.0, 3.0], &x, &[], &mut out);
        assert_eq!(out, [-1.0, -3.0]);
    }
}

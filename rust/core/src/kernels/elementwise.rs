//! Functions applied element by element: the arithmetic of one, two and three operands.
//!
//! A function is a type that implements [`Map`] or [`Zip`]; [`map`], [`zip`] and their like are its loops, compiled for
//! every instruction set. A type rather than a closure, since only `#[inline(always)]` functions are sure to be
//! vectorized.

use crate::element::{Element, Float};
use crate::simd;

/// Arithmetic that integers and masks have too. Integers wrap around; of masks, `+` is *or* and `·` is *and*.
pub trait Number: Element {
    /// a + b
    fn plus(self, b: Self) -> Self;
    /// a − b
    fn minus(self, b: Self) -> Self;
    /// a · b
    fn times(self, b: Self) -> Self;
    /// a / b; of integers, rounded toward 0, and 0 where b is 0.
    fn over(self, b: Self) -> Self;
    /// a to the power b; of integers, rounded toward 0.
    fn power(self, b: Self) -> Self;
    /// ⌊a / b⌋; of integers, 0 where b is 0. Of floats rounded as Python does, from the remainder: exact where a / b is.
    fn floor_over(self, b: Self) -> Self;
    /// a − ⌊a / b⌋ · b, exactly: it has the sign of b. Of integers, 0 where b is 0.
    fn modulo(self, b: Self) -> Self;
    /// −a
    fn negate(self) -> Self;
    /// |a|
    fn magnitude(self) -> Self;
    /// −1, 0 or 1; 0 for NaN.
    fn signum(self) -> Self;
    /// True if it is not a number.
    fn is_nan(self) -> bool;
    /// True if it is neither 0 nor false.
    fn is_true(self) -> bool;
}

macro_rules! float_number {
    ($t:ident) => {
        impl Number for $t {
            #[inline(always)]
            fn plus(self, b: Self) -> Self {
                self + b
            }
            #[inline(always)]
            fn minus(self, b: Self) -> Self {
                self - b
            }
            #[inline(always)]
            fn times(self, b: Self) -> Self {
                self * b
            }
            #[inline(always)]
            fn over(self, b: Self) -> Self {
                self / b
            }
            #[inline(always)]
            fn power(self, b: Self) -> Self {
                Float::pow(self, b)
            }
            #[inline(always)]
            fn floor_over(self, b: Self) -> Self {
                if b == 0.0 {
                    return self / b;
                }
                let rest = self % b;
                let quotient = (self - rest) / b - if rest != 0.0 && (rest < 0.0) != (b < 0.0) { 1.0 } else { 0.0 };
                if quotient == 0.0 {
                    return Float::copysign(0.0, self / b);
                }
                let floor = quotient.floor();
                if quotient - floor > 0.5 { floor + 1.0 } else { floor }
            }
            #[inline(always)]
            fn modulo(self, b: Self) -> Self {
                let rest = self % b;
                if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
            }
            #[inline(always)]
            fn negate(self) -> Self {
                -self
            }
            #[inline(always)]
            fn magnitude(self) -> Self {
                Float::abs(self)
            }
            #[inline(always)]
            fn signum(self) -> Self {
                let up = if self > 0.0 { 1.0 } else { 0.0 };
                let down = if self < 0.0 { 1.0 } else { 0.0 };
                up - down
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                self != self
            }
            #[inline(always)]
            fn is_true(self) -> bool {
                self != 0.0
            }
        }
    };
}
float_number!(f32);
float_number!(f64);

impl Number for i64 {
    #[inline(always)]
    fn plus(self, b: Self) -> Self {
        self.wrapping_add(b)
    }
    #[inline(always)]
    fn minus(self, b: Self) -> Self {
        self.wrapping_sub(b)
    }
    #[inline(always)]
    fn times(self, b: Self) -> Self {
        self.wrapping_mul(b)
    }
    #[inline(always)]
    fn over(self, b: Self) -> Self {
        if b == 0 { 0 } else { self.wrapping_div(b) }
    }
    #[inline(always)]
    fn power(self, b: Self) -> Self {
        match (self, b) {
            (_, 0..) => {
                let (mut base, mut exponent, mut result) = (self, b, 1_i64);
                while exponent > 0 {
                    if exponent & 1 == 1 {
                        result = result.wrapping_mul(base);
                    }
                    base = base.wrapping_mul(base);
                    exponent >>= 1;
                }
                result
            }
            (1, _) => 1,
            (-1, _) => 1 - 2 * (b & 1),
            _ => 0,
        }
    }
    #[inline(always)]
    fn floor_over(self, b: Self) -> Self {
        if b == 0 {
            return 0;
        }
        let (quotient, rest) = (self.wrapping_div(b), self.wrapping_rem(b));
        if rest != 0 && (rest < 0) != (b < 0) { quotient - 1 } else { quotient }
    }
    #[inline(always)]
    fn modulo(self, b: Self) -> Self {
        if b == 0 {
            return 0;
        }
        let rest = self.wrapping_rem(b);
        if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }
    }
    #[inline(always)]
    fn negate(self) -> Self {
        self.wrapping_neg()
    }
    #[inline(always)]
    fn magnitude(self) -> Self {
        self.wrapping_abs()
    }
    #[inline(always)]
    fn signum(self) -> Self {
        i64::signum(self)
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        false
    }
    #[inline(always)]
    fn is_true(self) -> bool {
        self != 0
    }
}

impl Number for u8 {
    #[inline(always)]
    fn plus(self, b: Self) -> Self {
        self | b
    }
    #[inline(always)]
    fn minus(self, b: Self) -> Self {
        self ^ b
    }
    #[inline(always)]
    fn times(self, b: Self) -> Self {
        self & b
    }
    #[inline(always)]
    fn over(self, b: Self) -> Self {
        self & b
    }
    #[inline(always)]
    fn power(self, b: Self) -> Self {
        self | (1 - b)
    }
    #[inline(always)]
    fn floor_over(self, b: Self) -> Self {
        self & b
    }
    #[inline(always)]
    fn modulo(self, b: Self) -> Self {
        self & (1 - b)
    }
    #[inline(always)]
    fn negate(self) -> Self {
        1 - self
    }
    #[inline(always)]
    fn magnitude(self) -> Self {
        self
    }
    #[inline(always)]
    fn signum(self) -> Self {
        self
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        false
    }
    #[inline(always)]
    fn is_true(self) -> bool {
        self != 0
    }
}

/// A function of one operand.
pub trait Map<T>: Copy {
    /// Type of the result.
    type Out: Element;
    /// Its value at `x`.
    fn call(self, x: T) -> Self::Out;
}

/// A function of two operands.
pub trait Zip<T>: Copy {
    /// Type of the result.
    type Out: Element;
    /// Its value at `(a, b)`.
    fn call(self, a: T, b: T) -> Self::Out;
}

/// Types for functions of one operand: `Name for Bound, |x| value => its type;`
macro_rules! maps {
    ($($(#[$meta:meta])* $name:ident for $bound:ident, |$x:ident| $value:expr => $out:ty;)+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;
        impl<T: $bound> $crate::kernels::elementwise::Map<T> for $name {
            type Out = $out;
            #[inline(always)]
            fn call(self, $x: T) -> $out {
                $value
            }
        }
    )+};
}

/// Types for functions of two operands: `Name for Bound, |a, b| value => its type;`
macro_rules! zips {
    ($($(#[$meta:meta])* $name:ident for $bound:ident, |$a:ident, $b:ident| $value:expr => $out:ty;)+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;
        impl<T: $bound> $crate::kernels::elementwise::Zip<T> for $name {
            type Out = $out;
            #[inline(always)]
            fn call(self, $a: T, $b: T) -> $out {
                $value
            }
        }
    )+};
}
pub(crate) use maps;

zips! {
    /// a + b
    Add for Number, |a, b| a.plus(b) => T;
    /// a − b
    Sub for Number, |a, b| a.minus(b) => T;
    /// a · b
    Mul for Number, |a, b| a.times(b) => T;
    /// a / b
    Div for Number, |a, b| a.over(b) => T;
    /// a to the power b
    Pow for Number, |a, b| a.power(b) => T;
    /// ⌊a / b⌋
    FloorDiv for Number, |a, b| a.floor_over(b) => T;
    /// a − ⌊a / b⌋ · b
    Remainder for Number, |a, b| a.modulo(b) => T;
    /// The greater; NaN if either is.
    Maximum for Number, |a, b| if (b > a) | b.is_nan() { b } else { a } => T;
    /// The smaller; NaN if either is.
    Minimum for Number, |a, b| if (b < a) | b.is_nan() { b } else { a } => T;
    /// a = b
    Eq for Number, |a, b| u8::from(a == b) => u8;
    /// a ≠ b
    Ne for Number, |a, b| u8::from(a != b) => u8;
    /// a < b
    Lt for Number, |a, b| u8::from(a < b) => u8;
    /// a ≤ b
    Le for Number, |a, b| u8::from(a <= b) => u8;
    /// a > b
    Gt for Number, |a, b| u8::from(a > b) => u8;
    /// a ≥ b
    Ge for Number, |a, b| u8::from(a >= b) => u8;
    /// a = b, or both are NaN.
    Same for Number, |a, b| u8::from((a == b) | (a.is_nan() & b.is_nan())) => u8;
    /// Both are true.
    And for Number, |a, b| u8::from(a.is_true() & b.is_true()) => u8;
    /// One at least is true.
    Or for Number, |a, b| u8::from(a.is_true() | b.is_true()) => u8;
    /// One of the two is true.
    Xor for Number, |a, b| u8::from(a.is_true() ^ b.is_true()) => u8;
}

/// Conversion between element types, as `NumPy`'s `astype`; from floats to integers, what lies outside becomes the nearest
/// integer, and NaN 0.
pub trait Convert<D> {
    /// The value as a `D`.
    fn convert(self) -> D;
}

macro_rules! convert_as {
    ($($from:ty => $($to:ty),+;)+) => {$($(
        impl Convert<$to> for $from {
            #[inline(always)]
            #[allow(clippy::cast_lossless)]
            fn convert(self) -> $to {
                self as $to
            }
        }
    )+)+};
}
convert_as! {
    f32 => f32, f64, i64;
    f64 => f32, f64, i64;
    i64 => f32, f64, i64;
    u8 => f32, f64, i64, u8;
}
macro_rules! convert_to_bool {
    ($($from:ty),+) => {$(
        impl Convert<u8> for $from {
            #[inline(always)]
            fn convert(self) -> u8 {
                u8::from(self.is_true())
            }
        }
    )+};
}
convert_to_bool! { f32, f64, i64 }

/// The conversion to `D`.
#[derive(Clone, Copy, Debug)]
pub struct To<D>(pub D);

impl<S: Convert<D>, D: Element> Map<S> for To<D> {
    type Out = D;
    #[inline(always)]
    fn call(self, x: S) -> D {
        x.convert()
    }
}

simd! {
    /// y ← f(x)
    pub fn map<T: Element, F: Map<T>>(f: F, x: &[T], y: &mut [F::Out]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = f.call(x);
        }
    }

    /// y ← f(y)
    pub fn map_in_place<T: Element, F: Map<T, Out = T>>(f: F, y: &mut [T]) {
        for y in y {
            *y = f.call(*y);
        }
    }

    /// y ← f(a, b)
    pub fn zip<T: Element, F: Zip<T>>(f: F, a: &[T], b: &[T], y: &mut [F::Out]) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = f.call(a, b);
        }
    }

    /// y ← f(a, b), b being one number.
    pub fn zip_right<T: Element, F: Zip<T>>(f: F, a: &[T], b: T, y: &mut [F::Out]) {
        for (y, &a) in y.iter_mut().zip(a) {
            *y = f.call(a, b);
        }
    }

    /// y ← f(a, b), a being one number.
    pub fn zip_left<T: Element, F: Zip<T>>(f: F, a: T, b: &[T], y: &mut [F::Out]) {
        for (y, &b) in y.iter_mut().zip(b) {
            *y = f.call(a, b);
        }
    }

    /// y ← f(y, b)
    pub fn zip_in_place<T: Element, F: Zip<T, Out = T>>(f: F, y: &mut [T], b: &[T]) {
        for (y, &b) in y.iter_mut().zip(b) {
            *y = f.call(*y, b);
        }
    }

    /// y ← f(y, b), b being one number.
    pub fn zip_right_in_place<T: Element, F: Zip<T, Out = T>>(f: F, y: &mut [T], b: T) {
        for y in y {
            *y = f.call(*y, b);
        }
    }

    /// y ← a where the mask is 1, else b.
    pub fn select<T: Element>(mask: &[u8], a: &[T], b: &[T], y: &mut [T]) {
        for (((y, &mask), &a), &b) in y.iter_mut().zip(mask).zip(a).zip(b) {
            *y = if mask == 0 { b } else { a };
        }
    }
}

#[cfg(test)]
mod tests;

//! The element types of a tensor, and the arithmetic that kernels are generic over.

use std::fmt;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

use crate::math;
use crate::simd::fused;

/// Virtual lanes of every reduction: 1 AVX-512, 2 AVX2 or 4 NEON registers of f32. Fixed, so that sums have the same
/// bits on every instruction set.
pub const LANES: usize = 16;

/// The element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit float, the default.
    F32,
    /// 64-bit float, in which gradients are checked.
    F64,
    /// 64-bit integer, of labels and indices.
    I64,
    /// One byte, 0 or 1, of masks.
    Bool,
}

impl DType {
    /// Bytes an element takes.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 | Self::I64 => 8,
            Self::Bool => 1,
        }
    }

    /// True if this is a floating-point type.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// The name that the user knows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::I64 => "int64",
            Self::Bool => "bool",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A type that a tensor can hold. Every bit pattern that a buffer can take is a value of it, except that a Bool buffer
/// holds bytes (`u8`) that are 0 or 1.
pub trait Element: Copy + Send + Sync + Default + PartialOrd + fmt::Debug + 'static {
    /// Its name at run time.
    const DTYPE: DType;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
}
impl Element for f64 {
    const DTYPE: DType = DType::F64;
}
impl Element for i64 {
    const DTYPE: DType = DType::I64;
}
impl Element for u8 {
    const DTYPE: DType = DType::Bool;
}

/// Floating-point arithmetic. Every operation is either correctly rounded or a fixed sequence of such, so that the
/// result never depends on the instruction set. All are inlined into the kernel that calls them.
pub trait Float:
    Element
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Negative infinity, from which a maximum starts.
    const NEG_INFINITY: Self;

    /// The nearest value.
    fn from_f64(x: f64) -> Self;
    /// The same value.
    fn to_f64(self) -> f64;
    /// `self · a + b`, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The magnitude.
    fn abs(self) -> Self;
    /// The magnitude, with the sign of `sign`.
    fn copysign(self, sign: Self) -> Self;
    /// True if this is not a number.
    fn is_nan(self) -> bool;
    /// The exponential.
    fn exp(self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// `ln(1 + self)`, exact near 0.
    fn ln_1p(self) -> Self;
    /// `exp(self) − 1`, exact near 0.
    fn exp_m1(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// `1 / (1 + exp(−self))`.
    fn sigmoid(self) -> Self;
    /// The error function.
    fn erf(self) -> Self;
    /// The sine.
    fn sin(self) -> Self;
    /// The cosine.
    fn cos(self) -> Self;
    /// `self` to the power `exponent`.
    fn pow(self, exponent: Self) -> Self;
}

macro_rules! impl_float {
    ($t:ident) => {
        impl Float for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NEG_INFINITY: Self = $t::NEG_INFINITY;

            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                fused::$t(self, a, b)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $t::abs(self)
            }
            #[inline(always)]
            fn copysign(self, sign: Self) -> Self {
                $t::copysign(self, sign)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                $t::is_nan(self)
            }
            #[inline(always)]
            fn exp(self) -> Self {
                math::$t::exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                math::$t::ln(self)
            }
            #[inline(always)]
            fn ln_1p(self) -> Self {
                math::$t::ln_1p(self)
            }
            #[inline(always)]
            fn exp_m1(self) -> Self {
                math::$t::exp_m1(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                math::$t::tanh(self)
            }
            #[inline(always)]
            fn sigmoid(self) -> Self {
                math::$t::sigmoid(self)
            }
            #[inline(always)]
            fn erf(self) -> Self {
                math::$t::erf(self)
            }
            #[inline(always)]
            fn sin(self) -> Self {
                math::$t::sin(self)
            }
            #[inline(always)]
            fn cos(self) -> Self {
                math::$t::cos(self)
            }
            #[inline(always)]
            fn pow(self, exponent: Self) -> Self {
                math::$t::pow(self, exponent)
            }
        }
    };
}
impl_float!(f32);
impl_float!(f64);

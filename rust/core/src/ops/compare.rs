//! Comparisons and logic, whose results are masks. No gradients flow through them.
//!
//! ```text
//! eq a = b    ne a ≠ b    lt a < b    le a ≤ b    gt a > b    ge a ≥ b
//! logical_and, logical_or, logical_xor, logical_not: of a number, 0 is false and all else is true
//! isnan, isinf, isfinite
//! ```
//! Comparisons with NaN are false, but for `ne`.

use smallvec::smallvec;

use super::binary::{promoted, same_dtype};
use super::scalar::with_view;
use super::walk::{map, zip};
use super::{Op, Outputs, Run, Scalar, apply, cast};
use crate::element::DType;
use crate::error::Result;
use crate::kernels::elementwise::{self as kernels, Number, maps};
use crate::tensor::layout::broadcast;
use crate::tensor::{Meta, Tensor, View};
use crate::with_element;

maps! {
    /// True if it is 0 or false.
    Not for Number, |x| u8::from(!x.is_true()) => u8;
    /// True if it is not a number.
    IsNan for Number, |x| u8::from(x.is_nan()) => u8;
    /// True if it is neither infinite nor NaN.
    IsFinite for Number, |x| u8::from(x.minus(x) == x.minus(x)) => u8;
    /// True if it is infinite.
    IsInf for Number, |x| u8::from((x.minus(x) != x.minus(x)) & !x.is_nan()) => u8;
}

/// A comparison, or logic, of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
    Xor,
    /// Equal, or both NaN.
    Same,
}

impl Relation {
    const fn name(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Lt => "lt",
            Self::Le => "le",
            Self::Gt => "gt",
            Self::Ge => "ge",
            Self::And => "logical_and",
            Self::Or => "logical_or",
            Self::Xor => "logical_xor",
            Self::Same => "same",
        }
    }

    fn run(self, run: &Run<'_>, a: &View<'_>, b: &View<'_>, y: &View<'_>) {
        with_element!(a.dtype(), T => match self {
            Self::Eq => zip::<T, _>(run.team, kernels::Eq, a, b, y),
            Self::Ne => zip::<T, _>(run.team, kernels::Ne, a, b, y),
            Self::Lt => zip::<T, _>(run.team, kernels::Lt, a, b, y),
            Self::Le => zip::<T, _>(run.team, kernels::Le, a, b, y),
            Self::Gt => zip::<T, _>(run.team, kernels::Gt, a, b, y),
            Self::Ge => zip::<T, _>(run.team, kernels::Ge, a, b, y),
            Self::And => zip::<T, _>(run.team, kernels::And, a, b, y),
            Self::Or => zip::<T, _>(run.team, kernels::Or, a, b, y),
            Self::Xor => zip::<T, _>(run.team, kernels::Xor, a, b, y),
            Self::Same => zip::<T, _>(run.team, kernels::Same, a, b, y),
        });
    }
}

#[derive(Clone, Copy, Debug)]
struct Compare {
    relation: Relation,
    /// In place of a second tensor.
    scalar: Option<Scalar>,
}

impl Op for Compare {
    fn name(&self) -> &'static str {
        self.relation.name()
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let shape = match inputs {
            [a, b] => {
                same_dtype(self.name(), inputs)?;
                broadcast(self.name(), &a.shape, &b.shape)?
            }
            _ => inputs[0].shape.clone(),
        };
        Ok(smallvec![Meta { shape, dtype: DType::Bool }])
    }

    fn strided(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let a = &inputs[0];
        match self.scalar {
            Some(s) => with_view(s, a.dtype(), |b| self.relation.run(run, a, b, &outputs[0])),
            None => self.relation.run(run, a, &inputs[1], &outputs[0]),
        }
    }

    fn differentiable(&self) -> bool {
        false
    }
}

fn compare(relation: Relation, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let op = Compare { relation, scalar: None };
    if a.dtype() == b.dtype() {
        return apply(op, &[a, b]);
    }
    let (a, b) = promoted(a, b)?;
    apply(op, &[&a, &b])
}

fn compare_scalar(relation: Relation, a: &Tensor, scalar: Scalar) -> Result<Tensor> {
    let dtype = scalar.promote(a.dtype());
    apply(Compare { relation, scalar: Some(scalar) }, &[&cast(a, dtype)?])
}

macro_rules! relations {
    ($($relation:ident: $name:ident, $with_scalar:ident, $text:literal;)+) => {$(
        #[doc = concat!("a ", $text, " b")]
        pub fn $name(a: &Tensor, b: &Tensor) -> Result<Tensor> {
            compare(Relation::$relation, a, b)
        }

        #[doc = concat!("a ", $text, " s")]
        pub fn $with_scalar(a: &Tensor, s: impl Into<Scalar>) -> Result<Tensor> {
            compare_scalar(Relation::$relation, a, s.into())
        }
    )+};
}
relations! {
    Eq: eq, eq_scalar, "=";
    Ne: ne, ne_scalar, "≠";
    Lt: lt, lt_scalar, "<";
    Le: le, le_scalar, "≤";
    Gt: gt, gt_scalar, ">";
    Ge: ge, ge_scalar, "≥";
}

/// True if both are true.
pub fn logical_and(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    compare(Relation::And, a, b)
}

/// True if one at least is true.
pub fn logical_or(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    compare(Relation::Or, a, b)
}

/// True if one is true and the other is not.
pub fn logical_xor(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    compare(Relation::Xor, a, b)
}

/// True if both are equal, or both NaN.
pub(super) fn same(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    compare(Relation::Same, a, b)
}

/// A test of one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Not,
    IsNan,
    IsInf,
    IsFinite,
}

impl Op for Test {
    fn name(&self) -> &'static str {
        match self {
            Self::Not => "logical_not",
            Self::IsNan => "isnan",
            Self::IsInf => "isinf",
            Self::IsFinite => "isfinite",
        }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![Meta { shape: inputs[0].shape.clone(), dtype: DType::Bool }])
    }

    fn strided(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let (x, y) = (&inputs[0], &outputs[0]);
        with_element!(x.dtype(), T => match self {
            Self::Not => map::<T, _>(run.team, Not, x, y),
            Self::IsNan => map::<T, _>(run.team, IsNan, x, y),
            Self::IsInf => map::<T, _>(run.team, IsInf, x, y),
            Self::IsFinite => map::<T, _>(run.team, IsFinite, x, y),
        });
    }

    fn differentiable(&self) -> bool {
        false
    }
}

/// True if x is false, or 0.
pub fn logical_not(x: &Tensor) -> Result<Tensor> {
    apply(Test::Not, &[x])
}

/// True if x is not a number.
pub fn isnan(x: &Tensor) -> Result<Tensor> {
    apply(Test::IsNan, &[x])
}

/// True if x is ∞ or −∞.
pub fn isinf(x: &Tensor) -> Result<Tensor> {
    apply(Test::IsInf, &[x])
}

/// True if x is neither infinite nor NaN.
pub fn isfinite(x: &Tensor) -> Result<Tensor> {
    apply(Test::IsFinite, &[x])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradcheck::uniform;
    use crate::ops::{expand, permute};

    fn mask(y: &Tensor) -> Vec<u8> {
        assert_eq!(y.dtype(), DType::Bool);
        y.view().slice::<u8>().to_vec()
    }

    type Case = (fn(&Tensor, &Tensor) -> Result<Tensor>, fn(&Tensor, Scalar) -> Result<Tensor>, [u8; 4]);

    #[test]
    fn relations_of_tensors_and_numbers() {
        let nan = f32::NAN;
        let a = Tensor::from_slice(&[1.0_f32, 2.0, 3.0, nan], &[4]);
        let b = Tensor::full(&[4], 2.0, DType::F32);
        let cases: [Case; 6] = [
            (eq, eq_scalar, [0, 1, 0, 0]),
            (ne, ne_scalar, [1, 0, 1, 1]),
            (lt, lt_scalar, [1, 0, 0, 0]),
            (le, le_scalar, [1, 1, 0, 0]),
            (gt, gt_scalar, [0, 0, 1, 0]),
            (ge, ge_scalar, [0, 1, 1, 0]),
        ];
        for (with_tensor, with_scalar, expected) in cases {
            assert_eq!(mask(&with_tensor(&a, &b).unwrap()), expected);
            assert_eq!(mask(&with_scalar(&a, 2.into()).unwrap()), expected);
        }
    }

    #[test]
    fn integers_are_compared_exactly_and_with_floats_as_floats() {
        let a = Tensor::from_slice(&[i64::MAX, i64::MAX - 1], &[2]);
        assert_eq!(mask(&eq_scalar(&a, i64::MAX).unwrap()), [1, 0]);
        let a = Tensor::from_slice(&[2_i64, 3], &[2]);
        assert_eq!(mask(&gt_scalar(&a, 2.5).unwrap()), [0, 1]);
        assert_eq!(mask(&lt(&a, &Tensor::full(&[], 2.5, DType::F64)).unwrap()), [1, 0]);
        let flags = Tensor::from_slice(&[1_u8, 0], &[2]);
        assert_eq!(mask(&eq_scalar(&flags, true).unwrap()), [1, 0]);
    }

    #[test]
    fn strides_and_broadcasting() {
        let a = permute(&uniform(&[17, 3], 1), &[1, 0]).unwrap();
        let b = uniform(&[3, 1], 2);
        let wide = expand(&b, &[3, 17]).unwrap().to_vec_f64();
        let expected: Vec<u8> = a.to_vec_f64().iter().zip(wide).map(|(a, b)| u8::from(*a < b)).collect();
        assert_eq!(mask(&lt(&a, &b).unwrap()), expected);
        assert!(mask(&lt(&uniform(&[3, 0], 3), &b).unwrap()).is_empty());
    }

    #[test]
    fn logic_and_tests_of_floats() {
        let x = Tensor::from_slice(&[0.0, -0.0, 0.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN], &[6]);
        assert_eq!(mask(&logical_not(&x).unwrap()), [1, 1, 0, 0, 0, 0]);
        assert_eq!(mask(&isnan(&x).unwrap()), [0, 0, 0, 0, 0, 1]);
        assert_eq!(mask(&isinf(&x).unwrap()), [0, 0, 0, 1, 1, 0]);
        assert_eq!(mask(&isfinite(&x).unwrap()), [1, 1, 1, 0, 0, 0]);
        let (a, b) = (Tensor::from_slice(&[0_i64, 0, 2, 2], &[4]), Tensor::from_slice(&[0_i64, 4, 0, 4], &[4]));
        assert_eq!(mask(&logical_and(&a, &b).unwrap()), [0, 0, 0, 1]);
        assert_eq!(mask(&logical_or(&a, &b).unwrap()), [0, 1, 1, 1]);
        assert_eq!(mask(&logical_xor(&a, &b).unwrap()), [0, 1, 1, 0]);
        assert_eq!(mask(&isnan(&a).unwrap()), [0; 4]);
    }
}

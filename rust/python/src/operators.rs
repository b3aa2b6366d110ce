//! Operators: arithmetic, comparison, logic, in place and reflected.

use fastnn_core::ops::{self, Scalar};
use fastnn_core::{DType, Result, Tensor as Core};
use numpy::PyUntypedArray;
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;

use crate::convert::{self, scalar};
use crate::error::{Raise, type_error};
use crate::gil;
use crate::in_place;
use crate::tensor::Tensor;

/// The other side of an operator.
pub enum Operand {
    /// A tensor, or an array.
    Tensor(Core),
    /// A number, which leaves the tensor's dtype alone where it can.
    Scalar(Scalar),
}

impl Operand {
    /// The operand that an object is, if it is one.
    #[inline]
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        if let Ok(tensor) = object.cast::<Tensor>() {
            return Ok(Some(Self::Tensor(tensor.borrow().inner.clone())));
        }
        if let Some(number) = scalar(object) {
            return Ok(Some(Self::Scalar(number)));
        }
        if let Ok(array) = object.cast::<PyUntypedArray>() {
            return convert::from_array(array).map(|t| Some(Self::Tensor(t)));
        }
        convert::check_holds(object)?;
        Ok(None)
    }

    /// The operand that an argument is.
    pub fn argument(op: &str, object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::of(object)?.ok_or_else(|| {
            type_error(format!(
                "{op}: expected a tensor, an array or a number; got {}",
                crate::error::type_name(object)
            ))
        })
    }
}

impl<'py> FromPyObject<'_, 'py> for Operand {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Self::argument("operand", &object)
    }
}

/// An operation of two tensors, and of a tensor and a number.
#[derive(Clone, Copy)]
pub struct Pair {
    /// Of two tensors.
    pub tensors: fn(&Core, &Core) -> Result<Core>,
    /// Of a tensor and a number.
    pub scalar: fn(&Core, Scalar) -> Result<Core>,
}

impl Pair {
    /// Compute it.
    #[inline]
    pub fn run(self, py: Python<'_>, a: &Core, b: &Operand) -> PyResult<Core> {
        match b {
            Operand::Tensor(b) => gil::run(py, a.numel().max(b.numel()), || (self.tensors)(a, b)),
            Operand::Scalar(s) => gil::run(py, a.numel(), || (self.scalar)(a, *s)),
        }
    }
}

macro_rules! pairs {
    ($($name:ident: $tensors:ident, $scalar:ident;)+) => {$(
        pub const $name: Pair = Pair { tensors: ops::$tensors, scalar: |x, s| ops::$scalar(x, s) };
    )+};
}
#[allow(missing_docs)]
mod table {
    use super::{Pair, ops};
    pairs! {
        ADD: add, add_scalar;
        SUB: sub, sub_scalar;
        MUL: mul, mul_scalar;
        DIV: div, div_scalar;
        POW: pow, pow_scalar;
        EQ: eq, eq_scalar;
        NE: ne, ne_scalar;
        LT: lt, lt_scalar;
        LE: le, le_scalar;
        GT: gt, gt_scalar;
        GE: ge, ge_scalar;
        MAXIMUM: maximum, maximum_scalar;
        MINIMUM: minimum, minimum_scalar;
    }
    macro_rules! masks {
        ($($name:ident: $op:ident;)+) => {$(
            pub const $name: Pair = Pair { tensors: ops::$op, scalar: |x, s| ops::$op(x, &s.exact()) };
        )+};
    }
    masks! {
        LOGICAL_AND: logical_and;
        LOGICAL_OR: logical_or;
        LOGICAL_XOR: logical_xor;
    }
}
pub use table::*;

/// ⌊a / b⌋, in the dtype of the operands.
pub const FLOOR_DIV: Pair = Pair { tensors: floor_div, scalar: |x, s| floor_div(x, &s.tensor(s.promote(x.dtype()))) };
/// a − ⌊a / b⌋ · b, which has the sign of b.
pub const REMAINDER: Pair = Pair { tensors: remainder, scalar: |x, s| remainder(x, &s.tensor(s.promote(x.dtype()))) };

fn floor_div(a: &Core, b: &Core) -> Result<Core> {
    let dtype = ops::promote(a, b);
    if dtype.is_float() {
        return ops::floor(&ops::div(a, b)?);
    }
    // Exact below 2⁵³.
    let wide = ops::div(&ops::cast(a, DType::F64)?, &ops::cast(b, DType::F64)?)?;
    ops::cast(&ops::floor(&wide)?, dtype)
}

fn remainder(a: &Core, b: &Core) -> Result<Core> {
    ops::sub(a, &ops::mul(&floor_div(a, b)?, b)?)
}

/// s ∘ x by way of a tensor for s.
fn reflect(py: Python<'_>, pair: Pair, b: &Core, a: &Operand) -> PyResult<Core> {
    match a {
        Operand::Tensor(a) => gil::run(py, a.numel().max(b.numel()), || (pair.tensors)(a, b)),
        Operand::Scalar(s) => gil::run(py, b.numel(), || (pair.tensors)(&s.tensor(s.promote(b.dtype())), b)),
    }
}

/// A tensor, or `NotImplemented`.
type Answer<'py> = PyResult<Bound<'py, PyAny>>;

#[inline]
fn wrap(py: Python<'_>, tensor: Core) -> Answer<'_> {
    Ok(Bound::new(py, Tensor::from(tensor))?.into_any())
}

#[inline]
fn forward<'py>(py: Python<'py>, pair: Pair, a: &Core, b: &Bound<'py, PyAny>) -> Answer<'py> {
    // The way of nearly all calls, without another reference.
    if let Ok(b) = b.cast_exact::<Tensor>() {
        let b = &b.borrow().inner;
        return wrap(py, gil::run(py, a.numel().max(b.numel()), || (pair.tensors)(a, b))?);
    }
    match Operand::of(b)? {
        Some(b) => wrap(py, pair.run(py, a, &b)?),
        None => Ok(py.NotImplemented().into_bound(py)),
    }
}

#[inline]
fn reflected<'py>(py: Python<'py>, pair: Pair, b: &Core, a: &Bound<'py, PyAny>) -> Answer<'py> {
    match Operand::of(a)? {
        Some(a) => wrap(py, reflect(py, pair, b, &a)?),
        None => Ok(py.NotImplemented().into_bound(py)),
    }
}

/// Refuse operands of other dtypes than bool.
fn of_bools(symbol: &str, a: &Core, b: &Core) -> PyResult<()> {
    match [a, b].into_iter().find(|t| t.dtype() != DType::Bool) {
        Some(other) => Err(type_error(format!("{symbol}: expected bool tensors; got {}", other.dtype()))),
        None => Ok(()),
    }
}

/// target ← target ∘ other, of bools.
fn assign_logic(slf: &Bound<'_, Tensor>, symbol: &'static str, pair: Pair, other: &Operand) -> PyResult<()> {
    let of = match other {
        Operand::Tensor(t) => t.clone(),
        Operand::Scalar(s) => s.tensor(s.dtype()),
    };
    of_bools(symbol, &slf.borrow().inner, &of)?;
    in_place::assign(slf, symbol, pair, &Operand::Tensor(of))
}

fn logic<'py>(
    py: Python<'py>,
    symbol: &str,
    op: fn(&Core, &Core) -> Result<Core>,
    a: &Core,
    b: &Bound<'py, PyAny>,
) -> Answer<'py> {
    let b = match Operand::of(b)? {
        Some(Operand::Tensor(b)) => b,
        Some(Operand::Scalar(s)) => s.tensor(s.dtype()),
        None => return Ok(py.NotImplemented().into_bound(py)),
    };
    of_bools(symbol, a, &b)?;
    wrap(py, op(a, &b).raise()?)
}

#[pymethods]
impl Tensor {
    fn __add__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        forward(other.py(), ADD, &self.inner, other)
    }
    fn __radd__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        reflected(other.py(), ADD, &self.inner, other)
    }
    fn __sub__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        forward(other.py(), SUB, &self.inner, other)
    }
    fn __rsub__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        match scalar(other) {
            Some(s) => wrap(other.py(), ops::rsub_scalar(&self.inner, s).raise()?),
            None => reflected(other.py(), SUB, &self.inner, other),
        }
    }
    fn __mul__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        forward(other.py(), MUL, &self.inner, other)
    }
    fn __rmul__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        match scalar(other) {
            Some(s) => wrap(other.py(), ops::mul_scalar(&self.inner, s).raise()?),
            None => reflected(other.py(), MUL, &self.inner, other),
        }
    }
    fn __truediv__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        forward(other.py(), DIV, &self.inner, other)
    }
    fn __rtruediv__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        match scalar(other) {
            Some(s) => wrap(other.py(), ops::rdiv_scalar(&self.inner, s).raise()?),
            None => reflected(other.py(), DIV, &self.inner, other),
        }
    }
    fn __floordiv__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        forward(other.py(), FLOOR_DIV, &self.inner, other)
    }
    fn __rfloordiv__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        reflected(other.py(), FLOOR_DIV, &self.inner, other)
    }
    fn __mod__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        forward(other.py(), REMAINDER, &self.inner, other)
    }
    fn __rmod__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        reflected(other.py(), REMAINDER, &self.inner, other)
    }
    fn __pow__<'py>(&self, other: &Bound<'py, PyAny>, modulo: &Bound<'py, PyAny>) -> Answer<'py> {
        if modulo.is_none() {
            forward(other.py(), POW, &self.inner, other)
        } else {
            Ok(other.py().NotImplemented().into_bound(other.py()))
        }
    }
    fn __rpow__<'py>(&self, other: &Bound<'py, PyAny>, modulo: &Bound<'py, PyAny>) -> Answer<'py> {
        let _ = modulo;
        match scalar(other) {
            Some(s) => wrap(other.py(), ops::rpow_scalar(&self.inner, s).raise()?),
            None => reflected(other.py(), POW, &self.inner, other),
        }
    }
    fn __matmul__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        match Operand::of(other)? {
            Some(Operand::Tensor(b)) => wrap(other.py(), product(other.py(), &self.inner, &b)?),
            _ => Ok(other.py().NotImplemented().into_bound(other.py())),
        }
    }
    fn __rmatmul__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        match Operand::of(other)? {
            Some(Operand::Tensor(a)) => wrap(other.py(), product(other.py(), &a, &self.inner)?),
            _ => Ok(other.py().NotImplemented().into_bound(other.py())),
        }
    }

    fn __iadd__(slf: &Bound<'_, Self>, other: Operand) -> PyResult<()> {
        in_place::arithmetic(slf, in_place::ADD, &other)
    }
    fn __isub__(slf: &Bound<'_, Self>, other: Operand) -> PyResult<()> {
        in_place::arithmetic(slf, in_place::SUB, &other)
    }
    fn __imul__(slf: &Bound<'_, Self>, other: Operand) -> PyResult<()> {
        in_place::arithmetic(slf, in_place::MUL, &other)
    }
    fn __itruediv__(slf: &Bound<'_, Self>, other: Operand) -> PyResult<()> {
        in_place::arithmetic(slf, in_place::DIV, &other)
    }

    fn __ifloordiv__(slf: &Bound<'_, Self>, other: Operand) -> PyResult<()> {
        in_place::assign(slf, "//=", FLOOR_DIV, &other)
    }
    fn __imod__(slf: &Bound<'_, Self>, other: Operand) -> PyResult<()> {
        in_place::assign(slf, "%=", REMAINDER, &other)
    }
    fn __ipow__(slf: &Bound<'_, Self>, other: Operand, modulo: &Bound<'_, PyAny>) -> PyResult<()> {
        let _ = modulo;
        in_place::assign(slf, "**=", POW, &other)
    }
    fn __iand__(slf: &Bound<'_, Self>, other: Operand) -> PyResult<()> {
        assign_logic(slf, "&=", LOGICAL_AND, &other)
    }
    fn __ior__(slf: &Bound<'_, Self>, other: Operand) -> PyResult<()> {
        assign_logic(slf, "|=", LOGICAL_OR, &other)
    }
    fn __ixor__(slf: &Bound<'_, Self>, other: Operand) -> PyResult<()> {
        assign_logic(slf, "^=", LOGICAL_XOR, &other)
    }

    fn __neg__(&self, py: Python<'_>) -> PyResult<Self> {
        gil::run(py, self.inner.numel(), || ops::neg(&self.inner)).map(Self::from)
    }
    fn __pos__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }
    fn __abs__(&self, py: Python<'_>) -> PyResult<Self> {
        gil::run(py, self.inner.numel(), || ops::abs(&self.inner)).map(Self::from)
    }
    fn __invert__(&self) -> PyResult<Self> {
        if self.inner.dtype() != DType::Bool {
            return Err(type_error(format!("~: expected a bool tensor; got {}", self.inner.dtype())));
        }
        ops::logical_not(&self.inner).raise().map(Self::from)
    }
    fn __and__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        logic(other.py(), "&", ops::logical_and, &self.inner, other)
    }
    fn __rand__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        logic(other.py(), "&", ops::logical_and, &self.inner, other)
    }
    fn __or__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        logic(other.py(), "|", ops::logical_or, &self.inner, other)
    }
    fn __ror__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        logic(other.py(), "|", ops::logical_or, &self.inner, other)
    }
    fn __xor__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        logic(other.py(), "^", ops::logical_xor, &self.inner, other)
    }
    fn __rxor__<'py>(&self, other: &Bound<'py, PyAny>) -> Answer<'py> {
        logic(other.py(), "^", ops::logical_xor, &self.inner, other)
    }

    fn __richcmp__<'py>(&self, other: &Bound<'py, PyAny>, op: CompareOp) -> Answer<'py> {
        let pair = match op {
            CompareOp::Eq => EQ,
            CompareOp::Ne => NE,
            CompareOp::Lt => LT,
            CompareOp::Le => LE,
            CompareOp::Gt => GT,
            CompareOp::Ge => GE,
        };
        forward(other.py(), pair, &self.inner, other)
    }
}

/// The matrix product, whose work is more than its elements.
pub fn product(py: Python<'_>, a: &Core, b: &Core) -> PyResult<Core> {
    let columns = b.shape().last().copied().unwrap_or(1);
    gil::run(py, a.numel().saturating_mul(columns), || ops::matmul::matmul(a, b))
}

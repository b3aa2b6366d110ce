//! Methods that compute a tensor from a tensor, element by element or in another shape; and the functions of the same
//! names.

use fastnn_core::ops::{self, Scalar};
use fastnn_core::{DType, Tensor as Core};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::arguments::{Dims, Given, named};
use crate::convert;
use crate::dtype;
use crate::error::{Raise, value_error};
use crate::gil;
use crate::in_place;
use crate::operators::{self, Operand, product};
use crate::tensor::Tensor;

macro_rules! elementwise {
    ($($name:ident),+ $(,)?) => {
        #[pymethods]
        impl Tensor {
            $(fn $name(&self, py: Python<'_>) -> PyResult<Self> {
                gil::run(py, self.inner.numel(), || ops::$name(&self.inner)).map(Self::from)
            })+
        }

        /// The functions of the methods' names.
        pub mod functions {
            use super::{Tensor, convert, gil, ops};
            use pyo3::prelude::*;
            $(#[doc = concat!("`Tensor.", stringify!($name), "`")]
            #[pyfunction]
            #[pyo3(signature = (input, /))]
            pub fn $name(py: Python<'_>, input: convert::Arg) -> PyResult<Tensor> {
                gil::run(py, input.0.numel(), || ops::$name(&input.0)).map(Tensor::from)
            })+
        }
    };
}
elementwise! {
    abs, ceil, cos, erf, exp, expm1, floor, isfinite, isinf, isnan, log, log1p, logical_not, neg, reciprocal, round,
    rsqrt, sign, sin, sqrt, square, trunc, t,
}

macro_rules! pairs {
    ($($name:ident: $pair:ident),+ $(,)?) => {
        #[pymethods]
        impl Tensor {
            $(            fn $name(&self, py: Python<'_>, other: Operand) -> PyResult<Self> {
                operators::$pair.run(py, &self.inner, &other).map(Self::from)
            })+
        }

        /// The functions of the methods' names.
        pub mod pair_functions {
            use super::{Operand, Tensor, convert, operators};
            use pyo3::prelude::*;
            $(#[doc = concat!("`Tensor.", stringify!($name), "`")]
            #[pyfunction]
            #[pyo3(signature = (input, other, /))]
            pub fn $name(py: Python<'_>, input: convert::Arg, other: Operand) -> PyResult<Tensor> {
                operators::$pair.run(py, &input.0, &other).map(Tensor::from)
            })+
        }
    };
}
pairs! {
    mul: MUL, div: DIV, pow: POW, eq: EQ, ne: NE, lt: LT, le: LE, gt: GT, ge: GE, maximum: MAXIMUM, minimum: MINIMUM,
    floor_divide: FLOOR_DIV, remainder: REMAINDER, logical_and: LOGICAL_AND, logical_or: LOGICAL_OR,
    logical_xor: LOGICAL_XOR,
}

#[pymethods]
impl Tensor {
    #[pyo3(signature = (other, *, alpha=Scalar::Int(1).into()))]
    fn add(slf: &Bound<'_, Self>, other: Operand, alpha: Given<Scalar>) -> PyResult<Self> {
        named!("add"; alpha);
        scaled(slf, other, alpha, operators::ADD)
    }

    #[pyo3(signature = (other, *, alpha=Scalar::Int(1).into()))]
    fn sub(slf: &Bound<'_, Self>, other: Operand, alpha: Given<Scalar>) -> PyResult<Self> {
        named!("sub"; alpha);
        scaled(slf, other, alpha, operators::SUB)
    }

    fn matmul(&self, py: Python<'_>, other: convert::Arg) -> PyResult<Self> {
        product(py, &self.inner, &other.0).map(Self::from)
    }

    fn mm(&self, py: Python<'_>, mat2: convert::Arg) -> PyResult<Self> {
        if self.inner.ndim() != 2 || mat2.0.ndim() != 2 {
            return Err(value_error(format!(
                "mm: expected two matrices; got tensors of {} and {} dimensions",
                self.inner.ndim(),
                mat2.0.ndim()
            )));
        }
        product(py, &self.inner, &mat2.0).map(Self::from)
    }

    #[pyo3(signature = (min=None, max=None))]
    fn clamp(&self, py: Python<'_>, min: Option<Given<Scalar>>, max: Option<Given<Scalar>>) -> PyResult<Self> {
        named!("clamp"; min, max);
        gil::run(py, self.inner.numel(), || ops::clamp(&self.inner, min, max)).map(Self::from)
    }

    #[pyo3(signature = (min=None, max=None))]
    fn clip(&self, py: Python<'_>, min: Option<Given<Scalar>>, max: Option<Given<Scalar>>) -> PyResult<Self> {
        self.clamp(py, min, max)
    }

    fn masked_fill(&self, mask: convert::Arg, value: Given<Scalar>) -> PyResult<Self> {
        named!("masked_fill"; value);
        ops::masked_fill(&self.inner, &mask.0, value).raise().map(Self::from)
    }

    #[pyo3(signature = (condition, other))]
    fn r#where(&self, condition: convert::Arg, other: Operand) -> PyResult<Self> {
        let other = match other {
            Operand::Tensor(t) => t,
            Operand::Scalar(s) => s.tensor(s.promote(self.inner.dtype())),
        };
        ops::where_(&condition.0, &self.inner, &other).raise().map(Self::from)
    }

    #[pyo3(signature = (*shape))]
    fn reshape(&self, shape: &Bound<'_, PyTuple>) -> PyResult<Self> {
        own(&self.inner, ops::reshape(&self.inner, &convert::dims("reshape", "shape", shape)?))
    }

    #[pyo3(signature = (*shape))]
    fn view(&self, shape: &Bound<'_, PyTuple>) -> PyResult<Self> {
        own(&self.inner, ops::view(&self.inner, &convert::dims("view", "shape", shape)?))
    }

    fn view_as(&self, other: convert::Arg) -> PyResult<Self> {
        let shape: Vec<i64> = other.0.shape().iter().map(|&n| n as i64).collect();
        own(&self.inner, ops::view(&self.inner, &shape))
    }

    #[pyo3(signature = (start_dim=0.into(), end_dim=(-1).into()), text_signature = "($self, start_dim=0, end_dim=-1)")]
    fn flatten(&self, start_dim: Given<i64>, end_dim: Given<i64>) -> PyResult<Self> {
        named!("flatten"; start_dim, end_dim);
        ops::flatten(&self.inner, start_dim, end_dim).raise().map(Self::from)
    }

    fn ravel(&self) -> PyResult<Self> {
        ops::flatten(&self.inner, 0, -1).raise().map(Self::from)
    }

    #[pyo3(signature = (dim=None))]
    fn squeeze(&self, dim: Option<Given<Dims>>) -> PyResult<Self> {
        named!("squeeze"; dim);
        own(&self.inner, ops::squeeze(&self.inner, dim.as_ref().map(|d| d.0.as_slice())))
    }

    fn unsqueeze(&self, dim: Given<i64>) -> PyResult<Self> {
        named!("unsqueeze"; dim);
        ops::unsqueeze(&self.inner, dim).raise().map(Self::from)
    }

    #[pyo3(signature = (*dims))]
    fn permute(&self, dims: &Bound<'_, PyTuple>) -> PyResult<Self> {
        ops::permute(&self.inner, &convert::dims("permute", "dims", dims)?).raise().map(Self::from)
    }

    fn transpose(&self, dim0: Given<i64>, dim1: Given<i64>) -> PyResult<Self> {
        named!("transpose"; dim0, dim1);
        ops::transpose(&self.inner, dim0, dim1).raise().map(Self::from)
    }

    #[pyo3(signature = (*sizes))]
    fn expand(&self, sizes: &Bound<'_, PyTuple>) -> PyResult<Self> {
        own(&self.inner, ops::expand_keeping(&self.inner, &convert::dims("expand", "sizes", sizes)?))
    }

    fn expand_as(&self, other: convert::Arg) -> PyResult<Self> {
        own(&self.inner, ops::expand(&self.inner, other.0.shape()))
    }

    #[getter(T)]
    fn transposed(&self) -> PyResult<Self> {
        let order: Vec<i64> = (0..self.inner.ndim() as i64).rev().collect();
        ops::permute(&self.inner, &order).raise().map(Self::from)
    }

    #[getter(mT)]
    fn transposed_matrix(&self) -> PyResult<Self> {
        ops::transpose(&self.inner, -2, -1).raise().map(Self::from)
    }

    fn contiguous(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        if slf.borrow().inner.layout().is_contiguous() {
            return Ok(slf);
        }
        let copy = ops::contiguous(&slf.borrow().inner).raise()?;
        Bound::new(slf.py(), Self::from(copy))
    }

    /// In another dtype, or on another device, of which there is one.
    #[pyo3(signature = (*args, **kwargs))]
    fn to<'py>(
        slf: Bound<'py, Self>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, Self>> {
        let (mut wanted, mut copy) = (None, false);
        for arg in args {
            if let Ok(like) = arg.cast::<Self>() {
                wanted = Some(like.borrow().inner.dtype());
            } else if let Some(dtype) = dtype::lookup(&arg) {
                wanted = Some(dtype);
            } else if !arg.is_instance_of::<pyo3::types::PyBool>() && !arg.is_none() {
                convert::check_device(Some(&arg))?;
            }
        }
        if let Some(kwargs) = kwargs {
            for (key, value) in kwargs {
                match key.extract::<String>()?.as_str() {
                    "dtype" | "device" if value.is_none() => {}
                    "non_blocking" => {}
                    "dtype" => wanted = Some(value.extract::<dtype::Arg>()?.0),
                    "device" => convert::check_device(Some(&value))?,
                    "copy" => copy = value.is_truthy()?,
                    other => return Err(crate::error::type_error(format!("to: unexpected argument {other}"))),
                }
            }
        }
        slf.borrow().cast_to(slf.clone(), wanted, copy)
    }

    fn float(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.borrow().cast_to(slf.clone(), Some(DType::F32), false)
    }

    fn double(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.borrow().cast_to(slf.clone(), Some(DType::F64), false)
    }

    fn long(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.borrow().cast_to(slf.clone(), Some(DType::I64), false)
    }

    fn bool(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.borrow().cast_to(slf.clone(), Some(DType::Bool), false)
    }

    fn cpu(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn type_as<'py>(slf: Bound<'py, Self>, other: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        slf.borrow().cast_to(slf.clone(), Some(other.borrow().inner.dtype()), false)
    }
}

impl Tensor {
    /// Itself, if it has the dtype and no copy is asked for.
    fn cast_to<'py>(&self, slf: Bound<'py, Self>, wanted: Option<DType>, copy: bool) -> PyResult<Bound<'py, Self>> {
        let dtype = wanted.unwrap_or(self.inner.dtype());
        let inner = if dtype != self.inner.dtype() {
            ops::cast(&self.inner, dtype)
        } else if copy {
            ops::copy(&self.inner)
        } else {
            return Ok(slf);
        };
        Bound::new(slf.py(), Self::from(inner.raise()?))
    }
}

/// A view of its own, also where the op had nothing to do and gave the tensor back: what is set on the one, such as
/// `requires_grad`, must not show on the other.
pub fn own(x: &Core, view: fastnn_core::Result<Core>) -> PyResult<Tensor> {
    let view = view.raise()?;
    let view = if view.id() == x.id() { ops::alias(x).raise()? } else { view };
    Ok(view.into())
}

fn scaled(slf: &Bound<'_, Tensor>, other: Operand, alpha: Scalar, pair: operators::Pair) -> PyResult<Tensor> {
    let other = in_place::times(other, alpha)?;
    pair.run(slf.py(), &slf.borrow().inner, &other).map(Tensor::from)
}

/// Number of elements of all tensors, which stretched ones may have no end of.
pub fn elements<'a>(tensors: impl Iterator<Item = &'a Core>) -> usize {
    tensors.fold(0, |sum: usize, tensor| sum.saturating_add(tensor.numel()))
}

/// The tensors of a list.
pub fn inners(tensors: &[convert::Arg]) -> Vec<&Core> {
    tensors.iter().map(|t| &t.0).collect()
}

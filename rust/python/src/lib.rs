//! `fastnn._core`: borrow, release the GIL, call, raise.

mod autograd;
mod convert;
mod creation;
mod dtype;
mod error;
mod function;
mod gil;
mod in_place;
mod operators;
mod settings;
mod show;
mod tensor;

use pyo3::prelude::*;

#[pymodule(name = "_core", gil_used = true)]
mod core_module {
    use fastnn_core::DType;
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::autograd::{grad, is_grad_enabled, set_grad_enabled};
    #[pymodule_export]
    use crate::creation::{as_tensor, from_numpy, tensor};
    #[pymodule_export]
    use crate::dtype::PyDType;
    #[pymodule_export]
    use crate::function::{Context, apply_function};
    #[pymodule_export]
    use crate::settings::{bump_config, config_version, get_num_threads, isa, set_num_threads};
    #[pymodule_export]
    use crate::tensor::Tensor;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        for dtype in [DType::F32, DType::F64, DType::I64, DType::Bool] {
            module.add(dtype.name(), crate::dtype::object(module.py(), dtype)?)?;
        }
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

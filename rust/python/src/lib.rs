//! `fastnn._core`: borrow, release the GIL, call, raise.

// Python's arguments come by value, and its methods have a `self`.
#![allow(clippy::needless_pass_by_value, clippy::unused_self)]

mod arguments;
mod assign;
mod augment;
mod autograd;
mod conv;
mod convert;
mod creation;
mod dtype;
mod error;
mod function;
mod functional;
mod gil;
mod grad_mode;
mod group_step;
mod in_place;
mod index;
mod interpreter;
mod joining;
mod losses;
mod methods;
mod operators;
mod optim;
mod plans;
mod pooling;
mod rbm;
mod reduce;
mod rule;
mod settings;
mod show;
mod step;
mod tensor;
mod undo;
mod update;
mod update_options;
mod values;

use pyo3::prelude::*;

// Without the GIL, two threads could change a tensor at once: small ops run with it (`gil::held`), and an object that one
// thread changes would be refused to another (`Tensor`, `Slots`, `Undo`). A free-threaded interpreter turns it on.
#[pymodule(name = "_core", gil_used = true)]
mod core_module {
    use fastnn_core::DType;
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::assign::{assign, check_writable, scale_all};
    #[pymodule_export]
    use crate::augment::PyAugment;
    #[pymodule_export]
    use crate::autograd::{
        grad, is_anomaly_enabled, is_grad_enabled, set_anomaly_scope, set_detect_anomaly, set_grad_enabled,
    };
    #[pymodule_export]
    use crate::conv::{conv, conv_transpose};
    #[pymodule_export]
    use crate::creation::{
        PyFitDraws, arange, as_tensor, begin_fit_draws, begin_training_draws, bernoulli, empty, empty_like,
        end_fit_draws, eye, from_numpy, full, full_like, get_rng_state, linspace, manual_seed, ones, ones_like,
        permutation, rand, rand_like, randint, randn, randn_like, randperm, set_own_rng_state, set_rng_state, tensor,
        zeros, zeros_like,
    };
    #[pymodule_export]
    use crate::dtype::PyDType;
    #[pymodule_export]
    use crate::function::{Context, apply_function};
    #[pymodule_export]
    use crate::functional::{
        batch_norm, bilinear, dropout, gaussian_noise, gelu, group_norm, instance_norm, layer_norm, linear,
        log_softmax, prelu, rms_norm, softmax,
    };
    #[pymodule_export]
    use crate::grad_mode::{AnomalyMode, GradMode, call_in_anomaly_scope};
    #[pymodule_export]
    use crate::group_step::{step_slots, zero_grads};
    #[pymodule_export]
    use crate::joining::{
        add, all, amax, amin, any, argmax, argmin, cat, chunk, clamp, clone, flatten, gather, index_select, logsumexp,
        masked_fill, matmul, max, mean, min, mm, narrow, nonzero, norm, one_hot, permute, prod, reshape, scatter_add,
        split, squeeze, stack, std, sub, sum, transpose, unbind, unsqueeze, var, where_,
    };
    #[pymodule_export]
    use crate::losses::{
        binary_cross_entropy, binary_cross_entropy_with_logits, cross_entropy, huber_loss, kl_div, l1_loss, mse_loss,
        nll_loss, smooth_l1_loss,
    };
    #[pymodule_export]
    use crate::methods::functions::{
        abs, ceil, cos, erf, exp, expm1, floor, isfinite, isinf, isnan, log, log1p, logical_not, neg, reciprocal,
        round, rsqrt, sign, sin, sqrt, square, t, trunc,
    };
    #[pymodule_export]
    use crate::methods::pair_functions::{
        div, eq, floor_divide, ge, gt, le, logical_and, logical_or, logical_xor, lt, maximum, minimum, mul, ne, pow,
        remainder,
    };
    #[pymodule_export]
    use crate::optim::PySlots;
    #[pymodule_export]
    use crate::pooling::{
        adaptive_avg_pool, adaptive_max_pool, avg_pool, fractional_max_pool2d, interpolate, max_pool,
        max_pool_with_indices, pad,
    };
    #[pymodule_export]
    use crate::rbm::PyRbm;
    #[pymodule_export]
    use crate::reduce::equal;
    #[pymodule_export]
    use crate::settings::{
        bump_config, config_version, get_num_cores, get_num_threads, get_requested_threads, isa, lacking_instructions,
        set_num_threads, set_requested_threads, set_whole_teams, team_counts,
    };
    #[pymodule_export]
    use crate::step::{Planner, unplannable};
    #[pymodule_export]
    use crate::tensor::{Tensor, apart, is_writable};
    #[pymodule_export]
    use crate::undo::Undo;
    #[pymodule_export]
    use crate::update_options::{PyUpdateOptions, limit_row_norms, penalty, total_norm};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::interpreter::claim(module.py())?;
        fastnn_core::interrupt::look_with(crate::gil::look);
        for dtype in [DType::F32, DType::F64, DType::I64, DType::Bool] {
            module.add(dtype.name(), crate::dtype::object(module.py(), dtype)?)?;
        }
        crate::functional::add_activations(module)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

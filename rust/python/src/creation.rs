//! New tensors: from data, filled, drawn.

use std::sync::atomic::{AtomicU64, Ordering};

use fastnn_core::ops::{self, Scalar, random};
use fastnn_core::tensor::room;
use fastnn_core::tensor::trace;
use fastnn_core::{DType, Result, Tensor as Core};
use numpy::PyUntypedArray;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::arguments::{self, Given, named, show};
use crate::convert::{self, check_device};
use crate::dtype;
use crate::error::{Raise, type_error, type_name};
use crate::gil;
use crate::tensor::Tensor;

/// The tensor, asking for its gradient if that is wanted.
fn leaf(tensor: Core, requires_grad: bool) -> PyResult<Tensor> {
    if requires_grad {
        tensor.set_requires_grad(true).raise()?;
    }
    Ok(tensor.into())
}

/// A new tensor with a copy of the data: numbers, nested lists, an array, a tensor.
#[pyfunction]
#[pyo3(signature = (data, *, dtype=None, device=None, requires_grad=false))]
pub fn tensor(
    data: &Bound<'_, PyAny>,
    dtype: Option<dtype::Arg>,
    device: Option<&Bound<'_, PyAny>>,
    requires_grad: bool,
) -> PyResult<Tensor> {
    check_device(device)?;
    let wanted = dtype.map(|d| d.0);
    let source = convert::any_as(data, wanted)?.detach();
    let wanted = wanted.unwrap_or(source.dtype());
    leaf(if wanted == source.dtype() { ops::copy(&source) } else { ops::cast(&source, wanted) }.raise()?, requires_grad)
}

/// A tensor of the data, sharing its memory where that is possible.
#[pyfunction]
#[pyo3(signature = (data, dtype=None, device=None))]
pub fn as_tensor<'py>(
    data: &Bound<'py, PyAny>,
    dtype: Option<dtype::Arg>,
    device: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    check_device(device)?;
    let wanted = dtype.map(|d| d.0);
    if let Ok(tensor) = data.cast::<Tensor>()
        && wanted.is_none_or(|d| d == tensor.borrow().inner.dtype())
    {
        return Ok(data.clone());
    }
    let source = convert::any_as(data, wanted)?;
    let tensor = ops::cast(&source, wanted.unwrap_or(source.dtype())).raise()?;
    Ok(Bound::new(data.py(), Tensor::from(tensor))?.into_any())
}

/// A tensor on the memory of an array.
#[pyfunction]
#[pyo3(signature = (array, /))]
pub fn from_numpy(array: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    match array.cast::<PyUntypedArray>() {
        Ok(array) => Ok(convert::from_array(array)?.into()),
        Err(_) => Err(type_error(format!("from_numpy: expected a NumPy array; got {}", type_name(array)))),
    }
}

/// Arguments that creating functions share: `dtype`, `device`, `requires_grad`.
fn make(
    device: Option<&Bound<'_, PyAny>>,
    requires_grad: bool,
    tensor: impl FnOnce() -> Result<Core>,
) -> PyResult<Tensor> {
    check_device(device)?;
    leaf(gil::held(tensor)?, requires_grad)
}

fn or_f32(dtype: Option<dtype::Arg>) -> DType {
    dtype.map_or(DType::F32, |d| d.0)
}

macro_rules! of_shape {
    ($($name:ident: |$shape:ident, $dtype:ident| $tensor:expr, $text:literal;)+) => {$(
        #[doc = $text]
        #[pyfunction]
        #[pyo3(signature = (*size, dtype=None, device=None, requires_grad=false))]
        pub fn $name(
            size: &Bound<'_, PyTuple>,
            dtype: Option<dtype::Arg>,
            device: Option<&Bound<'_, PyAny>>,
            requires_grad: bool,
        ) -> PyResult<Tensor> {
            let $shape = convert::shape(stringify!($name), size)?;
            let $dtype = or_f32(dtype);
            make(device, requires_grad, || $tensor)
        }
    )+};
}
of_shape! {
    zeros: |shape, dtype| Ok(Core::zeros(&shape, dtype)), "All elements 0.";
    ones: |shape, dtype| Ok(ops::ones(&shape, dtype)), "All elements 1.";
    // Zeros, so that no run depends on what lay in memory before.
    empty: |shape, dtype| Ok(Core::zeros(&shape, dtype)), "Elements that are yet to be written.";
    rand: |shape, dtype| random::rand(&shape, dtype), "Uniform numbers of [0, 1).";
    randn: |shape, dtype| random::randn(&shape, dtype), "Standard normal numbers.";
}

macro_rules! of_the_shape_of {
    ($($name:ident: |$shape:ident, $dtype:ident| $tensor:expr, $text:literal;)+) => {$(
        #[doc = $text]
        #[pyfunction]
        #[pyo3(signature = (input, *, dtype=None, device=None, requires_grad=false))]
        pub fn $name(
            input: convert::Arg,
            dtype: Option<dtype::Arg>,
            device: Option<&Bound<'_, PyAny>>,
            requires_grad: bool,
        ) -> PyResult<Tensor> {
            let $shape = input.0.shape();
            let $dtype = dtype.map_or(input.0.dtype(), |d| d.0);
            make(device, requires_grad, || $tensor)
        }
    )+};
}
of_the_shape_of! {
    zeros_like: |shape, dtype| Ok(Core::zeros(shape, dtype)), "Zeros in the shape and dtype of another tensor.";
    ones_like: |shape, dtype| Ok(ops::ones(shape, dtype)), "Ones in the shape and dtype of another tensor.";
    empty_like: |shape, dtype| Ok(Core::zeros(shape, dtype)), "A tensor like another, yet to be written.";
    rand_like: |shape, dtype| random::rand(shape, dtype), "Uniform numbers in the shape of another tensor.";
    randn_like: |shape, dtype| random::randn(shape, dtype), "Normal numbers in the shape of another tensor.";
}

/// All elements one value.
#[pyfunction]
#[pyo3(signature = (size, fill_value, *, dtype=None, device=None, requires_grad=false))]
pub fn full(
    size: &Bound<'_, PyAny>,
    fill_value: Given<Scalar>,
    dtype: Option<dtype::Arg>,
    device: Option<&Bound<'_, PyAny>>,
    requires_grad: bool,
) -> PyResult<Tensor> {
    named!("full"; fill_value);
    let shape = convert::shape("full", &PyTuple::new(size.py(), [size])?)?;
    make(device, requires_grad, || Ok(ops::full(&shape, fill_value, dtype.map(|d| d.0))))
}

/// One value in the shape and dtype of another tensor.
#[pyfunction]
#[pyo3(signature = (input, fill_value, *, dtype=None, device=None, requires_grad=false))]
pub fn full_like(
    input: convert::Arg,
    fill_value: Given<Scalar>,
    dtype: Option<dtype::Arg>,
    device: Option<&Bound<'_, PyAny>>,
    requires_grad: bool,
) -> PyResult<Tensor> {
    named!("full_like"; fill_value);
    let dtype = dtype.map_or(input.0.dtype(), |d| d.0);
    make(device, requires_grad, || Ok(ops::full(input.0.shape(), fill_value, Some(dtype))))
}

/// `arange(end)`, `arange(start, end)`, `arange(start, end, step)`.
#[pyfunction]
#[pyo3(signature = (start, end=None, step=None, *, dtype=None, device=None, requires_grad=false))]
pub fn arange(
    start: Given<Scalar>,
    end: Option<Given<Scalar>>,
    step: Option<Given<Scalar>>,
    dtype: Option<dtype::Arg>,
    device: Option<&Bound<'_, PyAny>>,
    requires_grad: bool,
) -> PyResult<Tensor> {
    named!("arange"; start, end, step);
    let (start, end) = end.map_or((Scalar::Int(0), start), |end| (start, end));
    let step = step.unwrap_or(Scalar::Int(1));
    make(device, requires_grad, || ops::arange(start, end, step, dtype.map(|d| d.0)))
}

/// `steps` numbers at equal distances, both ends included.
#[pyfunction]
#[pyo3(signature = (start, end, steps, *, dtype=None, device=None, requires_grad=false))]
pub fn linspace(
    start: Given<Scalar>,
    end: Given<Scalar>,
    steps: Given<usize>,
    dtype: Option<dtype::Arg>,
    device: Option<&Bound<'_, PyAny>>,
    requires_grad: bool,
) -> PyResult<Tensor> {
    named!("linspace"; start, end, steps);
    room::check("linspace", &[steps], DType::F64).raise()?;
    make(device, requires_grad, || Ok(ops::linspace(start, end, steps, or_f32(dtype))))
}

/// 1 on the diagonal of an `n × m` matrix.
#[pyfunction]
#[pyo3(signature = (n, m=None, *, dtype=None, device=None, requires_grad=false))]
pub fn eye(
    n: Given<usize>,
    m: Option<Given<usize>>,
    dtype: Option<dtype::Arg>,
    device: Option<&Bound<'_, PyAny>>,
    requires_grad: bool,
) -> PyResult<Tensor> {
    named!("eye"; n, m);
    room::check("eye", &[n, m.unwrap_or(n)], DType::F64).raise()?;
    make(device, requires_grad, || Ok(ops::eye(n, m.unwrap_or(n), or_f32(dtype))))
}

/// Whole numbers of `[low, high)`: `randint(high, size)`, `randint(low, high, size)`.
#[pyfunction]
#[pyo3(signature = (*args, dtype=None, device=None))]
pub fn randint(
    args: &Bound<'_, PyTuple>,
    dtype: Option<dtype::Arg>,
    device: Option<&Bound<'_, PyAny>>,
) -> PyResult<Tensor> {
    let (low, high, size) = match args.len() {
        2 => (0, arguments::read(&args.get_item(0)?, "randint", "high")?, args.get_item(1)?),
        3 => (
            arguments::read(&args.get_item(0)?, "randint", "low")?,
            arguments::read(&args.get_item(1)?, "randint", "high")?,
            args.get_item(2)?,
        ),
        n => {
            return Err(type_error(format!(
                "randint: expected high and size, or low, high and size; got {n} arguments"
            )));
        }
    };
    let shape = convert::shape("randint", &PyTuple::new(args.py(), [size])?)?;
    let dtype = dtype.map_or(DType::I64, |d| d.0);
    make(device, false, || ops::cast(&random::randint(low, high, &shape)?, dtype))
}

/// The numbers 0..n in random order, as a tensor.
#[pyfunction]
#[pyo3(signature = (n, *, dtype=None, device=None))]
pub fn randperm(n: Given<usize>, dtype: Option<dtype::Arg>, device: Option<&Bound<'_, PyAny>>) -> PyResult<Tensor> {
    named!("randperm"; n);
    let dtype = dtype.map_or(DType::I64, |d| d.0);
    room::check("randperm", &[n], DType::I64).raise()?;
    make(device, false, || ops::cast(&random::randperm(n)?, dtype))
}

/// 1 with the probability at an element's place, else 0.
#[pyfunction]
#[pyo3(signature = (input, /))]
pub fn bernoulli(input: convert::Arg) -> PyResult<Tensor> {
    make(None, false, || random::bernoulli(&input.0))
}

/// The numbers 0..n in random order, as an array.
#[pyfunction]
#[pyo3(signature = (n, /))]
pub fn permutation(py: Python<'_>, n: Given<usize>) -> PyResult<Bound<'_, PyAny>> {
    named!("permutation"; n);
    room::check("permutation", &[n], DType::I64).raise()?;
    trace::obstacle("a permutation was drawn as an array");
    convert::to_array(py, &gil::held(|| random::randperm(n))?)
}

/// True if this is Python's main thread, whose draws come from the generator of the process.
fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import(intern!(py, "threading"))?;
    let main = threading.call_method0(intern!(py, "main_thread"))?.getattr(intern!(py, "ident"))?;
    threading.call_method0(intern!(py, "get_ident"))?.eq(main)
}

/// Why a step that touches the state of the generator cannot be planned.
const STATE: &str = "forward or loss reads or sets the state of a generator";

/// Begin all random draws again from a seed: in the main thread those of the process, in another one its own.
#[pyfunction]
#[pyo3(signature = (seed, /))]
pub fn manual_seed(seed: &Bound<'_, PyAny>) -> PyResult<()> {
    let expected = || crate::error::type_error(format!("manual_seed: expected an int; got {}", type_name(seed)));
    let index = seed.call_method0("__index__").map_err(|_| expected())?;
    // Negative seeds are allowed, as in PyTorch.
    let value = index.extract::<u64>().or_else(|_| index.extract::<i64>().map(|s| s as u64)).map_err(|_| {
        crate::error::value_error(format!("manual_seed: expected a seed of 64 bits; got {}", show(&index)))
    })?;
    trace::obstacle(STATE);
    if is_main_thread(seed.py())? {
        random::manual_seed(value);
    } else {
        random::manual_seed_own(value);
    }
    Ok(())
}

/// State of the random draws: the seed, and the number of calls.
#[pyfunction]
pub fn get_rng_state() -> (u64, u64) {
    trace::obstacle(STATE);
    random::state()
}

/// A seed and a count of draws.
fn generator(state: &Bound<'_, PyAny>) -> PyResult<(u64, u64)> {
    state.extract().map_err(|error| {
        arguments::explain(error, "set_rng_state", "state", "a seed and a count, both of 64 bits", state)
    })
}

/// Go on from where the random draws stood.
#[pyfunction]
#[pyo3(signature = (state, /))]
pub fn set_rng_state(state: &Bound<'_, PyAny>) -> PyResult<()> {
    let to = generator(state)?;
    trace::obstacle(STATE);
    if is_main_thread(state.py())? {
        random::set_state(to);
    } else {
        random::set_state_own(to);
    }
    Ok(())
}

/// Give this thread a generator of its own that stands at `state`, or with None take it away again.
/// Returns where the one that it was given before stood, if it had one.
#[pyfunction]
#[pyo3(signature = (state, /))]
pub fn set_own_rng_state(state: Option<&Bound<'_, PyAny>>) -> PyResult<Option<(u64, u64)>> {
    let state = state.map(generator).transpose()?;
    trace::obstacle(STATE);
    Ok(random::set_own_state(state))
}

static NEXT_THREAD: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// A number that no other thread has or had.
    static THREAD: u64 = NEXT_THREAD.fetch_add(1, Ordering::Relaxed);
}

/// Let this thread, if it is not the main one, train with a generator of its own from now on. Returns the number of the
/// thread; does nothing if that is `last`.
#[pyfunction]
#[pyo3(signature = (last, /))]
pub fn begin_training_draws(py: Python<'_>, last: u64) -> PyResult<u64> {
    let thread = THREAD.with(|&number| number);
    if thread != last && !is_main_thread(py)? {
        random::begin_training();
    }
    Ok(thread)
}

/// Final state of a fit's draws, for the next fit.
#[pyclass(module = "fastnn._core", name = "FitDraws", frozen)]
#[derive(Clone)]
pub struct PyFitDraws(random::FitDraws);

/// Let a fit in this thread draw from a generator of its own, which goes on from `last`. Returns whether there is anything to
/// end.
#[pyfunction]
#[pyo3(signature = (last, /))]
pub fn begin_fit_draws(py: Python<'_>, last: Option<PyRef<'_, PyFitDraws>>) -> PyResult<bool> {
    Ok(random::begin_fit(is_main_thread(py)?, last.map(|last| last.0)))
}

/// End what `begin_fit_draws` began; returns what the next fit of the same model goes on from.
#[pyfunction]
pub fn end_fit_draws() -> Option<PyFitDraws> {
    random::end_fit().map(PyFitDraws)
}

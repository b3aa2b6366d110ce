//! Changes of gradients and parameters around the optimizer, for the eager step and for plans.

use std::sync::Arc;

use fastnn_core::kernels::penalty::Penalty;
use fastnn_core::ops::penalty::rows;
use fastnn_core::optim::noise::TILE;
use fastnn_core::optim::update_options::{self, Around, Noise, UpdateOptions};
use fastnn_core::tensor::tape;
use fastnn_core::tensor::trace;
use fastnn_core::{DType, Float, Result, Tensor as Core, ops, reserve, with_float};
use pyo3::prelude::*;

use crate::arguments::{Given, named};
use crate::convert::{Arg, Items};
use crate::error::{Raise, value_error};
use crate::gil;
use crate::methods::elements;
use crate::tensor::Tensor;

/// State of a parameter.
struct Kept {
    max_norm: Option<f64>,
    average: Option<Core>,
}

/// Clipping, noise, max-norm and averages for the parameters of one optimizer, in their order.
#[pyclass(name = "UpdateOptions", module = "fastnn._core")]
pub struct PyUpdateOptions {
    /// The settings, and the count of updates, which plans share.
    pub settings: Arc<UpdateOptions>,
    kept: Vec<Kept>,
}

impl PyUpdateOptions {
    /// The greatest norm of parameter `i`'s rows, and its average.
    pub fn of(&self, i: usize) -> (Option<f64>, Option<Core>) {
        self.kept.get(i).map_or((None, None), |kept| (kept.max_norm, kept.average.clone()))
    }

    fn check(&self, params: &[PyRef<'_, Tensor>]) -> PyResult<()> {
        if params.len() == self.kept.len() {
            return Ok(());
        }
        Err(value_error(format!("UpdateOptions: expected {} parameters; got {}", self.kept.len(), params.len())))
    }
}

fn tensor_of<T: Float>(data: &[T], shape: &[usize]) -> Core {
    Core::from_slice(data, shape)
}

/// The squared norms of a gradient's rows.
fn squared_norms(clip_value: Option<f64>, grad: &Core) -> Result<Vec<f64>> {
    let grad = ops::contiguous(grad)?;
    let (rows, cols) = rows(grad.shape());
    Ok(with_float!(grad.dtype(), T => {
        let grad = grad.view();
        let grad = grad.slice::<T>();
        (0..rows).map(|r| update_options::squared_norm(clip_value, &grad[r * cols..(r + 1) * cols])).collect()
    }))
}

/// The norm of all gradients together.
fn total(clip_value: Option<f64>, grads: &[Core]) -> Result<f64> {
    let norms = grads.iter().map(|g| squared_norms(clip_value, g)).collect::<Result<Vec<_>>>()?;
    Ok(update_options::total_norm(norms.iter().map(Vec::as_slice)))
}

#[pymethods]
impl PyUpdateOptions {
    #[new]
    #[pyo3(signature = (clip_value, clip_norm, noise, ema, /))]
    fn new(
        clip_value: Option<Given<f64>>,
        clip_norm: Option<Given<f64>>,
        noise: Option<Given<(f64, f64)>>,
        ema: Option<Given<f64>>,
    ) -> PyResult<Self> {
        named!("UpdateOptions"; clip_value, clip_norm, noise, ema);
        let noise = noise.map(|(eta, gamma)| Noise { eta, gamma });
        Ok(Self { settings: Arc::new(UpdateOptions::new(clip_value, clip_norm, noise, ema)), kept: Vec::new() })
    }

    /// Take these parameters, with the greatest norms of their rows. Averages that there are go on.
    #[pyo3(signature = (params, max_norms, /))]
    #[allow(clippy::needless_pass_by_value)] // from Python
    fn follow(&mut self, params: Vec<PyRef<'_, Tensor>>, max_norms: Vec<Option<f64>>) -> PyResult<()> {
        let averages = self.settings.ema.is_some();
        for (i, (param, &max_norm)) in params.iter().zip(&max_norms).enumerate() {
            let param = &param.inner;
            let old = self.kept.get(i).and_then(|kept| kept.average.clone());
            let average = tape::no_grad(|| match old {
                _ if !averages => Ok(None),
                Some(old) if old.shape() == param.shape() && old.dtype() == param.dtype() => Ok(Some(old)),
                Some(old) if old.shape() == param.shape() => ops::cast(&old, param.dtype()).map(Some),
                _ => ops::copy(&param.detach()).map(Some),
            });
            let kept = Kept { max_norm, average: average.raise()? };
            if i < self.kept.len() {
                self.kept[i] = kept;
            } else {
                self.kept.push(kept);
            }
        }
        self.kept.truncate(params.len());
        Ok(())
    }

    /// Before the optimizer's step: give every parameter its clipped and disturbed gradient.
    #[pyo3(signature = (params, /))]
    #[allow(clippy::needless_pass_by_value)] // from Python
    fn before(&self, params: Vec<PyRef<'_, Tensor>>) -> PyResult<()> {
        trace::obstacle("forward or loss treats gradients");
        self.check(&params)?;
        let settings = &self.settings;
        let draw = settings.noise.map(|_| ops::random::next_gradient_draw());
        let grads: Vec<Core> = params.iter().filter_map(|p| p.inner.grad()).collect();
        gil::held(|| {
            tape::no_grad(|| {
                let norm = settings.clip_norm.map(|_| total(settings.clip_value, &grads)).transpose()?;
                let mut position = 0;
                // All new gradients first, so that an error leaves the old ones.
                let mut all = Vec::with_capacity(params.len());
                for param in &params {
                    if let Some(grad) = param.inner.grad() {
                        let changed = with_float!(grad.dtype(), T => {
                            let around: Around<T> = settings.at(0, draw, norm);
                            if !around.changes_gradients() {
                                continue;
                            }
                            let mut changed = reserve::copied(ops::contiguous(&grad)?.view().slice::<T>());
                            around.gradient(&mut changed, position);
                            tensor_of(&changed, grad.shape())
                        });
                        all.push((param, changed));
                    }
                    position += param.inner.numel().next_multiple_of(TILE);
                }
                for (param, changed) in all {
                    param.inner.set_grad(Some(changed));
                }
                Ok(())
            })
        })
    }

    /// After the optimizer's step: shorten rows, and take parameters that had a gradient into their averages.
    #[pyo3(signature = (params, /))]
    #[allow(clippy::needless_pass_by_value)] // from Python
    fn after(&self, params: Vec<PyRef<'_, Tensor>>) -> PyResult<()> {
        self.check(&params)?;
        gil::held(|| {
            tape::no_grad(|| {
                for (param, kept) in params.iter().map(|p| &p.inner).zip(&self.kept) {
                    if param.grad().is_none() {
                        continue;
                    }
                    if let Some(max_norm) = kept.max_norm {
                        limit_rows(param, max_norm)?;
                    }
                    let Some(average) = &kept.average else { continue };
                    let moved = with_float!(param.dtype(), T => {
                        let around: Around<T> = self.settings.at(0, None, None);
                        let mut moved = reserve::copied(average.view().slice::<T>());
                        around.average(ops::contiguous(&param.detach())?.view().slice::<T>(), &mut moved);
                        tensor_of(&moved, average.shape())
                    });
                    ops::copy_(average, &moved)?;
                }
                self.settings.set_done(self.settings.done() + 1);
                Ok(())
            })
        })
    }

    /// The average of parameter `index`, which changes with every step.
    #[pyo3(signature = (index, /))]
    fn average(&self, index: usize) -> Option<Tensor> {
        self.of(index).1.map(Tensor::from)
    }

    /// Number of updates.
    #[getter]
    fn done(&self) -> u64 {
        self.settings.done()
    }

    #[setter]
    fn set_done(&self, done: u64) {
        self.settings.set_done(done);
    }
}

fn limit_rows(param: &Core, max_norm: f64) -> Result<()> {
    let cols = rows(param.shape()).1;
    let limited = with_float!(param.dtype(), T => {
        let mut limited = reserve::copied(ops::contiguous(&param.detach())?.view().slice::<T>());
        update_options::limit_rows(&mut limited, cols, max_norm);
        tensor_of(&limited, param.shape())
    });
    ops::copy_(param, &limited)
}

/// Shorten the rows of a tensor that are longer than `max_norm`, in place.
#[pyfunction]
#[pyo3(signature = (tensor, max_norm, /))]
pub fn limit_row_norms(py: Python<'_>, tensor: PyRef<'_, Tensor>, max_norm: Given<f64>) -> PyResult<()> {
    named!("limit_row_norms"; max_norm);
    trace::read("a norm of rows");
    let param = &tensor.inner;
    gil::run(py, param.numel(), || tape::no_grad(|| limit_rows(param, max_norm)))
}

/// The norm of all tensors as if they were one vector, summed in float64.
#[pyfunction]
#[pyo3(signature = (tensors, /))]
#[allow(clippy::needless_pass_by_value)] // from Python
pub fn total_norm(py: Python<'_>, tensors: Items<Arg>) -> PyResult<f64> {
    let tensors = tensors.0;
    trace::read("a norm of gradients");
    let numel = elements(tensors.iter().map(|t| &t.0));
    gil::run(py, numel, || {
        tape::no_grad(|| {
            let floating = |t: &Core| if t.dtype().is_float() { Ok(t.detach()) } else { ops::cast(t, DType::F64) };
            let tensors = tensors.iter().map(|t| floating(&t.0)).collect::<Result<Vec<_>>>()?;
            total(None, &tensors)
        })
    })
}

/// The sum of penalties, each given as ("elastic", l1, l2) or ("power", strength, p).
#[pyfunction]
#[pyo3(signature = (tensors, penalties, /))]
#[allow(clippy::needless_pass_by_value)] // from Python
pub fn penalty(py: Python<'_>, tensors: Items<Arg>, penalties: Vec<(String, f64, f64)>) -> PyResult<Tensor> {
    let tensors = tensors.0;
    if tensors.len() != penalties.len() {
        return Err(value_error(format!("penalty: expected {} penalties; got {}", tensors.len(), penalties.len())));
    }
    let penalties = penalties
        .iter()
        .map(|(kind, a, b)| match kind.as_str() {
            "elastic" => Ok(Penalty::Elastic { l1: *a, l2: *b }),
            "power" => Ok(Penalty::power(*a, *b)),
            _ => Err(value_error(format!("penalty: expected 'elastic' or 'power'; got '{kind}'"))),
        })
        .collect::<PyResult<Vec<_>>>()?;
    let tensors: Vec<&Core> = tensors.iter().map(|t| &t.0).collect();
    let numel = elements(tensors.iter().copied());
    gil::run(py, numel, || ops::penalty::penalty(&tensors, &penalties)).map(Tensor::from)
}

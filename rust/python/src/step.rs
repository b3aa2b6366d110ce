//! The planned steps of a `TrainStep`: one plan for each shape of batch.

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use fastnn_core::optim::{Progress, Rule, noise::TILE};
use fastnn_core::plan::{Fingerprint, Parameter, Plan, batch_of};
use fastnn_core::tensor::trace;
use fastnn_core::{Result, Tensor as Core, ops, reserve, threads};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use smallvec::SmallVec;

use crate::arguments::{Given, named};
use crate::augment::PyAugment;
use crate::convert;
use crate::error::{Raise, carried};
use crate::gil;
use crate::optim::PySlots;
use crate::plans::{Entry, Place, Plans};
use crate::tensor::Tensor;
use crate::update_options::PyUpdateOptions;

/// Nanoseconds of work from which on a step lets other Python threads run.
const LONG: usize = 20_000;

const BUSY: &str = "TrainStep: expected one thread at a time; it is running in another";

const OF_ANOTHER: &str = "forward or loss takes a step of another TrainStep";

/// A batch that is being traced.
struct Tracing {
    batch: Batch,
    drawn_from: (u64, u64),
}

#[derive(Default)]
struct Inner {
    plans: Plans,
    tracing: Option<Tracing>,
    /// Exception that interrupted the last call after steps that were complete.
    interruption: Option<PyErr>,
    /// Number of its updates.
    updated: usize,
}

/// The plans of one `TrainStep`.
#[pyclass(module = "fastnn._core", frozen)]
#[derive(Default)]
pub struct Planner {
    inner: Mutex<Inner>,
}

/// An optimizer's groups: the slots of each, and its settings.
type Groups<'py> = Vec<(PyRefMut<'py, PySlots>, Bound<'py, PyDict>)>;

fn groups<'py>(slots: Vec<Bound<'py, PySlots>>, settings: Vec<Bound<'py, PyDict>>) -> PyResult<Groups<'py>> {
    slots
        .into_iter()
        .zip(settings)
        .map(|(slots, settings)| match slots.try_borrow_mut() {
            Ok(slots) => Ok((slots, settings)),
            Err(_) => Err(PyRuntimeError::new_err(BUSY)),
        })
        .collect()
}

/// The present rule of each group, checked; the slots follow what was assigned to parameters since.
fn rules(py: Python<'_>, groups: &mut Groups<'_>) -> PyResult<SmallVec<[Rule; 2]>> {
    groups
        .iter_mut()
        .map(|(slots, settings)| {
            let rule = slots.rule(settings)?;
            rule.validate().raise()?;
            slots.refresh(py)?;
            slots.slots.ensure_state(&rule);
            Ok(rule)
        })
        .collect()
}

/// The rules of further steps after one with the rules `first`, whose settings are given group by group: of as many as one
/// call can run, that is up to settings that are refused, or that need another state.
fn rules_ahead(groups: &Groups<'_>, first: &[Rule], settings: &[Bound<'_, PyDict>]) -> Vec<SmallVec<[Rule; 2]>> {
    let mut ahead = Vec::with_capacity(settings.len() / first.len().max(1));
    for step in settings.chunks_exact(first.len().max(1)) {
        let rules: PyResult<SmallVec<[Rule; 2]>> =
            groups.iter().zip(step).map(|((slots, _), settings)| slots.rule(settings)).collect();
        let usable = |(now, first): (&Rule, &Rule)| now.validate().is_ok() && now.state_names() == first.state_names();
        match rules {
            Ok(rules) if rules.iter().zip(first).all(usable) => ahead.push(rules),
            _ => break,
        }
    }
    ahead
}

/// Inputs, targets and, if samples are weighted, their weights.
type Batch = SmallVec<[Core; 3]>;

/// A batch as plans take it: contiguous, off the tape.
fn batch(x: &Bound<'_, PyAny>, y: &Bound<'_, PyAny>, weight: Option<&Bound<'_, PyAny>>) -> PyResult<Batch> {
    let one = |value: &Bound<'_, PyAny>| ops::contiguous(&convert::any(value)?.detach()).raise();
    [Some(x), Some(y), weight].into_iter().flatten().map(one).collect()
}

/// Count steps that had these updates: the same in all, or those of each step, one after another.
fn count(entry: &Entry, updates: &[(Rule, Progress)], groups: &mut Groups<'_>, steps: usize) {
    let each_step = if updates.len() == entry.places.len() { 0 } else { entry.places.len() };
    for (i, place) in entry.places.iter().enumerate() {
        let progress = &mut groups[place.group].0.slots.progress[place.index];
        (0..steps).for_each(|step| updates[step * each_step + i].0.advance(progress));
    }
}

impl Planner {
    fn lock(&self) -> PyResult<MutexGuard<'_, Inner>> {
        match self.inner.try_lock() {
            Ok(inner) => Ok(inner),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(PyRuntimeError::new_err(BUSY)),
        }
    }
}

/// Run a plan that needs this much work, without the GIL if it is long. Plans hold no Python objects but arrays kept alive.
fn without_gil<R: Send>(py: Python<'_>, work: usize, run: impl FnOnce() -> Result<R> + Send) -> PyResult<R> {
    threads::look_around();
    if work >= LONG { gil::detached(py, run) } else { gil::held(run) }
}

#[pymethods]
impl Planner {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Forget all plans: the model has changed.
    fn clear(&self) -> PyResult<()> {
        self.lock()?.plans.clear();
        Ok(())
    }

    /// Begin to trace a step on this batch; returns the tensors to run the model on, or None inside the trace of another.
    #[pyo3(signature = (x, y, weight, /))]
    fn start(
        &self,
        x: &Bound<'_, PyAny>,
        y: &Bound<'_, PyAny>,
        weight: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Vec<Tensor>>> {
        let batch = batch(x, y, weight)?;
        let mut inner = self.lock()?;
        if inner.tracing.is_some() {
            return Err(PyRuntimeError::new_err(BUSY));
        }
        if trace::is_tracing() {
            return Ok(None);
        }
        trace::start();
        inner.tracing = Some(Tracing { batch: batch.clone(), drawn_from: ops::random::state() });
        Ok(Some(batch.into_iter().map(Tensor::from).collect()))
    }

    /// Give up tracing.
    fn abort(&self) -> PyResult<()> {
        let _ = trace::finish();
        self.lock()?.tracing = None;
        Ok(())
    }

    /// Plan what was traced, whose loss this is, with the gradients that are now in the optimizer's parameters. A plan runs
    /// once a second trace has done the same. Returns why it cannot be planned, if it cannot.
    #[pyo3(signature = (loss, slots, settings, update_options, /))]
    fn finish(
        &self,
        py: Python<'_>,
        loss: PyRef<'_, Tensor>,
        slots: Vec<Bound<'_, PySlots>>,
        settings: Vec<Bound<'_, PyDict>>,
        update_options: PyRef<'_, PyUpdateOptions>,
    ) -> PyResult<Option<String>> {
        let trace = trace::finish();
        let mut inner = self.lock()?;
        let (Some(trace), Some(tracing)) = (trace, inner.tracing.take()) else {
            return Err(PyRuntimeError::new_err("Planner.finish: expected a trace; none was begun"));
        };
        let mut groups = groups(slots, settings)?;
        rules(py, &mut groups)?;
        let (mut params, mut places) = (Vec::new(), Vec::new());
        let (mut number, mut next_position) = (0, 0);
        for (group, (slots, _)) in groups.iter().enumerate() {
            let slots = &slots.slots;
            for (index, value) in slots.params.iter().enumerate() {
                let (position, (max_norm, average)) = (next_position, update_options.of(number));
                (number, next_position) = (number + 1, next_position + value.numel().next_multiple_of(TILE));
                let Some(grad) = value.grad() else { continue };
                let state = slots.state[index].clone();
                places.push(Place { group, index, param: value.id(), state: state.iter().map(Core::id).collect() });
                params.push(Parameter { value: value.clone(), state, grad, position, max_norm, average });
            }
        }
        let wanted: Vec<Core> = std::iter::once(&loss.inner).chain(params.iter().map(|p| &p.grad)).cloned().collect();
        let fingerprint = Fingerprint::new(&trace, &tracing.batch, &wanted, tracing.drawn_from);
        let seed = tracing.drawn_from.0;
        let same = |e: &Entry| e.takes(&tracing.batch, seed) && e.current(|group| &groups[group].0);
        if let Some(entry) = inner.plans.find(same) {
            let differs = entry.unproven.as_ref().and_then(|first| first.differs(&fingerprint));
            let reason = trace.obstacle.or(differs.map(str::to_owned));
            entry.unproven = None;
            if reason.is_some() {
                inner.plans.retain(|entry| !same(entry));
            }
            return Ok(reason);
        }
        let update_options = Arc::clone(&update_options.settings);
        let plan = || Plan::new(&trace, &tracing.batch, &loss.inner, &params, tracing.drawn_from, update_options);
        match reserve::guard("plan", plan) {
            Ok(plan) => {
                let batch = tracing.batch.iter().map(Core::meta).collect();
                inner.plans.retain(|entry| entry.current(|group| &groups[group].0));
                inner.plans.add(Entry { batch, seed, places, plan, unproven: Some(fingerprint) });
                Ok(None)
            }
            Err(reason) => Ok(Some(reason.message().to_owned())),
        }
    }

    /// One planned step; the loss, or None where there is no plan for such a batch.
    #[pyo3(signature = (x, y, weight, slots, settings, stop, /))]
    #[allow(clippy::too_many_arguments)]
    fn step(
        &self,
        py: Python<'_>,
        x: &Bound<'_, PyAny>,
        y: &Bound<'_, PyAny>,
        weight: Option<&Bound<'_, PyAny>>,
        slots: Vec<Bound<'_, PySlots>>,
        settings: Vec<Bound<'_, PyDict>>,
        stop: bool,
    ) -> PyResult<Option<f64>> {
        trace::obstacle(OF_ANOTHER);
        let batch = batch(x, y, weight)?;
        let mut groups = groups(slots, settings)?;
        let rules = rules(py, &mut groups)?;
        let mut inner = self.lock()?;
        let seed = ops::random::state().0;
        let Some(entry) = inner.plans.find(|e| e.takes(&batch, seed) && e.ready(|group| &groups[group].0)) else {
            return Ok(None);
        };
        let updates: SmallVec<[_; 8]> = entry.updates(&rules, |group| &groups[group].0).collect();
        let plan = &mut entry.plan;
        let loss = without_gil(py, plan.work(), || plan.step(&batch, &updates, stop))?;
        if !stop || loss.is_finite() {
            count(entry, &updates, &mut groups, 1);
        }
        Ok(Some(loss))
    }

    /// Planned steps on rows of whole arrays, `samples` a step in the order of `order`; the losses, or None where there is no plan
    /// for such batches. `augment` changes each batch. `settings` has those of every group, once for all steps, or once for each step, one after another.
    /// With `stop`, a loss that is not finite is the last. There are fewer losses also if later settings cannot be used in
    /// the same call.
    #[pyo3(signature = (x, y, weight, order, samples, augment, slots, settings, stop, /))]
    #[allow(clippy::too_many_arguments)]
    fn run_batches<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'_, PyAny>,
        y: &Bound<'_, PyAny>,
        weight: Option<&Bound<'_, PyAny>>,
        order: PyReadonlyArray1<'_, i64>,
        samples: Given<usize>,
        augment: Option<&PyAugment>,
        slots: Vec<Bound<'_, PySlots>>,
        settings: Vec<Bound<'_, PyDict>>,
        stop: bool,
    ) -> PyResult<Option<Bound<'py, PyArray1<f64>>>> {
        trace::obstacle(OF_ANOTHER);
        let data = batch(x, y, weight)?;
        named!("run_batches"; samples);
        let later = settings.get(slots.len()..).unwrap_or_default().to_vec();
        let mut groups = groups(slots, settings)?;
        let rules = rules(py, &mut groups)?;
        let mut inner = self.lock()?;
        let seed = ops::random::state().0;
        let augment = augment.map(|augment| &augment.inner);
        let expected = batch_of(&data, samples, augment).raise()?;
        let fits =
            |entry: &Entry| entry.seed == seed && entry.batch == expected && entry.ready(|group| &groups[group].0);
        let inner = &mut *inner;
        let Some(entry) = inner.plans.find(fits) else { return Ok(None) };
        // A copy, which no other thread can change once it was checked.
        let mut rows = order.as_slice()?.to_vec();
        drop(order);
        let mut updates: Vec<_> = entry.updates(&rules, |group| &groups[group].0).collect();
        if !later.is_empty() {
            let later = rules_ahead(&groups, &rules, &later);
            for rules in &later {
                updates.extend(entry.updates(rules, |group| &groups[group].0));
            }
            let steps = (later.len() + 1).min(rows.len() / samples);
            updates.truncate(steps * entry.places.len());
            rows.truncate(steps * samples);
        }
        let mut losses = vec![0.0; rows.len() / samples];
        let plan = &mut entry.plan;
        let work = || plan.run_batches(&data, &rows, augment, &updates, stop, &mut losses);
        let run = py.detach(|| reserve::guard("step", work));
        inner.interruption = carried();
        let done = match run {
            Err(_) if inner.interruption.is_some() => 0,
            run => run.raise()?,
        };
        losses.truncate(done);
        let updated = done - usize::from(stop && losses.last().is_some_and(|l| !l.is_finite()));
        count(entry, &updates, &mut groups, updated);
        inner.updated = updated;
        Ok(Some(PyArray1::from_vec(py, losses)))
    }

    /// The stages of every plan, a line each.
    fn describe(&self) -> PyResult<String> {
        Ok(self.lock()?.plans.describe())
    }

    /// Number of plans, and the bytes that they work in together.
    fn size(&self) -> PyResult<(usize, usize)> {
        Ok(self.lock()?.plans.size())
    }

    /// Number of updates of the last `run_batches`; asked again, 0.
    fn updated(&self) -> PyResult<usize> {
        Ok(std::mem::take(&mut self.lock()?.updated))
    }

    /// Raise what a signal's handler raised during the last `run_batches`, behind steps that were complete.
    fn raise_interruption(&self) -> PyResult<()> {
        self.lock()?.interruption.take().map_or(Ok(()), Err)
    }
}

/// While tracing: something runs that no plan can repeat.
#[pyfunction]
#[pyo3(signature = (reason, /))]
pub fn unplannable(reason: &str) {
    trace::obstacle(reason);
}

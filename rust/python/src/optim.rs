//! The parameters of one group of an optimizer, with their state: all updated in one pass.

use fastnn_core::optim::{Kind, Progress, Rule};
use fastnn_core::tensor::layout::show;
use fastnn_core::tensor::overlap::{self, Pieces};
use fastnn_core::tensor::tape;
use fastnn_core::{DType, Error, Result, Tensor as Core, ops};
use numpy::PyUntypedArray;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arguments::{self, Given, named};
use crate::convert;
use crate::error::{Raise, type_error, type_name, value_error};
use crate::rule::Reader;
use crate::tensor::Tensor;
use crate::update::{check_apart, check_target};

/// Parameters and what an optimizer keeps of each.
#[derive(Default)]
pub struct Slots {
    /// The parameters.
    pub params: Vec<Core>,
    /// For each its state, in the order of [`Rule::state_names`]; empty before its first update.
    pub state: Vec<Vec<Core>>,
    /// For each how far it has come.
    pub progress: Vec<Progress>,
    /// The names of the state tensors, of all parameters that have any.
    names: &'static [&'static str],
    /// The memory of all parameters and their state; found anew when one of them is another tensor.
    written: Option<Pieces>,
}

impl Slots {
    fn new(params: Vec<Core>) -> Self {
        let n = params.len();
        Self { params, state: vec![Vec::new(); n], progress: vec![Progress::default(); n], names: &[], written: None }
    }

    /// Follow a change of settings that changes which state there is.
    pub fn follow(&mut self, rule: &Rule) {
        let names = rule.state_names();
        if names == self.names {
            return;
        }
        self.written = None;
        for i in 0..self.params.len() {
            if self.state[i].is_empty() && self.progress[i].updates == 0 {
                continue;
            }
            let old = std::mem::take(&mut self.state[i]);
            let kept = |name| self.names.iter().position(|n| n == name).and_then(|j| old.get(j).cloned());
            let fresh = |j| initial(&self.params[i], rule, j);
            self.state[i] = names.iter().enumerate().map(|(j, name)| kept(name).unwrap_or_else(|| fresh(j))).collect();
            if !rule.kind().counted() {
                self.progress[i] = Progress::default();
            }
        }
        self.names = names;
    }

    /// Make the state of parameter `i` if there is none.
    pub fn ensure(&mut self, i: usize, rule: &Rule) {
        if self.state[i].len() != self.names.len() {
            self.written = None;
            self.state[i] = (0..self.names.len()).map(|j| initial(&self.params[i], rule, j)).collect();
        }
    }

    /// Find the memory that a step writes, unless it is known.
    pub fn find_written(&mut self) {
        if self.written.is_none() {
            self.written = Some(Pieces::of(self.params.iter().chain(self.state.iter().flatten())));
        }
    }

    /// True if a step writes where this tensor lies, after [`find_written`](Self::find_written).
    pub fn writes(&self, tensor: &Core) -> bool {
        self.written.as_ref().is_some_and(|written| written.meet(tensor))
    }

    /// Make the state of every parameter that has none. For the planned step.
    #[allow(dead_code)]
    pub fn ensure_state(&mut self, rule: &Rule) {
        self.follow(rule);
        for i in 0..self.params.len() {
            self.ensure(i, rule);
        }
    }
}

fn initial(param: &Core, rule: &Rule, j: usize) -> Core {
    match rule.initial_state(j) {
        0.0 => Core::zeros(param.shape(), param.dtype()),
        value => Core::full(param.shape(), value, param.dtype()),
    }
}

/// The slots of one parameter group.
#[pyclass(name = "Slots", module = "fastnn._core")]
pub struct PySlots {
    reader: Reader,
    /// The parameters, their state and their counts.
    pub slots: Slots,
    /// Parameters that are tensors in Python, whose `data` may be replaced; None for arrays.
    handles: Vec<Option<Py<Tensor>>>,
}

impl PySlots {
    /// The settings of a group as the core's rule.
    pub fn rule(&self, group: &Bound<'_, PyDict>) -> PyResult<Rule> {
        self.reader.rule(group)
    }

    /// The optimizer's rule, without settings.
    pub fn kind(&self) -> Kind {
        self.reader.kind
    }

    /// True if a parameter is an array, which has no gradient of its own.
    pub fn holds_arrays(&self) -> bool {
        self.handles.iter().any(Option::is_none)
    }

    fn updates_of(&self, index: usize) -> PyResult<u64> {
        self.slots.progress.get(index).map(|progress| progress.updates).ok_or_else(|| {
            crate::error::to_py(Error::index(format!(
                "state: expected an index in [0, {}); got {index}",
                self.slots.progress.len()
            )))
        })
    }

    /// Take over what was assigned to a parameter's `data` since.
    pub fn refresh(&mut self, py: Python<'_>) -> PyResult<()> {
        let now = |handle: &Option<Py<Tensor>>, was: &Core| {
            handle.as_ref().map_or_else(|| was.clone(), |handle| handle.bind(py).borrow().inner.clone())
        };
        let same = |(handle, was): (&Option<Py<Tensor>>, &Core)| {
            handle.as_ref().is_none_or(|handle| handle.bind(py).borrow().inner.id() == was.id())
        };
        if self.handles.iter().zip(&self.slots.params).all(same) {
            return Ok(());
        }
        let all: Vec<Core> = self.handles.iter().zip(&self.slots.params).map(|(h, was)| now(h, was)).collect();
        check_apart(&format!("{}.step", self.reader.kind.name()), &all)?;
        self.slots.written = None;
        let mut changed: Vec<(usize, Core, Vec<Core>)> = Vec::new();
        for (i, handle) in self.handles.iter().enumerate() {
            let Some(handle) = handle else { continue };
            let now = &handle.bind(py).borrow().inner;
            let (was, state) = (&self.slots.params[i], &self.slots.state[i]);
            if now.id() == was.id() {
                continue;
            }
            if now.shape() != was.shape() && !state.is_empty() {
                return Err(value_error(format!(
                    "{}.step: expected parameter {i} of shape {}; got {}",
                    self.reader.kind.name(),
                    show(was.shape()),
                    show(now.shape())
                )));
            }
            let cast = |state: &Core| {
                if now.dtype() == was.dtype() { Ok(state.clone()) } else { ops::cast(state, now.dtype()) }
            };
            let state = tape::no_grad(|| state.iter().map(cast).collect::<Result<_>>()).raise()?;
            changed.push((i, now.clone(), state));
        }
        for (i, param, state) in changed {
            self.slots.params[i] = param;
            self.slots.state[i] = state;
        }
        Ok(())
    }
}

const BUSY: &str = "optimizer: expected one call at a time; another is running";

/// The slots, to be changed: an error while another call, such as one in another thread, is at them.
fn enter<'py>(slots: &Bound<'py, PySlots>) -> PyResult<PyRefMut<'py, PySlots>> {
    slots.try_borrow_mut().map_err(|_| PyRuntimeError::new_err(BUSY))
}

/// As [`enter`], to be read.
fn look<'py>(slots: &Bound<'py, PySlots>) -> PyResult<PyRef<'py, PySlots>> {
    slots.try_borrow().map_err(|_| PyRuntimeError::new_err(BUSY))
}

fn parameter(name: &str, object: &Bound<'_, PyAny>) -> PyResult<(Core, Option<Py<Tensor>>)> {
    let (core, handle) = if let Ok(tensor) = object.cast::<Tensor>() {
        let core = tensor.borrow().inner.clone();
        if !core.is_leaf() {
            return Err(value_error("can't optimize a non-leaf Tensor"));
        }
        (core, Some(tensor.clone().unbind()))
    } else if let Ok(array) = object.cast::<PyUntypedArray>() {
        let shared = convert::share(array).filter(|core| core.storage().writable()).ok_or_else(|| {
            value_error(format!("{name}: expected writable float32 or float64 arrays in native byte order"))
        })?;
        (shared, None)
    } else {
        return Err(type_error(format!(
            "optimizer can only optimize Tensors, but one of the params is {}",
            type_name(object)
        )));
    };
    if !core.dtype().is_float() {
        return Err(type_error(format!("{name}: expected floating-point parameters; got {}", core.dtype())));
    }
    Ok((core, handle))
}

#[pymethods]
impl PySlots {
    fn __traverse__(&self, visit: PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        self.handles.iter().flatten().try_for_each(|handle| visit.call(handle))
    }

    #[new]
    fn new(py: Python<'_>, kind: &str, params: Vec<Bound<'_, PyAny>>) -> PyResult<Self> {
        let reader = Reader::named(py, kind)?;
        let kind = reader.kind;
        let (mut cores, mut handles) = (Vec::new(), Vec::new());
        for object in &params {
            let (core, handle) = parameter(kind.name(), object)?;
            cores.push(core);
            handles.push(handle);
        }
        check_apart(kind.name(), &cores)?;
        Ok(Self { reader, slots: Slots::new(cores), handles })
    }

    /// Refuse settings that PyTorch refuses.
    fn validate(&self, group: &Bound<'_, PyDict>) -> PyResult<()> {
        self.rule(group)?.validate().raise()
    }

    /// Refuse what the next step would refuse whatever the gradients: settings, and parameters that learn but cannot be
    /// changed in place. No settings are looked at without a group.
    #[pyo3(signature = (group=None, /))]
    fn check(slf: &Bound<'_, Self>, group: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let this = &mut *enter(slf)?;
        if let Some(group) = group {
            this.rule(group)?.validate().raise()?;
        }
        this.refresh(slf.py())?;
        let mut learning = this.slots.params.iter().enumerate().filter(|(_, param)| param.requires_grad());
        learning.try_for_each(|(i, param)| check_target(this.reader.kind.name(), i, param)).raise()
    }

    /// Refuse parameter `index` if it cannot be changed in place.
    #[pyo3(signature = (index, /))]
    fn check_target(slf: &Bound<'_, Self>, index: usize) -> PyResult<()> {
        let this = &mut *enter(slf)?;
        this.refresh(slf.py())?;
        let Some(param) = this.slots.params.get(index) else { return Ok(()) };
        check_target(this.reader.kind.name(), index, param).raise()
    }

    /// Refuse parameters that share memory with those of another group.
    #[pyo3(signature = (other, /))]
    fn check_apart(slf: &Bound<'_, Self>, other: &Bound<'_, Self>) -> PyResult<()> {
        let (this, other) = (&*look(slf)?, &*look(other)?);
        let all = [&this.slots.params[..], &other.slots.params].concat();
        let name = this.reader.kind.name();
        match overlap::first_shared(&all) {
            Some((i, j)) => {
                let j = j - this.slots.params.len().min(j);
                Err(value_error(format!(
                    "{name}: expected parameters that share no memory; parameter {j} of one group and {i} of another do"
                )))
            }
            None => Ok(()),
        }
    }

    /// State of parameter `index`, under PyTorch's names; empty before its first update.
    fn state<'py>(slf: &Bound<'py, Self>, index: Given<usize>) -> PyResult<Bound<'py, PyDict>> {
        named!("state"; index);
        let (py, this) = (slf.py(), &*look(slf)?);
        let state = PyDict::new(py);
        let steps = this.updates_of(index)?;
        if steps == 0 {
            return Ok(state);
        }
        let kind = this.reader.kind;
        if kind.counted() {
            state.set_item("step", Tensor::from(Core::full(&[], steps as f64, DType::F32)))?;
        }
        // In f64, unlike PyTorch's, so that a resumed run has the same bits.
        for (name, value) in kind.scalars().iter().zip(this.slots.progress[index].scalars) {
            state.set_item(*name, Tensor::from(Core::full(&[], value, DType::F64)))?;
        }
        for (name, tensor) in this.slots.names.iter().zip(&this.slots.state[index]) {
            state.set_item(*name, Tensor::from(tensor.clone()))?;
        }
        Ok(state)
    }

    /// Number of updates of parameter `index`.
    fn steps_of(slf: &Bound<'_, Self>, index: Given<usize>) -> PyResult<u64> {
        named!("state"; index);
        look(slf)?.updates_of(index)
    }

    /// Read states as [`state`](Self::state) gives them, one for each parameter; all are checked first.
    #[pyo3(signature = (group, states, /))]
    fn load(slf: &Bound<'_, Self>, group: &Bound<'_, PyDict>, states: Vec<Bound<'_, PyDict>>) -> PyResult<()> {
        let this = &mut *enter(slf)?;
        let rule = this.rule(group)?;
        let names = rule.state_names();
        if states.len() != this.slots.params.len() {
            return Err(value_error(format!(
                "load_state_dict: expected {} states; got {}",
                this.slots.params.len(),
                states.len()
            )));
        }
        let mut loaded = Vec::with_capacity(states.len());
        for (i, (state, param)) in states.iter().zip(&this.slots.params).enumerate() {
            loaded.push(read(this.reader.kind, names, i, state, param)?);
        }
        this.slots.written = None;
        for (i, (progress, state)) in loaded.into_iter().enumerate() {
            this.slots.progress[i] = progress;
            this.slots.state[i] = state;
        }
        this.slots.names = names;
        Ok(())
    }

    fn __len__(&self) -> usize {
        self.slots.params.len()
    }
}

/// The progress and the tensors of one state, copied, in the dtype of the parameter.
fn read(
    kind: Kind,
    names: &[&'static str],
    i: usize,
    state: &Bound<'_, PyDict>,
    param: &Core,
) -> PyResult<(Progress, Vec<Core>)> {
    if state.is_empty() {
        return Ok((Progress::default(), Vec::new()));
    }
    let missing = |name: &str| value_error(format!("load_state_dict: expected '{name}' in the state of parameter {i}"));
    let mut tensors = Vec::with_capacity(names.len());
    for name in names {
        let value = state.get_item(name)?.filter(|v| !v.is_none());
        let Some(value) = value else {
            if !kind.counted() {
                // PyTorch's state of SGD before the first step with momentum.
                return Ok((Progress::default(), Vec::new()));
            }
            return Err(missing(name));
        };
        let value = convert::any(&value)?;
        if value.shape() != param.shape() {
            return Err(value_error(format!(
                "load_state_dict: expected '{name}' of parameter {i} of shape {}; got {}",
                show(param.shape()),
                show(value.shape())
            )));
        }
        let copied = tape::no_grad(|| {
            let value = value.detach();
            if value.dtype() == param.dtype() { ops::copy(&value) } else { ops::cast(&value, param.dtype()) }
        });
        tensors.push(copied.raise()?);
    }
    let number = |name: &str| match state.get_item(name)? {
        Some(value) => arguments::read(&value, "load_state_dict", name),
        None => Err(missing(name)),
    };
    let mut progress =
        Progress { updates: if kind.counted() { number("step")? as u64 } else { 1 }, ..Progress::default() };
    for (name, value) in kind.scalars().iter().zip(&mut progress.scalars) {
        *value = number(name)?;
    }
    Ok((progress, tensors))
}

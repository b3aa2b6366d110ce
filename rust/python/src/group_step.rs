//! A step of all groups of an optimizer: everything is checked, then everything is changed.

use fastnn_core::optim::Rule;
use fastnn_core::tensor::trace;
use fastnn_core::tensor::{layout::show, tape};
use fastnn_core::{Result, Tensor as Core, ops};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use smallvec::SmallVec;

use crate::convert::Arg;
use crate::error::{Raise, type_error, value_error};
use crate::gil;
use crate::optim::{PySlots, Slots};
use crate::update::{self, Item, check_target};

type Grads = SmallVec<[Option<Core>; 8]>;

/// A group's number as it stands in messages, if there are several.
#[derive(Clone, Copy)]
struct Place(Option<usize>);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |group| write!(f, " of group {group}"))
    }
}

impl Place {
    /// Say in which group a setting was refused.
    fn locate(self, py: Python<'_>, error: PyErr) -> PyErr {
        let Self(Some(group)) = self else { return error };
        let message = format!("{}, in group {group}", error.value(py));
        if error.is_instance_of::<PyTypeError>(py) {
            type_error(message)
        } else if error.is_instance_of::<PyValueError>(py) {
            value_error(message)
        } else {
            error
        }
    }
}

fn busy() -> PyErr {
    PyRuntimeError::new_err("step: expected one thread at a time; got an optimizer that another thread uses")
}

fn borrowed<'py>(slots: &[Bound<'py, PySlots>]) -> PyResult<SmallVec<[PyRefMut<'py, PySlots>; 2]>> {
    slots.iter().map(|slots| slots.try_borrow_mut().map_err(|_| busy())).collect()
}

/// A parameter's gradient must have its shape and dtype, and the parameter must be writable.
fn check(py: Python<'_>, name: &str, i: usize, place: Place, param: &Core, grad: &Core) -> PyResult<()> {
    if grad.shape() != param.shape() {
        return Err(value_error(format!(
            "{name}.step: expected gradient {i}{place} of shape {}; got {}",
            show(param.shape()),
            show(grad.shape())
        )));
    }
    if grad.dtype() != param.dtype() {
        return Err(type_error(format!(
            "{name}.step: expected gradient {i}{place} of dtype {}; got {}",
            param.dtype(),
            grad.dtype()
        )));
    }
    check_target(name, i, param).raise().map_err(|error| place.locate(py, error))
}

/// A group's step, once nothing can refuse it any more.
struct Ready {
    items: SmallVec<[Item; 4]>,
    /// The index of each item's parameter.
    indices: SmallVec<[usize; 4]>,
    /// Parameters that are not contiguous, and the copies that are updated in their place.
    copies: Vec<(usize, Core)>,
}

impl Ready {
    /// `meets`: whether a gradient lies in what the step writes; then it is taken as it was before.
    fn of(slots: &Slots, rule: &Rule, grads: &Grads, meets: impl Fn(&Core) -> bool) -> Result<Self> {
        let mut ready = Self { items: SmallVec::new(), indices: SmallVec::new(), copies: Vec::new() };
        for (i, grad) in grads.iter().enumerate() {
            let Some(grad) = grad else { continue };
            let grad = if meets(grad) { ops::copy(grad)? } else { ops::contiguous(grad)? };
            let param = if slots.params[i].layout().is_contiguous() {
                slots.params[i].clone()
            } else {
                let copy = ops::contiguous(&slots.params[i].detach())?;
                ready.copies.push((i, copy.clone()));
                copy
            };
            ready.items.push(Item::new(rule, &slots.progress[i], param, grad, &slots.state[i])?);
            ready.indices.push(i);
        }
        Ok(ready)
    }
}

fn run(groups: &mut [(&mut Slots, Rule, Grads)]) -> Result<()> {
    for (slots, rule, grads) in groups.iter_mut() {
        slots.follow(rule);
        for i in (0..grads.len()).filter(|&i| grads[i].is_some()) {
            slots.ensure(i, rule);
        }
        slots.find_written();
    }
    let meets = |grad: &Core| groups.iter().any(|(slots, _, _)| slots.writes(grad));
    let ready: SmallVec<[Ready; 2]> =
        groups.iter().map(|(slots, rule, grads)| Ready::of(slots, rule, grads, meets)).collect::<Result<_>>()?;
    trace::obstacle("forward or loss takes a step of an optimizer");
    for ((slots, rule, _), ready) in groups.iter_mut().zip(&ready) {
        update::run(&ready.items);
        for &i in &ready.indices {
            rule.advance(&mut slots.progress[i]);
        }
        for (i, copy) in &ready.copies {
            ops::copy_(&slots.params[*i], copy)?;
        }
        for item in &ready.items {
            item.param().storage().bump();
        }
    }
    Ok(())
}

/// Check the settings of all groups, and that every parameter with a gradient can be updated.
fn checked<'py>(
    slots: &mut [PyRefMut<'py, PySlots>],
    groups: &[Bound<'py, PyDict>],
    grads: Option<Vec<Option<Arg>>>,
) -> PyResult<SmallVec<[(Rule, Grads); 2]>> {
    let total: usize = slots.iter().map(|slots| slots.slots.params.len()).sum();
    let several = slots.len() > 1;
    let mut given = match grads {
        Some(grads) if grads.len() != total => {
            let name = slots.first().map_or("Optimizer", |slots| slots.kind().name());
            return Err(value_error(format!("{name}.step: expected {total} gradients; got {}", grads.len())));
        }
        grads => grads.map(IntoIterator::into_iter),
    };
    let mut found = SmallVec::new();
    for (number, (slots, group)) in slots.iter_mut().zip(groups).enumerate() {
        let (py, place) = (group.py(), Place(several.then_some(number)));
        let rule = slots.rule(group).and_then(|rule| rule.validate().raise().map(|()| rule));
        let rule = rule.map_err(|error| place.locate(py, error))?;
        slots.refresh(py)?;
        let n = slots.slots.params.len();
        let grads: Grads = match &mut given {
            Some(grads) => grads.take(n).map(|grad| grad.map(|grad| grad.0)).collect(),
            None if slots.holds_arrays() => {
                return Err(PyRuntimeError::new_err(format!(
                    "{}.step: expected grads, as parameters are arrays; got none",
                    rule.name()
                )));
            }
            None => slots.slots.params.iter().map(Core::grad).collect(),
        };
        for (i, (param, grad)) in slots.slots.params.iter().zip(&grads).enumerate() {
            if let Some(grad) = grad {
                check(py, rule.name(), i, place, param, grad)?;
            }
        }
        found.push((rule, grads));
    }
    Ok(found)
}

/// Update all parameters that have a gradient, with the settings of their groups as they are now; or, if anything is
/// wrong, none. `grads`, one for each parameter of all groups, stand in for the parameters' own.
#[pyfunction]
#[pyo3(signature = (slots, groups, grads=None, /))]
pub fn step_slots(
    py: Python<'_>,
    slots: Vec<Bound<'_, PySlots>>,
    groups: Vec<Bound<'_, PyDict>>,
    grads: Option<Vec<Option<Arg>>>,
) -> PyResult<()> {
    let mut slots = borrowed(&slots)?;
    let found = checked(&mut slots, &groups, grads)?;
    let numel = slots.iter().flat_map(|slots| &slots.slots.params).map(Core::numel).sum();
    let mut all: SmallVec<[(&mut Slots, Rule, Grads); 2]> =
        slots.iter_mut().zip(found).map(|(slots, (rule, grads))| (&mut slots.slots, rule, grads)).collect();
    gil::run(py, numel, || tape::no_grad(|| run(&mut all)))
}

/// Forget all gradients, or zero them in place; or, if one is read-only, none.
#[pyfunction]
#[pyo3(signature = (slots, set_to_none, /))]
pub fn zero_grads(py: Python<'_>, slots: Vec<Bound<'_, PySlots>>, set_to_none: bool) -> PyResult<()> {
    let mut slots = borrowed(&slots)?;
    for slots in &mut slots {
        slots.refresh(py)?;
    }
    let params: SmallVec<[&Core; 8]> = slots.iter().flat_map(|slots| &slots.slots.params).collect();
    if set_to_none {
        for param in params {
            param.set_grad(None);
        }
        return Ok(());
    }
    let grads: SmallVec<[Core; 8]> = params.iter().filter_map(|param| param.grad()).collect();
    if let Some(i) = params.iter().position(|param| param.grad().is_some_and(|grad| !grad.storage().writable())) {
        return Err(value_error(format!(
            "zero_grad: expected the gradient of parameter {i} to be writable; got a read-only array"
        )));
    }
    tape::no_grad(|| grads.iter().try_for_each(ops::zero_)).raise()
}

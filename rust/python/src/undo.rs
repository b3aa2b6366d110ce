//! Changes that are undone however the block that made them ends.
//!
//! Python looks for Ctrl-C where a function of its own begins, after a call, and where a loop begins anew, so that
//! `try … finally` in Python has gaps: between a change and the `try`, and at the beginning of a function that undoes
//! it. Here what was is noted before the change, in the same call as the change, and one call undoes all of it.

use fastnn_core::tensor::tape;
use fastnn_core::{Tensor as Core, ops};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::error::Raise;
use crate::settings::bump_config;
use crate::tensor::Tensor;

/// Number of calls of a function that Ctrl-C cuts short.
const CALLS: usize = 4;

/// A former value, and the way back to it.
enum Entry {
    GradMode(bool),
    /// The state before, and the object whose `_state` takes what there is at the end.
    OwnState(Option<(u64, u64)>, Option<Py<PyAny>>),
    Item(Py<PyDict>, Py<PyAny>, Option<Py<PyAny>>),
    Attribute(Py<PyAny>, Py<PyString>, Py<PyAny>),
    Values(Vec<(Py<Tensor>, Core)>),
    Grads(Vec<(Py<Tensor>, Option<Core>)>),
    Modes(Vec<(Py<PyDict>, Py<PyAny>)>),
    Call(Py<PyAny>, Py<PyTuple>),
}

/// A block's changes.
#[pyclass(module = "fastnn._core")]
pub struct Undo {
    /// Makes the changes, when the block is entered.
    begin: Option<Py<PyAny>>,
    entries: Vec<Entry>,
    /// Functions that are called at the end of a block that raises nothing, when all is undone.
    finally: Vec<Py<PyAny>>,
}

impl Undo {
    /// Undo everything, the last change first; the first error that there is.
    fn back(slf: &Bound<'_, Self>) -> PyResult<()> {
        let mut result = Ok(());
        loop {
            // Undoing may call Python, so nothing stays borrowed.
            let Some(entry) = slf.borrow_mut().entries.pop() else { return result };
            result = result.and(whole(slf.py(), || entry.undo(slf.py())));
        }
    }
}

/// Attribute of a module's mode: a frozen part's is the mode that it would be in.
fn mode_key(own: &Bound<'_, PyDict>) -> PyResult<&'static str> {
    let frozen = own.get_item("_frozen_mode")?.is_some_and(|mode| !mode.is_none());
    Ok(if frozen { "_frozen_mode" } else { "training" })
}

fn dict_of<'py>(module: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    Ok(module.getattr("__dict__")?.cast_into::<PyDict>()?)
}

fn write_back(tensor: &Core, value: &Core) -> PyResult<()> {
    tape::no_grad(|| ops::copy_(&tensor.detach(), value)).raise()
}

/// Do something again if Ctrl-C has cut it short, so that it is done whole; then raise.
fn whole(py: Python<'_>, work: impl Fn() -> PyResult<()>) -> PyResult<()> {
    let mut interrupted = None;
    for _ in 0..CALLS {
        match work() {
            Err(error) if error.is_instance_of::<PyKeyboardInterrupt>(py) => interrupted = Some(error),
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    interrupted.map_or(Ok(()), Err)
}

impl Entry {
    fn undo(&self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::GradMode(mode) => {
                tape::set_grad_enabled(*mode);
                Ok(())
            }
            Self::OwnState(state, holder) => match (holder, ops::random::set_own_state(*state)) {
                (Some(holder), Some(drawn)) => holder.bind(py).setattr("_state", drawn),
                _ => Ok(()),
            },
            Self::Item(dict, key, Some(value)) => dict.bind(py).set_item(key, value),
            Self::Item(dict, key, None) => {
                let dict = dict.bind(py);
                if dict.contains(key)? { dict.del_item(key) } else { Ok(()) }
            }
            Self::Attribute(object, name, value) => object.bind(py).setattr(name, value),
            Self::Values(kept) => {
                let mut result = Ok(());
                for (tensor, value) in kept {
                    let tensor = tensor.borrow(py).inner.clone();
                    result = result.and(write_back(&tensor, value));
                }
                result
            }
            Self::Grads(kept) => {
                for (tensor, grad) in kept {
                    tensor.borrow(py).inner.set_grad(grad.clone());
                }
                Ok(())
            }
            Self::Modes(kept) => {
                for (own, training) in kept {
                    let own = own.bind(py);
                    own.set_item(mode_key(own)?, training)?;
                }
                bump_config();
                Ok(())
            }
            Self::Call(function, args) => function.call1(py, args.bind(py).clone()).map(drop),
        }
    }
}

#[pymethods]
impl Undo {
    /// `begin` is called with this object when the block is entered, and makes the changes.
    #[new]
    #[pyo3(signature = (begin=None, /))]
    fn new(begin: Option<Py<PyAny>>) -> Self {
        Self { begin, entries: Vec::new(), finally: Vec::new() }
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        let begin = slf.borrow_mut().begin.take();
        if let Some(begin) = begin
            && let Err(error) = begin.call1(slf.py(), (&slf,))
        {
            Self::back(&slf)?;
            return Err(error);
        }
        Ok(slf)
    }

    /// Undo everything, the last change first, and raise the first error once all is done.
    #[pyo3(signature = (*exc_info))]
    fn __exit__(slf: &Bound<'_, Self>, exc_info: &Bound<'_, PyTuple>) -> PyResult<()> {
        Self::back(slf)?;
        let finally = std::mem::take(&mut slf.borrow_mut().finally);
        if exc_info.get_item(0).is_ok_and(|kind| kind.is_none()) {
            for function in finally {
                whole(slf.py(), || function.call0(slf.py()).map(drop))?;
            }
        }
        Ok(())
    }

    /// Have a function called at the end of a block that raises nothing, when all is undone.
    #[pyo3(signature = (function, /))]
    fn done(&mut self, function: Py<PyAny>) {
        self.finally.push(function);
    }

    /// Forget what was noted: the changes stay.
    fn keep(&mut self) {
        self.entries.clear();
    }

    /// Record gradients, or do not, until the end of the block.
    #[pyo3(signature = (mode, /))]
    fn grad_mode(&mut self, mode: bool) {
        self.entries.push(Entry::GradMode(tape::set_grad_enabled(mode)));
    }

    /// Let this thread draw from a generator of its own that stands at `state`, until the end of the block; the attribute
    /// `_state` of `holder` is then where it stands.
    #[pyo3(signature = (state, holder=None, /))]
    fn own_rng_state(&mut self, state: Option<(u64, u64)>, holder: Option<Py<PyAny>>) {
        self.entries.push(Entry::OwnState(ops::random::set_own_state(state), holder));
    }

    /// Set an item of a dict until the end of the block.
    #[pyo3(signature = (dict, key, value, /))]
    fn set_item(&mut self, dict: Bound<'_, PyDict>, key: Bound<'_, PyAny>, value: Bound<'_, PyAny>) -> PyResult<()> {
        let was = dict.get_item(&key)?.map(Bound::unbind);
        dict.set_item(&key, value)?;
        self.entries.push(Entry::Item(dict.unbind(), key.unbind(), was));
        Ok(())
    }

    /// Set an attribute until the end of the block.
    #[pyo3(signature = (object, name, value, /))]
    fn set_attr(
        &mut self,
        object: Bound<'_, PyAny>,
        name: Bound<'_, PyString>,
        value: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let was = object.getattr(&name)?.unbind();
        self.entries.push(Entry::Attribute(object.clone().unbind(), name.clone().unbind(), was));
        object.setattr(&name, value)
    }

    /// Note the values of tensors, to be copied back.
    #[pyo3(signature = (tensors, /))]
    fn values(&mut self, tensors: Vec<Bound<'_, Tensor>>) -> PyResult<()> {
        let mut kept = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            // Nobody changes what is read-only.
            if !tensor.borrow().inner.storage().writable() {
                continue;
            }
            let value = tape::no_grad(|| ops::copy(&tensor.borrow().inner.detach())).raise()?;
            kept.push((tensor.unbind(), value));
        }
        self.entries.push(Entry::Values(kept));
        Ok(())
    }

    /// Note the gradients of tensors, and give the tensors copies of them, which may be added to.
    #[pyo3(signature = (tensors, /))]
    fn grads(&mut self, tensors: Vec<Bound<'_, Tensor>>) -> PyResult<()> {
        let kept: Vec<_> = tensors.into_iter().map(|tensor| (tensor.borrow().inner.grad(), tensor)).collect();
        let mut copies = Vec::with_capacity(kept.len());
        for (grad, _) in &kept {
            let copy = grad.as_ref().map(|grad| tape::no_grad(|| ops::copy(&grad.detach())));
            copies.push(copy.transpose().raise()?);
        }
        for ((_, tensor), copy) in kept.iter().zip(copies) {
            tensor.borrow().inner.set_grad(copy);
        }
        self.entries.push(Entry::Grads(kept.into_iter().map(|(grad, tensor)| (tensor.unbind(), grad)).collect()));
        Ok(())
    }

    /// Note the modes of modules. What is frozen by the end of the block stays so, and what is not, too.
    #[pyo3(signature = (modules, /))]
    fn modes(&mut self, modules: Vec<Bound<'_, PyAny>>) -> PyResult<()> {
        let mut kept = Vec::with_capacity(modules.len());
        for module in &modules {
            let own = dict_of(module)?;
            let Some(mode) = own.get_item(mode_key(&own)?)? else { continue };
            kept.push((own.unbind(), mode.unbind()));
        }
        self.entries.push(Entry::Modes(kept));
        Ok(())
    }

    /// Have a function called at the end. Ctrl-C may make it be called again, so it is to bear that.
    #[pyo3(signature = (function, *args))]
    fn call(&mut self, function: Bound<'_, PyAny>, args: Bound<'_, PyTuple>) {
        self.entries.push(Entry::Call(function.unbind(), args.unbind()));
    }
}

//! A parameter group's settings as the core's rule.

use fastnn_core::optim::{Adadelta, Adagrad, Adam, AdamW, RmsProp, Rule, Sgd};
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{Borrowed, FromPyObject, intern};

use crate::error::{type_error, value_error};

/// Which optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Sgd`]
    Sgd,
    /// [`Adagrad`]
    Adagrad,
    /// [`Adadelta`]
    Adadelta,
    /// [`RmsProp`]
    RmsProp,
    /// [`Adam`]
    Adam,
    /// [`AdamW`]
    AdamW,
}

fn setting<'py, T>(group: &Bound<'py, PyDict>, name: &Bound<'py, PyString>) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py, Error = PyErr>,
{
    let value = group.get_item(name)?.ok_or_else(|| PyKeyError::new_err(name.to_string()))?;
    T::extract(Borrowed::from(&value)).map_err(|_| {
        let got = value.repr().map_or_else(|_| "?".into(), |r| r.to_string());
        type_error(format!("expected {name} to be a number; got {got}"))
    })
}

macro_rules! settings {
    ($group:ident, $rule:ident { $($name:ident),+ }) => {
        Rule::from($rule { $($name: setting($group, intern!($group.py(), stringify!($name)))?),+ })
    };
}

impl Kind {
    /// By its class' name.
    pub fn named(name: &str) -> PyResult<Self> {
        Ok(match name {
            "SGD" => Self::Sgd,
            "Adagrad" => Self::Adagrad,
            "Adadelta" => Self::Adadelta,
            "RMSprop" => Self::RmsProp,
            "Adam" => Self::Adam,
            "AdamW" => Self::AdamW,
            other => return Err(value_error(format!("expected the name of an optimizer; got '{other}'"))),
        })
    }

    /// Its class' name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sgd => "SGD",
            Self::Adagrad => "Adagrad",
            Self::Adadelta => "Adadelta",
            Self::RmsProp => "RMSprop",
            Self::Adam => "Adam",
            Self::AdamW => "AdamW",
        }
    }

    /// Whether its state has a `step` in PyTorch.
    pub const fn has_step(self) -> bool {
        !matches!(self, Self::Sgd)
    }

    /// The rule with the settings that a group has now.
    pub fn rule(self, group: &Bound<'_, PyDict>) -> PyResult<Rule> {
        Ok(match self {
            Self::Sgd => settings!(group, Sgd { lr, momentum, dampening, weight_decay, nesterov, maximize }),
            Self::Adagrad => {
                settings!(group, Adagrad { lr, lr_decay, weight_decay, initial_accumulator_value, eps, maximize })
            }
            Self::Adadelta => settings!(group, Adadelta { lr, rho, eps, weight_decay, maximize }),
            Self::RmsProp => settings!(group, RmsProp { lr, alpha, eps, weight_decay, momentum, centered, maximize }),
            Self::Adam => settings!(group, Adam { lr, betas, eps, weight_decay, amsgrad, maximize }),
            Self::AdamW => settings!(group, AdamW { lr, betas, eps, weight_decay, amsgrad, maximize }),
        })
    }
}

"""Optimizers, with PyTorch's names, defaults and formulas; each updates all parameters in one fused pass.

Parameters are leaf tensors, or writable NumPy arrays, whose gradients are then given to ``step(grads=[...])``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastnn.optim.adadelta import Adadelta
from fastnn.optim.adagrad import Adagrad
from fastnn.optim.adam import Adam
from fastnn.optim.adamw import AdamW
from fastnn.optim.optimizer import Optimizer
from fastnn.optim.rmsprop import RMSprop
from fastnn.optim.sgd import SGD

if TYPE_CHECKING:
    from fastnn.optim import lr_scheduler

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]


def __getattr__(name: str) -> Any:
    # Imported when first used, so that `import fastnn` is quick.
    if name == "lr_scheduler":
        return import_module("fastnn.optim.lr_scheduler")
    raise AttributeError(f"module 'fastnn.optim' has no attribute {name!r}")

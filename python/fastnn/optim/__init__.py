"""Optimizers, with PyTorch's names, defaults and formulas. Those that go element by element make one fused pass.

Parameters are leaf tensors, or writable NumPy arrays, whose gradients are then given to ``step(grads=[...])``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastnn.optim.adadelta import Adadelta
from fastnn.optim.adafactor import Adafactor
from fastnn.optim.adagrad import Adagrad
from fastnn.optim.adam import Adam
from fastnn.optim.adamax import Adamax
from fastnn.optim.adamw import AdamW
from fastnn.optim.asgd import ASGD
from fastnn.optim.layerwise import layerwise_lr
from fastnn.optim.lbfgs import LBFGS
from fastnn.optim.lion import Lion
from fastnn.optim.muon import Muon
from fastnn.optim.nadam import NAdam
from fastnn.optim.nesterov import Nesterov
from fastnn.optim.newton import Newton
from fastnn.optim.optimizer import Optimizer
from fastnn.optim.radam import RAdam
from fastnn.optim.rmsprop import RMSprop
from fastnn.optim.rprop import Rprop
from fastnn.optim.sam import SAM
from fastnn.optim.sgd import SGD

if TYPE_CHECKING:
    from fastnn.optim import lr_scheduler, swa_utils

__all__ = [
    "ASGD",
    "LBFGS",
    "SAM",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Muon",
    "NAdam",
    "Nesterov",
    "Newton",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "layerwise_lr",
    "lr_scheduler",
    "swa_utils",
]


def __getattr__(name: str) -> Any:
    # Imported when first used, so that `import fastnn` is quick.
    if name in {"lr_scheduler", "swa_utils"}:
        return import_module(f"fastnn.optim.{name}")
    raise AttributeError(f"module 'fastnn.optim' has no attribute {name!r}")

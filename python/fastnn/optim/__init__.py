"""Optimizers, with PyTorch's names, defaults and formulas. Those that go element by element make one fused pass.

Parameters are leaf tensors, or writable NumPy arrays, whose gradients are then given to ``step(grads=[...])``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastnn._exports import exported as _exported
from fastnn.optim.adadelta import Adadelta as Adadelta
from fastnn.optim.adafactor import Adafactor as Adafactor
from fastnn.optim.adagrad import Adagrad as Adagrad
from fastnn.optim.adam import Adam as Adam
from fastnn.optim.adamax import Adamax as Adamax
from fastnn.optim.adamw import AdamW as AdamW
from fastnn.optim.asgd import ASGD as ASGD
from fastnn.optim.layerwise import layerwise_lr as layerwise_lr
from fastnn.optim.lbfgs import LBFGS as LBFGS
from fastnn.optim.lion import Lion as Lion
from fastnn.optim.muon import Muon as Muon
from fastnn.optim.nadam import NAdam as NAdam
from fastnn.optim.nesterov import Nesterov as Nesterov
from fastnn.optim.newton import Newton as Newton
from fastnn.optim.optimizer import Optimizer as Optimizer
from fastnn.optim.radam import RAdam as RAdam
from fastnn.optim.rmsprop import RMSprop as RMSprop
from fastnn.optim.rprop import Rprop as Rprop
from fastnn.optim.sam import SAM as SAM
from fastnn.optim.sgd import SGD as SGD

if TYPE_CHECKING:
    from fastnn.optim import (
        lr_scheduler as lr_scheduler,
        swa_utils as swa_utils,
    )

__all__ = [*_exported(globals(), "lr_scheduler", "swa_utils")]


def __getattr__(name: str) -> Any:
    # Imported when first used, so that `import fastnn` is quick.
    if name in {"lr_scheduler", "swa_utils"}:
        return import_module(f"fastnn.optim.{name}")
    raise AttributeError(f"module 'fastnn.optim' has no attribute {name!r}")

"""Optimizers, with PyTorch's names, defaults and formulas; each updates all parameters in one fused pass.

Parameters are leaf tensors, or writable NumPy arrays, whose gradients are then given to ``step(grads=[...])``.
"""

from fastnn.optim.adadelta import Adadelta
from fastnn.optim.adafactor import Adafactor
from fastnn.optim.adagrad import Adagrad
from fastnn.optim.adam import Adam
from fastnn.optim.adamax import Adamax
from fastnn.optim.adamw import AdamW
from fastnn.optim.asgd import ASGD
from fastnn.optim.lbfgs import LBFGS
from fastnn.optim.lion import Lion
from fastnn.optim.muon import Muon
from fastnn.optim.nadam import NAdam
from fastnn.optim.nesterov import Nesterov
from fastnn.optim.optimizer import Optimizer
from fastnn.optim.radam import RAdam
from fastnn.optim.rmsprop import RMSprop
from fastnn.optim.rprop import Rprop
from fastnn.optim.sam import SAM
from fastnn.optim.sgd import SGD

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
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
]

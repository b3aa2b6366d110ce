"""Optimizers, with PyTorch's names, defaults and formulas; each updates all parameters in one fused pass.

Parameters are leaf tensors, or writable NumPy arrays, whose gradients are then given to ``step(grads=[...])``.
"""

from fastnn.optim.adadelta import Adadelta
from fastnn.optim.adagrad import Adagrad
from fastnn.optim.adam import Adam
from fastnn.optim.adamw import AdamW
from fastnn.optim.newton import Newton
from fastnn.optim.optimizer import Optimizer
from fastnn.optim.rmsprop import RMSprop
from fastnn.optim.sgd import SGD

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Newton", "Optimizer", "RMSprop"]

"""Neural networks on CPUs, with PyTorch's names."""

from fastnn import callbacks, nn, training
from fastnn._core import Tensor, manual_seed
from fastnn._grad_mode import enable_grad, no_grad
from fastnn.serialization import load, save
from fastnn.training import History, Trainer, TrainStep

__all__ = [
    "History",
    "Tensor",
    "TrainStep",
    "Trainer",
    "callbacks",
    "enable_grad",
    "load",
    "manual_seed",
    "nn",
    "no_grad",
    "save",
    "training",
]

"""Schedules of the learning rate, with PyTorch's names, arguments and recursions.

A schedule is stepped after the optimizer, once an epoch or once a batch. In a fit, that is what
:class:`fastnn.callbacks.LearningRateScheduler` does.
"""

from fastnn.optim.lr_scheduler.combined import ChainedScheduler, SequentialLR, WarmupLR
from fastnn.optim.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from fastnn.optim.lr_scheduler.cyclic import CyclicLR
from fastnn.optim.lr_scheduler.decay import ExponentialLR, MultiStepLR, PowerOfTenLR, StepLR
from fastnn.optim.lr_scheduler.function import LambdaLR, MultiplicativeLR
from fastnn.optim.lr_scheduler.one_cycle import OneCycleLR
from fastnn.optim.lr_scheduler.plateau import ReduceLROnPlateau
from fastnn.optim.lr_scheduler.ramp import ConstantLR, LinearLR, PolynomialLR
from fastnn.optim.lr_scheduler.scheduler import LRScheduler

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "PowerOfTenLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "WarmupLR",
]

"""Schedules of the learning rate, with PyTorch's names, arguments and recursions.

A schedule is stepped after the optimizer, once an epoch or once a batch. In a fit, that is what
:class:`fastnn.callbacks.LearningRateScheduler` does.
"""

from fastnn._exports import exported as _exported
from fastnn.optim.lr_scheduler.combined import (
    ChainedScheduler as ChainedScheduler,
    SequentialLR as SequentialLR,
    WarmupLR as WarmupLR,
)
from fastnn.optim.lr_scheduler.cosine import (
    CosineAnnealingLR as CosineAnnealingLR,
    CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts,
)
from fastnn.optim.lr_scheduler.cyclic import CyclicLR as CyclicLR
from fastnn.optim.lr_scheduler.decay import (
    ExponentialLR as ExponentialLR,
    MultiStepLR as MultiStepLR,
    PowerOfTenLR as PowerOfTenLR,
    StepLR as StepLR,
)
from fastnn.optim.lr_scheduler.function import (
    LambdaLR as LambdaLR,
    MultiplicativeLR as MultiplicativeLR,
)
from fastnn.optim.lr_scheduler.one_cycle import OneCycleLR as OneCycleLR
from fastnn.optim.lr_scheduler.plateau import ReduceLROnPlateau as ReduceLROnPlateau
from fastnn.optim.lr_scheduler.ramp import (
    ConstantLR as ConstantLR,
    LinearLR as LinearLR,
    PolynomialLR as PolynomialLR,
)
from fastnn.optim.lr_scheduler.scheduler import LRScheduler as LRScheduler

__all__ = [*_exported(globals())]

"""Training: one step, and whole fits."""

from fastnn._exports import exported as _exported
from fastnn.training.history import History as History
from fastnn.training.monte_carlo import (
    MCPrediction as MCPrediction,
    mc_predict as mc_predict,
)
from fastnn.training.range_test import (
    LRRangeTest as LRRangeTest,
    lr_range_test as lr_range_test,
)
from fastnn.training.step import TrainStep as TrainStep
from fastnn.training.trainer import Trainer as Trainer
from fastnn.training.trunk import features as features

__all__ = [*_exported(globals())]

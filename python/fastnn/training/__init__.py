"""Training: one step, and whole fits."""

from fastnn.training.history import History
from fastnn.training.monte_carlo import MCPrediction, mc_predict
from fastnn.training.range_test import LRRangeTest, lr_range_test
from fastnn.training.step import TrainStep
from fastnn.training.trainer import Trainer
from fastnn.training.trunk import features

__all__ = ["History", "LRRangeTest", "MCPrediction", "TrainStep", "Trainer", "features", "lr_range_test", "mc_predict"]

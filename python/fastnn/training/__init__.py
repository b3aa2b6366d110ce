"""Training: one step, and whole fits."""

from fastnn.training.history import History
from fastnn.training.step import TrainStep
from fastnn.training.trainer import Trainer

__all__ = ["History", "TrainStep", "Trainer"]

"""Training: one step, and whole fits."""

from fastnn.training.history import History
from fastnn.training.monte_carlo import MCPrediction, mc_predict
from fastnn.training.step import TrainStep
from fastnn.training.trainer import Trainer

__all__ = ["History", "MCPrediction", "TrainStep", "Trainer", "mc_predict"]

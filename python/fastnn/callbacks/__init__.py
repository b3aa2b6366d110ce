"""Callbacks: hooks called during a fit."""

from fastnn.callbacks.averaging import EMA, SWA, PolyakAveraging
from fastnn.callbacks.base import Callback
from fastnn.callbacks.checkpoint import ModelCheckpoint
from fastnn.callbacks.csv_logger import CSVLogger
from fastnn.callbacks.diagnostics import Diagnostics
from fastnn.callbacks.early_stopping import EarlyStopping
from fastnn.callbacks.lambda_callback import LambdaCallback
from fastnn.callbacks.schedule import LearningRateScheduler
from fastnn.callbacks.snapshot import SnapshotEnsemble
from fastnn.callbacks.terminate_on_nan import TerminateOnNaN
from fastnn.callbacks.unfreezing import GradualUnfreezing

__all__ = [
    "EMA",
    "SWA",
    "CSVLogger",
    "Callback",
    "Diagnostics",
    "EarlyStopping",
    "GradualUnfreezing",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "PolyakAveraging",
    "SnapshotEnsemble",
    "TerminateOnNaN",
]

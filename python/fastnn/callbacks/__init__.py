"""Callbacks: hooks called during a fit."""

from fastnn._exports import exported as _exported
from fastnn.callbacks.averaging import (
    EMA as EMA,
    SWA as SWA,
    PolyakAveraging as PolyakAveraging,
)
from fastnn.callbacks.base import Callback as Callback
from fastnn.callbacks.checkpoint import ModelCheckpoint as ModelCheckpoint
from fastnn.callbacks.csv_logger import CSVLogger as CSVLogger
from fastnn.callbacks.diagnostics import Diagnostics as Diagnostics
from fastnn.callbacks.early_stopping import EarlyStopping as EarlyStopping
from fastnn.callbacks.lambda_callback import LambdaCallback as LambdaCallback
from fastnn.callbacks.schedule import LearningRateScheduler as LearningRateScheduler
from fastnn.callbacks.snapshot import SnapshotEnsemble as SnapshotEnsemble
from fastnn.callbacks.terminate_on_nan import TerminateOnNaN as TerminateOnNaN
from fastnn.callbacks.unfreezing import GradualUnfreezing as GradualUnfreezing

__all__ = [*_exported(globals())]

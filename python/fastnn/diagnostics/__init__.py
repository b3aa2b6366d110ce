"""Why a net does not learn, and what its minimum looks like."""

from fastnn._exports import exported as _exported
from fastnn.diagnostics.checks import diagnose as diagnose
from fastnn.diagnostics.epoch import EpochDiagnostics as EpochDiagnostics
from fastnn.diagnostics.landscape import (
    LossAlong as LossAlong,
    loss_along as loss_along,
    sharpness as sharpness,
)
from fastnn.diagnostics.layers import LayerStatistics as LayerStatistics
from fastnn.diagnostics.learning_curve import (
    BiasVariance as BiasVariance,
    bias_variance as bias_variance,
)
from fastnn.diagnostics.report import (
    Check as Check,
    Diagnosis as Diagnosis,
)

__all__ = [*_exported(globals())]

"""Why a net does not learn, and what its minimum looks like."""

from fastnn.diagnostics.checks import diagnose
from fastnn.diagnostics.epoch import EpochDiagnostics
from fastnn.diagnostics.landscape import LossAlong, loss_along, sharpness
from fastnn.diagnostics.layers import LayerStatistics
from fastnn.diagnostics.learning_curve import BiasVariance, bias_variance
from fastnn.diagnostics.report import Check, Diagnosis

__all__ = [
    "BiasVariance",
    "Check",
    "Diagnosis",
    "EpochDiagnostics",
    "LayerStatistics",
    "LossAlong",
    "bias_variance",
    "diagnose",
    "loss_along",
    "sharpness",
]

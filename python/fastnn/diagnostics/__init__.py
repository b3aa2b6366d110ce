"""Why a net does not learn, and what its minimum looks like."""

from fastnn.diagnostics.diagnose import diagnose
from fastnn.diagnostics.layers import LayerStatistics
from fastnn.diagnostics.report import Check, Diagnosis

__all__ = ["Check", "Diagnosis", "LayerStatistics", "diagnose"]

"""Several models that answer together, and how far they disagree."""

from fastnn._exports import exported as _exported
from fastnn.ensemble.bagging import BaggingEnsemble as BaggingEnsemble
from fastnn.ensemble.base import Ensemble as Ensemble
from fastnn.ensemble.deep import DeepEnsemble as DeepEnsemble
from fastnn.ensemble.snapshot import SnapshotEnsemble as SnapshotEnsemble

__all__ = [*_exported(globals())]

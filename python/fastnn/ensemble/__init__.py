"""Several models that answer together, and how far they disagree."""

from fastnn.ensemble.bagging import BaggingEnsemble
from fastnn.ensemble.base import Ensemble
from fastnn.ensemble.deep import DeepEnsemble
from fastnn.ensemble.snapshot import SnapshotEnsemble

__all__ = ["BaggingEnsemble", "DeepEnsemble", "Ensemble", "SnapshotEnsemble"]

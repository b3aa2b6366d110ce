"""The mean over batches: how much the loss of each batch counts in that of all rows."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core, nn
from fastnn._core import Tensor
from fastnn.nn import functional
from fastnn.nn.loss import Loss
from fastnn.training.data import Piece

_MODULES: dict[Callable[..., Any], type[Loss]] = {
    functional.binary_cross_entropy: nn.BCELoss,
    functional.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    functional.cross_entropy: nn.CrossEntropyLoss,
    functional.huber_loss: nn.HuberLoss,
    functional.kl_div: nn.KLDivLoss,
    functional.l1_loss: nn.L1Loss,
    functional.mse_loss: nn.MSELoss,
    functional.nll_loss: nn.NLLLoss,
    functional.smooth_l1_loss: nn.SmoothL1Loss,
}


def known_loss(loss: object) -> Loss | None:
    """Return a loss as one of the modules of ``fastnn.nn``; ``None`` if it is a function or a module of the user's.

    Functions of ``fastnn.nn.functional``, alone or with settings bound by ``functools.partial``, are such modules too.
    """
    if isinstance(loss, Loss):
        return loss
    function: Any = loss
    settings: dict[str, Any] = {}
    if isinstance(loss, functools.partial):
        if loss.args or "sample_weight" in loss.keywords:
            return None
        function, settings = loss.func, loss.keywords
    try:
        made = _MODULES.get(function)
    except TypeError:  # not hashable
        return None
    if made is None:
        return None
    try:
        return made(**settings)
    except TypeError:  # something else is bound, such as the target
        return None


def _own_loss(loss: object) -> Loss | None:
    """Return a loss as one of the modules of ``fastnn.nn``; ``None`` also if it is a subclass that computes another."""
    known = known_loss(loss)
    for name in ("forward", "_loss", "normalizer"):
        if known is not None and getattr(type(known), name).__module__ != Loss.__module__:
            return None
    return known


def reduction_of(loss: object) -> str:
    """Return how a loss puts its elements together; ``"mean"`` unless it says so."""
    known = known_loss(loss)
    return str(getattr(loss if known is None else known, "reduction", "mean"))


def adds_up(loss: object) -> bool:
    """Return whether a loss is a sum over rows, and not a mean."""
    return reduction_of(loss) == "sum"


def mean_of_labels(loss: object, y: Tensor) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Return a function that gives a part of a batch its share in the mean over the labels of all of it.

    Args:
        loss: The loss.
        y: The targets of the whole batch.

    Returns:
        The function, of outputs and targets; ``None`` if rows count for the same, so that their number will do.
    """
    known = _own_loss(loss)
    if known is None or known.reduction != "mean":
        return None
    counts = known._class_counts(y, _core.float64)
    if counts is None:
        return None
    total = counts.sum()
    return lambda output, target: known._loss(output, target, "sum") / total.to(output.dtype)


class Weighing:
    """Return the weight of each row, or each batch, in the loss of all rows.

    With a loss of ``fastnn.nn`` it is exact (:meth:`fastnn.nn.Loss.normalizer`): the mean over batches is the loss of
    all rows at once. With any other loss that has a method ``normalizer(y, sample_weight=None)``, it is what that
    returns; else a batch counts for its rows.

    Args:
        loss: The loss.

    Attributes:
        adds_up: Whether the losses of batches are added up: that of all rows is their sum, not their mean.
    """

    def __init__(self, loss: object) -> None:
        self._known = _own_loss(loss)
        self._normalizer: Callable[..., Any] | None = None
        if self._known is None and getattr(type(loss), "normalizer", None) is not Loss.normalizer:
            self._normalizer = getattr(loss, "normalizer", None)
        self.adds_up = adds_up(loss)

    def batch(self, y: NDArray[Any], sample_weight: NDArray[Any] | None = None) -> float:
        """Return what a batch counts for."""
        if self.adds_up:
            return 1.0
        if self._normalizer is not None:
            weight = () if sample_weight is None else (_core.as_tensor(sample_weight),)
            return float(self._normalizer(_core.as_tensor(y), *weight))
        each = 1.0 if self._known is None else _times(self._known._row_counts(y), sample_weight)
        return float(each.sum()) if isinstance(each, np.ndarray) else each * len(y)

    def sum(self, output: Tensor, y: NDArray[Any]) -> float:
        """Return the losses of a batch, added up; 0 if the loss is none of ``fastnn.nn``."""
        return 0.0 if self._known is None else float(self._known._loss(output, _core.as_tensor(y), "sum").item())

    def counting(self, y: NDArray[Any]) -> NDArray[np.int64]:
        """Return the rows that count for anything, by number."""
        each = 1.0 if self._known is None else self._known._row_counts(y)
        return np.flatnonzero(np.broadcast_to(np.asarray(each), len(y))).astype(np.int64)

    def batches(self, piece: Piece, batch_size: int, mixed: bool) -> list[float]:
        """Return what each batch of a piece of arrays counts for.

        Args:
            piece: The batches.
            batch_size: Rows a batch; the last may have fewer.
            mixed: Whether class indices become probabilities in the step.
        """
        start = piece.first * batch_size
        rows = piece.order[start : start + piece.batches * batch_size]
        starts = np.arange(0, len(rows), batch_size)
        if self.adds_up:
            return [1.0] * len(starts)
        if self._normalizer is not None:
            weights = piece.sample_weight
            parts = [rows[first : first + batch_size] for first in starts]
            return [self.batch(piece.y[part], None if weights is None else weights[part]) for part in parts]
        each = self._of_piece(piece, rows, mixed)
        if isinstance(each, np.ndarray):
            return [float(count) for count in np.add.reduceat(each, starts)]
        return [each * (min(first + batch_size, len(rows)) - first) for first in starts.tolist()]

    def _of_piece(self, piece: Piece, rows: NDArray[np.int64], mixed: bool) -> float | NDArray[np.float64]:
        if self._known is None:
            return 1.0
        weight = None if piece.sample_weight is None else piece.sample_weight[rows]
        if piece.y.dtype.kind == "f" or not self._known.takes_class_indices:
            # Only the shape matters.
            return _times(self._known._row_counts(piece.y), weight)
        # A mixture counts for what its parts count for, each for its share: over a batch, that is the same sum.
        return _times(1.0 if mixed else self._known._row_counts(piece.y[rows]), weight)


def _times(each: float | NDArray[np.float64], sample_weight: NDArray[Any] | None) -> float | NDArray[np.float64]:
    return each if sample_weight is None else each * sample_weight.astype(np.float64)


class Total:
    """The loss of an epoch, from those of its batches.

    Args:
        weighing: Of the loss.
    """

    def __init__(self, weighing: Weighing) -> None:
        self._adds_up = weighing.adds_up
        self._sum = 0.0
        self._count = 0.0

    def add(self, loss: float, count: float) -> None:
        """Take a batch into account, unless nothing in it counts: its loss is a mean over nothing, which is NaN."""
        if count:
            self._sum += loss * count
            self._count += count

    def add_sum(self, losses: float) -> None:
        """Take losses into account that count for nothing in the divisor of the mean."""
        self._sum += losses

    @property
    def loss(self) -> float:
        """The loss of all rows so far; NaN if nothing counts."""
        if not self._count:
            return math.nan
        return self._sum if self._adds_up else self._sum / self._count

"""Kinds of outputs, by the loss that they were trained with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor
from fastnn.nn.loss import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss
from fastnn.training import metrics
from fastnn.training.weighing import known_loss


def _softmax(output: Tensor) -> Tensor:
    return _core.softmax(output, 1)


def _itself(output: Tensor) -> Tensor:
    return output


class Kind:
    """Return whether outputs are classes, yes or no, or numbers.

    Args:
        name: ``"classes"``, ``"binary"`` or ``"numbers"``.
        convert: From outputs to probabilities, or to the numbers.
        score: How good such predictions are.
    """

    def __init__(
        self,
        name: str,
        convert: Callable[[Tensor], Tensor],
        score: Callable[[NDArray[Any], NDArray[Any]], float],
    ) -> None:
        self.name = name
        self.convert = convert
        self.score = score

    def disagreement(self, predictions: NDArray[Any]) -> NDArray[np.float64]:
        """Return how far members disagree on each row, from what each of them predicts: ``(members, n, *)``."""
        found: NDArray[np.float64]
        given = predictions.astype(np.float64)
        mean = given.mean(axis=0)
        if self.name == "numbers":
            # The deviations from the mean: zero exactly where all members say the same.
            variance = ((given - mean) ** 2).mean(axis=0)
            found = np.sqrt(variance.reshape(len(variance), -1).mean(axis=1))
            return found
        divergence = _relative_entropy(given, mean)
        if self.name == "binary":
            divergence = divergence + _relative_entropy(1 - given, 1 - mean)
        else:
            divergence = divergence.sum(axis=2)
        rows = divergence.mean(axis=0)
        # Rounding may leave a little below 0.
        found = np.maximum(rows.reshape(len(rows), -1).mean(axis=1), 0.0)
        return found


def _relative_entropy(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        found: NDArray[np.float64] = np.where(p > 0, p * np.log(p / q), 0.0)
    return found


def kind_of(loss: object) -> Kind:
    """Return what a loss, a module or a function, makes of outputs."""
    known = known_loss(loss)
    if isinstance(known, (CrossEntropyLoss, NLLLoss)):
        score = partial(metrics.accuracy, ignore_index=known.ignore_index)
        return Kind("classes", _softmax if isinstance(known, CrossEntropyLoss) else _core.exp, score)
    if isinstance(known, BCEWithLogitsLoss):
        return Kind("binary", _core.sigmoid, metrics.binary_accuracy)
    if isinstance(known, BCELoss):
        return Kind("binary", _itself, metrics.binary_accuracy)
    return Kind("numbers", _itself, metrics.r2)

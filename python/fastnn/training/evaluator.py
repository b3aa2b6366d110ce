"""Evaluating and predicting."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._core import Tensor
from fastnn._types import check_at_least
from fastnn.nn.module import Module
from fastnn.training import data, data_sources, evaluation, tta as tta_views
from fastnn.training.batches import IterableData
from fastnn.training.data import ArrayData, Types
from fastnn.training.metrics import Metric

_ROWS = 1024
_ELEMENTS = 1 << 18


def rows_at_once(source: Any) -> int:
    """Return 1024 rows; of images and the like so many that what a layer makes of them stays in cache."""
    x = source[0] if isinstance(source, tuple) else getattr(source, "x", source)
    if getattr(x, "ndim", 0) < 3:
        return _ROWS
    return max(32, min(_ROWS, _ELEMENTS // max(1, int(math.prod(x.shape[1:])))))


class Evaluator:
    """Evaluation and prediction: they need a model, a loss and metrics, but no optimizer."""

    model: Module
    loss: Callable[[Any, Any], Tensor]
    metrics: dict[str, Metric]

    def _measure(
        self,
        source: Any,
        batch_size: int,
        views: Sequence[tta_views.View] | None = None,
        model: Module | None = None,
    ) -> dict[str, float]:
        if isinstance(source, IterableData):
            batches = source.in_turn()
        elif isinstance(source, ArrayData):
            batches = source.in_turn(batch_size)
        else:
            x, y = source
            batches = data.slices(x, y, batch_size, Types.of(self.model, self.loss))
        with closing(batches):
            return evaluation.measure(self.model if model is None else model, self.loss, self.metrics, batches, views)

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        *,
        batch_size: int | None = None,
        tta: tta_views.Views | None = None,
        prefetch: int = 2,
    ) -> dict[str, float]:
        """Measure loss and metrics, in evaluation mode; the mode is restored.

        They are those of all rows at once, whatever the batches; but a loss that is a function, or a module of one's
        own, is a mean over batches weighted with their rows. See :class:`Trainer`.

        Args:
            x: Inputs; or an iterable of (x, y), and then no ``y``.
            y: Targets.
            batch_size: Rows a batch; only with arrays. ``None`` for 1024, and for fewer if rows are images.
            tta: Views of the images whose outputs are averaged, as for :meth:`predict`.
            prefetch: As for :meth:`fit`.

        Returns:
            ``loss`` and every metric. With ``reduction="sum"`` the loss is the sum over all rows. A mean in which
            nothing counts, since all labels are ignored, is NaN.

        Raises:
            ValueError: Lengths differ, there are no rows, or ``batch_size`` is below 1, or given with an iterable.
            TypeError: Data or settings are of another type.
        """
        where = "Trainer.evaluate"
        if batch_size is not None:
            batch_size = data.check_batch_size(where, batch_size)
        check_at_least(where, "prefetch", prefetch, 0)
        views = tta_views.resolve(where, tta)
        source = data_sources.arrays_or_batches(where, x, y, Types.of(self.model, self.loss), prefetch=prefetch)
        if batch_size is not None and isinstance(source, IterableData):
            raise ValueError(f"{where}: expected arrays with batch_size; got {type(x).__name__}")
        return self._measure(source, batch_size or rows_at_once(source), views)

    def predict(
        self,
        x: Any,
        *,
        batch_size: int | None = None,
        tta: tta_views.Views | None = None,
        activation: Callable[[Tensor], Any] | None = None,
    ) -> NDArray[Any]:
        """Return the model's outputs for all rows, in evaluation mode; the mode is restored.

        Args:
            x: Inputs, ``(n, *)``.
            batch_size: Rows a batch. ``None`` for 1024, and for fewer if rows are images.
            tta: Views of the images over which the outputs are averaged: ``"flip"``, ``"flips"``, lists such as
                ``fastnn.tta.ten_crop(24)``, or functions of a batch; see :mod:`fastnn.tta`.
            activation: Called with the outputs, of each view before they are averaged, such as ``nn.Softmax(1)``.

        Returns:
            The outputs, one after another.

        Raises:
            ValueError: There are no rows, ``batch_size`` is below 1, or a view does not go with the images.
            TypeError: Data or settings are of another type.
        """
        where = "Trainer.predict"
        if batch_size is not None:
            batch_size = data.check_batch_size(where, batch_size)
        views = tta_views.resolve(where, tta)
        if activation is not None and not callable(activation):
            raise TypeError(f"{where}: expected activation to be a function; got {activation!r}")
        types = Types.of(self.model)
        inputs = data.features(where, x, types, whole=False)
        if not len(inputs):
            raise ValueError(f"{where}: expected at least one row in x; got shape {inputs.shape}")
        with evaluation.evaluating(self.model):
            batches = evaluation.slices(inputs, batch_size or rows_at_once(inputs), types.features)
            parts = [tta_views.averaged(where, self.model, rows, views, activation).numpy() for rows in batches]
        return np.concatenate(parts)

"""A model's outputs, without training: in evaluation mode, and with no gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor, Undo
from fastnn.nn.module import Module
from fastnn.training.data import Batch
from fastnn.training.folding import fold
from fastnn.training.metrics import Metric
from fastnn.training.tta import View, averaged


def evaluating(model: Module) -> Undo:
    """Put a model into evaluation mode with no gradients within a ``with`` block, and restore both afterwards.

    What is frozen by the end of the block stays so, and what is not, too.
    """

    def begin(undo: Undo) -> None:
        as_layers_are(undo, model)
        fold(undo, model)

    return Undo(begin)


def as_layers_are(undo: Undo, model: Module) -> None:
    """Do what :func:`evaluating` does, but fold no layers, which changes bits."""
    undo.modes(list(model.modules()))
    undo.grad_mode(False)
    model.eval()


def outputs(model: Module, batches: Iterable[NDArray[Any]]) -> Iterator[Tensor]:
    """Yield the model's output for each batch of inputs."""
    for x in batches:
        yield averaged("Trainer", model, x, None, None)


def slices(x: NDArray[Any], batch_size: int, dtype: np.dtype[Any] | None = None) -> Iterator[NDArray[Any]]:
    """Yield ``batch_size`` rows at a time: views, unless they are to be converted to ``dtype``."""
    for start in range(0, len(x), batch_size):
        rows = x[start : start + batch_size]
        yield rows if dtype is None else np.ascontiguousarray(rows, dtype=dtype)


def measure(
    model: Module,
    loss: Callable[[Any, Any], Tensor],
    metrics: Mapping[str, Metric],
    batches: Iterable[Batch],
    views: Sequence[View] | None = None,
) -> dict[str, float]:
    """Return the loss, a mean over batches weighted with their rows, and each metric of all rows.

    With ``views`` they are those of the mean output over the views.
    """
    total, rows = 0.0, 0
    predicted: list[NDArray[Any]] = []
    expected: list[NDArray[Any]] = []
    with evaluating(model):
        for x, y in batches:
            output = averaged("Trainer.evaluate", model, x, views, None)
            total += float(loss(output, _core.as_tensor(y)).item()) * len(x)
            rows += len(x)
            if metrics:
                predicted.append(np.asarray(output.detach().numpy()))
                expected.append(y)
    logs = {"loss": total / rows}
    if metrics:
        y_pred, y_true = np.concatenate(predicted), np.concatenate(expected)
        for name, metric in metrics.items():
            logs[name] = float(metric(y_pred, y_true))
    return logs

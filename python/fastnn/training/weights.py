"""What samples count for in a fit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.nn.loss import Loss
from fastnn.training.data import to_array


def sample_weights(
    where: str, loss: Callable[..., Any], y: NDArray[Any], sample_weight: Any, class_weight: Any, dtype: np.dtype[Any]
) -> NDArray[Any] | None:
    """Return what each row counts for: ``sample_weight[i] * class_weight[y[i]]``; ``None`` if all count for 1.

    Args:
        where: Who asks, for errors.
        loss: Which has to take them.
        y: Targets.
        sample_weight: ``(n,)``, each at least 0, or ``None``.
        class_weight: By class: a mapping, in which missing ones count for 1, or an array; or ``None``.
        dtype: Of the result.

    Raises:
        ValueError: A weight is negative or not finite, a length is not that of ``y``, or a class has no weight.
        TypeError: The loss takes no weights, or targets are no class indices and there is a ``class_weight``.
    """
    if sample_weight is None and class_weight is None:
        return None
    if not _takes_weights(loss):
        name = type(loss).__name__ if not inspect.isroutine(loss) else loss.__name__
        raise TypeError(f"{where}: expected a loss that takes sample_weight; got {name}")
    weights = np.ones(len(y))
    if sample_weight is not None:
        given = to_array(where, "sample_weight", sample_weight)
        if given.shape != (len(y),):
            raise ValueError(f"{where}: expected sample_weight of shape ({len(y)},); got {given.shape}")
        weights = weights * _checked(where, "sample_weight", given)
    if class_weight is not None:
        weights = weights * _of_classes(where, y, class_weight)
    return np.ascontiguousarray(weights, dtype=dtype)


def _takes_weights(loss: Callable[..., Any]) -> bool:
    if isinstance(loss, Loss):
        return True
    called = loss.forward if hasattr(loss, "forward") else loss
    parameters = inspect.signature(called).parameters.values()
    return any(p.name == "sample_weight" or p.kind is p.VAR_KEYWORD for p in parameters)


def _checked(where: str, name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    checked = values.astype(np.float64)
    wrong = ~(np.isfinite(checked) & (checked >= 0))
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"{where}: expected {name} of at least 0; got {checked[first]} at {first}")
    return checked


def _of_classes(where: str, y: NDArray[Any], class_weight: Any) -> NDArray[np.float64]:
    if y.dtype.kind not in "iu" or y.ndim != 1:
        raise TypeError(f"{where}: expected class indices of shape (n,) with class_weight; got {y.dtype} of {y.shape}")
    if isinstance(class_weight, Mapping):
        labels, numbers = np.unique(y, return_inverse=True)
        table = np.array([class_weight.get(int(label), 1.0) for label in labels], dtype=np.float64)
        given = np.array(list(class_weight.values()), dtype=np.float64)
        _checked(where, "class_weight", given)
        return table[numbers]
    table = _checked(where, "class_weight", to_array(where, "class_weight", class_weight))
    if table.ndim != 1 or y.max() >= len(table):
        raise ValueError(f"{where}: expected class_weight of shape (C,) with C above {int(y.max())}; got {table.shape}")
    # Labels below 0 are those that a loss ignores.
    return np.where(y < 0, 1.0, table[np.maximum(y, 0)])

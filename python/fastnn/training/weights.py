"""Weights of samples in a fit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._types import check_number
from fastnn.nn.loss import CrossEntropyLoss, Loss, NLLLoss
from fastnn.training.data import to_array
from fastnn.training.weighing import known_loss


def sample_weights(
    where: str,
    loss: Callable[..., Any],
    y: NDArray[Any],
    sample_weight: Any,
    class_weight: Any,
    dtype: np.dtype[Any],
    count_classes: Callable[[], int | None] = lambda: None,
) -> NDArray[Any] | None:
    """Return what each row counts for: ``sample_weight[i] * class_weight[y[i]]``; ``None`` if all count for 1.

    Args:
        where: Who asks, for errors.
        loss: Which has to take them.
        y: Targets.
        sample_weight: ``(n,)``, each at least 0, or ``None``.
        class_weight: By class: a mapping, in which missing ones count for 1, or an array; or ``None``.
        dtype: Of the result.
        count_classes: Returns the number of classes, if it is known.

    Raises:
        ValueError: A weight is negative or not finite, a length is not that of ``y``, a class has no weight, or a
            weight no class.
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
        weights = weights * _of_classes(where, loss, y, class_weight, count_classes)
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


def _of_classes(
    where: str, loss: object, y: NDArray[Any], class_weight: Any, count_classes: Callable[[], int | None]
) -> NDArray[np.float64]:
    if y.dtype.kind not in "iu" or y.ndim != 1:
        hint = "; class_weight is for rows, the weight of the loss for pixels and the like" if y.ndim > 1 else ""
        hint = hint if y.dtype.kind in "iu" else ""
        raise TypeError(
            f"{where}: expected class indices of shape (n,) with class_weight; got {y.dtype} of {y.shape}{hint}"
        )
    known = known_loss(loss)
    ignored = known.ignore_index if isinstance(known, (CrossEntropyLoss, NLLLoss)) else None
    # Labels below 0 are those that a loss ignores.
    counted = (y >= 0) if ignored is None else (y >= 0) & (y != ignored)
    greatest = int(y[counted].max(initial=0))
    if isinstance(class_weight, Mapping):
        table = _table_of(where, class_weight, greatest + 1, count_classes)
    else:
        table = _checked(where, "class_weight", to_array(where, "class_weight", class_weight))
        if table.ndim != 1 or greatest >= len(table):
            raise ValueError(f"{where}: expected class_weight of shape (C,) with C above {greatest}; got {table.shape}")
        classes = count_classes()
        if classes is not None and len(table) > classes:
            raise ValueError(f"{where}: expected class_weight of shape ({classes},); got {table.shape}")
    return np.where(counted, table[np.where(counted, y, 0)], 1.0)


def _table_of(
    where: str, class_weight: Mapping[Any, Any], at_least: int, count_classes: Callable[[], int | None]
) -> NDArray[np.float64]:
    """Return the weights of a mapping by class, those that are missing being 1."""
    _checked(where, "class_weight", np.array([check_number(where, "class_weight", w) for w in class_weight.values()]))
    classes = count_classes()
    # A class that no row has may have a weight, if the model has the class.
    table = np.ones(at_least if classes is None else max(classes, at_least))
    for label, weight in class_weight.items():
        if isinstance(label, (bool, str)) or not hasattr(label, "__index__") or not 0 <= int(label) < len(table):
            raise ValueError(f"{where}: expected class_weight of classes in [0, {len(table)}); got one of {label!r}")
        table[int(label)] = weight
    return table

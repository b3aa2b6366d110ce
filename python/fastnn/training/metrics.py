"""Measures of a prediction, as functions of (y_pred, y_true), both arrays.

A metric sees all of the data at once, so that those which are not means over rows are exact. A mean over nothing, of no
rows or of labels that are all ignored, is NaN. Where a score or a target is NaN, an accuracy counts it as wrong, and an
error is NaN.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastnn._types import check_array, check_at_least, check_items, check_number
from fastnn.nn.loss import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss
from fastnn.training.weighing import known_loss

Metric: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], float]
MetricLike: TypeAlias = str | Metric


def _same_shape(name: str, y_pred: NDArray[Any], y_true: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    y_pred, y_true = np.asarray(y_pred), np.asarray(y_true)
    # A prediction (n, 1) against a target (n,) would broadcast to (n, n).
    if y_pred.ndim == y_true.ndim + 1 and y_pred.shape[-1] == 1:
        y_pred = y_pred[..., 0]
    if y_pred.shape != y_true.shape:
        raise ValueError(
            f"{name}: expected predictions and targets of one shape; got {y_pred.shape} and {y_true.shape}"
        )
    return check_array(name, "y_pred", y_pred), check_array(name, "y_true", y_true)


def _scores(
    name: str, y_pred: NDArray[Any], y_true: NDArray[Any], ignore_index: int
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.bool_]]:
    """Return scores ``(m, classes)`` and classes ``(m,)`` of what counts, and where a row of them holds no NaN."""
    y_pred, y_true = np.asarray(y_pred), np.asarray(y_true)
    labels = y_true.ndim == y_pred.ndim - 1
    fits = y_true.shape == (y_pred.shape[:1] + y_pred.shape[2:] if labels else y_pred.shape)
    if y_pred.ndim < 2 or not fits:
        wanted = "(n, classes) and targets of shape (n,)"
        if y_pred.ndim > 2:
            wanted = f"{y_pred.shape} and targets of shape {y_pred.shape[:1] + y_pred.shape[2:]}"
        raise ValueError(f"{name}: expected predictions of shape {wanted}; got {y_pred.shape} and {y_true.shape}")
    classes = y_pred.shape[1]
    if not classes:
        raise ValueError(f"{name}: expected at least 1 class; got predictions of shape {y_pred.shape}")
    scores = np.moveaxis(y_pred, 1, -1).reshape(-1, classes)
    if not labels:
        targets = np.moveaxis(y_true, 1, -1).reshape(-1, classes)
        ordered = ~(np.isnan(scores).any(axis=1) | np.isnan(targets).any(axis=1))
        return scores, targets.argmax(axis=1), ordered
    given = y_true.reshape(-1)
    counts = given != ignore_index
    whole = given == np.trunc(given) if given.dtype.kind == "f" else True
    outside = counts & ~((given >= 0) & (given < classes) & whole)
    if outside.any():
        first = int(outside.argmax())
        raise ValueError(
            f"{name}: expected labels in [0, {classes}) or ignore_index {ignore_index}; "
            f"got {given[first]} at position {first}"
        )
    if not counts.all():
        scores, given = scores[counts], given[counts]
    return scores, given.astype(np.int64), ~np.isnan(scores).any(axis=1)


def _share(right: NDArray[np.bool_]) -> float:
    return float(right.mean()) if right.size else math.nan


def accuracy(y_pred: NDArray[Any], y_true: NDArray[Any], ignore_index: int = -100) -> float:
    """Return the share of labels at which the greatest score stands; of equal scores the first counts.

    Args:
        y_pred: Scores, ``(n, classes)`` or ``(n, classes, *)``. Where one of them is NaN, the label counts as missed.
        y_true: Class indices, ``(n,)`` or ``(n, *)``; or scores of the shape of ``y_pred``, whose greatest is the
            target.
        ignore_index: A label that counts for nothing; in a :class:`~fastnn.Trainer`, that of the loss.

    Returns:
        In [0, 1]; NaN if no label counts.

    Raises:
        ValueError: Shapes do not match, or a label is neither a class nor ``ignore_index``.
    """
    scores, classes, ordered = _scores("accuracy", y_pred, y_true, ignore_index)
    return _share((scores.argmax(axis=1) == classes) & ordered)


def top_k(y_pred: NDArray[Any], y_true: NDArray[Any], k: int = 5, ignore_index: int = -100) -> float:
    """Return the share of labels whose score is among the ``k`` greatest. A tie counts as among them.

    Args:
        y_pred: Scores, ``(n, classes)`` or ``(n, classes, *)``. Where one of them is NaN, the label counts as missed.
        y_true: Class indices, ``(n,)`` or ``(n, *)``; or scores of the shape of ``y_pred``, whose greatest is the
            target.
        k: At least 1.
        ignore_index: A label that counts for nothing; in a :class:`~fastnn.Trainer`, that of the loss.

    Returns:
        In [0, 1]; NaN if no label counts.

    Raises:
        ValueError: Shapes do not match, a label is neither a class nor ``ignore_index``, or ``k`` is below 1.
        TypeError: ``k`` is not an int.
    """
    check_at_least("top_k", "k", k, 1)
    scores, classes, ordered = _scores("top_k", y_pred, y_true, ignore_index)
    score = np.take_along_axis(scores, classes[:, None], axis=1)
    return _share(((scores > score).sum(axis=1) < k) & ordered)


def binary_accuracy(y_pred: NDArray[Any], y_true: NDArray[Any], threshold: float = 0.5) -> float:
    """Return the share of elements on the right side of ``threshold``, which for logits is 0.

    A prediction at the threshold says no; one that is NaN is wrong. Targets above 0.5 are yes.

    Raises:
        ValueError: Shapes do not match.
        TypeError: ``threshold`` is not a number, or values are of another type.
    """
    check_number("binary_accuracy", "threshold", threshold)
    y_pred, y_true = _same_shape("binary_accuracy", y_pred, y_true)
    right = (y_pred > threshold) == (y_true > 0.5)
    return _share(right & ~np.isnan(y_pred) & ~np.isnan(y_true))


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else math.nan


def mse(y_pred: NDArray[Any], y_true: NDArray[Any]) -> float:
    """Return the mean squared error."""
    y_pred, y_true = _same_shape("mse", y_pred, y_true)
    return _mean((y_pred - y_true) ** 2)


def rmse(y_pred: NDArray[Any], y_true: NDArray[Any]) -> float:
    """Return the root of the mean squared error."""
    y_pred, y_true = _same_shape("rmse", y_pred, y_true)
    return math.sqrt(_mean((y_pred - y_true) ** 2))


def mae(y_pred: NDArray[Any], y_true: NDArray[Any]) -> float:
    """Return the mean absolute error."""
    y_pred, y_true = _same_shape("mae", y_pred, y_true)
    return _mean(np.abs(y_pred - y_true))


def r2(y_pred: NDArray[Any], y_true: NDArray[Any]) -> float:
    """Return ``1 - Σ(y - ŷ)² / Σ(y - mean(y))²``, the mean over columns.

    Where y is constant it is 1 if ŷ is the same, and otherwise 0; so in scikit-learn. NaN where a prediction is.
    """
    y_pred, y_true = _same_shape("r2", y_pred, y_true)
    if not y_true.size:
        return math.nan
    rest = ((y_true - y_pred) ** 2).sum(axis=0)
    total = ((y_true - y_true.mean(axis=0)) ** 2).sum(axis=0)
    # Rounding of the mean must not pass for a variance.
    constant = (total == 0) | (y_true == y_true[:1]).all(axis=0)
    ratio = 1 - rest / np.where(constant, 1, total)
    return float(np.mean(np.where(constant & ~np.isnan(rest), rest == 0, ratio)))


_BY_NAME: dict[str, Metric] = {
    "accuracy": accuracy,
    "binary_accuracy": binary_accuracy,
    "mae": mae,
    "mse": mse,
    "r2": r2,
    "rmse": rmse,
    "top_k": top_k,
}


def resolve(metrics: Iterable[MetricLike] | Mapping[str, MetricLike], loss: object) -> dict[str, Metric]:
    """Return functions by name.

    With a binary loss, ``"accuracy"`` is the binary one, and with logits its threshold is 0. ``"top_3"`` is
    :func:`top_k` with ``k=3``. Labels that the loss ignores do not count.

    Raises:
        ValueError: An unknown name, or the same one twice.
        TypeError: Neither a name nor a function.
    """
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    pairs = (
        metrics.items()
        if isinstance(metrics, Mapping)
        else [(None, m) for m in check_items("metrics", "metrics", metrics)]
    )
    resolved: dict[str, Metric] = {}
    for given_name, metric in pairs:
        if isinstance(metric, str):
            function = _by_name(metric, loss)
            name = str(given_name or metric)
        elif callable(metric):
            function = metric
            name = str(given_name or getattr(metric, "__name__", type(metric).__name__))
        else:
            raise TypeError(f"Trainer: expected metrics to be names or functions; got {metric!r}")
        if name in resolved:
            raise ValueError(f"Trainer: expected each metric once; got {name!r} twice")
        resolved[name] = function
    return resolved


def _by_name(name: str, loss: object) -> Metric:
    known = known_loss(loss)
    if name in {"accuracy", "binary_accuracy"}:
        if isinstance(known, BCEWithLogitsLoss):
            return partial(binary_accuracy, threshold=0.0)
        if isinstance(known, BCELoss):
            return binary_accuracy
    ignored: dict[str, Any] = (
        {"ignore_index": known.ignore_index} if isinstance(known, (CrossEntropyLoss, NLLLoss)) else {}
    )
    match = re.fullmatch(r"top_([1-9][0-9]*)", name)
    if match:
        return partial(top_k, k=int(match[1]), **ignored)
    if name not in _BY_NAME:
        raise ValueError(f"Trainer: expected a metric among {', '.join(sorted(_BY_NAME))}; got {name!r}")
    function = _BY_NAME[name]
    return partial(function, **ignored) if name in {"accuracy", "top_k"} and ignored else function

"""Measures of a prediction, as functions of (y_pred, y_true), both arrays.

A metric sees all of the data at once, so that those which are not means over rows are exact.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastnn.nn.loss import BCELoss, BCEWithLogitsLoss

Metric: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], float]
MetricLike: TypeAlias = str | Metric


def _same_shape(name: str, y_pred: NDArray[Any], y_true: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    # A prediction (n, 1) against a target (n,) would broadcast to (n, n).
    if y_pred.ndim == y_true.ndim + 1 and y_pred.shape[-1] == 1:
        y_pred = y_pred[..., 0]
    if y_pred.shape != y_true.shape:
        raise ValueError(
            f"{name}: expected predictions and targets of one shape; got {y_pred.shape} and {y_true.shape}"
        )
    return y_pred.astype(np.float64), y_true.astype(np.float64)


def _classes(name: str, y_pred: NDArray[Any], y_true: NDArray[Any]) -> NDArray[Any]:
    if y_pred.ndim != 2 or len(y_pred) != len(y_true) or (y_true.ndim != 1 and y_true.shape != y_pred.shape):
        raise ValueError(
            f"{name}: expected predictions of shape (n, classes) and targets of shape (n,); "
            f"got {y_pred.shape} and {y_true.shape}"
        )
    return y_true.argmax(axis=1) if y_true.ndim == 2 else y_true


def accuracy(y_pred: NDArray[Any], y_true: NDArray[Any]) -> float:
    """Return the share of rows whose greatest score is at the target.

    Args:
        y_pred: Scores, ``(n, classes)``.
        y_true: Class indices, ``(n,)``; or scores, whose greatest is the target.
    """
    return float(np.mean(y_pred.argmax(axis=1) == _classes("accuracy", y_pred, y_true)))


def top_k(y_pred: NDArray[Any], y_true: NDArray[Any], k: int = 5) -> float:
    """Return the share of rows whose target is among the ``k`` greatest scores. A tie counts as among them.

    Args:
        y_pred: Scores, ``(n, classes)``.
        y_true: Class indices, ``(n,)``; or scores, whose greatest is the target.
        k: At least 1.
    """
    classes = _classes("top_k", y_pred, y_true).astype(np.int64)
    score = np.take_along_axis(y_pred, classes[:, None], axis=1)
    return float(np.mean((y_pred > score).sum(axis=1) < k))


def binary_accuracy(y_pred: NDArray[Any], y_true: NDArray[Any], threshold: float = 0.5) -> float:
    """Return the share of elements on the right side of ``threshold``, which for logits is 0."""
    y_pred, y_true = _same_shape("binary_accuracy", y_pred, y_true)
    return float(np.mean((y_pred > threshold) == (y_true > 0.5)))


def mse(y_pred: NDArray[Any], y_true: NDArray[Any]) -> float:
    """Return the mean squared error."""
    y_pred, y_true = _same_shape("mse", y_pred, y_true)
    return float(np.mean((y_pred - y_true) ** 2))


def rmse(y_pred: NDArray[Any], y_true: NDArray[Any]) -> float:
    """Return the root of the mean squared error."""
    return float(np.sqrt(mse(y_pred, y_true)))


def mae(y_pred: NDArray[Any], y_true: NDArray[Any]) -> float:
    """Return the mean absolute error."""
    y_pred, y_true = _same_shape("mae", y_pred, y_true)
    return float(np.mean(np.abs(y_pred - y_true)))


def r2(y_pred: NDArray[Any], y_true: NDArray[Any]) -> float:
    """Return ``1 - Σ(y - ŷ)² / Σ(y - mean(y))²``, the mean over columns.

    Where y is constant it is 1 if ŷ is the same, and otherwise 0; so in scikit-learn.
    """
    y_pred, y_true = _same_shape("r2", y_pred, y_true)
    rest = ((y_true - y_pred) ** 2).sum(axis=0)
    total = ((y_true - y_true.mean(axis=0)) ** 2).sum(axis=0)
    constant = total == 0
    return float(np.mean(np.where(constant, rest == 0, 1 - rest / np.where(constant, 1, total))))


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
    :func:`top_k` with ``k=3``.

    Raises:
        ValueError: An unknown name, or the same one twice.
        TypeError: Neither a name nor a function.
    """
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    pairs = metrics.items() if isinstance(metrics, Mapping) else [(None, metric) for metric in metrics]
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
    if name in {"accuracy", "binary_accuracy"}:
        if isinstance(loss, BCEWithLogitsLoss):
            return partial(binary_accuracy, threshold=0.0)
        if isinstance(loss, BCELoss):
            return binary_accuracy
    match = re.fullmatch(r"top_([1-9][0-9]*)", name)
    if match:
        return partial(top_k, k=int(match[1]))
    if name not in _BY_NAME:
        raise ValueError(f"Trainer: expected a metric among {', '.join(sorted(_BY_NAME))}; got {name!r}")
    return _BY_NAME[name]

"""Samples that count for more or less than one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike


def weighted(
    where: str, losses: Tensor, sample_weight: TensorLike, reduction: str, counts: Tensor | None = None
) -> Tensor:
    """Put the losses of single elements together, each times the weight of its sample.

    ``"mean"`` divides by what the elements count for, ``sum of sample_weight[i] * counts[i, ...]``, so that a weight of
    2 is a sample that is there twice; with weights that are all 0 it is NaN. ``"batchmean"`` divides by the sum of the
    weights, ``"sum"`` by nothing.

    Args:
        where: Who asks, for errors.
        losses: Without reduction, ``(n, *)``.
        sample_weight: ``(n,)``.
        reduction: How they are put together.
        counts: What each element counts for besides, of the shape of ``losses``; ``None`` for 1.

    Raises:
        ValueError: ``sample_weight`` has another shape, or ``reduction`` another name.
    """
    weight = sample_weight if isinstance(sample_weight, Tensor) else _core.as_tensor(sample_weight)
    if losses.dim() == 0 or tuple(weight.shape) != (losses.shape[0],):
        expected = f"({losses.shape[0]},)" if losses.dim() else "(n,), with inputs of n rows"
        raise ValueError(f"{where}: expected sample_weight of shape {expected}; got {tuple(weight.shape)}")
    if weight.dtype != losses.dtype:
        weight = weight.to(losses.dtype)
    each = weight.reshape(-1, *[1] * (losses.dim() - 1))
    products = losses * each
    if reduction == "none":
        return products
    total = products.sum()
    if reduction == "sum":
        return total
    if reduction == "batchmean":
        return total / weight.sum()
    if reduction != "mean":
        raise ValueError(f"{where}: expected reduction 'mean', 'sum' or 'none'; got '{reduction}'")
    if counts is not None:
        return total / (each * counts).sum()
    samples = losses.shape[0]
    return total / (weight.sum() * (losses.numel() // samples if samples else 1))


def class_counts(target: Tensor, weight: Tensor | None, ignore_index: int, dtype: _core.dtype) -> Tensor | None:
    """Return what each class index counts for: its class' weight, or 0 where it is ignored.

    Args:
        target: Class indices, any shape; probabilities count for 1.
        weight: Of each class, ``(C,)``; ``None`` for 1.
        ignore_index: The index that counts for nothing.
        dtype: Of the result.
    """
    if target.dtype != _core.int64:
        return None
    kept = target != ignore_index
    if weight is None:
        return kept.to(dtype)
    # The loss itself refuses a target that is no class.
    kept = kept & (target >= 0) & (target < weight.shape[0])
    known = _core.where(kept, target, _core.zeros_like(target))
    return weight.index_select(0, known.reshape(-1)).reshape(target.shape) * kept.to(dtype)


def row_counts(target: NDArray[Any], weight: NDArray[Any] | None, ignore_index: int) -> float | NDArray[np.float64]:
    """Return what the class indices of each row count for together; a number if all rows count for the same.

    Args:
        target: Class indices, ``(n, *)``; those that are no class count for 0, for the loss refuses them.
        weight: Of each class, ``(C,)``; ``None`` for 1.
        ignore_index: The index that counts for nothing.
    """
    kept, inner = target != ignore_index, tuple(range(1, target.ndim))
    if weight is None:
        if np.count_nonzero(kept) == kept.size:
            return float(math.prod(target.shape[1:]))
        return np.asarray(kept.sum(axis=inner), dtype=np.float64)
    kept &= (target >= 0) & (target < len(weight))
    counts = weight.astype(np.float64)[np.where(kept, target, 0)] * kept
    return np.asarray(counts.sum(axis=inner), dtype=np.float64)

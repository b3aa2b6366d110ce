"""Dropout of whole channels."""

from __future__ import annotations

import warnings

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_number


def _drop_channels(where: str, input: TensorLike, p: float, training: bool, batched: bool) -> Tensor:
    """Drop entries of the first two dimensions, the first being that of the samples if it is ``batched``."""
    if not 0 <= check_number(where, "p", p) <= 1:
        raise ValueError(f"{where}: expected p in [0, 1]; got {p}")
    x = _core.as_tensor(input)
    shape = tuple(x.shape)
    kept = shape[:2] if batched else (1, *shape[:1])
    if len(shape) < len(kept) - (not batched):
        raise ValueError(f"{where}: expected input of shape {'(n, c, *)' if batched else '(c, *)'}; got {shape}")
    if not training or p == 0:
        return x
    # One row of the mask a sample, so that a channel's fate is a function of its place.
    mask = _core.dropout(_core.ones(kept, dtype=x.dtype), p, True)
    left = kept if batched else kept[1:]
    return x * mask.reshape((*left, *[1] * (len(shape) - len(left))))


def _warn(where: str, ndim: int, instead: str) -> None:
    warnings.warn(f"{where}: expected input of shape {instead}; got {ndim} dimensions", stacklevel=3)


def dropout1d(input: TensorLike, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:  # noqa: ARG001
    """Zero each channel with probability ``p``, and divide the others by ``1 - p``; do nothing unless ``training``.

    See :class:`fastnn.nn.Dropout1d`.

    Args:
        input: ``(n, c, l)`` or ``(c, l)``.
        p: Probability of a channel to be dropped.
        training: Whether to do anything.
        inplace: Accepted for PyTorch's sake.

    Raises:
        ValueError: ``p`` is outside [0, 1], or there are other dimensions.
    """
    x = _core.as_tensor(input)
    if x.ndim not in {2, 3}:
        raise ValueError(f"dropout1d: expected input of shape (n, c, l) or (c, l); got {tuple(x.shape)}")
    return _drop_channels("dropout1d", x, p, training, x.ndim == 3)


def dropout2d(input: TensorLike, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:  # noqa: ARG001
    """Zero each channel with probability ``p``, and divide the others by ``1 - p``; do nothing unless ``training``.

    See :class:`fastnn.nn.Dropout2d`.

    Args:
        input: ``(n, c, h, w)``. Others ``(n, c, *)`` get a warning, as in PyTorch.
        p: Probability of a channel to be dropped.
        training: Whether to do anything.
        inplace: Accepted for PyTorch's sake.

    Raises:
        ValueError: ``p`` is outside [0, 1], or there are fewer than two dimensions.
    """
    x = _core.as_tensor(input)
    if x.ndim != 4:
        _warn("dropout2d", x.ndim, "(n, c, h, w)")
    return _drop_channels("dropout2d", x, p, training, True)


def dropout3d(input: TensorLike, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:  # noqa: ARG001
    """Zero each channel with probability ``p``, and divide the others by ``1 - p``; do nothing unless ``training``.

    See :class:`fastnn.nn.Dropout3d`.

    Args:
        input: ``(n, c, d, h, w)`` or ``(c, d, h, w)``. Others get a warning, and count as one sample, as in PyTorch.
        p: Probability of a channel to be dropped.
        training: Whether to do anything.
        inplace: Accepted for PyTorch's sake.

    Raises:
        ValueError: ``p`` is outside [0, 1], or there is no dimension.
    """
    x = _core.as_tensor(input)
    if x.ndim not in {4, 5}:
        _warn("dropout3d", x.ndim, "(n, c, d, h, w) or (c, d, h, w)")
    return _drop_channels("dropout3d", x, p, training, x.ndim == 5)

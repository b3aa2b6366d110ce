"""Dropout that keeps mean 0 and variance 1."""

from __future__ import annotations

import math

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_number, shape_of

# -α', what SELU saturates at: its scale times its alpha.
_SATURATION = 1.7580993408473766


def _alpha_dropout(where: str, input: TensorLike, p: float, training: bool, mask_shape: tuple[int, ...]) -> Tensor:
    if not 0 <= check_number(where, "p", p) <= 1:
        raise ValueError(f"{where}: expected p in [0, 1]; got {p}")
    x = input if isinstance(input, Tensor) else _core.as_tensor(input)
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0.0
    a = 1 / math.sqrt((1 - p) * (1 + p * _SATURATION**2))
    kept = _core.dropout(_core.ones(mask_shape, dtype=x.dtype), p, True, False)
    # a·x + b where kept, -a·α + b elsewhere; b = a·α·p
    return x * kept * a + (kept * (a * _SATURATION) + a * _SATURATION * (p - 1))


def alpha_dropout(input: TensorLike, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:  # noqa: ARG001
    """Set elements to SELU's saturation with probability ``p``, and keep mean 0 and variance 1, while ``training``.

    See :class:`fastnn.nn.AlphaDropout`.

    Raises:
        ValueError: ``p`` is outside [0, 1].
    """
    return _alpha_dropout("alpha_dropout", input, p, training, shape_of(input))


def feature_alpha_dropout(input: TensorLike, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:  # noqa: ARG001
    """Do to whole channels what :func:`alpha_dropout` does to elements.

    Args:
        input: ``(n, c, *)``.
        p: Probability of a channel to be dropped.
        training: Whether to do anything.
        inplace: Accepted for PyTorch's sake.

    Raises:
        ValueError: ``p`` is outside [0, 1], or there are fewer than two dimensions.
    """
    shape = shape_of(input)
    if len(shape) < 2:
        raise ValueError(f"feature_alpha_dropout: expected input of shape (n, c, *); got {shape}")
    mask = shape[:2] + (1,) * (len(shape) - 2)
    return _alpha_dropout("feature_alpha_dropout", input, p, training, mask)

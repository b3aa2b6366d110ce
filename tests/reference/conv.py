"""Convolutions in NumPy, float64: one sum over channels a tap of the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def _steps(start: Sequence[int], step: Sequence[int], count: Sequence[int]) -> tuple[Any, ...]:
    """An index of so many elements along the last dimensions."""
    spans = (slice(a, a + s * (n - 1) + 1, s) for a, s, n in zip(start, step, count, strict=True))
    return (..., *spans)


def conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[tuple[int, int]] = ((0, 0), (0, 0)),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Array:
    """``x`` is (n, c, *), ``padding`` is (before, after) for each dimension of *."""
    dims = len(stride)
    x = np.pad(x, ((0, 0),) * (x.ndim - dims) + tuple(padding))
    kernel = weight.shape[2:]
    settings = zip(x.shape[2:], kernel, stride, dilation, strict=True)
    size = tuple((length - d * (k - 1) - 1) // s + 1 for length, k, s, d in settings)
    x = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    w = weight.reshape(groups, -1, *weight.shape[1:])
    y = np.zeros((x.shape[0], groups, w.shape[1], *size))
    for tap in np.ndindex(*kernel):
        seen = x[_steps([t * d for t, d in zip(tap, dilation, strict=True)], stride, size)]
        y += np.einsum("goc,ngc...->ngo...", w[(..., *tap)], seen)
    y = y.reshape(x.shape[0], weight.shape[0], *size)
    return y if bias is None else y + bias.reshape(-1, *(1,) * dims)


def conv_transpose(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    output_padding: Sequence[int] = (0, 0),
    groups: int = 1,
    dilation: Sequence[int] = (1, 1),
) -> Array:
    """``x`` is (n, c, *): every element adds the kernel times itself; then ``padding`` is cut off."""
    dims, kernel, size = len(stride), weight.shape[2:], x.shape[2:]
    settings = zip(size, kernel, stride, dilation, output_padding, strict=True)
    whole = tuple((length - 1) * s + d * (k - 1) + 1 + more for length, k, s, d, more in settings)
    x = x.reshape(x.shape[0], groups, x.shape[1] // groups, *size)
    w = weight.reshape(groups, -1, *weight.shape[1:])
    y = np.zeros((x.shape[0], groups, w.shape[2], *whole))
    for tap in np.ndindex(*kernel):
        touched = _steps([t * d for t, d in zip(tap, dilation, strict=True)], stride, size)
        y[touched] += np.einsum("gco,ngc...->ngo...", w[(..., *tap)], x)
    y = y.reshape(x.shape[0], groups * w.shape[2], *whole)
    y = y[(..., *(slice(p, length - p) for p, length in zip(padding, whole, strict=True)))]
    return y if bias is None else y + bias.reshape(-1, *(1,) * dims)

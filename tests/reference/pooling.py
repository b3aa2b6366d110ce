"""Pooling, padding and interpolation once more, an output at a time; settings are tuples, one for each dimension."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Windows = list[list[int]]


def windows(n: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> Windows:
    """The elements of each window, those outside included."""
    count = (n + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1
    starts = [i * stride - padding for i in range(math.ceil(count) if ceil else math.floor(count))]
    return [[start + j * dilation for j in range(kernel)] for start in starts if start < n]


def adaptive(n: int, out: int) -> Windows:
    return [list(range(i * n // out, -(-(i + 1) * n // out))) for i in range(out)]


def fractional(n: int, out: int, kernel: int, sample: float) -> Windows:
    alpha = (n - kernel) / (out - 1) if out > 1 else 0.0
    starts = [int((i + sample) * alpha) - int(sample * alpha) for i in range(out - 1)] + [n - kernel]
    return [list(range(start, start + kernel)) for start in starts]


def pooled(x: Array, axes: list[Windows], reduce: Callable[[Array, list[list[int]]], Any]) -> Array:
    """Each window reduced: to ``reduce`` go what is inside of it, and the places outside too."""
    dims = len(axes)
    sizes = x.shape[-dims:]
    planes = x.reshape(-1, *sizes)
    y = np.empty((len(planes), *map(len, axes)))
    for plane, out in zip(planes, y, strict=True):
        for place in itertools.product(*(range(len(a)) for a in axes)):
            chosen = [a[i] for a, i in zip(axes, place, strict=True)]
            inside = [[j for j in c if 0 <= j < n] for c, n in zip(chosen, sizes, strict=True)]
            out[place] = reduce(plane[np.ix_(*inside)], chosen)
    return y.reshape(*x.shape[:-dims], *y.shape[1:])


def all_windows(x: Array, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool) -> list[Windows]:
    sizes = x.shape[-len(kernel) :]
    return [windows(*a, ceil) for a in zip(sizes, kernel, stride, padding, dilation, strict=True)]


def max_pool(x: Array, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool = False) -> Array:
    return pooled(x, all_windows(x, kernel, stride, padding, dilation, ceil), lambda v, _: v.max())


def avg_pool(
    x: Array, kernel: Any, stride: Any, padding: Any, ceil: bool = False, include: bool = True, divisor: Any = None
) -> Array:
    sizes = x.shape[-len(kernel) :]

    def mean(values: Array, chosen: list[list[int]]) -> Any:
        padded = [sum(j < n + p for j in c) for c, n, p in zip(chosen, sizes, padding, strict=True)]
        return values.sum() / (divisor or (math.prod(padded) if include else values.size))

    return pooled(x, all_windows(x, kernel, stride, padding, (1,) * len(kernel), ceil), mean)


def adaptive_pool(x: Array, output: Any, reduce: Callable[[Array], Any]) -> Array:
    axes = [adaptive(n, out) for n, out in zip(x.shape[-len(output) :], output, strict=True)]
    return pooled(x, axes, lambda v, _: reduce(v))


def lp_pool(x: Array, p: float, kernel: Any, stride: Any) -> Array:
    ones, zeros = (1,) * len(kernel), (0,) * len(kernel)
    return pooled(x, all_windows(x, kernel, stride, zeros, ones, False), lambda v, _: (v**p).sum() ** (1 / p))


def fractional_max_pool2d(x: Array, kernel: Any, output: Any, samples: Array) -> Array:
    planes = x.reshape(-1, *x.shape[-2:])
    pools = []
    for plane, (u, v) in zip(planes, samples.reshape(-1, 2), strict=True):
        rows, cols = (fractional(n, o, k, s) for n, o, k, s in zip(plane.shape, output, kernel, (v, u), strict=True))
        pools.append(pooled(plane, [rows, cols], lambda w, _: w.max()))
    return np.stack(pools).reshape(*x.shape[:-2], *output)


def lines(n: int, out: int, align_corners: bool) -> Array:
    """The matrix that interpolates n elements to out."""
    matrix = np.zeros((out, n))
    for i in range(out):
        place = i * (n - 1) / max(out - 1, 1) if align_corners else max((i + 0.5) * n / out - 0.5, 0)
        low = min(int(place), n - 1)
        matrix[i, low] += 1 - (place - low)
        matrix[i, min(low + 1, n - 1)] += place - low
    return matrix


def bilinear(x: Array, output: tuple[int, int], align_corners: bool) -> Array:
    rows, cols = (lines(n, o, align_corners) for n, o in zip(x.shape[-2:], output, strict=True))
    return rows @ x @ cols.T


def nearest(x: Array, output: Any) -> Array:
    places = [[i * n // o for i in range(o)] for n, o in zip(x.shape[2:], output, strict=True)]
    return x[np.ix_(range(x.shape[0]), range(x.shape[1]), *places)]


def pad(x: Array, pairs: Any, mode: str, **kw: Any) -> Array:
    """``pairs`` for the last dimensions, in their order."""
    return np.pad(x, [(0, 0)] * (x.ndim - len(pairs)) + list(pairs), mode, **kw)


def pixel_shuffle(x: Array, r: int) -> Array:
    n, c, h, w = x.shape
    y = np.empty((n, c // r**2, h * r, w * r))
    for channel, i, j in np.ndindex(*y.shape[1:]):
        y[:, channel, i, j] = x[:, channel * r**2 + i % r * r + j % r, i // r, j // r]
    return y

"""Pooling: windows of images and series, each made one number.

Images are ``(n, c, h, w)`` or ``(c, h, w)``, series ``(n, c, l)`` or ``(c, l)``; only n may be 0. Settings are a
number, or one for each dimension. The number of windows along a dimension of size s is
``floor((s + 2 * padding - dilation * (kernel_size - 1) - 1) / stride) + 1``, or with ``ceil`` in place of ``floor``,
where a window that would begin behind the image is left out.
"""

from __future__ import annotations

import math

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_number, shape_of
from fastnn.nn.functional._sizes import Size, sizes


def _max_pool(
    dims: int,
    input: TensorLike,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    dilation: Size,
    ceil_mode: bool,
    return_indices: bool,
) -> Tensor | tuple[Tensor, Tensor]:
    name = f"max_pool{dims}d"
    kernel = sizes(name, "kernel_size", kernel_size, dims)
    pool = _core.max_pool_with_indices if return_indices else _core.max_pool
    return pool(
        input,
        kernel,
        kernel if stride is None else sizes(name, "stride", stride, dims),
        sizes(name, "padding", padding, dims, 0),
        sizes(name, "dilation", dilation, dims),
        ceil_mode,
    )


def max_pool1d(
    input: TensorLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the greatest element of each window of a series. Arguments: see :func:`max_pool2d`.

    Args:
        input: ``(n, c, l)`` or ``(c, l)``.
        kernel_size: Elements of a window, at least 1.
        stride: Distance between windows, at least 1; ``None`` for ``kernel_size``.
        padding: How far windows reach out of the series, at most half of a window.
        dilation: Distance between a window's elements, at least 1.
        ceil_mode: Whether a last window may reach out of what is padded.
        return_indices: Whether to return also where the greatest are.

    Raises:
        ValueError: A setting is out of range, or the padded series is smaller than a window.
        TypeError: The input is not of floating point numbers.
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: TensorLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the greatest element of each window: ``y[i] = max over k of x[i * stride + k * dilation - padding]``.

    What lies outside the image is never the greatest. NaN is greater than any number. The gradient goes to the
    greatest element, and of equal ones to the first, row by row.

    Args:
        input: ``(n, c, h, w)`` or ``(c, h, w)``.
        kernel_size: Elements of a window, at least 1.
        stride: Distance between windows, at least 1; ``None`` for ``kernel_size``.
        padding: How far windows reach out of the image, at most half of a window.
        dilation: Distance between a window's elements, at least 1.
        ceil_mode: Whether a last window may reach out of what is padded.
        return_indices: Whether to return also where the greatest are: ``row * w + column``, int64.

    Returns:
        ``(n, c, h', w')`` or ``(c, h', w')``; or that and the indices.

    Raises:
        ValueError: A setting is out of range, or the padded image is smaller than a window.
        TypeError: The input is not of floating point numbers.
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def avg_pool1d(
    input: TensorLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the mean of each window of a series, ``(n, c, l)`` or ``(c, l)``. Arguments: see :func:`avg_pool2d`."""
    kernel = sizes("avg_pool1d", "kernel_size", kernel_size, 1)
    step = kernel if stride is None else sizes("avg_pool1d", "stride", stride, 1)
    pad = sizes("avg_pool1d", "padding", padding, 1, 0)
    return _core.avg_pool(input, kernel, step, pad, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: TensorLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the mean of each window: ``y[i] = (1 / divisor) * sum over k of x[i * stride + k - padding]``.

    Args:
        input: ``(n, c, h, w)`` or ``(c, h, w)``.
        kernel_size: Elements of a window, at least 1.
        stride: Distance between windows, at least 1; ``None`` for ``kernel_size``.
        padding: How many zeros surround the image, at most half of a window.
        ceil_mode: Whether a last window may reach out of what is padded. What it reaches there does not count.
        count_include_pad: Whether the divisor counts those zeros. Keras' "same" padding does not.
        divisor_override: The divisor in any case; not 0.

    Raises:
        ValueError: A setting is out of range, or the padded image is smaller than a window.
        TypeError: The input is not of floating point numbers.
    """
    kernel = sizes("avg_pool2d", "kernel_size", kernel_size, 2)
    step = kernel if stride is None else sizes("avg_pool2d", "stride", stride, 2)
    pad = sizes("avg_pool2d", "padding", padding, 2, 0)
    return _core.avg_pool(input, kernel, step, pad, ceil_mode, count_include_pad, divisor_override)


def _output_size(name: str, input: TensorLike, output_size: object, dims: int) -> list[int]:
    """Return the sizes that are asked for, those of the input standing in for ``None``."""
    asked = output_size if isinstance(output_size, (tuple, list)) else [output_size] * dims
    shape = shape_of(input)
    if None in asked and len(asked) == dims and len(shape) > dims:
        asked = [own if size is None else size for own, size in zip(shape[-dims:], asked, strict=True)]
    return sizes(name, "output_size", asked, dims)


def adaptive_avg_pool1d(input: TensorLike, output_size: Size) -> Tensor:
    """Return the means of ``output_size`` windows that cover a series. See :func:`adaptive_avg_pool2d`."""
    return _core.adaptive_avg_pool(input, _output_size("adaptive_avg_pool1d", input, output_size, 1))


def adaptive_avg_pool2d(input: TensorLike, output_size: object) -> Tensor:
    """Return the means of windows that cover an image: from ``floor(i * h / h')`` to ``ceil((i + 1) * h / h')``.

    Args:
        input: ``(n, c, h, w)`` or ``(c, h, w)``.
        output_size: ``(h', w')``, at least 1, or a number for both; ``None`` leaves a size as it is.

    Raises:
        ValueError: A size is out of range, or the input is no image.
        TypeError: The input is not of floating point numbers.
    """
    return _core.adaptive_avg_pool(input, _output_size("adaptive_avg_pool2d", input, output_size, 2))


def adaptive_max_pool1d(
    input: TensorLike, output_size: Size, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the greatest of ``output_size`` windows that cover a series. See :func:`adaptive_avg_pool2d`."""
    both = _core.adaptive_max_pool(input, _output_size("adaptive_max_pool1d", input, output_size, 1))
    return both if return_indices else both[0]


def adaptive_max_pool2d(
    input: TensorLike, output_size: object, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the greatest of windows that cover an image, which are those of :func:`adaptive_avg_pool2d`.

    With ``return_indices``, return also where they are, as :func:`max_pool2d` does.
    """
    both = _core.adaptive_max_pool(input, _output_size("adaptive_max_pool2d", input, output_size, 2))
    return both if return_indices else both[0]


def _lp_pool(
    dims: int, input: TensorLike, norm_type: float, kernel_size: Size, stride: Size | None, ceil_mode: bool
) -> Tensor:
    name = f"lp_pool{dims}d"
    kernel = sizes(name, "kernel_size", kernel_size, dims)
    step = kernel if stride is None else sizes(name, "stride", stride, dims)
    if check_number(name, "norm_type", norm_type) == 0:
        raise ValueError(f"{name}: expected norm_type other than 0; got {norm_type}")
    x = input if isinstance(input, Tensor) else _core.as_tensor(input)
    nothing, ones = [0] * dims, [1] * dims
    if norm_type == math.inf:
        return _core.max_pool(x.abs(), kernel, step, nothing, ones, ceil_mode)
    if norm_type == -math.inf:
        return -_core.max_pool(-x.abs(), kernel, step, nothing, ones, ceil_mode)
    # Below 1 the first derivative of a power is infinite at 0, and below 2 the second.
    powers = x.pow(norm_type) if norm_type in (1, 2) or norm_type > 2 else _flat_power(x, norm_type)
    means = _core.avg_pool(powers, kernel, step, nothing, ceil_mode, True, None)
    return _flat_power(means * math.prod(kernel), 1.0 / norm_type)


def _flat_power(x: Tensor, exponent: float) -> Tensor:
    """Return ``x ** exponent``, with a gradient of 0 where ``x`` is 0."""
    zero = x == 0
    return x.masked_fill(zero, 1.0).pow(exponent).masked_fill(zero, 0.0 if exponent > 0 else math.inf)


def lp_pool1d(
    input: TensorLike, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """Return the p-norm of each window of a series, ``(n, c, l)`` or ``(c, l)``. Arguments: see :func:`lp_pool2d`."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: TensorLike, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """Return ``(sum of x ** p over the window) ** (1 / p)``.

    As in PyTorch, the sum is of powers, not of powers of magnitudes: with an odd p it may be below 0, and the result is
    NaN. The gradient where the sum is 0 is 0.

    Args:
        input: ``(n, c, h, w)`` or ``(c, h, w)``.
        norm_type: p, not 0. 1 is the sum, infinity the greatest magnitude.
        kernel_size: Elements of a window, at least 1.
        stride: Distance between windows, at least 1; ``None`` for ``kernel_size``.
        ceil_mode: Whether a last window may reach out of the image; its sum is scaled up to a whole window's.

    Raises:
        ValueError: A setting is out of range, or the image is smaller than a window.
        TypeError: The input is not of floating point numbers.

    Source:
        Gulcehre et al. 2014, https://arxiv.org/abs/1311.1780, equation 1, which has the mean of magnitudes.
    """
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def fractional_max_pool2d(
    input: TensorLike,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: object = None,
    return_indices: bool = False,
    _random_samples: TensorLike | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the greatest of windows at random places, drawn anew for each plane.

    Along an axis of size s, window i of ``o`` begins at ``floor(a * (i + u)) - floor(a * u)``, where
    ``a = (s - kernel_size) / (o - 1)`` and u is uniform in [0, 1), and the last one at ``s - kernel_size``.

    Args:
        input: ``(n, c, h, w)`` or ``(c, h, w)``.
        kernel_size: Elements of a window, at least 1.
        output_size: How many windows, ``o``: ``kernel_size + output_size - 1`` is at most the size of the image.
        output_ratio: The same as a share of the image's size, in (0, 1), rounded down. One of the two is given.
        return_indices: Whether to return also where the greatest are, as :func:`max_pool2d` does.
        _random_samples: u for the columns and for the rows of each plane, ``(n, c, 2)``; ``None`` to draw them.

    Raises:
        ValueError: A setting is out of range, or the image is smaller than the windows need.
        TypeError: The input is not of floating point numbers.

    Source:
        Graham 2015, https://arxiv.org/abs/1412.6071, section 2, "pseudorandom" and overlapping; PyTorch's formula.
    """
    name = "fractional_max_pool2d"
    kernel = sizes(name, "kernel_size", kernel_size, 2)
    x = input if isinstance(input, Tensor) else _core.as_tensor(input)
    if x.ndim not in {3, 4}:
        raise ValueError(f"{name}: expected input of shape (n, c, h, w) or (c, h, w); got {tuple(x.shape)}")
    if (output_size is None) == (output_ratio is None):
        raise ValueError(f"{name}: expected output_size or output_ratio; got {output_size} and {output_ratio}")
    if output_size is not None:
        output = sizes(name, "output_size", output_size, 2)
    else:
        ratios = output_ratio if isinstance(output_ratio, (tuple, list)) else (output_ratio, output_ratio)
        if len(ratios) != 2 or not all(0 < check_number(name, "output_ratio", ratio) < 1 for ratio in ratios):
            raise ValueError(f"{name}: expected output_ratio in (0, 1); got {output_ratio}")
        output = [int(size * ratio) for size, ratio in zip(x.shape[-2:], ratios, strict=True)]
    if _random_samples is None and x.is_floating_point():
        _random_samples = _core.rand(x.shape[0] if x.ndim == 4 else 1, x.shape[-3], 2, dtype=x.dtype)
    both = _core.fractional_max_pool2d(x, kernel, output, x if _random_samples is None else _random_samples)
    return both if return_indices else both[0]

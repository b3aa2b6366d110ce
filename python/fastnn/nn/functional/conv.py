"""Convolutions and transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import GREATEST, TensorLike, check_at_least, shape_of
from fastnn.nn.functional._sizes import Size, sizes


def same_padding(kernel: Sequence[int], dilation: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return the zeros before and after that keep the size; of an odd number, the more after."""
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def paddings(
    where: str, padding: Any, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """Return how much to add before and after, from numbers, ``"valid"`` or ``"same"``.

    Raises:
        ValueError: Another word, a negative number, or ``"same"`` with a stride.
    """
    if isinstance(padding, str):
        if padding not in {"same", "valid"}:
            raise ValueError(f"{where}: expected padding to be 'same', 'valid' or numbers; got {padding!r}")
        if padding == "valid":
            return ((0, 0),) * len(kernel)
        if any(s != 1 for s in stride):
            raise ValueError(f"{where}: expected stride 1 with padding 'same'; got {tuple(stride)}")
        return same_padding(kernel, dilation)
    return tuple((p, p) for p in sizes(where, "padding", padding, len(kernel), 0))


def _conv(
    dims: int,
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None,
    stride: Size,
    padding: str | Size,
    dilation: Size,
    groups: int,
) -> Tensor:
    where = f"conv{dims}d"
    steps = sizes(where, "stride", stride, dims)
    gaps = sizes(where, "dilation", dilation, dims)
    groups = check_at_least(where, "groups", groups, 1, GREATEST)
    # Of a weight of another shape the op tells.
    kernel = (shape_of(weight)[2:] + (1,) * dims)[:dims]
    return _core.conv(input, weight, bias, steps, paddings(where, padding, kernel, steps, gaps), gaps, groups)


def conv1d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Size = 1,
    padding: str | Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Return ``y[o, i] = bias[o] + sum over c, t of weight[o, c, t] * x[c, stride * i + dilation * t - padding]``.

    Arguments are those of :func:`conv2d`, with one dimension: ``input`` is ``(n, in, l)`` or ``(in, l)``, ``weight``
    ``(out, in / groups, kl)``.
    """
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Size = 1,
    padding: str | Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Return the cross-correlation of images with kernels::

        y[o, i, j] = bias[o] + sum over c, s, t of weight[o, c, s, t]
                     * x[c, stride * i + dilation * s - padding, stride * j + dilation * t - padding]

    where x is 0 outside of the image, and o only sees the channels of its group.

    Args:
        input: ``(n, in, h, w)`` or ``(in, h, w)``.
        weight: ``(out, in / groups, kh, kw)``.
        bias: ``(out,)``; ``None`` for 0.
        stride: From one position of the kernel to the next, at least 1.
        padding: Zeros on all sides, at least 0; ``"valid"`` for none; ``"same"`` for as many as keep the size, of an
            odd number the more at the end.
        dilation: From one tap of the kernel to the next, at least 1.
        groups: Number of groups, which divides both numbers of channels.

    Returns:
        ``(n, out, h', w')``, ``h' = (h + 2 * padding - dilation * (kh - 1) - 1) // stride + 1``.

    Raises:
        ValueError: A setting is out of range, shapes do not fit, or the kernel is larger than the padded image.
        TypeError: A tensor is not floating point, or dtypes differ.

    Source:
        LeCun et al. 1998, https://doi.org/10.1109/5.726791. Signal processing mirrors the kernel, deep learning
        does not.
    """
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def _conv_transpose(
    dims: int,
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None,
    stride: Size,
    padding: Size,
    output_padding: Size,
    groups: int,
    dilation: Size,
) -> Tensor:
    where = f"conv_transpose{dims}d"
    groups = check_at_least(where, "groups", groups, 1, GREATEST)
    return _core.conv_transpose(
        input,
        weight,
        bias,
        sizes(where, "stride", stride, dims),
        sizes(where, "padding", padding, dims, 0),
        sizes(where, "output_padding", output_padding, dims, 0),
        groups,
        sizes(where, "dilation", dilation, dims),
    )


def conv_transpose1d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """Spread every element of the input by the kernel: :func:`conv_transpose2d` with one dimension."""
    return _conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """Spread every element of the input by the kernel: what :func:`conv2d` with these settings does to the gradient of its input.

    ``y[o, stride * i + dilation * s - padding, …] += weight[c, o, s, t] * x[c, i, j]``, plus ``bias[o]``.

    Args:
        input: ``(n, in, h, w)`` or ``(in, h, w)``.
        weight: ``(in, out / groups, kh, kw)``.
        bias: ``(out,)``; ``None`` for 0.
        stride: From one element's place in the result to the next, at least 1.
        padding: Rows and columns cut off on all sides, at least 0.
        output_padding: Rows and columns more at the end, below stride or dilation: several sizes of images have the
            same number of windows.
        groups: Number of groups, which divides both numbers of channels.
        dilation: From one tap of the kernel to the next, at least 1.

    Returns:
        ``(n, out, h', w')``, ``h' = (h - 1) * stride - 2 * padding + dilation * (kh - 1) + output_padding + 1``.

    Raises:
        ValueError: A setting is out of range, or shapes do not fit.
        TypeError: A tensor is not floating point, or dtypes differ.

    Source:
        Zeiler et al. 2010, https://doi.org/10.1109/CVPR.2010.5539957, "deconvolution", which it is not.
    """  # noqa: E501
    return _conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)

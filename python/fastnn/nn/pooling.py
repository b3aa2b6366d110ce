"""Pooling layers. Images are ``(n, c, h, w)`` or ``(c, h, w)``, series ``(n, c, l)`` or ``(c, l)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn._core import Tensor
from fastnn._types import TensorLike
from fastnn.nn import functional as F
from fastnn.nn._pool_base import PoolBase
from fastnn.nn.functional._sizes import Size, sizes


class _MaxPool(PoolBase):
    _pool: Callable[..., Any]
    kernel_size: Size
    stride: Size
    padding: Size
    dilation: Size
    return_indices: bool
    ceil_mode: bool

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self._check("kernel_size", kernel_size)
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self._check("stride", self.stride)
        self._check("padding", padding, 0)
        self._check("dilation", dilation)
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: TensorLike) -> Any:
        try:
            return type(self)._pool(
                input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
            )
        except (TypeError, ValueError) as error:
            raise self._error(error, self.kernel_size, input) from None

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """Take the greatest element of each window of a series; all else is :class:`MaxPool2d`'s.

    Shapes:
        x: ``(n, c, l)`` or ``(c, l)``.
        y: ``(n, c, l')`` or ``(c, l')``.

    Raises:
        ValueError: A setting is out of range, or the padded series is smaller than a window.
        TypeError: A setting, or ``x``, is of another type.
    """

    _dims = 1
    _pool = F.max_pool1d


class MaxPool2d(_MaxPool):
    """Take the greatest element of each window::

        y[i, j] = max over k, l of x[i * stride + k * dilation - padding, j * stride + l * dilation - padding]

    What lies outside the image is never the greatest; NaN is greater than any number. The gradient goes to the
    greatest, and of equal ones to the first, row by row.

    Args:
        kernel_size: Elements of a window, at least 1: a number, or one for rows and one for columns. So for the others.
        stride: Distance between windows, at least 1; ``None`` for ``kernel_size``.
        padding: How far windows reach out of the image, at most half of a window.
        dilation: Distance between a window's elements, at least 1.
        return_indices: Whether to return also where the greatest are: ``row * w + column``, int64.
        ceil_mode: Whether a last window may reach out of what is padded.

    Shapes:
        x: ``(n, c, h, w)`` or ``(c, h, w)``; only n may be 0.
        y: ``(n, c, h', w')`` or ``(c, h', w')``. ``h'`` is ``(h + 2 * padding - dilation * (kernel_size - 1) - 1) /
            stride + 1``, rounded down; with ``ceil_mode``, rounded up, but the last window begins inside the image or
            the padding before it.

    Raises:
        ValueError: A setting is out of range, or the padded image is smaller than a window.
        TypeError: A setting, or ``x``, is of another type.
    """

    _dims = 2
    _pool = F.max_pool2d


class AvgPool1d(PoolBase):
    """Take the mean of each window of a series; all else is :class:`AvgPool2d`'s.

    Shapes:
        x: ``(n, c, l)`` or ``(c, l)``.
        y: ``(n, c, l')`` or ``(c, l')``.

    Raises:
        ValueError: A setting is out of range, or the padded series is smaller than a window.
        TypeError: A setting, or ``x``, is of another type.
    """

    _dims = 1

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        stride = kernel_size if stride is None else stride
        self.kernel_size = tuple(sizes("AvgPool1d", "kernel_size", kernel_size, 1))
        self.stride = tuple(sizes("AvgPool1d", "stride", stride, 1))
        self.padding = tuple(sizes("AvgPool1d", "padding", padding, 1, 0))
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: TensorLike) -> Tensor:
        try:
            return F.avg_pool1d(
                input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
            )
        except (TypeError, ValueError) as error:
            raise self._error(error, self.kernel_size[0], input) from None

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(PoolBase):
    """Take the mean of each window::

        y[i, j] = (1 / divisor) * sum over k, l of x[i * stride + k - padding, j * stride + l - padding]

    Args:
        kernel_size: Elements of a window, at least 1: a number, or one for rows and one for columns. So for the others.
        stride: Distance between windows, at least 1; ``None`` for ``kernel_size``.
        padding: How many zeros surround the image, at most half of a window.
        ceil_mode: Whether a last window may reach out of what is padded. What it reaches there does not count.
        count_include_pad: Whether the divisor counts those zeros. Keras' "same" padding does not.
        divisor_override: The divisor in any case; not 0.

    Shapes:
        x: ``(n, c, h, w)`` or ``(c, h, w)``; only n may be 0.
        y: that of :class:`MaxPool2d`, without dilation.

    Raises:
        ValueError: A setting is out of range, or the padded image is smaller than a window.
        TypeError: A setting, or ``x``, is of another type.
    """

    _dims = 2

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        stride = kernel_size if stride is None else stride
        for name, value, least in (("kernel_size", kernel_size, 1), ("stride", stride, 1), ("padding", padding, 0)):
            self._check(name, value, least)
        if divisor_override == 0:
            raise ValueError("AvgPool2d: expected divisor_override other than 0; got 0")
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: TensorLike) -> Tensor:
        try:
            return F.avg_pool2d(
                input,
                self.kernel_size,
                self.stride,
                self.padding,
                self.ceil_mode,
                self.count_include_pad,
                self.divisor_override,
            )
        except (TypeError, ValueError) as error:
            raise self._error(error, self.kernel_size, input) from None

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _LPPool(PoolBase):
    _pool: Callable[..., Tensor]

    def __init__(
        self, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        if norm_type == 0:
            raise ValueError(f"{type(self).__name__}: expected norm_type other than 0; got {norm_type}")
        self._check("kernel_size", kernel_size)
        if stride is not None:
            self._check("stride", stride)
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: TensorLike) -> Tensor:
        try:
            return type(self)._pool(input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)
        except (TypeError, ValueError) as error:
            raise self._error(error, f"{self.norm_type}, {self.kernel_size}", input) from None

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """Take the p-norm of each window of a series; all else is :class:`LPPool2d`'s.

    Shapes:
        x: ``(n, c, l)`` or ``(c, l)``.
        y: ``(n, c, l')`` or ``(c, l')``.

    Raises:
        ValueError: A setting is out of range, or the series is smaller than a window.
        TypeError: A setting, or ``x``, is of another type.
    """

    _dims = 1
    _pool = F.lp_pool1d


class LPPool2d(_LPPool):
    """Take ``(sum of x ** p over the window) ** (1 / p)``: 1 is the sum, infinity the greatest magnitude.

    As in PyTorch, the sum is of powers, not of powers of magnitudes: with an odd p it may be below 0, and the result is
    NaN. The gradient where the sum is 0 is 0.

    Args:
        norm_type: p, not 0.
        kernel_size: Elements of a window, at least 1: a number, or one for rows and one for columns.
        stride: Distance between windows, at least 1; ``None`` for ``kernel_size``.
        ceil_mode: Whether a last window may reach out of the image; its sum is scaled up to a whole window's.

    Shapes:
        x: ``(n, c, h, w)`` or ``(c, h, w)``; only n may be 0.
        y: that of :class:`MaxPool2d`, without padding and dilation.

    Raises:
        ValueError: A setting is out of range, or the image is smaller than a window.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        Gulcehre et al. 2014, https://arxiv.org/abs/1311.1780, equation 1, which has the mean of magnitudes.
    """

    _dims = 2
    _pool = F.lp_pool2d


class _AdaptiveAvgPool(PoolBase):
    _pool: Callable[..., Tensor]

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        _check_output(self, output_size)
        self.output_size = output_size

    def forward(self, input: TensorLike) -> Tensor:
        try:
            return type(self)._pool(input, self.output_size)
        except (TypeError, ValueError) as error:
            raise self._error(error, self.output_size, input) from None

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


def _check_output(layer: PoolBase, output_size: Any) -> None:
    asked = output_size if isinstance(output_size, (tuple, list)) else (output_size,)
    # `None` is the input's size, for images.
    layer._check("output_size", tuple(1 if size is None and layer._dims == 2 else size for size in asked))


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Take the means of ``output_size`` windows that cover a series. See :class:`AdaptiveAvgPool2d`.

    Shapes:
        x: ``(n, c, l)`` or ``(c, l)``.
        y: ``(n, c, output_size)`` or ``(c, output_size)``.

    Raises:
        ValueError: ``output_size`` is out of range, or ``x`` has other dimensions.
        TypeError: ``output_size``, or ``x``, is of another type.
    """

    _dims = 1
    _pool = F.adaptive_avg_pool1d


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Take the means of windows that cover an image: from ``floor(i * h / h')`` to ``ceil((i + 1) * h / h')``.

    Args:
        output_size: ``(h', w')``, at least 1, or a number for both; ``None`` leaves a size as it is. 1 is the mean of
            each channel, Keras' ``GlobalAveragePooling2D``.

    Shapes:
        x: ``(n, c, h, w)`` or ``(c, h, w)``; only n may be 0.
        y: ``(n, c, h', w')`` or ``(c, h', w')``.

    Raises:
        ValueError: ``output_size`` is out of range, or ``x`` has other dimensions.
        TypeError: ``output_size``, or ``x``, is of another type.

    Source:
        Lin, Chen & Yan 2014, https://arxiv.org/abs/1312.4400, section 3.2, for 1.
    """

    _dims = 2
    _pool = F.adaptive_avg_pool2d


class _AdaptiveMaxPool(PoolBase):
    _pool: Callable[..., Any]

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        _check_output(self, output_size)
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: TensorLike) -> Any:
        try:
            return type(self)._pool(input, self.output_size, self.return_indices)
        except (TypeError, ValueError) as error:
            raise self._error(error, self.output_size, input) from None

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Take the greatest of ``output_size`` windows that cover a series. See :class:`AdaptiveMaxPool2d`.

    Shapes:
        x: ``(n, c, l)`` or ``(c, l)``.
        y: ``(n, c, output_size)`` or ``(c, output_size)``.

    Raises:
        ValueError: ``output_size`` is out of range, or ``x`` has other dimensions.
        TypeError: ``output_size``, or ``x``, is of another type.
    """

    _dims = 1
    _pool = F.adaptive_max_pool1d


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Take the greatest of windows that cover an image, which are those of :class:`AdaptiveAvgPool2d`.

    Args:
        output_size: ``(h', w')``, at least 1, or a number for both; ``None`` leaves a size as it is.
        return_indices: Whether to return also where the greatest are: ``row * w + column``, int64.

    Shapes:
        x: ``(n, c, h, w)`` or ``(c, h, w)``; only n may be 0.
        y: ``(n, c, h', w')`` or ``(c, h', w')``.

    Raises:
        ValueError: ``output_size`` is out of range, or ``x`` has other dimensions.
        TypeError: ``output_size``, or ``x``, is of another type.
    """

    _dims = 2
    _pool = F.adaptive_max_pool2d

"""Convolutional layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import GREATEST, TensorLike, check_at_least, check_device, check_dtype, shape_of
from fastnn.nn import functional, init
from fastnn.nn._shape_error import layer_error
from fastnn.nn.functional._sizes import Size, sizes
from fastnn.nn.functional.conv import paddings
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter

_MODES = ("zeros", "reflect", "replicate", "circular")


class _Conv(Module):
    """Base of convolution layers: settings, parameters, texts."""

    _dims: int
    _transposed = False

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size,
        padding: str | Size,
        output_padding: Size,
        dilation: Size,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: object,
        dtype: Any,
    ) -> None:
        super().__init__()
        where, dims = type(self).__name__, self._dims
        check_at_least(where, "in_channels", in_channels, 1)
        check_at_least(where, "out_channels", out_channels, 1)
        check_at_least(where, "groups", groups, 1, GREATEST)
        check_device(where, device)
        check_dtype(where, dtype)
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{where}: expected {name} that groups divide; got {channels} and {groups}")
        modes = _MODES[:1] if self._transposed else _MODES
        if padding_mode not in modes:
            raise ValueError(f"{where}: expected padding_mode to be one of {modes}; got {padding_mode!r}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = tuple(sizes(where, "kernel_size", kernel_size, dims))
        self.stride = tuple(sizes(where, "stride", stride, dims))
        self.dilation = tuple(sizes(where, "dilation", dilation, dims))
        self.output_padding = tuple(sizes(where, "output_padding", output_padding, dims, 0))
        around = paddings(where, padding, self.kernel_size, self.stride, self.dilation)
        self.padding = padding if isinstance(padding, str) else tuple(before for before, _ in around)
        self.groups = groups
        self.padding_mode = padding_mode
        # Other modes pad the image first, in the order that `functional.pad` takes: last dimension first.
        self._pad = [size for pair in reversed(around) for size in pair]
        self._around = around if padding_mode == "zeros" else ((0, 0),) * dims
        pair = (in_channels, out_channels // groups) if self._transposed else (out_channels, in_channels // groups)
        self.weight = Parameter(_core.empty(*pair, *self.kernel_size, dtype=dtype))
        self.register_parameter("bias", Parameter(_core.empty(out_channels, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
            init.uniform_(self.bias, -bound, bound)

    def _error(self, error: Exception, input: object) -> ValueError | TypeError:
        shape, dims = shape_of(input), ("l",) if self._dims == 1 else ("h", "w")
        kernel = self.kernel_size if self._dims > 1 else self.kernel_size[0]
        layer = f"{type(self).__name__}({self.in_channels}, {self.out_channels}, {kernel})"
        fits = len(shape) in {self._dims + 1, self._dims + 2} and shape[-self._dims - 1] == self.in_channels
        one = f"{self.in_channels}, {', '.join(dims)}"
        return layer_error(layer, error, fits, f"(n, {one}) or ({one})", input)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if isinstance(self.padding, str) or any(self.padding):
            text += f", padding={self.padding}"
        if any(d != 1 for d in self.dilation):
            text += f", dilation={self.dilation}"
        if any(self.output_padding):
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _ForwardConv(_Conv):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: str | Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: object = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, 0, dilation, groups, bias, padding_mode, device,
            dtype,
        )  # fmt: skip

    def forward(self, input: TensorLike) -> Tensor:
        try:
            x = input
            if self.padding_mode != "zeros":
                x = functional.pad(input, self._pad, mode=self.padding_mode)
            return _core.conv(x, self.weight, self.bias, self.stride, self._around, self.dilation, self.groups)
        except (TypeError, ValueError) as error:
            raise self._error(error, input) from None


class Conv1d(_ForwardConv):
    """Convolve sequences: :class:`Conv2d` over one dimension.

    Shapes:
        x: ``(n, in_channels, l)`` or ``(in_channels, l)``.
        y: ``(n, out_channels, l')`` or ``(out_channels, l')``.
    """

    _dims = 1


class Conv2d(_ForwardConv):
    """Convolve images::

        y[n, o, i, j] = bias[o] + sum over c, s, t of weight[o, c, s, t]
                        * x[n, c, stride * i + dilation * s - padding, stride * j + dilation * t - padding]

    where x is 0 outside of the image. Weight and bias start uniform in ``±1/√(in_channels / groups * kh * kw)``.

    Args:
        in_channels: Channels of the input, at least 1.
        out_channels: Channels of the output, at least 1.
        kernel_size: Height and width of the kernel, at least 1; one number for both, here and below.
        stride: From one position of the kernel to the next, at least 1.
        padding: What is added on all sides, at least 0; ``"valid"`` for nothing; ``"same"`` for as much as keeps the
            size, with stride 1.
        dilation: From one tap of the kernel to the next, at least 1.
        groups: Number of groups of channels that are convolved each by itself; it divides both numbers of channels.
            ``groups=in_channels`` is a depthwise convolution.
        bias: Whether there is one.
        padding_mode: What is added: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``, as in
            :func:`fastnn.nn.functional.pad`.
        device: ``None`` or the CPU.
        dtype: float32, the default, or float64.

    Shapes:
        x: ``(n, in_channels, h, w)`` or ``(in_channels, h, w)``.
        y: ``(n, out_channels, h', w')`` or ``(out_channels, h', w')``, with
            ``h' = (h + 2 * padding - dilation * (kh - 1) - 1) // stride + 1``.
        weight: ``(out_channels, in_channels / groups, kh, kw)``.

    Raises:
        ValueError: A setting is out of range, ``x`` has another shape, or the kernel is larger than the padded image.
        TypeError: A setting, or ``x``, is of another type: images of bytes must be made floating point first.

    Source:
        LeCun et al. 1998, https://doi.org/10.1109/5.726791. It starts as in PyTorch; Keras starts from
        ``xavier_uniform_`` and zero, and holds images as (n, h, w, c).
    """

    _dims = 2


class _ConvTranspose(_Conv):
    _transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        device: object = None,
        dtype: Any = None,
    ) -> None:
        if isinstance(padding, str):
            raise TypeError(f"{type(self).__name__}: expected padding to be numbers; got {padding!r}")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, output_padding, dilation, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip

    def _more(self, input: TensorLike, output_size: Sequence[int] | None) -> tuple[int, ...]:
        """Return the output padding that makes this size.

        Raises:
            TypeError: It is not some integers.
            ValueError: None does.
        """
        shape, dims = shape_of(input), self._dims
        if output_size is None or len(shape) not in {dims + 1, dims + 2}:
            return self.output_padding  # of an input of another shape, the op tells
        where = type(self).__name__
        if not isinstance(output_size, Sequence) or not all(hasattr(size, "__index__") for size in output_size):
            raise TypeError(f"{where}: expected output_size to be ints; got {output_size!r}")
        wanted = tuple(output_size[-dims:] if len(output_size) == len(shape) else output_size)
        least = self.least_size(shape[-dims:])
        most = tuple(a + s - 1 for a, s in zip(least, self.stride, strict=True))
        if len(wanted) != dims or not all(a <= w <= b for a, w, b in zip(least, wanted, most, strict=True)):
            raise ValueError(f"{where}: expected output_size from {least} to {most}; got {tuple(output_size)}")
        return tuple(w - a for a, w in zip(least, wanted, strict=True))

    def least_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """Return the smallest size that an image of this size can become."""
        settings = zip(size, self.stride, self._around, self.dilation, self.kernel_size, strict=True)
        return tuple((n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, (p, _), d, k in settings)

    def forward(self, input: TensorLike, output_size: Sequence[int] | None = None) -> Tensor:
        more = self._more(input, output_size)
        padding = [before for before, _ in self._around]
        try:
            return _core.conv_transpose(
                input, self.weight, self.bias, self.stride, padding, more, self.groups, self.dilation
            )
        except (TypeError, ValueError) as error:
            raise self._error(error, input) from None


class ConvTranspose1d(_ConvTranspose):
    """Spread sequences by a kernel: :class:`ConvTranspose2d` over one dimension.

    Shapes:
        x: ``(n, in_channels, l)`` or ``(in_channels, l)``.
        y: ``(n, out_channels, l')`` or ``(out_channels, l')``.
    """

    _dims = 1


class ConvTranspose2d(_ConvTranspose):
    """Spread every element of an image by a kernel: what a convolution does to the gradient of its input.

    ``y[n, o, stride * i + dilation * s - padding, …] += weight[c, o, s, t] * x[n, c, i, j]``, plus ``bias[o]``. Weight
    and bias start uniform in ``±1/√(out_channels / groups * kh * kw)``.

    Args:
        in_channels: Channels of the input, at least 1.
        out_channels: Channels of the output, at least 1.
        kernel_size: Height and width of the kernel, at least 1; one number for both, here and below.
        stride: From one element's place in the result to the next, at least 1.
        padding: Rows and columns cut off on all sides, at least 0.
        output_padding: Rows and columns more at the end, below stride or dilation.
        groups: Number of groups of channels; it divides both numbers of channels.
        bias: Whether there is one.
        dilation: From one tap of the kernel to the next, at least 1.
        padding_mode: ``"zeros"``, the only one there is.
        device: ``None`` or the CPU.
        dtype: float32, the default, or float64.

    Shapes:
        x: ``(n, in_channels, h, w)`` or ``(in_channels, h, w)``.
        y: ``(n, out_channels, h', w')`` or ``(out_channels, h', w')``, with
            ``h' = (h - 1) * stride - 2 * padding + dilation * (kh - 1) + output_padding + 1``; ``forward`` takes
            ``output_size`` in place of ``output_padding``.
        weight: ``(in_channels, out_channels / groups, kh, kw)``.

    Raises:
        ValueError: A setting is out of range, or ``x`` has another shape.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        Zeiler et al. 2010, https://doi.org/10.1109/CVPR.2010.5539957.
    """

    _dims = 2

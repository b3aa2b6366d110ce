"""Layer, RMS and group normalization."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import (
    TensorLike,
    check_at_least,
    check_device,
    check_dtype,
    check_integer,
    check_items,
    check_number,
    shape_of,
)
from fastnn.nn import functional as F, init
from fastnn.nn._shape_error import layer_error
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter

_layer_norm, _rms_norm, _group_norm = _core.layer_norm, _core.rms_norm, _core.group_norm


def _check_eps(where: str, eps: float) -> None:
    if not check_number(where, "eps", eps) >= 0:
        raise ValueError(f"{where}: expected eps of at least 0; got {eps}")


def _sizes(where: str, normalized_shape: int | Iterable[int]) -> tuple[int, ...]:
    """Return the shape as a tuple, once it has been checked."""
    if isinstance(normalized_shape, int):
        check_at_least(where, "normalized_shape", normalized_shape, 1)
        return (normalized_shape,)
    if isinstance(normalized_shape, str):
        raise TypeError(f"{where}: expected normalized_shape to be an int or ints; got {normalized_shape!r}")
    if shape_of(normalized_shape) == () and hasattr(normalized_shape, "__index__"):
        normalized_shape = [check_integer(where, "normalized_shape", normalized_shape)]
    sizes = tuple(check_items(where, "normalized_shape", normalized_shape, "an int or ints"))
    if not sizes:
        raise ValueError(f"{where}: expected a normalized_shape of 1 or more sizes; got ()")
    for size in sizes:
        check_at_least(where, "sizes in normalized_shape", size, 1)
    return sizes


def _shape_error(layer: str, sizes: tuple[int, ...], error: Exception, input: object) -> ValueError | TypeError:
    text = ", ".join(map(str, sizes))
    fits = shape_of(input)[-len(sizes) :] == sizes
    return layer_error(f"{layer}({text if len(sizes) == 1 else sizes})", error, fits, f"(*, {text})", input)


class LayerNorm(Module):
    """Normalize each sample over its last dimensions, then scale and shift every element::

        y = weight * (x - mean) / sqrt(var + eps) + bias

    ``mean`` and ``var``, the biased one, are those of one sample's last dimensions, while training and evaluating.

    Args:
        normalized_shape: The last dimensions, a width or several; each at least 1.
        eps: Added to the variance, so in units of the input squared. At least 0; Keras' default is 1e-3.
        elementwise_affine: Whether there are ``weight`` and ``bias``. They start at 1 and 0.
        bias: Whether ``elementwise_affine`` includes ``bias``.
        device: ``None`` or the CPU.
        dtype: float32, the default, or float64.

    Shapes:
        x, y: ``(*, *normalized_shape)``.

    Raises:
        ValueError: A setting is out of range, or ``x`` ends in other dimensions.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        Ba, Kiros & Hinton 2016, https://arxiv.org/abs/1607.06450, equation 4, which has no ``eps``.
    """

    normalized_shape: tuple[int, ...]
    eps: float
    elementwise_affine: bool
    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Iterable[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: object = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        sizes = _sizes("LayerNorm", normalized_shape)
        _check_eps("LayerNorm", eps)
        check_device("LayerNorm", device)
        check_dtype("LayerNorm", dtype)
        self.normalized_shape = sizes
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        affine = elementwise_affine
        self.register_parameter("weight", Parameter(_core.empty(sizes, dtype=dtype)) if affine else None)
        self.register_parameter("bias", Parameter(_core.empty(sizes, dtype=dtype)) if affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start again."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: TensorLike) -> Tensor:
        try:
            return _layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)
        except (TypeError, ValueError) as error:
            raise _shape_error("LayerNorm", self.normalized_shape, error, input) from None

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """Divide each sample by its root mean square over the last dimensions, then scale every element::

        y = weight * x / sqrt(mean(x**2) + eps)

    Args:
        normalized_shape: The last dimensions, a width or several; each at least 1.
        eps: Added to the mean square, at least 0; ``None`` for the rounding unit of the input's dtype, 1.2e-7 in
            float32. Keras' default is 1e-6.
        elementwise_affine: Whether there is ``weight``. It starts at 1.
        device: ``None`` or the CPU.
        dtype: float32, the default, or float64.

    Shapes:
        x, y: ``(*, *normalized_shape)``.

    Raises:
        ValueError: A setting is out of range, or ``x`` ends in other dimensions.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467, equation 4, which has no ``eps``.
    """

    normalized_shape: tuple[int, ...]
    eps: float | None
    elementwise_affine: bool
    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Iterable[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: object = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        sizes = _sizes("RMSNorm", normalized_shape)
        if eps is not None:
            _check_eps("RMSNorm", eps)
        check_device("RMSNorm", device)
        check_dtype("RMSNorm", dtype)
        self.normalized_shape = sizes
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        weight = Parameter(_core.empty(sizes, dtype=dtype)) if elementwise_affine else None
        self.register_parameter("weight", weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start again."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: TensorLike) -> Tensor:
        try:
            return _rms_norm(input, self.normalized_shape, self.weight, self.eps)
        except (TypeError, ValueError) as error:
            raise _shape_error("RMSNorm", self.normalized_shape, error, input) from None

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Normalize groups of a sample's channels, then scale and shift every channel::

        y = weight * (x - mean) / sqrt(var + eps) + bias

    ``mean`` and ``var``, the biased one, are those of one sample's ``c / num_groups`` neighboring channels, while
    training and evaluating. One group is layer norm, with a weight a channel; ``num_channels`` groups are instance
    norm.

    Args:
        num_groups: At least 1; Keras' default is 32.
        num_channels: Channels c of the input, a multiple of ``num_groups``.
        eps: Added to the variance, so in units of the input squared. At least 0; Keras' default is 1e-3.
        affine: Whether there are ``weight`` and ``bias``. They start at 1 and 0.
        device: ``None`` or the CPU.
        dtype: float32, the default, or float64.
        bias: Whether ``affine`` includes ``bias``.

    Shapes:
        x, y: ``(n, c, *)``; a single sample must have more than one value a group.

    Raises:
        ValueError: A setting is out of range, or ``x`` has other channels, or all there is is one value a group.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        Wu & He 2018, https://arxiv.org/abs/1803.08494, equations 1 to 7.
    """

    num_groups: int
    num_channels: int
    eps: float
    affine: bool
    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: object = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_at_least("GroupNorm", "num_groups", num_groups, 1)
        check_at_least("GroupNorm", "num_channels", num_channels, 1)
        if num_channels % num_groups != 0:
            raise ValueError(
                f"GroupNorm: expected num_channels to be a multiple of num_groups; got {num_channels} and {num_groups}"
            )
        _check_eps("GroupNorm", eps)
        check_device("GroupNorm", device)
        check_dtype("GroupNorm", dtype)
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        c = num_channels
        self.register_parameter("weight", Parameter(_core.empty(c, dtype=dtype)) if affine else None)
        self.register_parameter("bias", Parameter(_core.empty(c, dtype=dtype)) if affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start again."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: TensorLike) -> Tensor:
        try:
            return _group_norm(input, self.num_groups, self.weight, self.bias, self.eps)
        except (TypeError, ValueError) as error:
            shape, c = shape_of(input), self.num_channels
            fits = len(shape) >= 2 and shape[1] == c
            raise layer_error(f"GroupNorm({self.num_groups}, {c})", error, fits, f"(n, {c}, *)", input) from None

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """Divide every channel by a power of the mean square of its neighbors::

        y[:, c] = x[:, c] / (k + alpha * sum(x[:, j]**2 over the window of c) / size) ** beta

    The window of c has the ``size`` channels from ``c - size // 2`` on; those that do not exist count as 0.

    Args:
        size: Channels of a window, at least 1. Keras and the paper have a window's half.
        alpha: Factor of the mean square. The paper's is of the sum: ``alpha / size`` here.
        beta: Exponent.
        k: Added to the mean square.

    Shapes:
        x, y: ``(n, c, *)`` with three or more dimensions.

    Raises:
        ValueError: ``size`` is below 1, or ``x`` has fewer dimensions.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with deep convolutional neural networks",
        section 3.3; ``alpha`` and the window as in PyTorch.
    """

    size: int
    alpha: float
    beta: float
    k: float

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        check_at_least("LocalResponseNorm", "size", size, 1)
        self.size = size
        self.alpha = check_number("LocalResponseNorm", "alpha", alpha)
        self.beta = check_number("LocalResponseNorm", "beta", beta)
        self.k = check_number("LocalResponseNorm", "k", k)

    def forward(self, input: TensorLike) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"

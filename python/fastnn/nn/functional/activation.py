"""Activations: elementwise, except for the softmaxes."""

from __future__ import annotations

from typing import Any

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_integer, shape_of


def relu(input: TensorLike, inplace: bool = False) -> Tensor:  # noqa: ARG001
    """Return ``max(0, x)``. Its derivative at 0 is 0."""
    return _core.relu(input)


def relu6(input: TensorLike, inplace: bool = False) -> Tensor:  # noqa: ARG001
    """Return ``min(max(0, x), 6)``."""
    return _core.relu6(input)


def leaky_relu(input: TensorLike, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:  # noqa: ARG001
    """Return ``x`` where it is above 0, and ``negative_slope * x`` elsewhere. Keras' slope is 0.3."""
    return _core.leaky_relu(input, negative_slope)


def prelu(input: TensorLike, weight: TensorLike) -> Tensor:
    """Return ``x`` where it is above 0, and ``weight * x`` elsewhere.

    Args:
        input: ``(n, c, *)``.
        weight: ``(1,)``, or ``(c,)``: a slope for each channel.

    Source:
        He et al. 2015, https://arxiv.org/abs/1502.01852, equation 1.
    """
    return _core.prelu(input, weight)


def elu(input: TensorLike, alpha: float = 1.0, inplace: bool = False) -> Tensor:  # noqa: ARG001
    """Return ``x`` where it is above 0, and ``alpha * (exp(x) - 1)`` elsewhere.

    Source:
        Clevert et al. 2016, https://arxiv.org/abs/1511.07289, equation 15.
    """
    return _core.elu(input, alpha)


def selu(input: TensorLike, inplace: bool = False) -> Tensor:  # noqa: ARG001
    """Return ``scale * elu(x, alpha)``, which keeps mean 0 and variance 1 from layer to layer.

    ``alpha`` is 1.6732632423543772848170429916717, and ``scale`` 1.0507009873554804934193349852946.

    Source:
        Klambauer et al. 2017, https://arxiv.org/abs/1706.02515, equation 14.
    """
    return _core.selu(input)


def gelu(input: TensorLike, approximate: str = "none") -> Tensor:
    """Return ``x * Φ(x)``, Φ being the cumulative normal distribution.

    Args:
        input: Any shape.
        approximate: ``"none"`` for ``x * (1 + erf(x / √2)) / 2``; ``"tanh"`` for
            ``x * (1 + tanh(√(2/π) * (x + 0.044715 * x³))) / 2``.

    Source:
        Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415. JAX' default is the tanh form.
    """
    return _core.gelu(input, approximate)


def silu(input: TensorLike, inplace: bool = False) -> Tensor:  # noqa: ARG001
    """Return ``x * sigmoid(x)``, also known as swish."""
    return _core.silu(input)


def mish(input: TensorLike, inplace: bool = False) -> Tensor:  # noqa: ARG001
    """Return ``x * tanh(log(1 + exp(x)))``.

    Source:
        Misra 2020, https://arxiv.org/abs/1908.08681.
    """
    return _core.mish(input)


def hardswish(input: TensorLike, inplace: bool = False) -> Tensor:  # noqa: ARG001
    """Return ``x * min(max(x + 3, 0), 6) / 6``. Its derivative is 0 at -3 and 1 at 3.

    Source:
        Howard et al. 2019, https://arxiv.org/abs/1905.02244, section 5.2.
    """
    return _core.hardswish(input)


def sigmoid(input: TensorLike) -> Tensor:
    """Return ``1 / (1 + exp(-x))``."""
    return _core.sigmoid(input)


def tanh(input: TensorLike) -> Tensor:
    """Return the hyperbolic tangent."""
    return _core.tanh(input)


def softplus(input: TensorLike, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Return ``log(1 + exp(beta * x)) / beta``, and ``x`` itself where ``beta * x`` is above ``threshold``."""
    return _core.softplus(input, beta, threshold)


def hardtanh(input: TensorLike, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:  # noqa: ARG001
    """Return ``x`` held between ``min_val`` and ``max_val``."""
    return _core.hardtanh(input, min_val, max_val)


def _implicit_dim(input: TensorLike) -> int:
    # PyTorch's rule for `dim=None`, which it has deprecated.
    return 0 if len(shape_of(input)) in {0, 1, 3} else 1


def glu(input: TensorLike, dim: int = -1) -> Tensor:
    """Return ``a * sigmoid(b)``, where a is the first half of the input along ``dim``, and b the second.

    Raises:
        ValueError: The dimension has an odd size, or there is none.

    Source:
        Dauphin et al. 2017, https://arxiv.org/abs/1612.08083, equation 1.
    """
    shape, dim = shape_of(input), check_integer("glu", "dim", dim)
    if not -len(shape) <= dim < len(shape):
        raise ValueError(f"glu: expected dim to be one of {len(shape)} dimensions; got {dim}")
    if shape[dim] % 2:
        raise ValueError(f"glu: expected an even size in dimension {dim}; got {shape}")
    x = input if isinstance(input, Tensor) else _core.as_tensor(input)
    half = shape[dim] // 2
    return x.narrow(dim, 0, half) * x.narrow(dim, half, half).sigmoid()


def softmax(input: TensorLike, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """Return ``exp(x) / sum(exp(x))`` along ``dim``, computed from ``x - max(x)``.

    Args:
        input: Any shape.
        dim: The dimension that sums to 1. ``None`` is 0 for 0, 1 or 3 dimensions, and otherwise 1.
        dtype: Type to convert ``input`` to first.
    """
    x = input if dtype is None else _core.as_tensor(input).to(dtype)
    return _core.softmax(x, _implicit_dim(x) if dim is None else dim)


def log_softmax(input: TensorLike, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """Return ``x - max(x) - log(sum(exp(x - max(x))))`` along ``dim``. Arguments are those of :func:`softmax`."""
    x = input if dtype is None else _core.as_tensor(input).to(dtype)
    return _core.log_softmax(x, _implicit_dim(x) if dim is None else dim)

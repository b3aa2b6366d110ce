"""Activations as layers; the formulas are those of :mod:`fastnn.nn.functional`."""

from __future__ import annotations

from typing import Any

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_at_least, check_choice, check_device, check_dtype, check_number, shape_of
from fastnn.nn import functional as F, init as _init
from fastnn.nn._shape_error import layer_error
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter

_relu = _core.relu


class _Inplace(Module):
    """An activation whose only setting is ``inplace``, which PyTorch has and which changes nothing here."""

    inplace: bool

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_Inplace):
    """Return ``max(0, x)``, for an input of any shape. Its derivative at 0 is 0.

    Args:
        inplace: Accepted for PyTorch's sake. The input is not changed.
    """

    def forward(self, input: TensorLike) -> Tensor:
        return _relu(input)


class SELU(_Inplace):
    """Return ``scale * elu(x, alpha)`` with the constants that keep mean 0 and variance 1, for any shape.

    Args:
        inplace: Accepted for PyTorch's sake. The input is not changed.

    Source:
        Klambauer et al. 2017, https://arxiv.org/abs/1706.02515, equation 14.
    """

    def forward(self, input: TensorLike) -> Tensor:
        return _core.selu(input)


class SiLU(_Inplace):
    """Return ``x * sigmoid(x)``, also known as swish, for an input of any shape.

    Args:
        inplace: Accepted for PyTorch's sake. The input is not changed.
    """

    def forward(self, input: TensorLike) -> Tensor:
        return _core.silu(input)


class Mish(_Inplace):
    """Return ``x * tanh(log(1 + exp(x)))``, for an input of any shape.

    Args:
        inplace: Accepted for PyTorch's sake. The input is not changed.

    Source:
        Misra 2020, https://arxiv.org/abs/1908.08681.
    """

    def forward(self, input: TensorLike) -> Tensor:
        return _core.mish(input)


class Hardswish(_Inplace):
    """Return ``x * min(max(x + 3, 0), 6) / 6``, for an input of any shape.

    Args:
        inplace: Accepted for PyTorch's sake. The input is not changed.

    Source:
        Howard et al. 2019, https://arxiv.org/abs/1905.02244, section 5.2.
    """

    def forward(self, input: TensorLike) -> Tensor:
        return _core.hardswish(input)


class Sigmoid(Module):
    """Return ``1 / (1 + exp(-x))``, for an input of any shape."""

    def forward(self, input: TensorLike) -> Tensor:
        return _core.sigmoid(input)


class Tanh(Module):
    """Return the hyperbolic tangent, for an input of any shape."""

    def forward(self, input: TensorLike) -> Tensor:
        return _core.tanh(input)


class LeakyReLU(Module):
    """Return ``x`` where it is above 0, and ``negative_slope * x`` elsewhere, for an input of any shape.

    Args:
        negative_slope: The slope; 0.01 as in PyTorch, where Keras has 0.3.
        inplace: Accepted for PyTorch's sake. The input is not changed.
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        check_number("LeakyReLU", "negative_slope", negative_slope)
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: TensorLike) -> Tensor:
        return _core.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class PReLU(Module):
    """Return ``x`` where it is above 0, and ``weight * x`` elsewhere, with a slope that is learned.

    Args:
        num_parameters: 1, or the number of channels c.
        init: The slope at the start.
        device: ``None`` or the CPU.
        dtype: float32, the default, or float64.

    Shapes:
        x, y: any if ``num_parameters`` is 1; otherwise ``(n, c, *)``.

    Raises:
        ValueError: ``num_parameters`` below 1, or ``x`` has another number of channels.

    Source:
        He et al. 2015, https://arxiv.org/abs/1502.01852, equation 1. No weight decay, they advise.
    """

    weight: Parameter

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: object = None, dtype: Any = None) -> None:
        super().__init__()
        check_at_least("PReLU", "num_parameters", num_parameters, 1)
        check_number("PReLU", "init", init)
        check_device("PReLU", device)
        check_dtype("PReLU", dtype)
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(_core.empty(num_parameters, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the slope to what it was at the start."""
        _init.constant_(self.weight, self.init)

    def forward(self, input: TensorLike) -> Tensor:
        try:
            return _core.prelu(input, self.weight)
        except (TypeError, ValueError) as error:
            c = self.num_parameters
            fits = c == 1 or shape_of(input)[1:2] == (c,)
            raise layer_error(f"PReLU({c})", error, fits, f"(n, {c}, *)", input) from None

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(Module):
    """Return ``x`` where it is above 0, and ``alpha * (exp(x) - 1)`` elsewhere, for an input of any shape.

    Args:
        alpha: Minus the value far below 0.
        inplace: Accepted for PyTorch's sake. The input is not changed.

    Source:
        Clevert et al. 2016, https://arxiv.org/abs/1511.07289, equation 15.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        check_number("ELU", "alpha", alpha)
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: TensorLike) -> Tensor:
        return _core.elu(input, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class GELU(Module):
    """Return ``x * Φ(x)``, Φ being the cumulative normal distribution, for an input of any shape.

    Args:
        approximate: ``"none"`` for the exact form, ``"tanh"`` for the approximation.

    Raises:
        ValueError: Another ``approximate``.

    Source:
        Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415. JAX' default is the tanh form.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        check_choice("GELU", "approximate", approximate, ("none", "tanh"))
        self.approximate = approximate

    def forward(self, input: TensorLike) -> Tensor:
        return _core.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """Return ``log(1 + exp(beta * x)) / beta``, for an input of any shape.

    Args:
        beta: Sharpness, above 0.
        threshold: Where ``beta * x`` is above it, the result is ``x``.

    Raises:
        ValueError: ``beta`` is out of range.

    Example:
        >>> import fastnn as fnn
        >>> fnn.nn.Softplus()(fnn.tensor([-1.0, 0.0, 30.0]))
        tensor([ 0.3133,  0.6931, 30.0000])
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        if not check_number("Softplus", "beta", beta) > 0:
            raise ValueError(f"Softplus: expected beta above 0; got {beta}")
        check_number("Softplus", "threshold", threshold)
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: TensorLike) -> Tensor:
        return _core.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Hardtanh(Module):
    """Return ``x`` held between ``min_val`` and ``max_val``, for an input of any shape.

    Args:
        min_val: The least value.
        max_val: The greatest value, above ``min_val``.
        inplace: Accepted for PyTorch's sake. The input is not changed.

    Raises:
        ValueError: ``max_val`` is not above ``min_val``.
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        name = type(self).__name__
        if not check_number(name, "max_val", max_val) > check_number(name, "min_val", min_val):
            raise ValueError(f"{name}: expected max_val above min_val; got {max_val} and {min_val}")
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input: TensorLike) -> Tensor:
        return _core.hardtanh(input, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}" + (", inplace=True" if self.inplace else "")


class ReLU6(Hardtanh):
    """Return ``min(max(0, x), 6)``, for an input of any shape.

    Args:
        inplace: Accepted for PyTorch's sake. The input is not changed.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def forward(self, input: TensorLike) -> Tensor:
        return _core.relu6(input)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Softmax(Module):
    """Return ``exp(x) / sum(exp(x))`` along ``dim``, for an input of any shape.

    Args:
        dim: The dimension that sums to 1. ``None``, deprecated in PyTorch, is 0 for 0, 1 or 3 dimensions, otherwise 1.
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: TensorLike) -> Tensor:
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """Return ``log(softmax(x))`` along ``dim``, computed without rounding to 0 on the way, for any shape.

    Args:
        dim: The dimension whose exponentials sum to 1; ``None`` as for :class:`Softmax`.
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: TensorLike) -> Tensor:
        return F.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"

"""Layers in which one half of what is computed says how much of the other goes through."""

from __future__ import annotations

from typing import Any

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_at_least, check_number, shape_of
from fastnn.nn import functional as F, init
from fastnn.nn._shape_error import layer_error
from fastnn.nn.activation import ReLU
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module


class GLU(Module):
    """Multiply the first half of the input with the sigmoid of the second::

        y = a * sigmoid(b),    x = [a, b] along dim

    Args:
        dim: The dimension that is halved.

    Shapes:
        x: ``(*, 2n, *)``.
        y: ``(*, n, *)``.

    Raises:
        ValueError: The dimension has an odd size.

    Source:
        Dauphin et al. 2017, https://arxiv.org/abs/1612.08083, equation 1.
    """

    dim: int

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: TensorLike) -> Tensor:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class GatedLinear(Module):
    """Apply two linear maps to the input, and let one be the gate of the other::

        y = (x @ W.T + b) * sigmoid(x @ V.T + c)

    W stands above V in ``linear.weight``, and b before c in ``linear.bias``; they start as in :class:`Linear`.

    Args:
        in_features: Width of the input, at least 1.
        out_features: Width of the output, at least 1.
        bias: Whether there are b and c.
        device: ``None`` or the CPU.
        dtype: float32, the default, or float64.

    Shapes:
        x: ``(*, in_features)``.
        y: ``(*, out_features)``.

    Raises:
        ValueError: A setting is out of range, or ``x`` has another width.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        Dauphin et al. 2017, https://arxiv.org/abs/1612.08083, equation 1.
    """

    in_features: int
    out_features: int
    linear: Linear

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: object = None, dtype: Any = None
    ) -> None:
        super().__init__()
        check_at_least("GatedLinear", "in_features", in_features, 1)
        check_at_least("GatedLinear", "out_features", out_features, 1)
        self.in_features = in_features
        self.out_features = out_features
        self.linear = Linear(in_features, 2 * out_features, bias, device, dtype)

    def forward(self, input: TensorLike) -> Tensor:
        try:
            return F.glu(self.linear(input), -1)
        except (TypeError, ValueError) as error:
            layer = f"GatedLinear({self.in_features}, {self.out_features})"
            fits = shape_of(input)[-1:] == (self.in_features,)
            raise layer_error(layer, error, fits, f"(*, {self.in_features})", input) from None


class Highway(Module):
    """Transform the input where a learned gate is open, and carry it over where it is shut::

        y = g * activation(H(x)) + (1 - g) * x,    g = sigmoid(T(x)),    H and T linear

    H starts as :class:`Linear`; so do the weights of T, whose biases start at ``gate_bias``.

    Args:
        features: Width of input and output, at least 1.
        activation: A module; ``None`` for :class:`ReLU`.
        gate_bias: Where the gate's biases start. Below 0, a deep net begins by carrying its input over.
        device: ``None`` or the CPU.
        dtype: float32, the default, or float64.

    Shapes:
        x, y: ``(*, features)``.

    Raises:
        ValueError: A setting is out of range, or ``x`` has another width.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        Srivastava et al. 2015, https://arxiv.org/abs/1505.00387, equation 3, and section 2.2 for the gate's bias.
    """

    features: int
    transform: Linear
    gate: Linear
    activation: Module

    def __init__(
        self,
        features: int,
        activation: Module | None = None,
        gate_bias: float = -1.0,
        device: object = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_at_least("Highway", "features", features, 1)
        check_number("Highway", "gate_bias", gate_bias)
        if activation is not None and not isinstance(activation, Module):
            raise TypeError(f"Highway: expected activation to be an nn.Module; got {type(activation).__name__}")
        self.features = features
        self.transform = Linear(features, features, device=device, dtype=dtype)
        self.gate = Linear(features, features, device=device, dtype=dtype)
        self.activation = ReLU() if activation is None else activation
        init.constant_(self.gate.get_parameter("bias"), gate_bias)

    def forward(self, input: TensorLike) -> Tensor:
        x = input if isinstance(input, Tensor) else _core.as_tensor(input)
        if shape_of(x)[-1:] != (self.features,):
            raise ValueError(
                f"Highway({self.features}): expected input of shape (*, {self.features}); got {shape_of(x)}"
            )
        transformed: Tensor = self.activation(self.transform(x))
        gate: Tensor = self.gate(x).sigmoid()
        return x + gate * (transformed - x)

"""Layers that multiply what they are given: pairwise interactions, learned exactly."""

from __future__ import annotations

import math
from typing import Any

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_at_least, check_device, check_dtype, check_number, shape_of
from fastnn.nn import init
from fastnn.nn._shape_error import layer_error
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter

_linear = _core.linear


class FactorizationMachine(Module):
    """Add to a linear function all products of two features, weighted by inner products of k factors::

        y = bias + Σᵢ wᵢ xᵢ + Σᵢ Σⱼ﹥ᵢ ⟨vᵢ, vⱼ⟩ xᵢ xⱼ
          = bias + Σᵢ wᵢ xᵢ + ½ Σ_f ((Σᵢ v_fi xᵢ)² - Σᵢ v_fi² xᵢ²)

    The second line takes time in proportion to ``n_features * k``. With x = [a, b] and k of at least the width of a, it
    holds f(a, b) = ⟨a, b⟩ exactly, which no net of additions and ReLUs does.

    Args:
        n_features: Width of the input, at least 1.
        k: Factors a feature, at least 1.
        std: The factors start from N(0, std²); ``bias`` and ``weight`` start at 0.
        device: ``None`` or the CPU.
        dtype: float32, the default, or float64.

    Shapes:
        x: ``(*, n_features)``.
        y: ``(*, 1)``.

    Raises:
        ValueError: A setting is out of range, or ``x`` has another width.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        Rendle 2010, https://doi.org/10.1109/ICDM.2010.127, equation 1 and lemma 3.1. Here ``factors`` is
        ``(k, n_features)``, the paper's V transposed.
    """

    n_features: int
    k: int
    std: float
    bias: Parameter
    weight: Parameter
    factors: Parameter

    def __init__(self, n_features: int, k: int, std: float = 0.01, device: object = None, dtype: Any = None) -> None:
        super().__init__()
        check_at_least("FactorizationMachine", "n_features", n_features, 1)
        check_at_least("FactorizationMachine", "k", k, 1)
        if not check_number("FactorizationMachine", "std", std) >= 0:
            raise ValueError(f"FactorizationMachine: expected std of at least 0; got {std}")
        check_device("FactorizationMachine", device)
        check_dtype("FactorizationMachine", dtype)
        self.n_features = n_features
        self.k = k
        self.std = std
        self.bias = Parameter(_core.empty(1, dtype=dtype))
        self.weight = Parameter(_core.empty(1, n_features, dtype=dtype))
        self.factors = Parameter(_core.empty(k, n_features, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start again, with factors drawn anew."""
        init.zeros_(self.bias)
        init.zeros_(self.weight)
        init.normal_(self.factors, 0.0, self.std)

    def forward(self, input: TensorLike) -> Tensor:
        try:
            x = input if isinstance(input, Tensor) else _core.as_tensor(input)
            linear = _linear(x, self.weight, self.bias)
            pairs = _linear(x, self.factors).square() - _linear(x.square(), self.factors.square())
            return linear + pairs.sum(-1, keepdim=True) * 0.5
        except (TypeError, ValueError) as error:
            layer = f"FactorizationMachine({self.n_features}, {self.k})"
            fits = shape_of(input)[-1:] == (self.n_features,)
            raise layer_error(layer, error, fits, f"(*, {self.n_features})", input) from None

    def extra_repr(self) -> str:
        return f"n_features={self.n_features}, k={self.k}, std={self.std}"


class LowRankBilinear(Module):
    """Multiply linear maps of two inputs element by element, and mix the products::

        y = ((x1 @ U.T) * (x2 @ V.T)) @ weight.T + bias

    A bilinear map whose matrices have the rank ``rank``: :class:`Bilinear` with ``in1 * in2 * out`` weights, for
    ``(in1 + in2 + out) * rank``. It holds f(x, z) = ⟨x, z⟩ exactly, with a rank of the width of x.

    U and V start uniform in ``±1/√in``, weight and bias in ``±1/√rank``.

    Args:
        in1_features: Width of the first input, at least 1.
        in2_features: Width of the second input, at least 1.
        out_features: Width of the output, at least 1.
        rank: Number of products, at least 1.
        bias: Whether there is one.
        device: ``None`` or the CPU.
        dtype: float32, the default, or float64.

    Shapes:
        x1: ``(*, in1_features)``.
        x2: ``(*, in2_features)``, with the same leading dimensions.
        y: ``(*, out_features)``.

    Raises:
        ValueError: A setting is out of range, or an input has another shape.
        TypeError: A setting, or an input, is of another type.

    Source:
        Kim et al. 2017, https://arxiv.org/abs/1610.04325, equation 4, without its nonlinearity.
    """

    in1_features: int
    in2_features: int
    out_features: int
    rank: int
    u: Parameter
    v: Parameter
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        rank: int,
        bias: bool = True,
        device: object = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_at_least("LowRankBilinear", "in1_features", in1_features, 1)
        check_at_least("LowRankBilinear", "in2_features", in2_features, 1)
        check_at_least("LowRankBilinear", "out_features", out_features, 1)
        check_at_least("LowRankBilinear", "rank", rank, 1)
        check_device("LowRankBilinear", device)
        check_dtype("LowRankBilinear", dtype)
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.rank = rank
        self.u = Parameter(_core.empty(rank, in1_features, dtype=dtype))
        self.v = Parameter(_core.empty(rank, in2_features, dtype=dtype))
        self.weight = Parameter(_core.empty(out_features, rank, dtype=dtype))
        self.register_parameter("bias", Parameter(_core.empty(out_features, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for parameter in self.parameters():
            fan_in = self.rank if parameter is self.bias else parameter.shape[1]
            bound = 1 / math.sqrt(fan_in)
            init.uniform_(parameter, -bound, bound)

    def forward(self, input1: TensorLike, input2: TensorLike) -> Tensor:
        first, second = shape_of(input1), shape_of(input2)
        widths = (self.in1_features, self.in2_features)
        layer = f"LowRankBilinear({widths[0]}, {widths[1]}, {self.out_features})"
        if not first or first[:-1] != second[:-1] or first[-1:] + second[-1:] != widths:
            expected = f"(*, {widths[0]}) and (*, {widths[1]})"
            raise ValueError(f"{layer}: expected inputs of shapes {expected}; got {first} and {second}")
        try:
            return _linear(_linear(input1, self.u) * _linear(input2, self.v), self.weight, self.bias)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{layer}: {error}") from None

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, rank={self.rank}, bias={self.bias is not None}"
        )

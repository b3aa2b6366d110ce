"""Linear and bilinear maps."""

from __future__ import annotations

import math
from typing import Any

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_at_least, check_device, check_dtype, shape_of
from fastnn.nn import init
from fastnn.nn._shape_error import layer_error
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter

_linear = _core.linear


class Identity(Module):
    """Return the input.

    Args:
        *args: Ignored, so that it can take any layer's place.
        **kwargs: Ignored.

    Shapes:
        x, y: any.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
        super().__init__()

    def forward(self, input: TensorLike) -> TensorLike:
        return input


class Linear(Module):
    """Apply a linear map and add a bias::

        y = x @ weight.T + bias

    Both start uniform in ``±1/√in_features``.

    Args:
        in_features: Width of the input, at least 1.
        out_features: Width of the output, at least 1.
        bias: Whether there is one.
        device: ``None`` or the CPU.
        dtype: float32, the default, or float64.

    Shapes:
        x: ``(*, in_features)``.
        y: ``(*, out_features)``.

    Raises:
        ValueError: A setting is out of range, or ``x`` has another width.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        Its start is ``kaiming_uniform_`` with ``a=√5``, as in PyTorch; Keras starts from ``xavier_uniform_`` and zero.

    Example:
        >>> import fastnn as fnn
        >>> layer = fnn.nn.Linear(3, 2)
        >>> layer(fnn.zeros(5, 3)).shape
        (5, 2)
        >>> [(name, tuple(p.shape)) for name, p in layer.named_parameters()]
        [('weight', (2, 3)), ('bias', (2,))]
    """

    in_features: int
    out_features: int
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: object = None, dtype: Any = None
    ) -> None:
        super().__init__()
        check_at_least("Linear", "in_features", in_features, 1)
        check_at_least("Linear", "out_features", out_features, 1)
        check_device("Linear", device)
        check_dtype("Linear", dtype)
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(_core.empty(out_features, in_features, dtype=dtype))
        self.register_parameter("bias", Parameter(_core.empty(out_features, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features)
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: TensorLike) -> Tensor:
        try:
            return _linear(input, self.weight, self.bias)
        except (TypeError, ValueError) as error:
            layer = f"Linear({self.in_features}, {self.out_features})"
            fits = shape_of(input)[-1:] == (self.in_features,)
            raise layer_error(layer, error, fits, f"(*, {self.in_features})", input) from None

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """Apply a bilinear map and add a bias::

        y[*, k] = sum over i, j of x1[*, i] * weight[k, i, j] * x2[*, j] + bias[k]

    Both start uniform in ``±1/√in1_features``.

    Args:
        in1_features: Width of the first input, at least 1.
        in2_features: Width of the second input, at least 1.
        out_features: Width of the output, at least 1.
        bias: Whether there is one.
        device: ``None`` or the CPU.
        dtype: float32, the default, or float64.

    Shapes:
        x1: ``(*, in1_features)``.
        x2: ``(*, in2_features)``, with the same leading dimensions.
        y: ``(*, out_features)``.

    Raises:
        ValueError: A setting is out of range, or an input has another width.
        TypeError: A setting, or an input, is of another type.
    """

    in1_features: int
    in2_features: int
    out_features: int
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: object = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_at_least("Bilinear", "in1_features", in1_features, 1)
        check_at_least("Bilinear", "in2_features", in2_features, 1)
        check_at_least("Bilinear", "out_features", out_features, 1)
        check_device("Bilinear", device)
        check_dtype("Bilinear", dtype)
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = Parameter(_core.empty(out_features, in1_features, in2_features, dtype=dtype))
        self.register_parameter("bias", Parameter(_core.empty(out_features, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: TensorLike, input2: TensorLike) -> Tensor:
        try:
            return _core.bilinear(input1, input2, self.weight, self.bias)
        except (TypeError, ValueError) as error:
            layer = f"Bilinear({self.in1_features}, {self.in2_features}, {self.out_features})"
            first, second = shape_of(input1), shape_of(input2)
            widths = (self.in1_features, self.in2_features)
            fits = first[:-1] == second[:-1] and first[-1:] + second[-1:] == widths
            if isinstance(error, ValueError) and not fits:
                expected = f"(*, {widths[0]}) and (*, {widths[1]})"
                raise ValueError(f"{layer}: expected inputs of shapes {expected}; got {first} and {second}") from None
            raise type(error)(f"{layer}: {error}") from None

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )

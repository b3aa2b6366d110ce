"""DropConnect."""

from __future__ import annotations

from typing import Any

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, shape_of
from fastnn.nn._shape_error import layer_error
from fastnn.nn.dropout import check_probability
from fastnn.nn.linear import Linear

_linear = _core.linear
_dropout = _core.dropout


class DropConnect(Linear):
    """Apply a linear map of which weights, and biases, are zero at random while training::

        y = x @ (weight * mask_w).T / (1 - p) + bias * mask_b / (1 - p),    mask: 0 with probability p, else 1

    While evaluating, the map is :class:`Linear`'s: the mean of what it is while training.

    Args:
        in_features: Width of the input, at least 1.
        out_features: Width of the output, at least 1.
        p: Probability of a connection to be dropped, in [0, 1]; rounded to a multiple of 1/65536.
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
        Wan et al. 2013, http://proceedings.mlr.press/v28/wan13.html. There p is the probability to keep, every sample
        has a mask of its own, and evaluation averages over draws from a Gaussian with the mean and variance of ``y``;
        here a batch shares one mask, and evaluation takes the mean.
    """

    _drops_at_random = True

    p: float

    def __init__(
        self,
        in_features: int,
        out_features: int,
        p: float = 0.5,
        bias: bool = True,
        device: object = None,
        dtype: Any = None,
    ) -> None:
        check_probability("DropConnect", "p", p)
        try:
            super().__init__(in_features, out_features, bias, device, dtype)
        except (TypeError, ValueError) as error:
            raise type(error)(str(error).replace("Linear", "DropConnect", 1)) from None
        self.p = p

    def forward(self, input: TensorLike) -> Tensor:
        weight, bias = self.weight, self.bias
        try:
            return _linear(
                input,
                _dropout(weight, self.p, self.training),
                None if bias is None else _dropout(bias, self.p, self.training),
            )
        except (TypeError, ValueError) as error:
            layer = f"DropConnect({self.in_features}, {self.out_features})"
            fits = shape_of(input)[-1:] == (self.in_features,)
            raise layer_error(layer, error, fits, f"(*, {self.in_features})", input) from None

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, p={self.p}, "
            f"bias={self.bias is not None}"
        )

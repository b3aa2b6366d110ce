"""Instance normalisation."""

from __future__ import annotations

import warnings
from typing import Any

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, shape_of
from fastnn.nn._shape_error import layer_error
from fastnn.nn.batchnorm import NormBase

_instance_norm = _core.instance_norm


class InstanceNorm1d(NormBase):
    """Normalise each channel of each sample, then scale and shift every channel::

        y = weight * (x - mean) / sqrt(var + eps) + bias

    ``mean`` and ``var``, the biased one, are those of one channel of one sample. With ``track_running_stats``, running
    statistics take their place while evaluating.

    Args:
        num_features: Channels c of the input, at least 1.
        eps: Added to the variance, so in units of the input squared. Above 0.
        momentum: Share of the newest batch in the running statistics, in (0, 1]; ``None`` leaves them as they are.
        affine: Whether there are ``weight`` and ``bias``. They start at 1 and 0.
        track_running_stats: Whether there are running statistics. They take the mean over the samples of a batch, and
            the unbiased variance.
        device: ``None`` or the CPU.
        dtype: float32, the default, or float64.
        bias: Whether ``affine`` includes ``bias``.

    Shapes:
        x, y: ``(n, c, l)`` or ``(c, l)``; l is not 1, unless running statistics are in use.

    Raises:
        ValueError: A setting is out of range, or ``x`` has other channels, or one value a channel. As in PyTorch, a
            layer that is not ``affine`` warns of other channels instead.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        Ulyanov, Vedaldi & Lempitsky 2016, https://arxiv.org/abs/1607.08022, equation 3. As in PyTorch,
        ``num_batches_tracked`` stays 0.
    """

    _layer = "InstanceNorm1d"

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: object = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: TensorLike) -> Tensor:
        mean, var, c = self.running_mean, self.running_var, self.num_features
        shape = shape_of(input)
        other = len(shape) in {2, 3} and shape[-2] != c
        if other and not self.affine and mean is None:
            warnings.warn(
                f"InstanceNorm1d({c}): expected input of shape (n, {c}, l) or ({c}, l); got {shape}, "
                "which will do without weight and bias",
                stacklevel=3,
            )
        momentum = 0.0 if self.momentum is None else self.momentum
        try:
            return _instance_norm(
                input, mean, var, self.weight, self.bias, self.training or mean is None, momentum, self.eps
            )
        except (TypeError, ValueError) as error:
            fits = len(shape) in {2, 3} and not other
            expected = f"(n, {c}, l) or ({c}, l)"
            raise layer_error(f"InstanceNorm1d({c})", error, fits, expected, input) from None

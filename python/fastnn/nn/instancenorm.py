"""Instance normalization."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, shape_of
from fastnn.nn._shape_error import layer_error
from fastnn.nn.batchnorm import NormBase

_instance_norm = _core.instance_norm


class _InstanceNorm(NormBase):
    _dims: ClassVar[str]
    """The dimensions behind the channels."""

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
        # The dimensions of one sample.
        alone = 2 + self._dims.count(",")
        whole = len(shape) in {alone, alone + 1}
        other = whole and shape[-alone] != c
        expected = f"(n, {c}, {self._dims}) or ({c}, {self._dims})"
        if other and not self.affine and mean is None:
            warnings.warn(
                f"{self._layer}({c}): expected input of shape {expected}; got {shape}, "
                "which will do without weight and bias",
                stacklevel=3,
            )
        if not whole and hasattr(input, "shape"):
            raise layer_error(f"{self._layer}({c})", ValueError(), False, expected, input)
        momentum = 0.0 if self.momentum is None else self.momentum
        single = len(shape) == alone and alone > 2
        try:
            output = _instance_norm(
                _core.as_tensor(input).unsqueeze(0) if single else input,
                mean,
                var,
                self.weight,
                self.bias,
                self.training or mean is None,
                momentum,
                self.eps,
            )
        except (TypeError, ValueError) as error:
            raise layer_error(f"{self._layer}({c})", error, whole and not other, expected, input) from None
        return output.squeeze(0) if single else output


class InstanceNorm1d(_InstanceNorm):
    """Normalize each channel of each sample, then scale and shift every channel::

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

    _layer, _dims = "InstanceNorm1d", "l"


class InstanceNorm2d(_InstanceNorm):
    """Normalize each channel of each sample, then scale and shift every channel::

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
        x, y: ``(n, c, h, w)`` or ``(c, h, w)``; more than one pixel, unless running statistics are in use.

    Raises:
        ValueError: A setting is out of range, or ``x`` has other channels, or one value a channel. As in PyTorch, a
            layer that is not ``affine`` warns of other channels instead.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        Ulyanov, Vedaldi & Lempitsky 2016, https://arxiv.org/abs/1607.08022, equation 3. As in PyTorch,
        ``num_batches_tracked`` stays 0.
    """

    _layer, _dims = "InstanceNorm2d", "h, w"


class InstanceNorm3d(_InstanceNorm):
    """Normalize each channel of each sample, then scale and shift every channel::

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
        x, y: ``(n, c, d, h, w)`` or ``(c, d, h, w)``; more than one voxel, unless running statistics are in use.

    Raises:
        ValueError: A setting is out of range, or ``x`` has other channels, or one value a channel. As in PyTorch, a
            layer that is not ``affine`` warns of other channels instead.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        Ulyanov, Vedaldi & Lempitsky 2016, https://arxiv.org/abs/1607.08022, equation 3. As in PyTorch,
        ``num_batches_tracked`` stays 0.
    """

    _layer, _dims = "InstanceNorm3d", "d, h, w"

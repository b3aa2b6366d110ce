"""Batch normalization."""

from __future__ import annotations

from typing import Any, ClassVar

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_at_least, check_device, check_dtype, check_number, shape_of
from fastnn.nn import init
from fastnn.nn._shape_error import layer_error
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter

_batch_norm = _core.batch_norm


class NormBase(Module):
    """Base of batch and instance norm: settings, parameters and running statistics."""

    _layer: ClassVar[str]
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        device: object,
        dtype: Any,
        bias: bool,
    ) -> None:
        super().__init__()
        check_at_least(self._layer, "num_features", num_features, 1)
        if not check_number(self._layer, "eps", eps) > 0:
            raise ValueError(f"{self._layer}: expected eps above 0; got {eps}")
        if momentum is not None and not 0 < check_number(self._layer, "momentum", momentum) <= 1:
            raise ValueError(f"{self._layer}: expected momentum in (0, 1] or None; got {momentum}")
        check_device(self._layer, device)
        check_dtype(self._layer, dtype)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        c = num_features
        self.register_parameter("weight", Parameter(_core.empty(c, dtype=dtype)) if affine else None)
        self.register_parameter("bias", Parameter(_core.empty(c, dtype=dtype)) if affine and bias else None)
        track = track_running_stats
        self.register_buffer("running_mean", _core.zeros(c, dtype=dtype) if track else None)
        self.register_buffer("running_var", _core.ones(c, dtype=dtype) if track else None)
        self.register_buffer("num_batches_tracked", _core.tensor(0, dtype=_core.int64) if track else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the batches seen so far."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Start again."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(NormBase):
    _ndims: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: object = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def _misfit(self, error: Exception, input: object) -> ValueError | TypeError:
        shape, c = shape_of(input), self.num_features
        fits = len(shape) in self._ndims and shape[1] == c
        ndim = len(shape) if len(shape) in self._ndims else self._ndims[0]
        expected = {2: f"(n, {c})", 3: f"(n, {c}, l)", 4: f"(n, {c}, h, w)", 5: f"(n, {c}, d, h, w)"}[ndim]
        return layer_error(f"{self._layer}({c})", error, fits, expected, input)

    def forward(self, input: TensorLike) -> Tensor:
        if getattr(input, "ndim", self._ndims[0]) not in self._ndims:
            raise self._misfit(ValueError(), input)
        mean, var, tracked = self.running_mean, self.running_var, self.num_batches_tracked
        momentum = self.momentum
        update = self.training and tracked is not None
        if momentum is None:
            # The mean over batches: batch t counts for 1/t.
            momentum = 1.0 / (tracked.item() + 1) if update and tracked is not None else 0.0
        try:
            # Without running statistics, the batch's serve while evaluating too.
            output = _batch_norm(
                input, mean, var, self.weight, self.bias, self.training or mean is None, momentum, self.eps
            )
        except (TypeError, ValueError) as error:
            raise self._misfit(error, input) from None
        if update and tracked is not None:
            # Last, so that a batch which was refused is not counted.
            tracked.add_(1)
        return output


class BatchNorm1d(_BatchNorm):
    """Normalize each feature over the batch, then scale and shift it.

    While training, for each feature j over the n rows of the batch::

        y[i, j] = weight[j] * (x[i, j] - mean[j]) / sqrt(var[j] + eps) + bias[j]

    While evaluating, the running statistics take the place of ``mean`` and ``var``.

    Args:
        num_features: Width c of the input, at least 1.
        eps: Added to the variance, so in units of the input squared. Above 0.
        momentum: Share of the newest batch in the running statistics, in (0, 1]; Keras' ``momentum`` is
            ``1 - momentum``. ``None`` for the mean over all batches so far.
        affine: Whether there are ``weight`` and ``bias``. They start at 1 and 0.
        track_running_stats: Whether there are running statistics. Without them, the batch's serve always.
        device: ``None`` or the CPU.
        dtype: float32, the default, or float64.
        bias: Whether ``affine`` includes ``bias``.

    Shapes:
        x, y: ``(n, c)`` or ``(n, c, l)``; more than one value a channel while training.

    Raises:
        ValueError: A setting is out of range, or ``x`` has another width, or one value a channel while training.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167, Algorithms 1 and 2. ``running_var`` takes the
        unbiased variance, as in PyTorch; Keras takes the biased one.
    """

    _layer, _ndims = "BatchNorm1d", (2, 3)


class BatchNorm2d(_BatchNorm):
    """Normalize each channel over the pixels of all images of the batch, then scale and shift it.

    While training, for each channel j over the n·h·w pixels of the batch::

        y[i, j, :, :] = weight[j] * (x[i, j, :, :] - mean[j]) / sqrt(var[j] + eps) + bias[j]

    While evaluating, the running statistics take the place of ``mean`` and ``var``. In a planned step, a ReLU behind
    it, and an addition in between, are done in the same pass.

    Args:
        num_features: Channels c of the input, at least 1.
        eps: Added to the variance, so in units of the input squared. Above 0.
        momentum: Share of the newest batch in the running statistics, in (0, 1]; Keras' ``momentum`` is
            ``1 - momentum``. ``None`` for the mean over all batches so far.
        affine: Whether there are ``weight`` and ``bias``. They start at 1 and 0.
        track_running_stats: Whether there are running statistics. Without them, the batch's serve always.
        device: ``None`` or the CPU.
        dtype: float32, the default, or float64.
        bias: Whether ``affine`` includes ``bias``.

    Shapes:
        x, y: ``(n, c, h, w)``; more than one value a channel while training.

    Raises:
        ValueError: A setting is out of range, or ``x`` has other channels, or one value a channel while training.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167, Algorithms 1 and 2, and section 3.2 for images.
        ``running_var`` takes the unbiased variance, as in PyTorch; Keras takes the biased one.
    """

    _layer, _ndims = "BatchNorm2d", (4,)


class BatchNorm3d(_BatchNorm):
    """Normalize each channel over the voxels of all volumes of the batch: :class:`BatchNorm2d` with one dimension more.

    Args:
        num_features: Channels c of the input, at least 1.
        eps: Added to the variance. Above 0.
        momentum: Share of the newest batch in the running statistics, in (0, 1]; ``None`` for the mean over batches.
        affine: Whether there are ``weight`` and ``bias``. They start at 1 and 0.
        track_running_stats: Whether there are running statistics. Without them, the batch's serve always.
        device: ``None`` or the CPU.
        dtype: float32, the default, or float64.
        bias: Whether ``affine`` includes ``bias``.

    Shapes:
        x, y: ``(n, c, d, h, w)``; more than one value a channel while training.

    Raises:
        ValueError: A setting is out of range, or ``x`` has other channels, or one value a channel while training.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167, Algorithms 1 and 2.
    """

    _layer, _ndims = "BatchNorm3d", (5,)

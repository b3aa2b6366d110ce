"""Normalization of every sample by itself."""

from __future__ import annotations

from collections.abc import Sequence

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_at_least, check_number, is_floating


def layer_norm(
    input: TensorLike,
    normalized_shape: Sequence[int],
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return ``weight * (x - mean) / sqrt(var + eps) + bias``, with the moments of the last dimensions.

    Args:
        input: ``(*, *normalized_shape)``.
        normalized_shape: The last dimensions.
        weight: Of shape ``normalized_shape``; ``None`` for 1.
        bias: Of shape ``normalized_shape``; ``None`` for 0.
        eps: Added to the variance, which is the biased one.

    Raises:
        ValueError: Shapes do not match.

    Source:
        Ba, Kiros & Hinton 2016, https://arxiv.org/abs/1607.06450, equation 4.
    """
    return _core.layer_norm(input, normalized_shape, weight, bias, eps)


def rms_norm(
    input: TensorLike, normalized_shape: Sequence[int], weight: TensorLike | None = None, eps: float | None = None
) -> Tensor:
    """Return ``weight * x / sqrt(mean(x**2) + eps)``, with the mean over the last dimensions.

    Args:
        input: ``(*, *normalized_shape)``.
        normalized_shape: The last dimensions.
        weight: Of shape ``normalized_shape``; ``None`` for 1.
        eps: Added to the mean square; ``None`` for the rounding unit of the dtype, 1.2e-7 or 2.2e-16.

    Raises:
        ValueError: Shapes do not match.

    Source:
        Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467, equation 4, which has no ``eps``.
    """
    return _core.rms_norm(input, normalized_shape, weight, eps)


def group_norm(
    input: TensorLike,
    num_groups: int,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return ``weight * (x - mean) / sqrt(var + eps) + bias``, with the moments of groups of channels of a sample.

    Args:
        input: ``(n, c, *)``.
        num_groups: Groups of ``c / num_groups`` neighboring channels.
        weight: ``(c,)``; ``None`` for 1.
        bias: ``(c,)``; ``None`` for 0.
        eps: Added to the variance, which is the biased one.

    Raises:
        ValueError: Shapes do not match; ``c`` is not a multiple of ``num_groups``; or all there is is one sample with
            one value a group.

    Source:
        Wu & He 2018, https://arxiv.org/abs/1803.08494, equations 1 to 7.
    """
    return _core.group_norm(input, num_groups, weight, bias, eps)


def instance_norm(
    input: TensorLike,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return ``weight * (x - mean) / sqrt(var + eps) + bias``, with the moments of each channel of a sample.

    With ``use_input_stats``, the running statistics, if there are any, become ``(1 - momentum) * running + momentum *
    sample`` in the mean over the samples, with the unbiased variance. Otherwise they are the moments.

    Args:
        input: ``(n, c, *)``, or ``(c, l)``.
        running_mean: ``(c,)``; changed in place. ``None`` to keep none.
        running_var: ``(c,)``; likewise.
        weight: ``(c,)``; ``None`` for 1.
        bias: ``(c,)``; ``None`` for 0.
        use_input_stats: Whether the moments are the samples'.
        momentum: Share of the samples in the running statistics.
        eps: Added to the variance.

    Raises:
        ValueError: Shapes do not match; there is one value a channel; or nothing to take the moments from.

    Source:
        Ulyanov, Vedaldi & Lempitsky 2016, https://arxiv.org/abs/1607.08022, equation 3.
    """
    if not use_input_stats and (running_mean is None or running_var is None):
        raise ValueError("instance_norm: expected running_mean and running_var when use_input_stats is False; got None")
    return _core.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def normalize(input: TensorLike, p: float = 2.0, dim: int | tuple[int, ...] = 1, eps: float = 1e-12) -> Tensor:
    """Return ``x / max(‖x‖_p, eps)``, with the norm along ``dim``.

    Args:
        input: Any shape that has ``dim``.
        p: Exponent of the norm; ``math.inf`` for the largest magnitude, 0 for how many are not 0.
        dim: The dimension, or several.
        eps: The least norm to divide by.

    Raises:
        TypeError: ``x`` does not hold floating point numbers.
    """
    x = _core.as_tensor(input)
    if not is_floating(x):
        raise TypeError(f"normalize: expected a floating-point tensor; got {x.dtype}")
    return x / x.norm(p, dim, keepdim=True).clamp(min=eps)


def local_response_norm(
    input: TensorLike, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Return ``x / (k + alpha * sum(x**2 over the window) / size) ** beta``, with a window of ``size`` channels.

    Args:
        input: ``(n, c, *)`` with three or more dimensions.
        size: Channels of a window: from ``c - size // 2`` on. Those that do not exist count as 0.
        alpha: Factor of the mean square.
        beta: Exponent.
        k: Added to the mean square.

    Raises:
        ValueError: ``size`` is below 1, or there are fewer dimensions.
        TypeError: ``x`` does not hold floating point numbers.

    Source:
        Krizhevsky, Sutskever & Hinton 2012, section 3.3; ``alpha`` and the window as in PyTorch.
    """
    check_at_least("local_response_norm", "size", size, 1)
    alpha, k = (check_number("local_response_norm", name, value) for name, value in (("alpha", alpha), ("k", k)))
    x = _core.as_tensor(input)
    if x.ndim < 3:
        raise ValueError(
            f"local_response_norm: expected input of shape (n, c, *) with 3 or more dimensions; got {tuple(x.shape)}"
        )
    if not is_floating(x):
        raise TypeError(f"local_response_norm: expected a floating-point tensor; got {x.dtype}")
    n, c, *rest = x.shape
    # As far as a window reaches beyond the channels there are.
    before, after = min(size // 2, c), min((size - 1) // 2, c)
    squares = x * x
    padded = _core.cat(
        [_core.zeros(n, before, *rest, dtype=x.dtype), squares, _core.zeros(n, after, *rest, dtype=x.dtype)], 1
    )
    total = padded.narrow(1, 0, c)
    for shift in range(1, before + after + 1):
        total = total + padded.narrow(1, shift, c)
    return x / (total * (alpha / size) + k).pow(beta)

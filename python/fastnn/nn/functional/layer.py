"""Linear maps, dropout and normalization."""

from __future__ import annotations

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike


def linear(input: TensorLike, weight: TensorLike, bias: TensorLike | None = None) -> Tensor:
    """Return ``x @ weight.T + bias``.

    Args:
        input: ``(*, in_features)``.
        weight: ``(out_features, in_features)``; or ``(in_features,)``, and the result is ``(*,)``.
        bias: ``(out_features,)``; or ``()``.
    """
    return _core.linear(input, weight, bias)


def bilinear(input1: TensorLike, input2: TensorLike, weight: TensorLike, bias: TensorLike | None = None) -> Tensor:
    """Return ``y[*, k] = sum over i, j of x1[*, i] * weight[k, i, j] * x2[*, j] + bias[k]``.

    Args:
        input1: ``(*, in1_features)``.
        input2: ``(*, in2_features)``, with the same leading dimensions.
        weight: ``(out_features, in1_features, in2_features)``.
        bias: ``(out_features,)``.
    """
    return _core.bilinear(input1, input2, weight, bias)


def dropout(input: TensorLike, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:  # noqa: ARG001
    """Zero each element with probability ``p``, and divide the others by ``1 - p``; do nothing unless ``training``.

    ``p`` is rounded to a multiple of 1/65536. The mask is a function of the seed, the call and the position, and is
    drawn again for the gradient instead of being kept.

    Source:
        Srivastava et al. 2014, JMLR 15:1929, whose formula scales while testing instead.
    """
    return _core.dropout(input, p, training)


def batch_norm(
    input: TensorLike,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return ``weight * (x - mean) / sqrt(var + eps) + bias`` for every channel.

    While ``training``, ``mean`` and ``var`` are the batch's, ``var`` being the biased one, and the running statistics
    become ``(1 - momentum) * running + momentum * batch``, with the unbiased variance. Otherwise they are the running
    ones.

    Args:
        input: ``(n, c, *)``.
        running_mean: ``(c,)``; changed in place while training. ``None`` to keep none.
        running_var: ``(c,)``; likewise.
        weight: ``(c,)``; ``None`` for 1.
        bias: ``(c,)``; ``None`` for 0.
        training: Whether the statistics are the batch's.
        momentum: Share of the batch in the running statistics.
        eps: Added to the variance.

    Raises:
        ValueError: Shapes do not match; or there is one value a channel while training.

    Source:
        Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167, Algorithms 1 and 2.
    """
    return _core.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)

"""Losses: ``reduction`` is ``"mean"``, ``"sum"`` or ``"none"``."""

from __future__ import annotations

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike


def cross_entropy(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return ``-sum over c of weight[c] * q[c] * log_softmax(x)[c]``.

    With class indices, q is 1 at the target, smoothed to ``(1 - ε) * q + ε / C``; ``"mean"`` divides by the sum of
    the targets' weights. With class probabilities, q is those, smoothed likewise; ``"mean"`` divides by n.

    Args:
        input: Logits, ``(n, C)``, ``(C,)`` or ``(n, C, *)``.
        target: Class indices in [0, C), int64, ``(n,)``, ``()`` or ``(n, *)``; or probabilities, of ``input``'s shape.
        weight: ``(C,)``; ``None`` for 1.
        ignore_index: A target that counts for nothing.
        reduction: How the rows are put together.
        label_smoothing: ε, in [0, 1].

    Raises:
        ValueError: A label out of range, or shapes that do not match.
        TypeError: Targets of another type.

    Source:
        Smoothing: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7. Keras' ``from_logits`` is off
        by default.
    """
    return _core.cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)


def nll_loss(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return ``-weight[t] * x[t]``, x log-probabilities and t the class. Arguments: see :func:`cross_entropy`."""
    return _core.nll_loss(input, target, weight, ignore_index, reduction)


def mse_loss(input: TensorLike, target: TensorLike, *, reduction: str = "mean") -> Tensor:
    """Return ``(x - y)²``. ``"mean"`` is over all elements."""
    return _core.mse_loss(input, target, reduction)


def l1_loss(input: TensorLike, target: TensorLike, *, reduction: str = "mean") -> Tensor:
    """Return ``|x - y|``, whose derivative at 0 is 0."""
    return _core.l1_loss(input, target, reduction)


def smooth_l1_loss(input: TensorLike, target: TensorLike, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """Return ``d² / (2 * beta)`` where ``d = |x - y|`` is below ``beta``, and ``d - beta / 2`` elsewhere.

    Source:
        Girshick 2015, https://arxiv.org/abs/1504.08083, equation 3.
    """
    return _core.smooth_l1_loss(input, target, reduction, beta)


def huber_loss(input: TensorLike, target: TensorLike, *, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Return ``d² / 2`` where ``d = |x - y|`` is at most ``delta``, and ``delta * (d - delta / 2)`` elsewhere.

    Source:
        Huber 1964, https://doi.org/10.1214/aoms/1177703732. ``delta`` times :func:`smooth_l1_loss`.
    """
    return _core.huber_loss(input, target, reduction, delta)


def binary_cross_entropy(
    input: TensorLike, target: TensorLike, weight: TensorLike | None = None, *, reduction: str = "mean"
) -> Tensor:
    """Return ``-weight * (y * log(p) + (1 - y) * log(1 - p))``, the logarithms held at -100 and above.

    Args:
        input: Probabilities p, in [0, 1].
        target: y, of the same shape, in [0, 1].
        weight: Broadcast over the elements.
        reduction: How the elements are put together.
    """
    return _core.binary_cross_entropy(input, target, weight, reduction)


def binary_cross_entropy_with_logits(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    *,
    reduction: str = "mean",
    pos_weight: TensorLike | None = None,
) -> Tensor:
    """Return ``-weight * (pos_weight * y * log σ(x) + (1 - y) * log(1 - σ(x)))``, stable for any x.

    Args:
        input: Logits x.
        target: y, of the same shape, in [0, 1].
        weight: Broadcast over the elements.
        reduction: How the elements are put together.
        pos_weight: What a positive counts for; broadcast over the elements.
    """
    return _core.binary_cross_entropy_with_logits(input, target, weight, reduction, pos_weight)


def kl_div(input: TensorLike, target: TensorLike, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Return ``q * (log q - x)``, x being log-probabilities; with ``log_target``, ``exp(q) * (q - x)``.

    ``"batchmean"`` divides the sum by n, which is the divergence; ``"mean"``, the default as in PyTorch, divides by the
    number of elements.
    """
    return _core.kl_div(input, target, reduction, log_target)

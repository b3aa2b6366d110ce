"""Losses: ``reduction`` is ``"mean"``, ``"sum"`` or ``"none"``.

Every loss takes ``sample_weight``, ``(n,)``: what each sample counts for. The losses of its elements are multiplied by
it, and ``"mean"`` divides by what all elements count for, as with ``weight`` in PyTorch's cross entropy: weights that
are all equal change nothing, and a weight of 2 is a sample that is there twice. PyTorch has no such argument.
"""

from __future__ import annotations

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike
from fastnn.nn.functional._weighted import class_counts, weighted


def cross_entropy(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    sample_weight: TensorLike | None = None,
) -> Tensor:
    """Return ``-sum over c of weight[c] * q[c] * log_softmax(x)[c]``.

    With class indices, q is 1 at the target, smoothed to ``(1 - ε) * q + ε / C``; ``"mean"`` divides by the sum of
    the targets' weights. With class probabilities, q is those, smoothed likewise; ``"mean"`` divides by the number of
    samples, ``n * d1 * ...``.

    Args:
        input: Logits, ``(n, C)``, ``(C,)`` or ``(n, C, *)``.
        target: Class indices in [0, C), int64, ``(n,)``, ``()`` or ``(n, *)``; or probabilities, of ``input``'s shape.
        weight: ``(C,)``; ``None`` for 1.
        ignore_index: A target that counts for nothing; below 0 with class probabilities.
        reduction: How the samples are put together.
        label_smoothing: ε, in [0, 1].
        sample_weight: What each sample counts for, ``(n,)``.

    Raises:
        ValueError: A label out of range, shapes that do not match, or a ``weight`` that requires a gradient: it has
            none.
        TypeError: Targets of another type.

    Source:
        Smoothing: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7. Keras' ``from_logits`` is off
        by default.

    Example:
        >>> import fastnn as fnn
        >>> logits = fnn.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
        >>> labels = fnn.tensor([0, 1, -100])  # -100 counts for nothing
        >>> fnn.nn.functional.cross_entropy(logits, labels, reduction="none")
        tensor([0.1269, 0.3133, 0.0000])
        >>> fnn.nn.functional.cross_entropy(logits, labels)
        tensor(0.2201)
    """
    if sample_weight is None:
        return _core.cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
    losses = _core.cross_entropy(input, target, weight, ignore_index, "none", label_smoothing)
    counts = _counts(losses, target, weight, ignore_index)
    return weighted("cross_entropy", losses, sample_weight, reduction, counts)


def nll_loss(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    sample_weight: TensorLike | None = None,
) -> Tensor:
    """Return ``-weight[t] * x[t]``, x log-probabilities and t the class. Arguments: see :func:`cross_entropy`."""
    if sample_weight is None:
        return _core.nll_loss(input, target, weight, ignore_index, reduction)
    losses = _core.nll_loss(input, target, weight, ignore_index, "none")
    counts = _counts(losses, target, weight, ignore_index)
    return weighted("nll_loss", losses, sample_weight, reduction, counts)


def _counts(losses: Tensor, target: TensorLike, weight: TensorLike | None, ignore_index: int) -> Tensor | None:
    weights = None if weight is None else _core.as_tensor(weight)
    return class_counts(_core.as_tensor(target), weights, ignore_index, losses.dtype)


def mse_loss(
    input: TensorLike, target: TensorLike, *, reduction: str = "mean", sample_weight: TensorLike | None = None
) -> Tensor:
    """Return ``(x - y)²``. ``"mean"`` is over all elements."""
    if sample_weight is None:
        return _core.mse_loss(input, target, reduction)
    losses = _core.mse_loss(input, target, "none")
    return weighted("mse_loss", losses, sample_weight, reduction)


def l1_loss(
    input: TensorLike, target: TensorLike, *, reduction: str = "mean", sample_weight: TensorLike | None = None
) -> Tensor:
    """Return ``|x - y|``, whose derivative at 0 is 0."""
    if sample_weight is None:
        return _core.l1_loss(input, target, reduction)
    losses = _core.l1_loss(input, target, "none")
    return weighted("l1_loss", losses, sample_weight, reduction)


def smooth_l1_loss(
    input: TensorLike,
    target: TensorLike,
    *,
    reduction: str = "mean",
    beta: float = 1.0,
    sample_weight: TensorLike | None = None,
) -> Tensor:
    """Return ``d² / (2 * beta)`` where ``d = |x - y|`` is below ``beta``, and ``d - beta / 2`` elsewhere.

    Source:
        Girshick 2015, https://arxiv.org/abs/1504.08083, equation 3.
    """
    if sample_weight is None:
        return _core.smooth_l1_loss(input, target, reduction, beta)
    losses = _core.smooth_l1_loss(input, target, "none", beta)
    return weighted("smooth_l1_loss", losses, sample_weight, reduction)


def huber_loss(
    input: TensorLike,
    target: TensorLike,
    *,
    reduction: str = "mean",
    delta: float = 1.0,
    sample_weight: TensorLike | None = None,
) -> Tensor:
    """Return ``d² / 2`` where ``d = |x - y|`` is at most ``delta``, and ``delta * (d - delta / 2)`` elsewhere.

    Source:
        Huber 1964, https://doi.org/10.1214/aoms/1177703732. ``delta`` times :func:`smooth_l1_loss`.
    """
    if sample_weight is None:
        return _core.huber_loss(input, target, reduction, delta)
    losses = _core.huber_loss(input, target, "none", delta)
    return weighted("huber_loss", losses, sample_weight, reduction)


def binary_cross_entropy(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    *,
    reduction: str = "mean",
    sample_weight: TensorLike | None = None,
) -> Tensor:
    """Return ``-weight * (y * log(p) + (1 - y) * log(1 - p))``, the logarithms held at -100 and above.

    Args:
        input: Probabilities p, in [0, 1].
        target: y, of the same shape, in [0, 1].
        weight: Broadcast over the elements.
        reduction: How the elements are put together.
        sample_weight: What each sample counts for, ``(n,)``.
    """
    if sample_weight is None:
        return _core.binary_cross_entropy(input, target, weight, reduction)
    losses = _core.binary_cross_entropy(input, target, weight, "none")
    return weighted("binary_cross_entropy", losses, sample_weight, reduction)


def binary_cross_entropy_with_logits(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    *,
    reduction: str = "mean",
    pos_weight: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
) -> Tensor:
    """Return ``-weight * (pos_weight * y * log σ(x) + (1 - y) * log(1 - σ(x)))``, stable for any x.

    Args:
        input: Logits x.
        target: y, of the same shape, in [0, 1].
        weight: Broadcast over the elements.
        reduction: How the elements are put together.
        pos_weight: What a positive counts for; broadcast over the elements.
        sample_weight: What each sample counts for, ``(n,)``.
    """
    if sample_weight is None:
        return _core.binary_cross_entropy_with_logits(input, target, weight, reduction, pos_weight)
    losses = _core.binary_cross_entropy_with_logits(input, target, weight, "none", pos_weight)
    return weighted("binary_cross_entropy_with_logits", losses, sample_weight, reduction)


def kl_div(
    input: TensorLike,
    target: TensorLike,
    *,
    reduction: str = "mean",
    log_target: bool = False,
    sample_weight: TensorLike | None = None,
) -> Tensor:
    """Return ``q * (log q - x)``, x being log-probabilities; with ``log_target``, ``exp(q) * (q - x)``.

    ``"batchmean"`` divides the sum by n, which is the divergence; ``"mean"``, the default as in PyTorch, divides by the
    number of elements.
    """
    if sample_weight is None:
        return _core.kl_div(input, target, reduction, log_target)
    losses = _core.kl_div(input, target, "none", log_target)
    return weighted("kl_div", losses, sample_weight, reduction)

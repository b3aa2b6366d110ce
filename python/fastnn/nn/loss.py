"""Losses as modules; the formulas are those of :mod:`fastnn.nn.functional`."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_number
from fastnn.nn.functional._weighted import class_counts, row_counts, weighted
from fastnn.nn.module import Module

_cross_entropy = _core.cross_entropy
_REDUCTIONS = ("mean", "sum", "none")


class Loss(Module):
    """Base of losses: a reduction, and ``loss(input, target, sample_weight=None)``.

    ``sample_weight``, ``(n,)``, is what each sample counts for; ``"mean"`` divides by what all count for, so that equal
    weights change nothing, and a weight of 2 is a sample that is there twice. PyTorch has no such argument.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ValueError: Another ``reduction``.
    """

    reduction: str
    # True if integer targets are class indices; elsewhere, the trainer converts them to the model's type.
    takes_class_indices: bool = False
    _reductions: tuple[str, ...] = _REDUCTIONS

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in self._reductions:
            choices = ", ".join(repr(choice) for choice in self._reductions)
            raise ValueError(f"{type(self).__name__}: expected reduction to be one of {choices}; got {reduction!r}")
        self.reduction = reduction

    def forward(self, input: TensorLike, target: TensorLike, sample_weight: TensorLike | None = None) -> Tensor:
        if sample_weight is None:
            return self._loss(input, target, self.reduction)
        losses = self._loss(input, target, "none")
        counts = self._class_counts(_core.as_tensor(target), losses.dtype)
        return weighted(type(self).__name__, losses, sample_weight, self.reduction, counts)

    def normalizer(self, target: TensorLike, sample_weight: TensorLike | None = None) -> float:
        """Return the number that the loss of a batch has been divided by.

        For batches b with losses L and normalizers N, the loss of all of them at once is::

            (L[1] * N[1] + ... + L[B] * N[B]) / (N[1] + ... + N[B])

        With class indices it is what all targets count for: the sum of their classes' weights, without those that are
        ignored. With any other target it is the number of elements, and for ``"batchmean"`` and class probabilities
        that of samples. ``sample_weight`` multiplies what each sample counts for.

        Args:
            target: The targets of a batch, ``(n, *)``.
            sample_weight: What each sample counts for, ``(n,)``; ``None`` for 1.

        Returns:
            The normalizer: 0 where nothing counts, and 1 with ``"sum"`` and ``"none"``.

        Raises:
            ValueError: The target is a scalar.
        """
        if self.reduction in {"sum", "none"}:
            return 1.0
        each = self._row_counts(_as_array(target))
        if sample_weight is not None:
            return float(np.sum(each * _as_array(sample_weight).astype(np.float64)))
        return float(np.sum(each)) if isinstance(each, np.ndarray) else each * len(_as_array(target))

    def _row_counts(self, target: NDArray[Any]) -> float | NDArray[np.float64]:
        """Return what each row of a target counts for in a mean; a number if all rows count for the same."""
        if target.ndim == 0:
            raise ValueError(f"{type(self).__name__}: expected targets of a batch, of shape (n, *); got a scalar")
        return 1.0 if self.reduction == "batchmean" else float(math.prod(target.shape[1:]))

    def _class_counts(self, target: Tensor, dtype: _core.dtype) -> Tensor | None:  # noqa: ARG002
        """Return what each class index of a target counts for, as a tensor; ``None`` if there are none."""
        return None

    def _loss(self, input: TensorLike, target: TensorLike, reduction: str) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__}: expected a method _loss; got none")


def _as_array(value: TensorLike) -> NDArray[Any]:
    return np.asarray(value.detach().numpy() if isinstance(value, Tensor) else value)


class _WeightedLoss(Loss):
    """A loss with a weight, which is kept as a buffer."""

    weight: Tensor | None

    def __init__(self, weight: TensorLike | None, reduction: str) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", None if weight is None else _core.as_tensor(weight))


class _ClassLoss(_WeightedLoss):
    """A loss with class indices."""

    takes_class_indices = True
    ignore_index: int

    def _take_index(self, ignore_index: int) -> None:
        try:
            self.ignore_index = operator.index(ignore_index)
        except TypeError:
            name = type(self).__name__
            raise TypeError(f"{name}: expected ignore_index to be an int; got {ignore_index!r}") from None

    def _class_counts(self, target: Tensor, dtype: _core.dtype) -> Tensor | None:
        return class_counts(target, self.weight, self.ignore_index, dtype)

    def _row_counts(self, target: NDArray[Any]) -> float | NDArray[np.float64]:
        if target.dtype.kind == "f" and target.ndim > 1:
            return float(math.prod(target.shape[2:]))
        return row_counts(target, None if self.weight is None else _as_array(self.weight), self.ignore_index)


class CrossEntropyLoss(_ClassLoss):
    """Return the cross entropy of logits with class indices, or with class probabilities::

        -sum over c of weight[c] * q[c] * log_softmax(x)[c]

    Args:
        weight: What each class counts for, ``(C,)``; ``None`` for 1.
        ignore_index: A class index that counts for nothing; below 0 with class probabilities.
        reduction: ``"mean"``, over the targets' weights, or over the samples with class probabilities; ``"sum"`` or
            ``"none"``.
        label_smoothing: ε in [0, 1]: q becomes ``(1 - ε) * q + ε / C``.

    Shapes:
        x: Logits, ``(n, C)``, ``(C,)`` or ``(n, C, *)``.
        y: Class indices in [0, C), ``(n,)``, ``()`` or ``(n, *)``; or probabilities, of the shape of ``x``.

    Raises:
        ValueError: A setting or a label is out of range, or shapes do not match.
        TypeError: Labels are of another type than int64, and not probabilities.

    Source:
        Smoothing: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7. Keras' ``from_logits`` is off
        by default.
    """

    def __init__(
        self,
        weight: TensorLike | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, reduction)
        if not 0 <= check_number("CrossEntropyLoss", "label_smoothing", label_smoothing) <= 1:
            raise ValueError(f"CrossEntropyLoss: expected label_smoothing in [0, 1]; got {label_smoothing}")
        self._take_index(ignore_index)
        self.label_smoothing = label_smoothing

    def _loss(self, input: TensorLike, target: TensorLike, reduction: str) -> Tensor:
        return _cross_entropy(input, target, self.weight, self.ignore_index, reduction, self.label_smoothing)


class NLLLoss(_ClassLoss):
    """Return ``-weight[t] * x[t]``, x being log-probabilities and t the class.

    Args:
        weight: What each class counts for, ``(C,)``; ``None`` for 1.
        ignore_index: A class index that counts for nothing.
        reduction: ``"mean"``, over the targets' weights; ``"sum"`` or ``"none"``.

    Shapes:
        x: Log-probabilities, ``(n, C)``, ``(C,)`` or ``(n, C, *)``.
        y: Class indices in [0, C), ``(n,)``, ``()`` or ``(n, *)``.
    """

    def __init__(self, weight: TensorLike | None = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(weight, reduction)
        self._take_index(ignore_index)

    def _loss(self, input: TensorLike, target: TensorLike, reduction: str) -> Tensor:
        return _core.nll_loss(input, target, self.weight, self.ignore_index, reduction)


class MSELoss(Loss):
    """Return ``(x - y)²``, by default the mean over all elements; ``x`` and ``y`` have the same shape.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
    """

    def _loss(self, input: TensorLike, target: TensorLike, reduction: str) -> Tensor:
        return _core.mse_loss(input, target, reduction)


class L1Loss(Loss):
    """Return ``|x - y|``, by default the mean over all elements; ``x`` and ``y`` have the same shape.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
    """

    def _loss(self, input: TensorLike, target: TensorLike, reduction: str) -> Tensor:
        return _core.l1_loss(input, target, reduction)


class SmoothL1Loss(Loss):
    """Return ``d² / (2 * beta)`` where ``d = |x - y|`` is below ``beta``, and ``d - beta / 2`` elsewhere.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        beta: Where the square ends; 0 or more. With 0 it is :class:`L1Loss`.

    Raises:
        ValueError: ``beta`` is out of range.

    Source:
        Girshick 2015, https://arxiv.org/abs/1504.08083, equation 3.
    """

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        if not check_number("SmoothL1Loss", "beta", beta) >= 0:
            raise ValueError(f"SmoothL1Loss: expected beta of at least 0; got {beta}")
        self.beta = beta

    def _loss(self, input: TensorLike, target: TensorLike, reduction: str) -> Tensor:
        return _core.smooth_l1_loss(input, target, reduction, self.beta)


class HuberLoss(Loss):
    """Return ``d² / 2`` where ``d = |x - y|`` is at most ``delta``, and ``delta * (d - delta / 2)`` elsewhere.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        delta: Where the square ends; above 0.

    Raises:
        ValueError: ``delta`` is out of range.

    Source:
        Huber 1964, https://doi.org/10.1214/aoms/1177703732.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        if not check_number("HuberLoss", "delta", delta) > 0:
            raise ValueError(f"HuberLoss: expected delta above 0; got {delta}")
        self.delta = delta

    def _loss(self, input: TensorLike, target: TensorLike, reduction: str) -> Tensor:
        return _core.huber_loss(input, target, reduction, self.delta)


class BCELoss(_WeightedLoss):
    """Return ``-weight * (y * log(p) + (1 - y) * log(1 - p))``, the logarithms held at -100 and above.

    Args:
        weight: Broadcast over the elements; ``None`` for 1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Shapes:
        p: Probabilities, any shape.
        y: In [0, 1], of the same shape.
    """

    def __init__(self, weight: TensorLike | None = None, *, reduction: str = "mean") -> None:
        super().__init__(weight, reduction)

    def _loss(self, input: TensorLike, target: TensorLike, reduction: str) -> Tensor:
        return _core.binary_cross_entropy(input, target, self.weight, reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    """Return ``-weight * (pos_weight * y * log σ(x) + (1 - y) * log(1 - σ(x)))``, stable for any x.

    Args:
        weight: Broadcast over the elements; ``None`` for 1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        pos_weight: What a positive counts for, broadcast over the elements; ``None`` for 1.

    Shapes:
        x: Logits, any shape.
        y: In [0, 1], of the same shape.
    """

    pos_weight: Tensor | None

    def __init__(
        self, weight: TensorLike | None = None, *, reduction: str = "mean", pos_weight: TensorLike | None = None
    ) -> None:
        super().__init__(weight, reduction)
        self.register_buffer("pos_weight", None if pos_weight is None else _core.as_tensor(pos_weight))

    def _loss(self, input: TensorLike, target: TensorLike, reduction: str) -> Tensor:
        return _core.binary_cross_entropy_with_logits(input, target, self.weight, reduction, self.pos_weight)


class KLDivLoss(Loss):
    """Return ``q * (log q - x)``, x being log-probabilities.

    Args:
        reduction: ``"batchmean"`` divides the sum by n, which is the divergence; ``"mean"``, the default as in
            PyTorch, divides by the number of elements; ``"sum"`` or ``"none"``.
        log_target: Whether the target is ``log q``.

    Shapes:
        x: Log-probabilities, ``(n, *)``.
        q: Probabilities, of the same shape.
    """

    _reductions = (*_REDUCTIONS, "batchmean")

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def _loss(self, input: TensorLike, target: TensorLike, reduction: str) -> Tensor:
        return _core.kl_div(input, target, reduction, self.log_target)

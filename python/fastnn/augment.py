"""Batches that are changed at random before a step: for ``Trainer.fit(augment=…)`` and for loops of one's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_at_least, check_number

__all__ = ["MixUp", "mixup"]


def _uniform() -> float:
    return float(_core.rand(1, dtype=_core.float64).item())


def _log_gamma_draw(shape: float) -> float:
    """Draw the logarithm of a number from Gamma(shape, 1): a small shape makes numbers that are below all floats.

    Source:
        Marsaglia & Tsang 2000, https://doi.org/10.1145/358407.358414; its section 6 for shapes below 1.
    """
    boost = 0.0
    if shape < 1:
        boost = math.log(1 - _uniform()) / shape
        shape += 1
    d = shape - 1 / 3
    c = 1 / math.sqrt(9 * d)
    while True:
        z = float(_core.randn(1, dtype=_core.float64).item())
        v = (1 + c * z) ** 3
        if v > 0 and math.log(1 - _uniform()) < 0.5 * z * z + d * (1 - v + math.log(v)):
            return math.log(d * v) + boost


def _beta_draw(alpha: float) -> float:
    """Draw from Beta(alpha, alpha): x / (x + y), x and y from Gamma(alpha, 1)."""
    difference = _log_gamma_draw(alpha) - _log_gamma_draw(alpha)
    return 1 / (1 + math.exp(-difference)) if difference > -700 else 0.0


def _check_alpha(where: str, alpha: float) -> float:
    if not 0 <= check_number(where, "alpha", alpha) < math.inf:
        raise ValueError(f"{where}: expected alpha of at least 0; got {alpha}")
    return alpha


def _soft_targets(y: NDArray[Any], num_classes: int | None, dtype: np.dtype[Any]) -> NDArray[Any]:
    if y.dtype.kind == "f":
        return y
    if num_classes is None:
        raise ValueError("mixup: expected num_classes to go with integer targets; got None")
    if y.ndim != 1:
        raise ValueError(f"mixup: expected integer targets of shape (n,); got {y.shape}")
    if y.min() < 0 or y.max() >= num_classes:
        wrong = y.min() if y.min() < 0 else y.max()
        raise ValueError(f"mixup: expected targets in [0, {num_classes}); got {wrong}")
    soft: NDArray[Any] = np.eye(num_classes, dtype=dtype)[y]
    return soft


def mixup(x: TensorLike, y: TensorLike, alpha: float = 0.2, num_classes: int | None = None) -> tuple[Any, Any]:
    """Mix every sample of a batch with another one, and its target likewise::

        x'[i] = λ * x[i] + (1 - λ) * x[j(i)]
        y'[i] = λ * y[i] + (1 - λ) * y[j(i)],    λ ~ Beta(alpha, alpha),  j a random permutation

    Args:
        x: Inputs, ``(n, *)``, floating point.
        y: Classes, ``(n,)``, integers, which become probabilities ``(n, num_classes)``; or targets ``(n, *)``, floating
            point, such as those of a regression.
        alpha: How strongly, at least 0: 0 leaves the batch as it is, 1 draws λ evenly from [0, 1]. The paper has 0.1
            to 0.4.
        num_classes: Number of classes; only with integers.

    Returns:
        x' and y', in the type of x: arrays if x is one, else tensors.

    Raises:
        ValueError: ``alpha`` or a class is out of range, there are no rows, or lengths differ.
        TypeError: ``x`` is not floating point.

    Source:
        Zhang et al. 2018, https://arxiv.org/abs/1710.09412, equation 1, with one λ for a batch, as in its Figure 1a.
    """
    _check_alpha("mixup", alpha)
    if num_classes is not None:
        check_at_least("mixup", "num_classes", num_classes, 1)
    inputs, targets = (np.asarray(v.detach() if isinstance(v, Tensor) else v) for v in (x, y))
    if inputs.dtype.kind != "f":
        raise TypeError(f"mixup: expected x of floating point; got dtype {inputs.dtype}")
    if inputs.ndim == 0 or len(inputs) == 0:
        raise ValueError(f"mixup: expected at least one row in x; got shape {inputs.shape}")
    if targets.ndim == 0 or len(targets) != len(inputs):
        raise ValueError(f"mixup: expected x and y of one length; got shapes {inputs.shape} and {targets.shape}")
    targets = _soft_targets(targets, num_classes, inputs.dtype)
    if alpha:
        lam = _beta_draw(alpha)
        order = _core.permutation(len(inputs))
        # Factors of the arrays' own type, so that they keep it.
        inputs, targets = (v * v.dtype.type(lam) + v[order] * v.dtype.type(1 - lam) for v in (inputs, targets))
    if isinstance(x, Tensor):
        return _core.as_tensor(np.array(inputs)), _core.as_tensor(np.array(targets))
    return inputs, targets


class MixUp:
    """Mix every batch of a fit: ``trainer.fit(x, y, augment=MixUp(0.2, num_classes=10))``.

    See :func:`mixup`. The loss must take probabilities, as :class:`fastnn.nn.CrossEntropyLoss` does. Draws come from
    the generator that ``fastnn.manual_seed`` sets.

    Args:
        alpha: How strongly, at least 0.
        num_classes: Number of classes; ``None`` for targets of floating point.

    Raises:
        ValueError: A setting is out of range.

    Source:
        Zhang et al. 2018, https://arxiv.org/abs/1710.09412.
    """

    def __init__(self, alpha: float = 0.2, num_classes: int | None = None) -> None:
        self.alpha = _check_alpha("MixUp", alpha)
        if num_classes is not None:
            check_at_least("MixUp", "num_classes", num_classes, 1)
        self.num_classes = num_classes

    def __call__(self, x: NDArray[Any], y: NDArray[Any]) -> tuple[Any, Any]:
        """Return the batch, mixed."""
        return mixup(x, y, self.alpha, self.num_classes)

    def __repr__(self) -> str:
        return f"MixUp(alpha={self.alpha}, num_classes={self.num_classes})"

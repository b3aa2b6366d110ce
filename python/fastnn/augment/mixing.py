"""Images of a batch in pairs, and their targets likewise."""

from __future__ import annotations

from typing import Any

from fastnn._types import TensorLike, check_at_least
from fastnn.augment import _settings as settings
from fastnn.augment.transform import Spec, Transform


class _Mixing(Transform):
    """Mixes every batch with itself, in another order."""

    _cuts = False

    def __init__(self, alpha: float, num_classes: int | None, p: float) -> None:
        super().__init__(p)
        self.alpha = settings.not_negative(self._name, "alpha", alpha)
        if num_classes is not None:
            check_at_least(self._name, "num_classes", num_classes, 1)
        self.num_classes = num_classes

    def _specs(self) -> list[Spec]:
        return []

    def _mix(self) -> Spec:
        ways = [(self.p, self._cuts, self.alpha)]
        return {"p": 1.0, "weights": [1.0], "ways": ways, "num_classes": self.num_classes}


class MixUp(_Mixing):
    """Mix every sample of a batch with another one, and its target likewise::

        x'[i] = λ * x[i] + (1 - λ) * x[j(i)]
        y'[i] = λ * y[i] + (1 - λ) * y[j(i)],    λ ~ Beta(alpha, alpha),  j a random permutation

    ``MixUp(0.2, num_classes=10)(x, y)`` returns both. Classes become probabilities, which the loss must take, as
    :class:`fastnn.nn.CrossEntropyLoss` does, with or without ``label_smoothing``. Where a fit has weights w of samples
    or classes, the mixture counts for ``w' = λ w[i] + (1 - λ) w[j]``, and each of its two classes for its part of that:
    w' times the loss of y' is then λ times the weighted loss of the one and (1 - λ) times that of the other.

    Args:
        alpha: How strongly, at least 0: 0 mixes nothing, 1 draws λ evenly from [0, 1]. The paper has 0.1 to 0.4.
        num_classes: Number of classes; ``None`` for targets of floating point, ``(n, *)``.
        p: The probability that a batch is mixed, in [0, 1].

    Raises:
        ValueError: A setting is out of range; or, when it is called, a class is, or there are no rows.
        TypeError: A setting is of another type.

    Source:
        Zhang et al. 2018, https://arxiv.org/abs/1710.09412, equation 1, with one λ for a batch, as in its Figure 1a.
        torchvision mixes every image with the one before it, and has ``alpha=1.0``.
    """

    def __init__(self, alpha: float = 0.2, num_classes: int | None = None, *, p: float = 1.0) -> None:
        super().__init__(alpha, num_classes, p)


class CutMix(_Mixing):
    """Put a rectangle of another image of the batch into every image, and mix the targets by their areas::

        x'[i] = x[j(i)] inside the rectangle, x[i] outside
        y'[i] = λ * y[i] + (1 - λ) * y[j(i)],    λ = 1 - area of the rectangle / (h * w),  j a random permutation

    The rectangle's center is a pixel, all being equally likely; with b ~ Beta(alpha, alpha) it reaches
    ``int(sqrt(1 - b) * h / 2)`` rows up and down and ``int(sqrt(1 - b) * w / 2)`` columns to either side, as far as the
    image does. Targets and weights are mixed as by :class:`MixUp`.

    Args:
        alpha: How strongly, at least 0: 0 mixes nothing, 1 draws b evenly from [0, 1], as the paper does.
        num_classes: Number of classes; ``None`` for targets of floating point, ``(n, *)``.
        p: The probability that a batch is mixed, in [0, 1].

    Raises:
        ValueError: A setting is out of range; or, when it is called, a class is, or there are no rows.
        TypeError: A setting is of another type.

    Source:
        Yun et al. 2019, https://arxiv.org/abs/1905.04899, equations 1 and 2. torchvision takes the rectangle from the
        image before.
    """

    _cuts = True

    def __init__(self, alpha: float = 1.0, num_classes: int | None = None, *, p: float = 1.0) -> None:
        super().__init__(alpha, num_classes, p)


def mixup(x: TensorLike, y: TensorLike, alpha: float = 0.2, num_classes: int | None = None) -> tuple[Any, Any]:
    """Mix every sample of a batch with another one, and its target likewise: ``MixUp(alpha, num_classes)(x, y)``.

    See :class:`MixUp` for the formula.

    Args:
        x: Inputs, ``(n, *)``, float32, float64 or uint8.
        y: Classes, ``(n,)``, integers, which become probabilities ``(n, num_classes)``; or targets ``(n, *)``, floating
            point, such as those of a regression.
        alpha: How strongly, at least 0.
        num_classes: Number of classes; only with integers.

    Returns:
        x' and y', arrays if x is one, else tensors.

    Raises:
        ValueError: ``alpha`` or a class is out of range, there are no rows, or lengths differ.
        TypeError: ``x`` is of another type.

    Source:
        Zhang et al. 2018, https://arxiv.org/abs/1710.09412, equation 1, with one λ for a batch, as in its Figure 1a.
    """
    settings.not_negative("mixup", "alpha", alpha)
    if num_classes is not None:
        check_at_least("mixup", "num_classes", num_classes, 1)
    inputs, targets, _ = MixUp(alpha, num_classes)._apply(x, y, None, "mixup")
    return inputs, targets

"""Rectangles of images that are erased."""

from __future__ import annotations

from collections.abc import Sequence

from fastnn.augment import _settings as settings
from fastnn.augment.transform import Spec, Transform


class RandomErasing(Transform):
    """Erase a rectangle of random size and shape, with probability p::

        area = h * w * a,  a evenly from ``scale``;   height / width = exp(b),  b evenly from log ``ratio``

    Every place where the rectangle fits is equally likely; if ten such rectangles are not smaller than the image,
    nothing is erased.

    Args:
        p: The probability, in [0, 1].
        scale: The least and the greatest share of the image's area, above 0.
        ratio: The least and the greatest ratio of height to width, above 0.
        value: What is put there: a number, one for each channel, or ``"random"`` for standard normal numbers.
        inplace: Only ``False``: images that are given stay as they are.

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        Zhong et al. 2020, https://arxiv.org/abs/1708.04896, Algorithm 1; as in torchvision.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float | Sequence[float] | str = 0,
        inplace: bool = False,
    ) -> None:
        super().__init__(p)
        settings.erased(self._name, value)
        if inplace:
            raise ValueError(f"{self._name}: expected inplace False; got {inplace!r}")
        self.scale = scale
        self.ratio = ratio
        self.value = value
        self._ranges()

    def _ranges(self) -> tuple[settings.Pair, settings.Pair]:
        scale = settings.positive(self._name, "scale", self.scale)
        if scale[1] > 1:
            raise ValueError(f"{self._name}: expected scale of at most 1; got {self.scale!r}")
        return scale, settings.positive(self._name, "ratio", self.ratio)

    def _specs(self) -> list[Spec]:
        scale, ratio = self._ranges()
        return [self._spec("erasing", scale=scale, ratio=ratio, value=settings.erased(self._name, self.value))]


class CutOut(Transform):
    """Erase a square, of which a part may lie outside the image::

        x'[c, i, j] = value  for  y - size // 2 <= i < y - size // 2 + size,  x - size // 2 <= j < x - size // 2 + size

    Its center (y, x) is a pixel of the image, all being equally likely.

    Args:
        size: Height and width of the square, at least 1; one number for both.
        value: What is put there: a number, one for each channel, or ``"random"`` for standard normal numbers.
        p: The probability that something is erased, in [0, 1].

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        DeVries & Taylor 2017, https://arxiv.org/abs/1708.04552, section 3.
    """

    def __init__(self, size: int | Sequence[int], value: float | Sequence[float] | str = 0, *, p: float = 1.0) -> None:
        super().__init__(p)
        settings.size(self._name, size)
        settings.erased(self._name, value)
        self.size = size
        self.value = value

    def _specs(self) -> list[Spec]:
        size, value = settings.size(self._name, self.size), settings.erased(self._name, self.value)
        return [self._spec("cut_out", size=size, value=value)]

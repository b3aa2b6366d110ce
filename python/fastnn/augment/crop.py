"""Parts of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastnn._types import GREATEST, check_at_least
from fastnn.augment import _settings as settings
from fastnn.augment.geometry import Fill
from fastnn.augment.transform import Spec, Transform

_MODES = ("constant", "edge", "reflect", "symmetric")


class RandomCrop(Transform):
    """Take a part of the padded image, every place being equally likely::

        x'[c, i, j] = padded[c, top + i, left + j]

    Args:
        size: Height and width of the part, at least 1; one number for both.
        padding: Pixels around the image first: on every side, or (left and right, top and bottom), or (left, top,
            right, bottom). ``None`` for none.
        pad_if_needed: Whether an image that is still too small is padded by what it lacks, on both sides.
        fill: What a constant padding is made of; or one for each channel.
        padding_mode: ``"constant"``; ``"edge"``, the outermost pixels; ``"reflect"``, reflected at their middle, or
            ``"symmetric"``, at their edge, again and again if need be.

    Raises:
        ValueError: A setting is out of range; or, when it is called, images are too small.
        TypeError: A setting is of another type.

    Source:
        As in torchvision.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: Fill = 0.0,
        padding_mode: str = "constant",
    ) -> None:
        super().__init__()
        settings.size(self._name, size)
        settings.one_of(self._name, "padding_mode", padding_mode, _MODES)
        settings.fill(self._name, "fill", fill)
        self.size = size
        self.padding = padding
        self.pad_if_needed = bool(pad_if_needed)
        self.fill = fill
        self.padding_mode = padding_mode
        self._padding()

    def _padding(self) -> tuple[int, int, int, int]:
        """Return (left, top, right, bottom)."""
        given: Any = 0 if self.padding is None else self.padding
        sides = list(given) if settings.is_sequence(given) else [given]
        if len(sides) not in {1, 2, 4}:
            raise ValueError(f"{self._name}: expected padding of 1, 2 or 4 numbers; got {self.padding!r}")
        read = [check_at_least(self._name, "padding", side, 0, GREATEST) for side in sides]
        left, top, right, bottom = read * (4 // len(read))
        return left, top, right, bottom

    def _specs(self) -> list[Spec]:
        spec = self._spec(
            "crop",
            size=settings.size(self._name, self.size),
            padding=self._padding(),
            pad_if_needed=self.pad_if_needed,
            fill=settings.fill(self._name, "fill", self.fill),
            padding_mode=self.padding_mode,
        )
        return [spec]


class RandomResizedCrop(Transform):
    """Take a part of the image of random size and shape, and resize it::

        area = h * w * a,  a evenly from ``scale``;   width / height = exp(b),  b evenly from log ``ratio``
        x'(q) = part(q * part's size / size)

    If ten such parts do not fit, it is the middle of the image, with a ratio in the range. Nothing outside the part
    is read, whose outermost pixels go on.

    Args:
        size: Height and width of the result, at least 1; one number for both.
        scale: The least and the greatest share of the image's area, above 0.
        ratio: The least and the greatest ratio of width to height, above 0.
        interpolation: How values between pixels are read, ``"bilinear"`` or ``"nearest"``.

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        Szegedy et al. 2015, https://arxiv.org/abs/1409.4842, section 6; as in torchvision with ``antialias=False``.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: str = "bilinear",
    ) -> None:
        super().__init__()
        settings.size(self._name, size)
        settings.interpolation(self._name, interpolation)
        self.size = size
        self.scale = scale
        self.ratio = ratio
        self.interpolation = interpolation
        self._ranges()

    def _ranges(self) -> tuple[settings.Pair, settings.Pair]:
        return settings.positive(self._name, "scale", self.scale), settings.positive(self._name, "ratio", self.ratio)

    def _specs(self) -> list[Spec]:
        scale, ratio = self._ranges()
        size = settings.size(self._name, self.size)
        return [self._spec("resized_crop", size=size, scale=scale, ratio=ratio, interpolation=self.interpolation)]

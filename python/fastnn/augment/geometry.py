"""Transforms that move pixels: flips, shifts, affine maps, elastic distortion.

Places are measured in pixels from the upper left corner, x to the right and y down; the center of pixel (0, 0) lies at
(0.5, 0.5), and the middle of an image at (w / 2, h / 2). The value at a place is that of the nearest pixel, or is
interpolated between four; outside lies ``fill``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeAlias

from fastnn.augment import _settings as settings
from fastnn.augment.transform import Spec, Transform

Fill: TypeAlias = float | Sequence[float]


class _Flip(Transform):
    """A reversal; subclasses say of what."""

    _kind: ClassVar[str]

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def _specs(self) -> list[Spec]:
        return [self._spec(self._kind)]


class RandomHorizontalFlip(_Flip):
    """Reverse every row of an image, with probability p::

        x'[c, i, j] = x[c, i, w - 1 - j]

    Args:
        p: The probability, in [0, 1].

    Raises:
        ValueError: ``p`` is out of range.

    Source:
        As in torchvision.
    """

    _kind = "horizontal_flip"


class RandomVerticalFlip(_Flip):
    """Reverse the order of an image's rows, with probability p::

        x'[c, i, j] = x[c, h - 1 - i, j]

    Args:
        p: The probability, in [0, 1].

    Raises:
        ValueError: ``p`` is out of range.

    Source:
        As in torchvision.
    """

    _kind = "vertical_flip"


class RandomShift(Transform):
    """Move an image by whole pixels::

        x'[c, i, j] = x[c, i - dy, j - dx],    dx, dy from -pixels to pixels, each equally likely

    Args:
        pixels: How far at most, at least 0; or a pair, along x and along y.
        fill: The value of what comes in from outside; or one for each channel.
        p: The probability that an image is moved, in [0, 1].

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        ``RandomAffine(0, translate=…)`` of torchvision has the shift as a share of the size; ``RandomCrop`` of the
        padded image is the same thing.
    """

    def __init__(self, pixels: int | tuple[int, int], fill: Fill = 0.0, *, p: float = 1.0) -> None:
        super().__init__(p)
        self.pixels = pixels
        self.fill = fill
        self._specs()

    def _specs(self) -> list[Spec]:
        x, y = settings.size(self._name, self.pixels, 0, "pixels")
        return [self._spec("shift", x=x, y=y, fill=settings.fill(self._name, "fill", self.fill))]


class _Affine(Transform):
    """A random affine map; subclasses have the settings that are theirs, the others are as here."""

    degrees: float | Sequence[float] = 0.0
    translate: Sequence[float] | None = None
    scale: Sequence[float] | None = None
    shear: float | Sequence[float] | None = None
    interpolation: str
    fill: Fill
    center: Sequence[float] | None = None
    _counterclockwise: ClassVar[bool] = False

    def _specs(self) -> list[Spec]:
        spec = self._spec(
            "affine",
            degrees=settings.around_zero(self._name, "degrees", self.degrees),
            counterclockwise=self._counterclockwise,
            translate=self._translate(self.translate),
            scale=self._scale(self.scale),
            shear=self._shear(self.shear),
            interpolation=settings.interpolation(self._name, self.interpolation),
            fill=settings.fill(self._name, "fill", self.fill),
            center=self._center(self.center),
        )
        return [spec]

    def _translate(self, translate: Sequence[float] | None) -> settings.Pair:
        if translate is None:
            return 0.0, 0.0
        if not settings.is_sequence(translate) or len(translate) != 2:
            raise ValueError(f"{self._name}: expected translate to be a pair; got {translate!r}")
        x, y = (settings.probability(self._name, "translate", v) for v in translate)
        return x, y

    def _center(self, center: Sequence[float] | None) -> settings.Pair | None:
        if center is None:
            return None
        if not settings.is_sequence(center) or len(center) != 2:
            raise ValueError(f"{self._name}: expected center to be a pair (x, y); got {center!r}")
        x, y = (settings.finite(self._name, "center", v) for v in center)
        return x, y

    def _scale(self, scale: Sequence[float] | None) -> settings.Pair:
        if scale is None:
            return 1.0, 1.0
        low, high = settings.pair(self._name, "scale", scale)
        if low <= 0:
            raise ValueError(f"{self._name}: expected scale above 0; got {scale!r}")
        return low, high

    def _shear(self, shear: float | Sequence[float] | None) -> tuple[float, float, float, float]:
        """Return the range along x and the one along y."""
        if shear is None:
            return 0.0, 0.0, 0.0, 0.0
        if settings.is_sequence(shear) and len(shear) == 4:  # type: ignore[arg-type]
            along_x, along_y = shear[:2], shear[2:]  # type: ignore[index]
        else:
            along_x, along_y = shear, 0.0
        ranges = (
            *settings.around_zero(self._name, "shear", along_x),
            *settings.around_zero(self._name, "shear", along_y),
        )
        if max(map(abs, ranges)) >= 90:
            raise ValueError(f"{self._name}: expected shear between -90 and 90 degrees; got {shear!r}")
        return ranges


class RandomRotation(_Affine):
    """Turn an image about its middle, counterclockwise::

        x'(q) = x(R q),    R the rotation by -a about the center,  a evenly from ``degrees``

    Args:
        degrees: Turns at most so far either way, at least 0; or the pair of the least and the greatest angle.
        interpolation: How values between pixels are read, ``"nearest"`` or ``"bilinear"``.
        expand: Only ``False``: all images of a batch have one size.
        center: What stays in its place, (x, y) in pixels from the upper left corner; ``None`` for the middle.
        fill: The value of what comes in from outside; or one for each channel.
        p: The probability that an image is turned, in [0, 1].

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        As in torchvision, which has no ``p``; Keras gives the angle as a share of a turn.
    """

    _counterclockwise = True

    def __init__(
        self,
        degrees: float | Sequence[float],
        interpolation: str = "nearest",
        expand: bool = False,
        center: Sequence[float] | None = None,
        fill: Fill = 0.0,
        *,
        p: float = 1.0,
    ) -> None:
        super().__init__(p)
        if expand:
            raise ValueError(f"{self._name}: expected expand False, for images of one size; got {expand!r}")
        self.degrees = degrees
        self.interpolation = interpolation
        self.center = center
        self.fill = fill
        self._specs()


class RandomZoom(_Affine):
    """Magnify an image, or make it smaller, about its middle::

        x'(q) = x(center + (q - center) / s),    s evenly from ``scale``

    Args:
        scale: The least and the greatest magnification, above 0; what is above 1 makes things larger.
        interpolation: How values between pixels are read, ``"nearest"`` or ``"bilinear"``.
        fill: The value of what comes in from outside; or one for each channel.
        p: The probability that an image is zoomed, in [0, 1].

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        ``RandomAffine(0, scale=scale)`` of torchvision. Keras' ``RandomZoom`` has ``1 / s - 1`` for factors.
    """

    def __init__(
        self, scale: Sequence[float], interpolation: str = "bilinear", fill: Fill = 0.0, *, p: float = 1.0
    ) -> None:
        super().__init__(p)
        self.scale = scale
        self.interpolation = interpolation
        self.fill = fill
        self._specs()


class RandomShear(_Affine):
    """Shear an image about its middle, along x by the angle s and then along y by t::

        x'(q) = x((S_y(t) S_x(s))⁻¹ q),    S_x(s) = (1, -tan s; 0, 1),  S_y(t) = (1, 0; -tan t, 1)

    Args:
        shear: Degrees along x: at most so many either way, or the pair of the least and the greatest; or four numbers,
            both ranges. Between -90 and 90.
        interpolation: How values between pixels are read, ``"nearest"`` or ``"bilinear"``.
        fill: The value of what comes in from outside; or one for each channel.
        p: The probability that an image is sheared, in [0, 1].

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        ``RandomAffine(0, shear=shear)`` of torchvision.
    """

    def __init__(
        self, shear: float | Sequence[float], interpolation: str = "bilinear", fill: Fill = 0.0, *, p: float = 1.0
    ) -> None:
        super().__init__(p)
        self.shear = shear
        self.interpolation = interpolation
        self.fill = fill
        self._specs()


class RandomAffine(_Affine):
    """Turn clockwise, shear, magnify and move an image about its middle, all at once::

        x'(q) = x(M⁻¹ q),    M = T(dx, dy) C R(a) S_y(t) S_x(s) diag(z, z) C⁻¹

    where C moves the origin to the center. Angles and magnification are drawn evenly from their ranges; dx is drawn
    evenly from -translate[0] * w to translate[0] * w and rounded, dy likewise from translate[1] * h.

    Args:
        degrees: Turns at most so far either way, at least 0; or the pair of the least and the greatest angle.
        translate: The greatest shift as a share of width and of height, each in [0, 1]; ``None`` for no shift.
        scale: The least and the greatest magnification, above 0; ``None`` for 1.
        shear: Degrees along x: at most so many either way, or a range; or four numbers, the ranges along x and y.
        interpolation: How values between pixels are read, ``"nearest"`` or ``"bilinear"``.
        fill: The value of what comes in from outside; or one for each channel.
        center: What stays in its place, (x, y) in pixels from the upper left corner; ``None`` for the middle.
        p: The probability that it is done to an image, in [0, 1].

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        As in torchvision, which has no ``p``.
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: float | Sequence[float] | None = None,
        interpolation: str = "nearest",
        fill: Fill = 0.0,
        center: Sequence[float] | None = None,
        *,
        p: float = 1.0,
    ) -> None:
        super().__init__(p)
        self.degrees = degrees
        self.translate = translate
        self.scale = scale
        self.shear = shear
        self.interpolation = interpolation
        self.fill = fill
        self.center = center
        self._specs()


# A blur takes as long as its kernel is wide; beyond, places lose their fractions.
_GREATEST = {"sigma": 10_000, "alpha": 1_000_000}


class ElasticTransform(Transform):
    """Distort an image: every pixel comes from another place, neighbors from neighboring places::

        x'(q) = x(q + alpha * (G u)(q)),    u from [-1, 1) evenly for each pixel and direction

    where G blurs by a Gaussian of standard deviation ``sigma``, cut at 4 sigma; u is reflected at the border.

    Args:
        alpha: How far, in pixels before the blur, in [0, 1000000]; or a pair, along x and along y.
        sigma: How far alike, in pixels, in [0, 10000]; or a pair, of what moves along x and along y.
        interpolation: How values between pixels are read, ``"bilinear"`` or ``"nearest"``.
        fill: The value of what comes in from outside; or one for each channel.
        p: The probability that an image is distorted, in [0, 1].

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        Simard, Steinkraus & Platt 2003, https://doi.org/10.1109/ICDAR.2003.1227801, section 2, whose fields are
        normalized. torchvision moves by half of ``alpha``.
    """

    def __init__(
        self,
        alpha: float | Sequence[float] = 50.0,
        sigma: float | Sequence[float] = 5.0,
        interpolation: str = "bilinear",
        fill: Fill = 0.0,
        *,
        p: float = 1.0,
    ) -> None:
        super().__init__(p)
        self.alpha = alpha
        self.sigma = sigma
        self.interpolation = interpolation
        self.fill = fill
        self._specs()

    def _both(self, name: str, value: float | Sequence[float]) -> settings.Pair:
        values = list(value) if settings.is_sequence(value) else [value, value]  # type: ignore[arg-type]
        if len(values) != 2:
            raise ValueError(f"{self._name}: expected {name} to be a number or a pair; got {value!r}")
        x, y = (settings.not_negative(self._name, name, v) for v in values)
        if max(x, y) > _GREATEST[name]:
            raise ValueError(f"{self._name}: expected {name} in [0, {_GREATEST[name]}]; got {value!r}")
        return x, y

    def _specs(self) -> list[Spec]:
        spec = self._spec(
            "elastic",
            alpha=self._both("alpha", self.alpha),
            sigma=self._both("sigma", self.sigma),
            interpolation=settings.interpolation(self._name, self.interpolation),
            fill=settings.fill(self._name, "fill", self.fill),
        )
        return [spec]

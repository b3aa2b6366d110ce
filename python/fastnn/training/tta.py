"""Test-time augmentation: predictions averaged over several views of every image.

A view is any function of a batch of inputs that returns as many; ``predict`` and ``evaluate`` take a list of them::

    trainer.predict(x, tta="flip")
    trainer.predict(x, tta=tta.ten_crop(24), activation=nn.Softmax(1))
    trainer.evaluate(x, y, tta=[*tta.flip(), *tta.shifts(2), lambda x: x * 0.9])

With views v₁ … v_k, a model f and an activation a, the prediction is ``Σⱼ a(f(vⱼ(x))) / k``. Without ``activation`` the
outputs are averaged as they are: for a classifier that ends with logits, its softmax is then the geometric mean of the
views' probabilities, scaled to add up to 1, and the loss of ``evaluate`` is still that of logits. With
``activation=nn.Softmax(1)`` it is their arithmetic mean.

Source:
    Krizhevsky, Sutskever & Hinton 2012, section 4.1: ten crops, whose probabilities are averaged. Simonyan & Zisserman
    2015, https://arxiv.org/abs/1409.1556, section 3.2: an image and its flip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import check_at_least
from fastnn.nn.module import Module

View: TypeAlias = Callable[[NDArray[Any]], Any]
Views: TypeAlias = "str | View | Sequence[View]"


@dataclass(frozen=True)
class Flip:
    """The image, mirrored.

    Args:
        horizontal: Whether left and right change places.
        vertical: Whether top and bottom do.
    """

    horizontal: bool = True
    vertical: bool = False

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the images ``(n, *, h, w)``, mirrored."""
        _check_images("Flip", x)
        return x[..., :: -1 if self.vertical else 1, :: -1 if self.horizontal else 1]


@dataclass(frozen=True)
class Crop:
    """A part of the image.

    Args:
        size: Height and width of the part.
        vertical: Where it lies: ``"top"``, ``"center"`` or ``"bottom"``.
        horizontal: ``"left"``, ``"center"`` or ``"right"``.
    """

    size: tuple[int, int]
    vertical: str = "center"
    horizontal: str = "center"

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return this part of the images ``(n, *, h, w)``."""
        _check_images("Crop", x)
        spare = (x.shape[-2] - self.size[0], x.shape[-1] - self.size[1])
        if min(spare) < 0:
            raise ValueError(f"Crop: expected images of at least {self.size}; got {x.shape[-2:]}")
        top, left = (
            {"top": 0, "left": 0, "center": round(free / 2), "bottom": free, "right": free}[place]
            for free, place in zip(spare, (self.vertical, self.horizontal), strict=True)
        )
        return x[..., top : top + self.size[0], left : left + self.size[1]]


@dataclass(frozen=True)
class Shift:
    """The image, moved; what comes in at the margin has one value.

    Args:
        down: Pixels, below 0 for up.
        right: Pixels, below 0 for left.
        fill: The value.
    """

    down: int
    right: int
    fill: float = 0.0

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the images ``(n, *, h, w)``, moved."""
        _check_images("Shift", x)
        moved = np.full_like(x, self.fill)
        (to_rows, rows), (to_columns, columns) = _overlap(x.shape[-2], self.down), _overlap(x.shape[-1], self.right)
        moved[..., to_rows, to_columns] = x[..., rows, columns]
        return moved


@dataclass(frozen=True)
class Chain:
    """One view of another.

    Args:
        first: Taken of the image.
        then: Taken of that.
    """

    first: View
    then: View

    def __call__(self, x: NDArray[Any]) -> Any:
        """Return what comes of both."""
        return self.then(np.asarray(self.first(x)))


@dataclass(frozen=True)
class Identity:
    """The image as it is."""

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the images."""
        return x


def flip() -> list[View]:
    """Return 2 views: the image, and the image mirrored left to right."""
    return [Identity(), Flip()]


def flips() -> list[View]:
    """Return 4 views: the image as it is, and mirrored left to right, top to bottom, and both."""
    return [Identity(), Flip(), Flip(horizontal=False, vertical=True), Flip(vertical=True)]


def five_crop(size: int | tuple[int, int]) -> list[View]:
    """Return 5 views: the four corners and the center.

    Args:
        size: Height and width of each in pixels, one number for both; at least 1.

    Raises:
        ValueError: ``size`` is out of range.
        TypeError: It is of another type.

    Source:
        ``torchvision.transforms.FiveCrop``.
    """
    return list(_crops("five_crop", size))


def ten_crop(size: int | tuple[int, int], vertical_flip: bool = False) -> list[View]:
    """Return 10 views: the four corners and the center, of the image and of its mirror image.

    Args:
        size: Height and width of each in pixels, one number for both; at least 1.
        vertical_flip: Whether the image is mirrored top to bottom instead of left to right.

    Raises:
        ValueError: ``size`` is out of range.
        TypeError: It is of another type.

    Source:
        Krizhevsky, Sutskever & Hinton 2012, section 4.1; ``torchvision.transforms.TenCrop``.
    """
    mirror = Flip(horizontal=not vertical_flip, vertical=vertical_flip)
    crops = _crops("ten_crop", size)
    return [*crops, *(Chain(mirror, crop) for crop in crops)]


def shifts(pixels: int = 1, fill: float = 0.0) -> list[View]:
    """Return 9 views: the image as it is, and moved in all eight directions.

    Args:
        pixels: How far, at least 1.
        fill: What comes in at the margin.

    Raises:
        ValueError: ``pixels`` is out of range.
        TypeError: It is of another type.
    """
    check_at_least("shifts", "pixels", pixels, 1)
    ways = (0, -pixels, pixels)
    return [Shift(down, right, fill) if down or right else Identity() for down in ways for right in ways]


_NAMED: dict[str, Callable[[], list[View]]] = {"flip": flip, "flips": flips}


def resolve(where: str, tta: Any) -> list[View] | None:
    """Return the views that a user has named or given; ``None`` if there is only the image itself.

    Raises:
        ValueError: There is no such name, or no view.
        TypeError: It is none of these.
    """
    if tta is None:
        return None
    if isinstance(tta, str):
        if tta not in _NAMED:
            raise ValueError(
                f"{where}: expected tta to be 'flip', 'flips', a function or a list of functions; got {tta!r}"
            )
        return _NAMED[tta]()
    views = [tta] if callable(tta) else list(tta) if isinstance(tta, Sequence) else None
    if views is None or not all(callable(view) for view in views):
        raise TypeError(f"{where}: expected tta to be 'flip', 'flips', a function or a list of functions; got {tta!r}")
    if not views:
        raise ValueError(f"{where}: expected at least one view in tta; got none")
    return views


def averaged(
    where: str, model: Module, x: NDArray[Any], views: Sequence[View] | None, activation: Callable[[Tensor], Any] | None
) -> Tensor:
    """Return the mean of the model's outputs for all views of a batch, in the order of the views.

    Raises:
        ValueError: A view has another number of rows, or outputs differ in shape.
        TypeError: The model or the activation returns no tensor.
    """
    if views is None:
        return _output(model, x, activation)
    total: NDArray[np.float64] | None = None
    dtype = x.dtype
    for view in views:
        seen = np.asarray(view(x), dtype=x.dtype, order="C")
        if seen.shape[:1] != x.shape[:1]:
            raise ValueError(f"{where}: expected {len(x)} rows from every view; got shape {seen.shape} from {view!r}")
        output = _output(model, seen, activation).numpy()
        if total is None:
            total, dtype = np.zeros(output.shape), output.dtype
        elif output.shape != total.shape:
            raise ValueError(f"{where}: expected outputs of one shape for all views; got {total.shape}, {output.shape}")
        total += output
    return _core.as_tensor((np.zeros(()) if total is None else total / len(views)).astype(dtype))


def _output(model: Module, x: NDArray[Any], activation: Callable[[Tensor], Any] | None) -> Tensor:
    output = model(_core.as_tensor(x))
    if isinstance(output, Tensor) and activation is not None:
        output = activation(output)
    if not isinstance(output, Tensor):
        raise TypeError(f"Trainer: expected the model to return a Tensor; got {type(output).__name__}")
    return output


def _crops(where: str, size: Any) -> list[Crop]:
    height, width = size if isinstance(size, (tuple, list)) and len(size) == 2 else (size, size)
    for value in (height, width):
        check_at_least(where, "size", value, 1)
    shape = (int(height), int(width))
    corners = [Crop(shape, vertical, horizontal) for vertical in ("top", "bottom") for horizontal in ("left", "right")]
    return [*corners, Crop(shape)]


def _overlap(length: int, by: int) -> tuple[slice, slice]:
    """Return where pixels go, and where they come from."""
    by = max(-length, min(length, by))
    return slice(max(by, 0), length + min(by, 0)), slice(max(-by, 0), length - max(by, 0))


def _check_images(where: str, x: NDArray[Any]) -> None:
    if x.ndim < 3:
        raise ValueError(f"{where}: expected images of shape (n, *, h, w); got {x.shape}")

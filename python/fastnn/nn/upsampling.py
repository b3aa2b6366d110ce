"""Images and series in other sizes."""

from __future__ import annotations

from typing import Any

from fastnn._core import Tensor
from fastnn._types import GREATEST, TensorLike, check_at_least, check_number
from fastnn.nn import functional as F
from fastnn.nn.module import Module


class Upsample(Module):
    """Bring an image or a series to another size; the formulas are those of :func:`functional.interpolate`.

    Args:
        size: Of the output, at least 1: a number, or one for each dimension.
        scale_factor: What to multiply the size with, above 0; the result is rounded down. One of the two is given.
        mode: ``"nearest"``, ``"nearest-exact"``, ``"area"``, ``"linear"`` for series, or ``"bilinear"`` for images.
        align_corners: Whether the centers of the outermost elements stay where they are; only for the linear modes.
        recompute_scale_factor: Whether places are computed from the rounded sizes, even if ``scale_factor`` is given.

    Shapes:
        x: ``(n, c, l)`` or ``(n, c, h, w)``.
        y: the same with another size.

    Raises:
        ValueError: A setting is out of range, or ``x`` has other dimensions.
        TypeError: A setting, or ``x``, is of another type.
    """

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.scale_factor: float | tuple[float, ...] | None
        if isinstance(scale_factor, tuple):
            self.scale_factor = tuple(check_number(type(self).__name__, "scale_factor", f) for f in scale_factor)
        else:
            # As in PyTorch, 0 is as good as None.
            factor = None if scale_factor is None else check_number(type(self).__name__, "scale_factor", scale_factor)
            self.scale_factor = factor or None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: TensorLike) -> Tensor:
        try:
            return F.interpolate(
                input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
            )
        except (TypeError, ValueError) as error:
            raise type(error)(f"{type(self).__name__}: {error}") from None

    def extra_repr(self) -> str:
        size = f"scale_factor={self.scale_factor!r}" if self.scale_factor is not None else f"size={self.size!r}"
        return f"{size}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Bring an image to another size by repeating its elements: :class:`Upsample` with ``mode="nearest"``.

    Args:
        size: Of the output, a number or ``(h', w')``.
        scale_factor: What to multiply the size with. One of the two is given.

    Shapes:
        x: ``(n, c, h, w)``.
        y: ``(n, c, h', w')``.
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Bring an image to another size by lines between its elements, the corners staying where they are.

    It is :class:`Upsample` with ``mode="bilinear"`` and ``align_corners=True``.

    Args:
        size: Of the output, a number or ``(h', w')``.
        scale_factor: What to multiply the size with. One of the two is given.

    Shapes:
        x: ``(n, c, h, w)``.
        y: ``(n, c, h', w')``.
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


class PixelShuffle(Module):
    """Make an image r times as high and wide of r² channels::

        y[c, i, j] = x[c * r**2 + i % r * r + j % r, i // r, j // r]

    Args:
        upscale_factor: r, at least 1.

    Shapes:
        x: ``(*, c * r**2, h, w)``.
        y: ``(*, c, h * r, w * r)``.

    Raises:
        ValueError: ``upscale_factor`` is out of range, or the channels are no multiple of r².

    Source:
        Shi et al. 2016, https://arxiv.org/abs/1609.05158, equation 4, whose channels are ordered otherwise.
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        check_at_least("PixelShuffle", "upscale_factor", upscale_factor, 1, GREATEST)
        self.upscale_factor = upscale_factor

    def forward(self, input: TensorLike) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Make r² channels of an image that is r times as high and wide; undoes :class:`PixelShuffle`.

    Args:
        downscale_factor: r, at least 1.

    Shapes:
        x: ``(*, c, h * r, w * r)``.
        y: ``(*, c * r**2, h, w)``.

    Raises:
        ValueError: ``downscale_factor`` is out of range, or height or width is no multiple of it.
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        check_at_least("PixelUnshuffle", "downscale_factor", downscale_factor, 1, GREATEST)
        self.downscale_factor = downscale_factor

    def forward(self, input: TensorLike) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"

"""Padding layers. Images are ``(n, c, h, w)`` or ``(c, h, w)``, series ``(n, c, l)`` or ``(c, l)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from fastnn._core import Tensor
from fastnn._types import TensorLike, check_integer, check_number
from fastnn.nn import functional as F
from fastnn.nn._pool_base import PoolBase


class _Pad(PoolBase):
    _mode: ClassVar[str]
    padding: tuple[int, ...]

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        name, count = type(self).__name__, 2 * self._dims
        counts = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,) * count
        if len(counts) != count:
            raise ValueError(f"{name}: expected padding to be an int or {count} of them; got {padding}")
        self.padding = tuple(check_integer(name, "padding", n) for n in counts)

    def forward(self, input: TensorLike) -> Tensor:
        try:
            return F.pad(input, self.padding, self._mode)
        except (TypeError, ValueError) as error:
            raise self._error(error, self.padding, input) from None

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    _mode = "constant"
    value: float

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        check_number(type(self).__name__, "value", value)
        self.value = value

    def forward(self, input: TensorLike) -> Tensor:
        try:
            return F.pad(input, self.padding, "constant", self.value)
        except (TypeError, ValueError) as error:
            raise self._error(error, self.padding, input) from None

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Surround a series with ``value``.

    Args:
        padding: How many elements to put left and right; negative to take away. A number, or one a side.
        value: What to put there.

    Shapes:
        x: ``(n, c, l)`` or ``(c, l)``.
        y: the same, longer by both.

    Raises:
        ValueError: ``padding`` does not fit, or leaves nothing.
        TypeError: A setting, or ``x``, is of another type.
    """

    _dims = 1


class ConstantPad2d(_ConstantPad):
    """Surround an image with ``value``.

    Args:
        padding: How many elements to put left, right, above and below; negative to take away. A number, or one a side.
        value: What to put there.

    Shapes:
        x: ``(n, c, h, w)`` or ``(c, h, w)``.
        y: the same, wider by the first two, higher by the last two.

    Raises:
        ValueError: ``padding`` does not fit, or leaves nothing.
        TypeError: A setting, or ``x``, is of another type.
    """

    _dims = 2


class ZeroPad1d(ConstantPad1d):
    """Surround a series with zeros.

    Args:
        padding: How many elements to put left and right; negative to take away. A number, or one a side.

    Shapes:
        x: ``(n, c, l)`` or ``(c, l)``.
        y: the same, longer by both.

    Raises:
        ValueError: ``padding`` does not fit, or leaves nothing.
        TypeError: A setting, or ``x``, is of another type.
    """

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad2d(ConstantPad2d):
    """Surround an image with zeros.

    Args:
        padding: How many elements to put left, right, above and below; negative to take away. A number, or one a side.

    Shapes:
        x: ``(n, c, h, w)`` or ``(c, h, w)``.
        y: the same, wider by the first two, higher by the last two.

    Raises:
        ValueError: ``padding`` does not fit, or leaves nothing.
        TypeError: A setting, or ``x``, is of another type.
    """

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ReflectionPad1d(_Pad):
    """Surround a series with its mirror image, without the mirror's own element.

    Args:
        padding: How many elements to put left and right; negative to take away. A number, or one a side.
            Less than l.

    Shapes:
        x: ``(n, c, l)`` or ``(c, l)``.
        y: the same, longer by both.

    Raises:
        ValueError: ``padding`` does not fit, or leaves nothing.
        TypeError: A setting, or ``x``, is of another type.
    """

    _dims, _mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """Surround an image with its mirror image, without the mirror's own.

    Args:
        padding: How many elements to put left, right, above and below; negative to take away. A number, or one a side.
            Less than w and h.

    Shapes:
        x: ``(n, c, h, w)`` or ``(c, h, w)``.
        y: the same, wider by the first two, higher by the last two.

    Raises:
        ValueError: ``padding`` does not fit, or leaves nothing.
        TypeError: A setting, or ``x``, is of another type.
    """

    _dims, _mode = 2, "reflect"


class ReplicationPad1d(_Pad):
    """Surround a series with its outermost elements.

    Args:
        padding: How many elements to put left and right; negative to take away. A number, or one a side.

    Shapes:
        x: ``(n, c, l)`` or ``(c, l)``.
        y: the same, longer by both.

    Raises:
        ValueError: ``padding`` does not fit, or leaves nothing.
        TypeError: A setting, or ``x``, is of another type.
    """

    _dims, _mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """Surround an image with its outermost elements.

    Args:
        padding: How many elements to put left, right, above and below; negative to take away. A number, or one a side.

    Shapes:
        x: ``(n, c, h, w)`` or ``(c, h, w)``.
        y: the same, wider by the first two, higher by the last two.

    Raises:
        ValueError: ``padding`` does not fit, or leaves nothing.
        TypeError: A setting, or ``x``, is of another type.
    """

    _dims, _mode = 2, "replicate"


class CircularPad1d(_Pad):
    """Surround a series with its other end.

    Args:
        padding: How many elements to put left and right; negative to take away. A number, or one a side.
            At most l.

    Shapes:
        x: ``(n, c, l)`` or ``(c, l)``.
        y: the same, longer by both.

    Raises:
        ValueError: ``padding`` does not fit, or leaves nothing.
        TypeError: A setting, or ``x``, is of another type.
    """

    _dims, _mode = 1, "circular"


class CircularPad2d(_Pad):
    """Surround an image with its other side.

    Args:
        padding: How many elements to put left, right, above and below; negative to take away. A number, or one a side.
            At most w and h.

    Shapes:
        x: ``(n, c, h, w)`` or ``(c, h, w)``.
        y: the same, wider by the first two, higher by the last two.

    Raises:
        ValueError: ``padding`` does not fit, or leaves nothing.
        TypeError: A setting, or ``x``, is of another type.
    """

    _dims, _mode = 2, "circular"

"""Types and checks that every part of the package shares."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, TypeAlias

from fastnn import _core
from fastnn._core import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

GREATEST = 2**31 - 1
"""The greatest setting of a geometry: a stride, a padding, a window's size, a number of threads."""

TensorLike: TypeAlias = "Tensor | NDArray[Any]"
"""A tensor, or an array where a tensor is taken."""


def is_floating(tensor: Tensor) -> bool:
    """Say whether a tensor holds floating point numbers."""
    return bool(tensor.dtype == _core.float32 or tensor.dtype == _core.float64)


def check_device(where: str, device: object) -> None:
    """Accept ``None`` and the CPU, by whatever name, and nothing else.

    Raises:
        ValueError: Any other device.
    """
    if device is not None and str(device).split(":", maxsplit=1)[0] != "cpu":
        raise ValueError(f"{where}: expected device 'cpu', the only one fastnn has; got {str(device)!r}")


def check_dtype(where: str, dtype: object) -> None:
    """Accept ``None`` and the two floating point types.

    Raises:
        TypeError: Any other type.
    """
    if dtype is not None and not (dtype == _core.float32 or dtype == _core.float64):
        raise TypeError(f"{where}: expected dtype float32 or float64; got {dtype}")


def check_at_least(where: str, name: str, value: object, least: int, most: int = 2**63 - 1) -> int:
    """Check an integer setting, and return it as it was read, once.

    Raises:
        TypeError: Not an integer.
        ValueError: Too small, or above ``most``.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{where}: expected {name} to be an int; got {value!r}")
    number = operator.index(value)
    if number > most:
        raise ValueError(f"{where}: expected {name} in [{least}, {most}]; got {number}")
    if number < least:
        raise ValueError(f"{where}: expected {name} of at least {least}; got {number}")
    return number


def check_flag(where: str, name: str, value: object) -> bool:
    """Check a setting that is true or false, or 1 or 0.

    Raises:
        TypeError: It is something else, such as the text "no", which would count as true.
    """
    if not (isinstance(value, bool) or type(value).__name__ in {"bool_", "bool"} or value in (0, 1)):
        raise TypeError(f"{where}: expected {name} to be a bool; got {value!r}")
    return bool(value)


def check_number(where: str, name: str, value: object) -> float:
    """Check that a setting is a real number.

    Raises:
        TypeError: It is not.
    """
    if isinstance(value, bool) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        raise TypeError(f"{where}: expected {name} to be a number; got {value!r}")
    return float(value)  # type: ignore[arg-type]


def shape_of(value: object) -> tuple[int, ...]:
    """Return the shape of a tensor or an array as a plain tuple."""
    return tuple(getattr(value, "shape", ()))

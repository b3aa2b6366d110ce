"""Types and checks that every part of the package shares."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fastnn import _core
from fastnn._core import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

GREATEST = 2**31 - 1
"""The greatest setting of a geometry: a stride, a padding, a window's size, a number of threads."""

TensorLike: TypeAlias = "Tensor | NDArray[Any]"
"""A tensor, or an array where a tensor is taken."""

# Characters of a value that a message shows.
_SHOWN = 80


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
    number = check_integer(where, name, value)
    if number > most:
        raise ValueError(f"{where}: expected {name} in [{least}, {most}]; got {shown(number)}")
    if number < least:
        raise ValueError(f"{where}: expected {name} of at least {least}; got {shown(number)}")
    return number


def check_flag(where: str, name: str, value: object) -> bool:
    """Check a setting that is true or false, or 1 or 0.

    Raises:
        TypeError: It is something else, such as the text "no", which would count as true.
    """
    if not (isinstance(value, bool) or type(value).__name__ in {"bool_", "bool"} or value in (0, 1)):
        raise TypeError(f"{where}: expected {name} to be a bool; got {value!r}")
    return bool(value)


def check_integer(where: str, name: str, value: object) -> int:
    """Return an integer setting as an int.

    Raises:
        TypeError: Not an integer.
    """
    if not isinstance(value, bool) and hasattr(value, "__index__"):
        try:
            return value.__index__()  # type: ignore[no-any-return]
        except TypeError:  # an array of several, or a class
            pass
    raise TypeError(f"{where}: expected {name} to be an int; got {shown(value)}")


def check_number(where: str, name: str, value: object) -> float:
    """Check that a setting is a real number.

    Raises:
        TypeError: It is not.
        ValueError: It is beyond the range of a float.
    """
    array = hasattr(value, "__array__") and not np.iscomplexobj(value)
    real = isinstance(value, Real) or hasattr(value, "__index__") or array
    if real and not isinstance(value, bool):
        try:
            return float(value)  # type: ignore[arg-type]
        except OverflowError:
            raise ValueError(
                f"{where}: expected {name} to be a number that float64 can hold; got {shown(value)}"
            ) from None
        except (TypeError, ValueError, RuntimeError):  # an array or a tensor of several, or a class
            pass
    raise TypeError(f"{where}: expected {name} to be a number; got {shown(value)}")


def check_array(where: str, name: str, value: object) -> NDArray[np.float64]:
    """Return a copy of numbers as a float64 array.

    Raises:
        TypeError: They are none.
        ValueError: They are ragged, or beyond the range of a float.
    """
    try:
        return np.array(value, dtype=np.float64)
    except OverflowError:
        raise ValueError(f"{where}: expected {name} of numbers that float64 can hold; got {shown(value)}") from None
    except TypeError:
        raise TypeError(f"{where}: expected {name} to be numbers; got {shown(value)}") from None


def check_items(where: str, name: str, value: object, what: str = "a sequence") -> list[Any]:
    """Return what an iterable setting yields.

    Raises:
        TypeError: It is no iterable.
    """
    try:
        items = iter(value)  # type: ignore[call-overload]
    except TypeError:
        raise TypeError(f"{where}: expected {name} to be {what}; got {shown(value)}") from None
    return list(items)


def check_tensors(where: str, name: str, value: object) -> list[Tensor]:
    """Return one tensor, or those that an iterable yields.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(value, Tensor):
        return [value]
    tensors = check_items(where, name, value, "a Tensor or several")
    for tensor in tensors:
        check_instance(where, name, tensor, Tensor, "Tensors")
    return tensors


def check_instance(where: str, name: str, value: object, kind: type | tuple[type, ...], what: str) -> None:
    """Check the type of a setting.

    Raises:
        TypeError: Another type.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{where}: expected {name} to be {what}; got {shown(value)}")


def check_choice(where: str, name: str, value: object, choices: Collection[str]) -> None:
    """Check that a setting is one of some words.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(value, str) or value not in choices:
        *words, last = map(repr, choices)
        expected = f"{', '.join(words)} or {last}"
        raise ValueError(f"{where}: expected {name} to be {expected}; got {shown(value)}")


def check_callable(where: str, name: str, value: object, what: str = "a function") -> None:
    """Check that a setting can be called.

    Raises:
        TypeError: It cannot.
    """
    if not callable(value):
        raise TypeError(f"{where}: expected {name} to be {what}; got {shown(value)}")


def check_length(where: str, name: str, value: object) -> int:
    """Return the length of a setting.

    Raises:
        TypeError: It has none.
    """
    try:
        return len(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{where}: expected {name} to have a length; got {shown(value)}") from None


def shown(value: object) -> str:
    """Return a value as messages show it: numbers, text and short sequences as Python writes them, else the type."""
    plain = (int, float, complex, str, bytes, tuple, list, type(None))
    if not isinstance(value, plain):
        return type(value).__name__
    try:
        text = repr(value)
    except ValueError:  # an int of thousands of digits
        return type(value).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def shape_of(value: object) -> tuple[int, ...]:
    """Return the shape of a tensor or an array as a plain tuple."""
    shape = getattr(value, "shape", ())
    return tuple(shape) if isinstance(shape, Iterable) else ()

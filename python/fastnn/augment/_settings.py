"""Checks of settings that several transforms have."""

from __future__ import annotations

import math
from typing import Any

from fastnn._types import GREATEST, check_at_least, check_number

Pair = tuple[float, float]


def finite(where: str, name: str, value: Any) -> float:
    """Return a number that is neither NaN nor infinite.

    Raises:
        ValueError: It is.
        TypeError: It is no number.
    """
    number = check_number(where, name, value)
    if not math.isfinite(number):
        raise ValueError(f"{where}: expected {name} to be finite; got {value}")
    return number


def probability(where: str, name: str, value: Any) -> float:
    """Return a number of [0, 1].

    Raises:
        ValueError: It is outside.
        TypeError: It is no number.
    """
    number = check_number(where, name, value)
    if not 0 <= number <= 1:
        raise ValueError(f"{where}: expected {name} in [0, 1]; got {value}")
    return number


def not_negative(where: str, name: str, value: Any) -> float:
    """Return a finite number of at least 0.

    Raises:
        ValueError: It is below, or infinite.
        TypeError: It is no number.
    """
    number = check_number(where, name, value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{where}: expected {name} of at least 0; got {value}")
    return number


def is_sequence(value: Any) -> bool:
    """Return whether this is several numbers, and not one."""
    return hasattr(value, "__len__")


def pair(where: str, name: str, value: Any) -> Pair:
    """Return the two numbers of a range, from least to greatest.

    Raises:
        ValueError: They are not two finite numbers in this order.
        TypeError: One is no number.
    """
    both = list(value) if is_sequence(value) else []
    if len(both) != 2:
        raise ValueError(f"{where}: expected {name} to be a pair; got {value!r}")
    low, high = (finite(where, name, v) for v in both)
    if low > high:
        raise ValueError(f"{where}: expected {name} from least to greatest; got {value!r}")
    return low, high


def around_zero(where: str, name: str, value: Any) -> Pair:
    """Return (-value, value) for a number of at least 0, or the two numbers of a range.

    Raises:
        ValueError: The number is negative, or the range is none.
        TypeError: It is no number.
    """
    if is_sequence(value):
        return pair(where, name, value)
    most = not_negative(where, name, value)
    return -most, most


def size(where: str, value: Any, least: int = 1, name: str = "size") -> tuple[int, int]:
    """Return (height, width), of one number for both or of two.

    Raises:
        ValueError: One is too small, or there are not two.
        TypeError: One is no int.
    """
    sides = list(value) if is_sequence(value) else [value, value]
    if len(sides) != 2:
        raise ValueError(f"{where}: expected {name} to be an int or a pair; got {value!r}")
    height, width = (check_at_least(where, name, side, least, GREATEST) for side in sides)
    return height, width


def fill(where: str, name: str, value: Any) -> list[float]:
    """Return a list of one number, or of one for each channel.

    Raises:
        ValueError: There is none, or one is not finite.
        TypeError: One is no number.
    """
    values = list(value) if is_sequence(value) else [value]
    if not values:
        raise ValueError(f"{where}: expected {name} of at least one number; got {value!r}")
    return [finite(where, name, v) for v in values]


def erased(where: str, value: Any) -> list[float] | None:
    """Return what to erase with: a list of numbers, or ``None`` for random ones.

    Raises:
        ValueError: It is another string, or not finite.
        TypeError: It is no number.
    """
    if isinstance(value, str):
        if value != "random":
            raise ValueError(f"{where}: expected value to be numbers or 'random'; got {value!r}")
        return None
    return fill(where, "value", value)


def one_of(where: str, name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Return a setting that is one of a few names.

    Raises:
        ValueError: It is another.
    """
    if value not in allowed:
        names = ", ".join(repr(a) for a in allowed[:-1]) + f" or {allowed[-1]!r}"
        raise ValueError(f"{where}: expected {name} {names}; got {value!r}")
    return str(value)


def interpolation(where: str, value: Any) -> str:
    """Return how values between pixels are read.

    Raises:
        ValueError: It is not known.
    """
    return one_of(where, "interpolation", value, ("nearest", "bilinear"))


def weights(where: str, value: Any, count: int) -> list[float]:
    """Return how likely each of some things is, in all 1.

    Raises:
        ValueError: There are not as many, one is negative, or all are 0.
        TypeError: One is no number.
    """
    if value is None:
        return [1 / count] * count
    given = list(value) if is_sequence(value) else []
    if len(given) != count:
        raise ValueError(f"{where}: expected {count} weights; got {value!r}")
    numbers = [not_negative(where, "weights", v) for v in given]
    if not sum(numbers) > 0:
        raise ValueError(f"{where}: expected weights that are not all 0; got {value!r}")
    return [v / sum(numbers) for v in numbers]


def positive(where: str, name: str, value: Any) -> Pair:
    """Return the two numbers of a range above 0.

    Raises:
        ValueError: It is none, or begins at 0 or below.
        TypeError: One is no number.
    """
    low, high = pair(where, name, value)
    if low <= 0:
        raise ValueError(f"{where}: expected {name} above 0; got {value!r}")
    return low, high

"""Checks of settings, worded as the core words its own."""

from __future__ import annotations

import math

from fastnn._types import check_number


def show(value: float) -> str:
    """Return a number as it stands in messages: -1 for -1.0."""
    return str(int(value)) if math.isfinite(value) and value == int(value) else str(value)


def at_least(where: str, name: str, value: object, least: float) -> float:
    """Check that a setting is a number, and not too small; NaN is.

    Raises:
        TypeError: Not a number.
        ValueError: Too small.
    """
    number = check_number(where, name, value)
    if not number >= least:
        raise ValueError(f"{where}: expected {name} of at least {show(least)}; got {show(number)}")
    return number


def at_most(where: str, name: str, value: object, most: float) -> float:
    """Check that a setting is a number, and not too large; NaN is.

    Raises:
        TypeError: Not a number.
        ValueError: Too large.
    """
    number = check_number(where, name, value)
    if not number <= most:
        raise ValueError(f"{where}: expected {name} of at most {show(most)}; got {show(number)}")
    return number


def one_of(where: str, name: str, value: object, choices: tuple[str | None, ...]) -> None:
    """Check that a setting is one of a few.

    Raises:
        ValueError: It is not.
    """
    if value not in choices:
        listed = ", ".join(map(repr, choices[:-1]))
        raise ValueError(f"{where}: expected {name} to be {listed} or {choices[-1]!r}; got {value!r}")


def numbers(where: str, name: str, value: object, count: int) -> tuple[object, ...]:
    """Check that a setting is a tuple or a list of so many.

    Raises:
        ValueError: Another number of them.
        TypeError: Neither a tuple nor a list.
    """
    if not isinstance(value, tuple | list):
        raise TypeError(f"{where}: expected {name} to be a tuple of {count} numbers; got {value!r}")
    if len(value) != count:
        raise ValueError(f"{where}: expected {name} to have {count} numbers; got {len(value)}")
    return tuple(value)

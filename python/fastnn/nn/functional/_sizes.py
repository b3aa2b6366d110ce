"""Settings that are a number, or a number for each dimension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from fastnn._types import check_at_least

Size: TypeAlias = "int | Sequence[int]"
"""A number for all dimensions, or one for each."""


def sizes(where: str, name: str, value: object, dims: int, least: int = 1) -> list[int]:
    """Return a setting as one number for each of ``dims`` dimensions.

    Raises:
        TypeError: It is not made of integers.
        ValueError: There are too many or too few of them, or one is below ``least``.
    """
    if not isinstance(value, (tuple, list)):
        check_at_least(where, name, value, least)
        return [int(value)] * dims  # type: ignore[call-overload]
    if len(value) not in {1, dims}:
        raise ValueError(f"{where}: expected {name} to be an int or {dims} of them; got {value}")
    for size in value:
        check_at_least(where, name, size, least)
    return [int(size) for size in value] * (dims if len(value) == 1 else 1)

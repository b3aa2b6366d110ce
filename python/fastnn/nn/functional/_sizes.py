"""Settings that are a number, or a number for each dimension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from fastnn._types import GREATEST, check_at_least

Size: TypeAlias = "int | Sequence[int]"
"""A number for all dimensions, or one for each."""


def sizes(where: str, name: str, value: object, dims: int, least: int = 1) -> list[int]:
    """Return a setting as one number for each of ``dims`` dimensions.

    Raises:
        TypeError: It is not made of integers.
        ValueError: There are too many or too few of them, or one is below ``least`` or above 2**31 - 1.
    """
    if not isinstance(value, (tuple, list)):
        return [check_at_least(where, name, value, least, GREATEST)] * dims
    # Read once: a subclass may say another length than it has.
    values = list(value)
    if len(values) not in {1, dims}:
        raise ValueError(f"{where}: expected {name} to be an int or {dims} of them; got {value}")
    read = [check_at_least(where, name, size, least, GREATEST) for size in values]
    return read * (dims if len(read) == 1 else 1)

"""Padding."""

from __future__ import annotations

from collections.abc import Sequence

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_integer, check_items, shape_of, shown

# Sums of two, and with a size, are still int64.
_MOST = 2**60
_MODES = ("constant", "reflect", "replicate", "circular")


def pad(input: TensorLike, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Return the input with more elements around it; with fewer where a number is negative.

    Args:
        input: Any shape, for ``"constant"``; otherwise ``(c, l)`` or ``(n, c, l)`` for two numbers, and ``(c, h, w)``
            or ``(n, c, h, w)`` for four, of floating point numbers.
        pad: How many, as (before, after) for the last dimension, then for the one before it, and so on.
        mode: ``"constant"``: ``value``. ``"reflect"``: the input mirrored at its outermost elements, which are not
            repeated; less than its size. ``"replicate"``: the outermost elements. ``"circular"``: the other end of the
            input, at most its size.
        value: The constant; ``None`` for 0.

    Raises:
        ValueError: ``pad`` does not fit the input, or ``mode`` is unknown.
        TypeError: The input cannot hold ``value``, or is of integers in another mode than ``"constant"``.

    Source:
        PyTorch's ``pad``. NumPy's ``"reflect"``, ``"edge"`` and ``"wrap"`` are the same.

    Example:
        >>> import fastnn as fnn
        >>> x = fnn.arange(4.0).reshape(1, 4)
        >>> fnn.nn.functional.pad(x, (2, 1), mode="circular")
        tensor([[2., 3., 0., 1., 2., 3., 0.]])
    """
    if not isinstance(mode, str) or mode not in _MODES:
        raise ValueError(f"pad: expected mode to be one of {', '.join(map(repr, _MODES))}; got {shown(mode)}")
    counts = [check_integer("pad", "numbers in pad", n) for n in check_items("pad", "pad", pad, "pairs of integers")]
    if len(counts) % 2:
        raise ValueError(f"pad: expected pairs of integers; got {tuple(counts)}")
    for number in counts:
        if not -_MOST <= number <= _MOST:
            raise ValueError(f"pad: expected padding in [{-_MOST}, {_MOST}]; got {shown(number)}")
    pairs = list(zip(counts[::2], counts[1::2], strict=True))
    if mode == "constant":
        return _core.pad(input, pairs, mode, False if value is None else value)
    if value:
        raise ValueError(f"pad: expected no value for mode {mode!r}; got {value}")
    if len(pairs) not in {1, 2}:
        raise ValueError(f"pad: expected 2 or 4 numbers for mode {mode!r}; got {len(counts)} for {shape_of(input)}")
    return _core.pad(input, pairs, mode, 0)

"""Errors of a forward pass, told by the layer."""

from __future__ import annotations

import numpy as np

from fastnn._types import shape_of


def layer_error(layer: str, error: Exception, fits: bool, expected: str, input: object) -> ValueError | TypeError:
    """Turn an op's error into the layer's.

    Only called when an op has raised, so that a layer's fast path holds no checks of its own.

    Args:
        layer: The layer with its settings, such as ``Linear(784, 256)``.
        error: What the op raised.
        fits: Whether the input's shape is one that the layer takes.
        expected: The shape that it takes, such as ``(*, 784)``.
        input: What it got.

    Returns:
        The error to raise.
    """
    if isinstance(error, ValueError) and not fits:
        return ValueError(f"{layer}: expected input of shape {expected}; got {shape_of(input)}")
    if not hasattr(input, "shape"):
        return TypeError(f"{layer}: expected a tensor or an array; got {type(input).__name__}")
    if isinstance(error, TypeError) and isinstance(input, np.ndarray) and input.dtype.kind in "biu":
        # The op saw the integers that the array was made, such as int64 for the bytes of an image.
        return TypeError(f"{layer}: expected floating-point numbers; got an array of {input.dtype}")
    return type(error)(f"{layer}: {error}")  # type: ignore[return-value]

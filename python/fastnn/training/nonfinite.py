"""Origin of a NaN or an infinity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor, Undo
from fastnn.nn._hooks import attach
from fastnn.nn.module import Module


def _finite(value: Any) -> bool:
    return bool(np.isfinite(value.detach().numpy() if isinstance(value, Tensor) else value).all())


def _bad_row(array: NDArray[Any]) -> int | None:
    if array.dtype.kind != "f":
        return None
    bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
    return int(bad.argmax()) if bad.any() else None


def _bad_layer(model: Module, x: NDArray[Any]) -> str | None:
    """Run the model once more, and name the first layer that makes a value which is not finite."""
    found: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def hook(module: Module, _args: Any, output: Any) -> None:
            if not found and isinstance(output, Tensor) and not _finite(output):
                found.append(f"layer {name!r}, {module!r}" if name else f"the model, {type(module).__name__}")

        return hook

    with Undo() as undo:
        # Running statistics are not to count this batch twice.
        undo.values(list(model.buffers()))
        undo.grad_mode(False)
        for name, module in model.named_modules():
            if not name or not any(True for _ in module.children()):
                attach(undo, module, watch(name))
        model(_core.as_tensor(x))
    return found[0] if found else None


def explain(model: Module, x: NDArray[Any], y: NDArray[Any], rows: NDArray[np.int64] | None) -> str:
    """Say where the first value that is not finite comes from.

    Args:
        model: As it was before the step.
        x: The batch's inputs.
        y: The batch's targets.
        rows: The rows' numbers in the data, if known.

    Returns:
        A clause that follows "the loss is nan: ".
    """
    for name, array in (("x", x), ("y", y)):
        row = _bad_row(array)
        if row is not None:
            place = f"row {int(rows[row])}" if rows is not None else f"row {row} of the batch"
            return f"{place} of {name} holds a value that is not finite"
    for name, parameter in model.named_parameters():
        if not _finite(parameter):
            return f"parameter {name!r} holds a value that is not finite"
    layer = _bad_layer(model, x)
    if layer is not None:
        return f"the first value that is not finite comes out of {layer}"
    return "the model's output is finite, so it comes out of the loss function"

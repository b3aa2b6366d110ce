"""One fit of a model at a time."""

from __future__ import annotations

from fastnn._core import Undo
from fastnn.nn.module import Module

_fitting: dict[int, object] = {}


def alone(undo: Undo, model: Module) -> None:
    """Keep other fits away from a model until the end of a block.

    Raises:
        RuntimeError: There is one.
    """
    key, mine = id(model), object()
    undo.call(_release, key, mine)
    # One operation, so that of two threads one is the first.
    if _fitting.setdefault(key, mine) is not mine:
        raise RuntimeError("Trainer.fit: this model is being fitted already, in another thread or a callback")


def _release(key: int, mine: object) -> None:
    if _fitting.get(key) is mine:
        del _fitting[key]

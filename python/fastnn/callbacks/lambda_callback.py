"""A callback out of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn.callbacks.base import Callback

_NAMES = tuple(name for name in vars(Callback) if name.startswith("on_"))


class LambdaCallback(Callback):
    """Call functions: ``LambdaCallback(on_epoch_end=lambda epoch, logs: print(logs))``.

    Args:
        **functions: By the names of :class:`Callback`'s methods, with their arguments.

    Raises:
        TypeError: Another name, or something that cannot be called.
    """

    def __init__(self, **functions: Callable[..., Any]) -> None:
        for name, function in functions.items():
            if name not in _NAMES:
                raise TypeError(f"LambdaCallback: expected names among {', '.join(_NAMES)}; got {name!r}")
            if not callable(function):
                raise TypeError(f"LambdaCallback: expected {name} to be a function; got {function!r}")
            setattr(self, name, function)

"""Switches for recording gradients, as context managers and decorators."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from fastnn import _core

if TYPE_CHECKING:
    from typing_extensions import Self

_P = ParamSpec("_P")
_R = TypeVar("_R")


class _GradMode:
    """Set the recording of gradients within a ``with`` block or a function, and restore it afterwards."""

    _mode: bool
    _previous: list[bool]

    def __init__(self) -> None:
        self._previous = []

    def __enter__(self) -> Self:
        self._previous.append(_core.set_grad_enabled(self._mode))
        return self

    def __exit__(self, *exc_info: object) -> None:
        _core.set_grad_enabled(self._previous.pop())

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        mode = self._mode

        @wraps(function)
        def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            previous = _core.set_grad_enabled(mode)
            try:
                return function(*args, **kwargs)
            finally:
                _core.set_grad_enabled(previous)

        return wrapper


class no_grad(_GradMode):  # noqa: N801
    """Record no gradients, within a ``with`` block or a decorated function."""

    _mode = False


class enable_grad(_GradMode):  # noqa: N801
    """Record gradients, even within :class:`no_grad`."""

    _mode = True


class set_grad_enabled(_GradMode):  # noqa: N801
    """Record gradients or not from now on; as a context manager, until the end of the ``with`` block.

    Args:
        mode: Whether to record.
    """

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self._mode = mode
        self._previous.append(_core.set_grad_enabled(mode))

    def __enter__(self) -> Self:
        return self

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        # As a decorator it must not act on what follows the decoration.
        _core.set_grad_enabled(self._previous.pop())
        return super().__call__(function)

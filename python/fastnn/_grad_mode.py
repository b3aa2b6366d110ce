"""Switches for recording gradients, as context managers and decorators."""

from __future__ import annotations

import inspect
import types
import warnings
from collections.abc import Callable, Generator
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from fastnn import _core

if TYPE_CHECKING:
    from typing_extensions import Self

_F = TypeVar("_F", bound=Callable[..., Any])

_CLASS_DECORATED = (
    "Decorating classes is deprecated: decorate functions or methods. To decorate what a class does when it is called, "
    "decorate its __init__."
)


class _GradMode(_core.GradMode):
    """Set the recording of gradients within a ``with`` block or a function, and restore it afterwards.

    Entering, leaving and running a function are calls of the compiled module, so that the mode is restored wherever
    Ctrl-C arrives. An object may be entered again within its block, and by several threads.
    """

    def __call__(self, function: _F) -> _F:
        """Return the function in this mode: also a generator or a coroutine, each time that it is resumed.

        Raises:
            TypeError: Not a function, or an asynchronous generator.
        """
        return cast("_F", _decorated(_core.GradMode(self.mode).run, type(self).__name__, function))


def _decorated(run: Callable[..., Any], name: str, function: Any) -> Any:
    if not callable(function):
        raise TypeError(f"{name}: expected a function to decorate; got {type(function).__name__}")
    if inspect.isasyncgenfunction(function):
        raise TypeError(f"{name}: expected a function, a generator or a coroutine; got an asynchronous generator")
    if inspect.isclass(function):
        warnings.warn(_CLASS_DECORATED, FutureWarning, stacklevel=3)
    elif inspect.isgeneratorfunction(function):

        @wraps(function)
        def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            return (yield from _resumed(run, function(*args, **kwargs)))

        return generator
    elif inspect.iscoroutinefunction(function):

        @wraps(function)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            return await _awaited(run, function(*args, **kwargs))

        return coroutine

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return run(function, *args, **kwargs)

    return wrapper


def _resumed(run: Callable[..., Any], source: Any) -> Generator[Any, Any, Any]:
    """Yield what a generator or a coroutine yields; ``run`` resumes it, and the caller's mode is its own in between."""
    try:
        value = run(source.send, None)
        while True:
            try:
                sent = yield value
            except GeneratorExit:
                run(source.close)
                raise
            except BaseException as error:  # noqa: BLE001  (the generator decides)
                value = run(source.throw, error)
            else:
                value = run(source.send, sent)
    except StopIteration as end:
        return end.value


@types.coroutine
def _awaited(run: Callable[..., Any], source: Any) -> Generator[Any, Any, Any]:
    return (yield from _resumed(run, source))


class no_grad(_GradMode):  # noqa: N801
    """Record no gradients, within a ``with`` block or a decorated function.

    As a decorator it is written ``@no_grad()`` or ``@no_grad``.

    Source:
        PyTorch, where a coroutine that is decorated is only made in this mode; here it runs in it.
    """

    if TYPE_CHECKING:

        @overload
        def __new__(cls) -> Self: ...
        @overload
        def __new__(cls, function: _F) -> _F: ...  # type: ignore[misc]

    def __new__(cls, function: Any = None) -> Any:
        mode = super().__new__(cls, False)
        return mode if function is None else mode(function)


class enable_grad(_GradMode):  # noqa: N801
    """Record gradients, even within :class:`no_grad`. It is used likewise."""

    if TYPE_CHECKING:

        @overload
        def __new__(cls) -> Self: ...
        @overload
        def __new__(cls, function: _F) -> _F: ...  # type: ignore[misc]

    def __new__(cls, function: Any = None) -> Any:
        mode = super().__new__(cls, True)
        return mode if function is None else mode(function)


class set_grad_enabled(_GradMode):  # noqa: N801
    """Record gradients or not from now on; as a context manager, until the end of the ``with`` block.

    Args:
        mode: Whether to record.

    Raises:
        TypeError: ``mode`` is no bool.
    """

    def __new__(cls, mode: bool) -> Self:
        if not isinstance(mode, bool):
            raise TypeError(f"set_grad_enabled: expected mode to be a bool; got {mode!r}")
        return super().__new__(cls, mode, True)

    def __call__(self, function: _F) -> _F:
        # As a decorator it must not act on what follows the decoration.
        self.leave()
        return super().__call__(function)

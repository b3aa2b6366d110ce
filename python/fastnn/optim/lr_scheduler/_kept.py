"""Everything that a schedule changes, to be put back: a step or a state that fails changes nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from fastnn._core import Undo

_F = TypeVar("_F", bound=Callable[..., Any])
Kept: TypeAlias = "tuple[dict[str, Any], dict[int, dict[str, Any]], list[Kept]]"


def keep(scheduler: Any) -> Kept:
    """Return everything that a step changes. Schedules replace their values; callable objects change their own."""
    inner = getattr(scheduler, "_schedulers", ())
    return dict(vars(scheduler)), _function_states(scheduler), [keep(one) for one in inner]


def restore(scheduler: Any, kept: Kept) -> None:
    """Put back what :func:`keep` returned."""
    values, functions, inner = kept
    vars(scheduler).clear()
    vars(scheduler).update(values)
    for function in _functions(scheduler):
        vars(function).clear()
        vars(function).update(functions[id(function)])
    for one, state in zip(getattr(scheduler, "_schedulers", ()), inner, strict=True):
        restore(one, state)


def keep_groups(optimizer: Any) -> list[dict[str, Any]]:
    """Return copies of an optimizer's groups."""
    return [dict(group) for group in optimizer.param_groups]


def restore_groups(optimizer: Any, groups: list[dict[str, Any]]) -> None:
    """Put back what :func:`keep_groups` returned."""
    for group, was in zip(optimizer.param_groups, groups, strict=True):
        group.clear()
        group.update(was)


def all_or_nothing(method: _F) -> _F:
    """Have a method of a schedule change neither it nor its optimizer's groups if it raises."""

    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.optimizer._is_kept:
            return method(self, *args, **kwargs)
        with Undo() as undo:
            undo.call(restore_groups, self.optimizer, keep_groups(self.optimizer))
            undo.call(restore, self, keep(self))
            result = method(self, *args, **kwargs)
            undo.keep()
        return result

    return wrapper  # type: ignore[return-value]


def _functions(scheduler: Any) -> list[Any]:
    functions = [*getattr(scheduler, "lr_lambdas", ()), getattr(scheduler, "_scale_fn_custom", None)]
    # A class has a `__dict__`, too, which is not its own to change.
    return [f for f in functions if isinstance(getattr(f, "__dict__", None), dict)]


def _function_states(scheduler: Any) -> dict[int, dict[str, Any]]:
    return {id(function): dict(vars(function)) for function in _functions(scheduler)}

"""Looking ahead: the settings of steps to come, so that many steps can run in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from fastnn.optim.lr_scheduler.scheduler import LRScheduler
from fastnn.optim.optimizer import Optimizer

_Kept: TypeAlias = "tuple[dict[str, Any], dict[int, dict[str, Any]], list[_Kept]]"


class Ahead:
    """Schedules that are stepped before the steps of the optimizer are taken.

    Args:
        optimizer: The optimizer.
        schedulers: Stepped after every step of it.

    Attributes:
        steps: How many steps were looked at last.
    """

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler]) -> None:
        self._optimizer = optimizer
        self._schedulers = schedulers
        self._groups: list[dict[str, Any]] = []
        self._kept: list[_Kept] = []
        self._error: Exception | None = None
        self.steps = 0
        # They are stepped for steps that are taken inside a plan.
        optimizer._opt_called = True

    def look(self, steps: int) -> list[dict[str, Any]]:
        """Step the schedules for this many steps, and return the groups' settings at each, one after another.

        A schedule may refuse to go on; then there are fewer, and :meth:`settle` raises its error.
        """
        groups = self._optimizer.param_groups
        self._groups = [dict(group) for group in groups]
        self._kept = [_keep(scheduler) for scheduler in self._schedulers]
        settings: list[dict[str, Any]] = []
        self.steps = steps
        for _ in range(steps):
            settings += [dict(group) for group in groups]
            try:
                for scheduler in self._schedulers:
                    scheduler.step()
            except Exception as error:  # noqa: BLE001  (raised once the steps before it are taken)
                self._error = error
                break
        self.steps = len(settings) // len(groups)
        return settings

    def settle(self, steps: int) -> None:
        """Leave the schedules and groups as they are after this many steps, of those that were looked at.

        Raises:
            Exception: That of a schedule that refused to go on after the last of them.
        """
        if steps < self.steps:
            for group, was in zip(self._optimizer.param_groups, self._groups, strict=True):
                group.clear()
                group.update(was)
            for scheduler, kept in zip(self._schedulers, self._kept, strict=True):
                _restore(scheduler, kept)
            for _ in range(steps):
                for scheduler in self._schedulers:
                    scheduler.step()
        elif self._error is not None:
            raise self._error


def _keep(scheduler: LRScheduler) -> _Kept:
    """Everything that a step changes. Schedules replace their values, and callable objects are theirs to keep."""
    inner = getattr(scheduler, "_schedulers", ())
    return dict(vars(scheduler)), _function_states(scheduler), [_keep(one) for one in inner]


def _functions(scheduler: LRScheduler) -> list[Any]:
    functions = [*getattr(scheduler, "lr_lambdas", ()), getattr(scheduler, "_scale_fn_custom", None)]
    return [function for function in functions if hasattr(function, "__dict__")]


def _function_states(scheduler: LRScheduler) -> dict[int, dict[str, Any]]:
    return {id(function): dict(vars(function)) for function in _functions(scheduler)}


def _restore(scheduler: LRScheduler, kept: _Kept) -> None:
    values, functions, inner = kept
    vars(scheduler).clear()
    vars(scheduler).update(values)
    for function in _functions(scheduler):
        vars(function).clear()
        vars(function).update(functions[id(function)])
    for one, state in zip(getattr(scheduler, "_schedulers", ()), inner, strict=True):
        _restore(one, state)

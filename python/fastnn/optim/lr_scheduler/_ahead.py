"""Looking ahead: the settings of steps to come, so that many steps can run in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastnn.optim.lr_scheduler._kept import Kept, keep, keep_groups, restore, restore_groups
from fastnn.optim.lr_scheduler.scheduler import LRScheduler
from fastnn.optim.optimizer import Optimizer


class Ahead:
    """Schedules that are stepped before the steps of the optimizer are taken.

    Args:
        optimizer: The optimizer.
        schedulers: Stepped after every step of it.

    Attributes:
        steps: How many steps were looked at last.
        taken: How many of them the optimizer has taken.
    """

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler]) -> None:
        self._optimizer = optimizer
        self._schedulers = schedulers
        self._groups: list[dict[str, Any]] = []
        self._kept: list[Kept] = []
        self._error: Exception | None = None
        self.steps = 0
        self.taken = 0
        # They are stepped for steps that are taken inside a plan.
        optimizer._opt_called = True

    def look(self, steps: int) -> list[dict[str, Any]]:
        """Step the schedules for this many steps, and return the groups' settings at each, one after another.

        A schedule may refuse to go on; then there are fewer, and :meth:`settle` raises its error.
        """
        groups = self._optimizer.param_groups
        self._groups = keep_groups(self._optimizer)
        self._kept = [keep(scheduler) for scheduler in self._schedulers]
        settings: list[dict[str, Any]] = []
        self.steps = steps
        # They are put back here if one fails, so that none needs to keep what it was.
        self._optimizer._is_kept = True
        try:
            for _ in range(steps):
                settings += [dict(group) for group in groups]
                try:
                    for scheduler in self._schedulers:
                        scheduler.step()
                except Exception as error:  # noqa: BLE001  (raised once the steps before it are taken)
                    self._error = error
                    break
        finally:
            self._optimizer._is_kept = False
        self.steps = len(settings) // len(groups)
        return settings

    def settle(self) -> None:
        """Leave the schedules and groups as they are after the steps that were taken, of those that were looked at.

        Raises:
            Exception: That of a schedule that refused to go on after the last of them.
        """
        if self.taken < self.steps or self._error is not None:
            restore_groups(self._optimizer, self._groups)
            for scheduler, kept in zip(self._schedulers, self._kept, strict=True):
                restore(scheduler, kept)
            for _ in range(self.taken):
                for scheduler in self._schedulers:
                    scheduler.step()
        if self._error is not None and self.taken == self.steps:
            raise self._error

"""Learning rates by epoch."""

from __future__ import annotations

import math
from collections.abc import Callable

from fastnn.callbacks.base import Callback


class LearningRateScheduler(Callback):
    """Set the learning rate before every epoch.

    Args:
        schedule: Called with the epoch, and a parameter group's learning rate; returns the new one, 0 or more.

    Raises:
        TypeError: ``schedule`` can not be called.
        ValueError: It returned something else than a finite number of at least 0.
    """

    def __init__(self, schedule: Callable[[int, float], float]) -> None:
        if not callable(schedule):
            raise TypeError(f"LearningRateScheduler: expected schedule to be a function; got {schedule!r}")
        self._schedule = schedule

    def on_epoch_begin(self, epoch: int) -> None:
        rates = []
        for group in self.trainer.optimizer.param_groups:
            rate = self._schedule(epoch, group["lr"])
            if not isinstance(rate, (int, float)) or not 0 <= rate < math.inf:
                raise ValueError(
                    f"LearningRateScheduler: expected schedule to return a number of at least 0; got {rate!r}"
                )
            rates.append(float(rate))
        for group, rate in zip(self.trainer.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

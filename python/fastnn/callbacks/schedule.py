"""Learning rates by epoch, or by batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from fastnn._types import check_choice
from fastnn.callbacks._monitor import check_measured
from fastnn.callbacks.base import Callback
from fastnn.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau


class LearningRateScheduler(Callback):
    """Set the learning rate while a model is fitted: by a schedule of :mod:`fastnn.optim.lr_scheduler`, or a function.

    A schedule is stepped after every epoch, or after every batch. By batch it costs next to nothing: the rates of many
    batches are worked out beforehand, and the batches run in one call. A schedule goes on where it stands, from one
    fit to the next.

    The history gets ``lr``: the rate of the first parameter group at the beginning of each epoch.

    Args:
        schedule: A schedule of the trainer's optimizer; or a function that is called before every epoch with its
            number and a parameter group's rate, and returns the new one, 0 or more.
        by: ``"epoch"`` or ``"batch"``: when a schedule is stepped.
        monitor: The measure that a :class:`~fastnn.optim.lr_scheduler.ReduceLROnPlateau` is given.

    Raises:
        TypeError: ``schedule`` is neither.
        ValueError: ``by`` is neither; or by batch, which functions and ``ReduceLROnPlateau`` are not; in a fit: the
            schedule is of another optimizer, the function returned something else than a finite number of at least 0,
            or there is no such measure.
    """

    def __init__(
        self,
        schedule: LRScheduler | Callable[[int, float], float],
        by: Literal["epoch", "batch"] = "epoch",
        monitor: str = "val_loss",
    ) -> None:
        where = "LearningRateScheduler"
        if not isinstance(schedule, LRScheduler) and not callable(schedule):
            raise TypeError(f"{where}: expected schedule to be a schedule or a function; got {schedule!r}")
        check_choice(where, "by", by, ("epoch", "batch"))
        if by == "batch" and not isinstance(schedule, LRScheduler):
            raise ValueError(f"{where}: expected a schedule by batch, such as LambdaLR; got a function")
        if by == "batch" and isinstance(schedule, ReduceLROnPlateau):
            raise ValueError(f"{where}: expected a schedule that needs no measure by batch; got ReduceLROnPlateau")
        self.schedule = schedule
        self.by = by
        self.monitor = monitor
        self._rate = math.nan

    def batch_schedulers(self) -> Sequence[LRScheduler]:
        return [self.schedule] if self.by == "batch" and isinstance(self.schedule, LRScheduler) else []

    def on_fit_begin(self) -> None:
        if isinstance(self.schedule, LRScheduler) and self.schedule.optimizer is not self.trainer.optimizer:
            raise ValueError(
                "LearningRateScheduler: expected a schedule of the trainer's optimizer; got "
                f"{type(self.schedule).__name__} of another {type(self.schedule.optimizer).__name__}"
            )

    def on_epoch_begin(self, epoch: int) -> None:
        groups = self.trainer.optimizer.param_groups
        if not isinstance(self.schedule, LRScheduler):
            for group, rate in zip(groups, [self._call(epoch, group["lr"]) for group in groups], strict=True):
                group["lr"] = rate
        self._rate = groups[0]["lr"]

    def _call(self, epoch: int, rate: float) -> float:
        new = self.schedule(epoch, rate)  # type: ignore[operator]
        if not isinstance(new, (int, float)) or not 0 <= new < math.inf:
            raise ValueError(f"LearningRateScheduler: expected schedule to return a number of at least 0; got {new!r}")
        return float(new)

    def epoch_logs(self) -> Mapping[str, float]:
        return {"lr": self._rate}

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:  # noqa: ARG002
        if self.by != "epoch" or not isinstance(self.schedule, LRScheduler):
            return
        if isinstance(self.schedule, ReduceLROnPlateau):
            check_measured("LearningRateScheduler", self.monitor, logs)
            self.schedule.step(logs[self.monitor])
        else:
            self.schedule.step()

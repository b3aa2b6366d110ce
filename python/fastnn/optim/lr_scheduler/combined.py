"""Schedules made of schedules: all at once, one after another, and after a warm-up."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from fastnn._types import check_at_least, check_integer, check_items, shown
from fastnn.optim.lr_scheduler._kept import all_or_nothing
from fastnn.optim.lr_scheduler.plateau import ReduceLROnPlateau
from fastnn.optim.lr_scheduler.ramp import LinearLR
from fastnn.optim.lr_scheduler.scheduler import LRScheduler, check_optimizer
from fastnn.optim.optimizer import Optimizer


class _Combined(LRScheduler):
    """Base of schedules of schedules: checks, start and state."""

    _schedulers: Sequence[LRScheduler]

    def state_dict(self) -> dict[str, Any]:
        """Return the state, with the states of the schedules in it."""
        return {**super().state_dict(), "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def _take(self, state: dict[str, Any]) -> None:
        states, count = state.pop("_schedulers", None), len(self._schedulers)
        if not isinstance(states, (list, tuple)) or len(states) != count:
            got = len(states) if isinstance(states, (list, tuple)) else repr(states)
            raise ValueError(f"{type(self).__name__}.load_state_dict: expected {count} schedules; got {got}")
        super()._take(state)
        for scheduler, one in zip(self._schedulers, states, strict=True):
            scheduler.load_state_dict(one)

    def _reset(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]

    def _update_lr(self, epoch: int | None = None) -> None:  # noqa: ARG002
        # Its turn comes, inside a sequence, which has undone its first step.
        self._initial_step()


def _check(where: str, optimizer: Optimizer | None, schedulers: Sequence[LRScheduler]) -> Optimizer:
    """Check schedules, and return their optimizer.

    Raises:
        ValueError: There is none, one needs a measure, or they belong to several optimizers.
        TypeError: One is no schedule.
    """
    if not isinstance(schedulers, list | tuple):
        raise TypeError(f"{where}: expected schedulers to be a list; got {shown(schedulers)}")
    if len(schedulers) < 1:
        raise ValueError(f"{where}: expected at least one scheduler; got none")
    for index, scheduler in enumerate(schedulers):
        if not hasattr(scheduler, "optimizer"):
            raise TypeError(f"{where}: expected schedulers; got {type(scheduler).__name__} at index {index}")
        if isinstance(scheduler, ReduceLROnPlateau):
            raise ValueError(
                f"{where}: expected schedulers that are stepped without a measure; "
                f"got ReduceLROnPlateau at index {index}"
            )
        optimizer = optimizer or scheduler.optimizer
        if scheduler.optimizer is not optimizer:
            raise ValueError(
                f"{where}: expected schedulers of one optimizer; got {type(scheduler).__name__} of another "
                f"{type(scheduler.optimizer).__name__} at index {index}"
            )
    check_optimizer(where, optimizer)
    assert optimizer is not None
    return optimizer


class ChainedScheduler(_Combined):
    """Several schedules, all stepped at every step, each on what the one before has left.

    Args:
        schedulers: The schedules, which multiply the present rate.
        optimizer: Their optimizer; ``None`` for that of the first.

    Raises:
        ValueError: There is none, they are of several optimizers, or one is a :class:`ReduceLROnPlateau`.
        TypeError: One is no schedule.

    Source:
        PyTorch. In a :class:`SequentialLR`, it begins when its turn comes; PyTorch's can only be the first there.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        self.optimizer = _check("ChainedScheduler", optimizer, schedulers)
        self._schedulers = schedulers
        self._last_lr = self._present()

    def _undo(self) -> None:
        for scheduler in self._schedulers:
            scheduler._undo()

    def _initial_step(self) -> None:
        self._reset()
        for scheduler in self._schedulers:
            scheduler._initial_step()
        self._last_lr = self._present()

    @all_or_nothing
    def step(self) -> None:  # type: ignore[override]
        """Step all of them, in order."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._present()


class SequentialLR(_Combined):
    """Several schedules, one after another.

    From step ``milestones[i - 1]`` on, schedule i has its turn, and counts from 0 then::

        lr(t) = lr of schedulers[i] at step t - milestones[i - 1],   milestones[i - 1] <= t < milestones[i]

    Args:
        optimizer: The optimizer.
        schedulers: The schedules.
        milestones: The step at which each but the first begins, ascending.
        last_epoch: Number of the step to go on from; -1 to begin.

    Raises:
        ValueError: There is no schedule, they are of several optimizers, one is a :class:`ReduceLROnPlateau`, or the
            milestones are not one fewer, or not ascending.
        TypeError: One is no schedule.

    Source:
        PyTorch, which does not check the order of the milestones, and does not nest: only its first schedule may be a
        sequence or chain.
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        where = type(self).__name__
        self.optimizer = _check(where, optimizer, schedulers)
        milestones = check_items(where, "milestones", milestones)
        last_epoch = check_integer(where, "last_epoch", last_epoch)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"{where}: expected {len(schedulers) - 1} milestones with {len(schedulers)} schedulers; "
                f"got {len(milestones)}"
            )
        for milestone in milestones:
            check_at_least(where, "milestones", milestone, 0)
        if milestones != sorted(milestones):
            raise ValueError(f"{where}: expected ascending milestones; got {milestones}")
        self._schedulers = schedulers
        self._milestones = milestones
        for scheduler in schedulers:
            scheduler._undo()
        self._initial_step()
        self.last_epoch = last_epoch + 1

    def _first(self) -> LRScheduler:
        return self._schedulers[bisect_right(self._milestones, 0)]

    def _undo(self) -> None:
        self._first()._undo()

    def _initial_step(self) -> None:
        self.last_epoch = 0
        self._reset()
        first = self._first()
        first._initial_step()
        self._last_lr = first.get_last_lr()

    @all_or_nothing
    def step(self) -> None:  # type: ignore[override]
        """Step the schedule whose turn it is."""
        self.last_epoch += 1
        index = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[index]
        if index > 0 and self._milestones[index - 1] == self.last_epoch:
            scheduler._update_lr(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class WarmupLR(SequentialLR):
    """A linear warm-up, then another schedule, or the rate as it is.

    With n = ``warmup_iters``, at step t::

        lr = initial_lr * (start_factor + (1 - start_factor) * t / n)       t < n
             the rate of after at step t - n                                otherwise

    Args:
        optimizer: The optimizer.
        warmup_iters: Number of steps below the full rate, at least 1.
        after: The schedule that follows; ``None`` for none.
        start_factor: Part of the rate at step 0, in (0, 1]; ``None`` for 1 / (n + 1), so that the rate rises by equal
            parts from its first.
        last_epoch: Number of the step to go on from; -1 to begin.

    Raises:
        ValueError: A setting is out of range, or ``after`` belongs to another optimizer.
        TypeError: A setting is of another type.

    Source:
        Goyal et al. 2017, https://arxiv.org/abs/1706.02677, section 2.2, "gradual warmup". In PyTorch it is a
        :class:`SequentialLR` of :class:`LinearLR` and the other one.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_iters: int,
        after: LRScheduler | None = None,
        start_factor: float | None = None,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("WarmupLR", optimizer)
        check_at_least("WarmupLR", "warmup_iters", warmup_iters, 1)
        factor = 1 / (warmup_iters + 1) if start_factor is None else start_factor
        warmup = LinearLR(optimizer, factor, 1.0, warmup_iters)
        schedulers, milestones = ([warmup], []) if after is None else ([warmup, after], [warmup_iters])
        super().__init__(optimizer, schedulers, milestones, last_epoch)

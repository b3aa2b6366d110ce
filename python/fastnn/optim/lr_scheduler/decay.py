"""Decay by factors, at intervals or at every step."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable

from fastnn._types import check_at_least, check_items
from fastnn.optim.lr_scheduler.scheduler import LRScheduler, check_nonnegative, check_positive
from fastnn.optim.optimizer import Optimizer


class StepLR(LRScheduler):
    """Decay by a factor at regular intervals.

    At step t::

        lr = initial_lr * gamma ** (t // step_size)

    Args:
        optimizer: The optimizer.
        step_size: Steps between two decays, at least 1.
        gamma: The factor, at least 0.
        last_epoch: Number of the step to go on from; -1 to begin.

    Raises:
        ValueError: A setting is out of range; PyTorch divides by a ``step_size`` of 0 at its first step.
        TypeError: A setting is of another type.

    Source:
        PyTorch; Géron calls it piecewise constant scheduling.

    Example:
        >>> from fastnn import nn, optim
        >>> optimizer = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
        >>> schedule = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
        >>> rates = []
        >>> for _ in range(5):
        ...     rates += schedule.get_last_lr()
        ...     optimizer.step()
        ...     schedule.step()
        >>> rates
        [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        check_at_least("StepLR", "step_size", step_size, 1)
        check_nonnegative("StepLR", "gamma", gamma)
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _rates(self) -> list[float]:
        if self.last_epoch == 0 or self.last_epoch % self.step_size:
            return self._present()
        return self._times(self.gamma)

    def _get_closed_form_lr(self) -> list[float] | None:
        return [base * float(self.gamma) ** (self.last_epoch // self.step_size) for base in self.base_lrs]


class MultiStepLR(LRScheduler):
    """Decay by a factor at given steps.

    At step t::

        lr = initial_lr * gamma ** (number of milestones m with m <= t)

    Args:
        optimizer: The optimizer.
        milestones: The steps, at least 0, in any order; one that is there twice counts twice.
        gamma: The factor, at least 0.
        last_epoch: Number of the step to go on from; -1 to begin.

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        PyTorch.
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        given = check_items("MultiStepLR", "milestones", milestones)
        for milestone in given:
            check_at_least("MultiStepLR", "milestones", milestone, 0)
        self.milestones = Counter(int(milestone) for milestone in given)
        check_nonnegative("MultiStepLR", "gamma", gamma)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _rates(self) -> list[float]:
        if self.last_epoch not in self.milestones:
            return self._present()
        return self._times(float(self.gamma) ** self.milestones[self.last_epoch])

    def _get_closed_form_lr(self) -> list[float] | None:
        passed = bisect_right(sorted(self.milestones.elements()), self.last_epoch)
        return [base * float(self.gamma) ** passed for base in self.base_lrs]


class ExponentialLR(LRScheduler):
    """Decay by a factor at every step.

    At step t::

        lr = initial_lr * gamma**t

    Args:
        optimizer: The optimizer.
        gamma: The factor, at least 0.
        last_epoch: Number of the step to go on from; -1 to begin.

    Raises:
        ValueError: ``gamma`` is out of range.
        TypeError: ``gamma`` is not a number.

    Source:
        PyTorch.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        check_nonnegative(type(self).__name__, "gamma", gamma)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _rates(self) -> list[float]:
        return self._present() if self._is_initial else self._times(self.gamma)

    def _get_closed_form_lr(self) -> list[float] | None:
        return [base * float(self.gamma) ** self.last_epoch for base in self.base_lrs]


class PowerOfTenLR(ExponentialLR):
    """Decay tenfold every n steps, a little at every one.

    At step t::

        lr = initial_lr * 10 ** (-t / n)

    Args:
        optimizer: The optimizer.
        n: Steps in which the rate becomes a tenth, above 0.
        last_epoch: Number of the step to go on from; -1 to begin.

    Raises:
        ValueError: ``n`` is not above 0.
        TypeError: ``n`` is not a number.

    Source:
        Senior et al. 2013, https://doi.org/10.1109/ICASSP.2013.6638963, "exponential scheduling". It is
        ``ExponentialLR`` with ``gamma = 10 ** (-1 / n)``; PyTorch has no name for it.
    """

    def __init__(self, optimizer: Optimizer, n: float, last_epoch: int = -1) -> None:
        check_positive("PowerOfTenLR", "n", n)
        self.n = n
        super().__init__(optimizer, 10.0 ** (-1.0 / n), last_epoch)

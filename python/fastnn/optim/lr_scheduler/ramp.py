"""Schedules that reach their end after a number of steps, and stay there."""

from __future__ import annotations

from fastnn._types import check_at_least, check_number
from fastnn.optim.lr_scheduler.scheduler import LRScheduler
from fastnn.optim.optimizer import Optimizer


class ConstantLR(LRScheduler):
    """A part of the rate at first, then all of it.

    At step t::

        lr = initial_lr * (factor if t < total_iters else 1)

    Args:
        optimizer: The optimizer.
        factor: The part, in (0, 1].
        total_iters: Number of steps with it, at least 1.
        last_epoch: Number of the step to go on from; -1 to begin.

    Raises:
        ValueError: A setting is out of range. PyTorch takes a ``factor`` of 0, and divides by it in the end.
        TypeError: A setting is of another type.

    Source:
        PyTorch.
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 < check_number("ConstantLR", "factor", factor) <= 1:
            raise ValueError(f"ConstantLR: expected factor in (0, 1]; got {factor}")
        check_at_least("ConstantLR", "total_iters", total_iters, 1)
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _rates(self) -> list[float]:
        if self.last_epoch == 0:
            return self._times(self.factor)
        if self.last_epoch != self.total_iters:
            return self._present()
        return self._times(1.0 / self.factor)

    def _get_closed_form_lr(self) -> list[float] | None:
        factor = 1.0 if self.last_epoch >= self.total_iters else self.factor
        return [base * factor for base in self.base_lrs]


class LinearLR(LRScheduler):
    """From one part of the rate to another, along a line.

    At step t::

        lr = initial_lr * (start_factor + (end_factor - start_factor) * min(t / total_iters, 1))

    Args:
        optimizer: The optimizer.
        start_factor: The first part, in (0, 1].
        end_factor: The last part, in [0, 1].
        total_iters: Steps between them, at least 1.
        last_epoch: Number of the step to go on from; -1 to begin.

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        PyTorch. As a warm-up: Goyal et al. 2017, https://arxiv.org/abs/1706.02677, section 2.2; see :class:`WarmupLR`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < check_number("LinearLR", "start_factor", start_factor) <= 1:
            raise ValueError(f"LinearLR: expected start_factor in (0, 1]; got {start_factor}")
        if not 0 <= check_number("LinearLR", "end_factor", end_factor) <= 1:
            raise ValueError(f"LinearLR: expected end_factor in [0, 1]; got {end_factor}")
        check_at_least("LinearLR", "total_iters", total_iters, 1)
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _rates(self) -> list[float]:
        if self.last_epoch == 0:
            return self._times(self.start_factor)
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._present()
        # The ratio of neighbors on the line.
        rise = self.end_factor - self.start_factor
        return self._times(1.0 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise))

    def _get_closed_form_lr(self) -> list[float] | None:
        share = min(self.total_iters, self.last_epoch) / self.total_iters
        factor = self.start_factor + (self.end_factor - self.start_factor) * share
        return [base * factor for base in self.base_lrs]


class PolynomialLR(LRScheduler):
    """Down to 0 along a power.

    At step t::

        lr = initial_lr * (1 - min(t / total_iters, 1)) ** power

    Args:
        optimizer: The optimizer.
        total_iters: Steps until 0, at least 1.
        power: The power, at least 0; 1 is a line.
        last_epoch: Number of the step to go on from; -1 to begin.

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        PyTorch. Keras' ``PolynomialDecay`` ends at a rate other than 0.
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        check_at_least("PolynomialLR", "total_iters", total_iters, 1)
        if not check_number("PolynomialLR", "power", power) >= 0:
            raise ValueError(f"PolynomialLR: expected power of at least 0; got {power}")
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def _rates(self) -> list[float]:
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._present()
        now, before = (1.0 - step / self.total_iters for step in (self.last_epoch, self.last_epoch - 1))
        return self._times((now / before) ** self.power)

    def _get_closed_form_lr(self) -> list[float] | None:
        left = 1.0 - min(self.total_iters, self.last_epoch) / self.total_iters
        return [base * left**self.power for base in self.base_lrs]

"""Cosine annealing, with and without restarts."""

from __future__ import annotations

import math
from typing import Any

from fastnn._types import check_integer, check_number, shown
from fastnn.optim.lr_scheduler._kept import all_or_nothing
from fastnn.optim.lr_scheduler.scheduler import LRScheduler, check_positive, cosine
from fastnn.optim.optimizer import Optimizer

_WARM = "CosineAnnealingWarmRestarts"
# Steps that a schedule can count: the integers that float64 has.
_MOST = 2**53


class CosineAnnealingLR(LRScheduler):
    """Down to a least rate along half a cosine, and up again, and so on.

    At step t::

        lr = eta_min + (initial_lr - eta_min) * (1 + cos(pi * t / T_max)) / 2

    It is worked out from the present rate, so that other schedules can change it too.

    Args:
        optimizer: The optimizer.
        T_max: Steps down, above 0.
        eta_min: The least rate.
        last_epoch: Number of the step to go on from; -1 to begin.

    Raises:
        ValueError: ``T_max`` is not above 0.
        TypeError: A setting is not a number.

    Source:
        Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983, eq. 5, without its restarts. Keras' ``CosineDecay``
        stays at the least rate; this one rises again after ``T_max``, as PyTorch's does.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:  # noqa: N803
        check_positive("CosineAnnealingLR", "T_max", T_max)
        check_number("CosineAnnealingLR", "eta_min", eta_min)
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _height(self, step: int) -> float:
        return 1 + cosine(step, self.T_max)

    def _rates(self) -> list[float]:
        t, least = self.last_epoch, self.eta_min
        if self._is_initial:
            return self._present()
        if self._step_count == 1 and t > 0:
            return self._get_closed_form_lr()
        if (t - 1 - self.T_max) % (2 * self.T_max) == 0:
            # The rate stood at its least, of which no multiple leads up again.
            rise = (1 - cosine(1, self.T_max)) / 2
            groups = self.optimizer.param_groups
            return [g["lr"] + (base - least) * rise for g, base in zip(groups, self.base_lrs, strict=True)]
        ratio = self._height(t) / self._height(t - 1)
        return [ratio * (group["lr"] - least) + least for group in self.optimizer.param_groups]

    def _get_closed_form_lr(self) -> list[float]:
        height = self._height(self.last_epoch) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Down to a least rate along half a cosine, then from the top again.

    At step ``T_cur`` of a run of ``T_i`` steps::

        lr = eta_min + (initial_lr - eta_min) * (1 + cos(pi * T_cur / T_i)) / 2

    The first run has ``T_0`` steps, and each further one ``T_mult`` times as many as the one before. The rate does
    not depend on the present one, so other schedules cannot change it too.

    Args:
        optimizer: The optimizer.
        T_0: Steps of the first run, in [1, 2**53].
        T_mult: Factor of the length, an integer in [1, 2**53].
        eta_min: The least rate.
        last_epoch: Number of the step to go on from; -1 to begin.

    Raises:
        ValueError: A setting is out of range or, as in PyTorch, of another type.

    Source:
        Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983, SGDR.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,  # noqa: N803
        T_mult: int = 1,  # noqa: N803
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        for name, value in (("T_0", T_0), ("T_mult", T_mult)):
            if not isinstance(value, int) or not 1 <= value <= _MOST:
                raise ValueError(f"{_WARM}: expected {name} to be an int in [1, {_MOST}]; got {shown(value)}")
        if not isinstance(eta_min, (int, float)) or not math.isfinite(check_number(_WARM, "eta_min", eta_min)):
            raise ValueError(f"{_WARM}: expected eta_min to be a finite number; got {shown(eta_min)}")
        if check_integer(_WARM, "last_epoch", last_epoch) > _MOST:
            raise ValueError(f"{_WARM}: expected last_epoch of at most {_MOST}; got {shown(last_epoch)}")
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def _take(self, state: dict[str, Any]) -> None:
        lengths = {name: state[name] for name in ("T_0", "T_mult", "T_i")}
        _check_lengths(f"{_WARM}.load_state_dict", **lengths)
        super()._take(state)

    def _rates(self) -> list[float]:
        height = (1 + cosine(self.T_cur, self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]

    @all_or_nothing
    def step(self, epoch: float | None = None) -> None:
        """Set the rates of the next step.

        Args:
            epoch: A step to go to, in [0, 2**53], which may be a fraction: ``epoch + batch / batches``.

        Raises:
            ValueError: ``epoch`` is out of range.
        """
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            self.last_epoch += 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            if not 0 <= check_number(f"{_WARM}.step", "epoch", epoch) <= _MOST:
                raise ValueError(f"{_WARM}.step: expected epoch in [0, {_MOST}]; got {shown(epoch)}")
            self._go_to(epoch)
            self.last_epoch = math.floor(epoch)
        self._set(self._computed())

    def _go_to(self, epoch: float) -> None:
        if epoch < self.T_0:
            self.T_i, self.T_cur = self.T_0, epoch
        elif self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:
            # The first n runs have T_0 * (T_mult ** n - 1) / (T_mult - 1) steps; a logarithm would round at their ends.
            self.T_i, self.T_cur = self.T_0, epoch
            while self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult


def _check_lengths(where: str, **lengths: object) -> None:
    """Check lengths of runs: shorter or fractional ones would never end.

    Raises:
        ValueError: One is not an int in [1, 2**53].
    """
    for name, value in lengths.items():
        if not isinstance(value, int) or not 1 <= value <= _MOST:
            raise ValueError(f"{where}: expected {name} to be an int in [1, {_MOST}]; got {shown(value)}")

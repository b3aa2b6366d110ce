"""Reducing the rate when a measure no longer improves."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal, SupportsFloat

from fastnn._types import check_at_least, check_choice, check_number
from fastnn.optim.lr_scheduler._kept import all_or_nothing
from fastnn.optim.lr_scheduler.scheduler import _EPOCH_GIVEN, LRScheduler, check_optimizer
from fastnn.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """Reduce the rate when a measure has not improved for a number of epochs.

    After more than ``patience`` epochs without a better value::

        lr = max(lr * factor, min_lr)        if that is more than eps less

    A value is better if it is below ``best * (1 - threshold)`` (``"rel"``) or ``best - threshold`` (``"abs"``); with
    mode ``"max"``, if it is above ``best * (1 + threshold)`` or ``best + threshold``.

    Args:
        optimizer: The optimizer.
        mode: ``"min"`` or ``"max"``: which value is better.
        factor: What the rate is multiplied with, in [0, 1).
        patience: Number of epochs that may be no better, at least 0.
        threshold: By how much a value must be better.
        threshold_mode: ``"rel"`` or ``"abs"``.
        cooldown: Number of epochs after a reduction that do not count, at least 0.
        min_lr: The least rate, or one for each group.
        eps: A reduction by no more than this is not made.

    Attributes:
        best: The best value so far.
        num_bad_epochs: Number of epochs since.

    Raises:
        ValueError: A setting is out of range, or ``min_lr`` has another length than the groups.
        TypeError: A setting is of another type.

    Source:
        PyTorch. Keras reduces after ``patience`` epochs, not more, and has no relative threshold.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        where = "ReduceLROnPlateau"
        if not 0 <= check_number(where, "factor", factor) < 1:
            raise ValueError(f"{where}: expected factor in [0, 1); got {factor}")
        check_optimizer(where, optimizer)
        check_at_least(where, "patience", patience, 0)
        check_at_least(where, "cooldown", cooldown, 0)
        for name, value, choices in (
            ("mode", mode, ("min", "max")),
            ("threshold_mode", threshold_mode, ("rel", "abs")),
        ):
            check_choice(where, name, value, choices)
        check_number(where, "threshold", threshold)
        check_number(where, "eps", eps)
        self.optimizer = optimizer
        self.factor = factor
        self.default_min_lr: float | None = None
        if isinstance(min_lr, (list, tuple)):
            if len(min_lr) != len(optimizer.param_groups):
                raise ValueError(
                    f"{where}: expected min_lr for each of {len(optimizer.param_groups)} groups; got {len(min_lr)}"
                )
            self.min_lrs: list[float] = [check_number(where, "min_lr", one) for one in min_lr]
        else:
            self.default_min_lr = check_number(where, "min_lr", min_lr)
            self.min_lrs = [self.default_min_lr] * len(optimizer.param_groups)
        self.patience = patience
        self.cooldown = cooldown
        self.eps = eps
        self.last_epoch = 0
        self.mode = mode
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self.best = self.mode_worse
        self.cooldown_counter = 0
        self.num_bad_epochs = 0
        self._last_lr = self._present()

    @property
    def in_cooldown(self) -> bool:
        """Return whether the last reduction is so recent that no epoch counts."""
        return self.cooldown_counter > 0

    @all_or_nothing
    def step(self, metrics: SupportsFloat, epoch: int | None = None) -> None:  # type: ignore[override]
        """Take an epoch's value, and reduce the rates if it is time.

        Args:
            metrics: The value of the measure. NaN is no improvement.
            epoch: Number of the epoch. As in PyTorch, that is deprecated.
        """
        value = check_number(f"{type(self).__name__}.step", "metrics", metrics)
        if epoch is None:
            epoch = self.last_epoch + 1
        else:
            check_number(f"{type(self).__name__}.step", "epoch", epoch)
            warnings.warn(_EPOCH_GIVEN, UserWarning, stacklevel=2)
        self.last_epoch = epoch
        if self._is_better(value):
            self.best = value
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = self._present()

    def _is_better(self, value: float) -> bool:
        sign = 1.0 if self.mode == "min" else -1.0
        if self.threshold_mode == "rel":
            bar = self.best * (1.0 - sign * self.threshold)
        else:
            bar = self.best - sign * self.threshold
        return sign * value < sign * bar

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):
            if self.default_min_lr is None:
                raise RuntimeError(
                    f"ReduceLROnPlateau: expected min_lrs for each of {len(groups)} groups, of which some were added "
                    f"since; got {len(self.min_lrs)}"
                )
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, least in zip(groups, self.min_lrs, strict=True):
            rate = max(float(group["lr"]) * self.factor, least)
            if group["lr"] - rate > self.eps:
                group["lr"] = rate

    def _take(self, state: dict[str, Any]) -> None:
        super()._take(state)
        self.mode_worse = math.inf if self.mode == "min" else -math.inf

"""Cyclical rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from fastnn._types import check_callable, check_choice, check_number
from fastnn.optim.lr_scheduler._momentum import set_momentum, uses_beta1
from fastnn.optim.lr_scheduler.scheduler import (
    LRScheduler,
    check_nonnegative,
    check_optimizer,
    check_positive,
    function_state,
    per_group,
    take_function_state,
)
from fastnn.optim.optimizer import Optimizer

_MODES = ("triangular", "triangular2", "exp_range")


class CyclicLR(LRScheduler):
    """Up and down between two rates along lines; momentum goes the other way.

    At step t, in cycle c = 1, 2, … of ``step_size_up + step_size_down`` steps, with h rising from 0 to 1 and falling
    back to 0 in every cycle::

        lr = base_lr + (max_lr - base_lr) * h * scale
        momentum = max_momentum - (max_momentum - base_momentum) * h * scale
        scale = 1("triangular"), 1 / 2 ** (c - 1)("triangular2"), gamma ** t("exp_range")

    It is meant to be stepped after every batch.

    Args:
        optimizer: The optimizer.
        base_lr: The lower rate, or one for each group; it becomes the group's rate.
        max_lr: The upper rate, or one for each group.
        step_size_up: Steps up, above 0.
        step_size_down: Steps down, at least 0; ``None`` for as many.
        mode: ``"triangular"``, ``"triangular2"`` or ``"exp_range"``; ignored with ``scale_fn``.
        gamma: Of ``"exp_range"``.
        scale_fn: The scale as a function of the cycle, or of the step.
        scale_mode: ``"cycle"`` or ``"iterations"``: what ``scale_fn`` is a function of.
        cycle_momentum: Whether ``momentum``, or the first of ``betas``, is set too.
        base_momentum: The lower momentum, or one for each group.
        max_momentum: The upper momentum, or one for each group.
        last_epoch: Number of the step to go on from; -1 to begin.

    Raises:
        ValueError: A setting is out of range, a list has another length than the groups, or the optimizer has no
            momentum.
        TypeError: A setting is of another type.

    Source:
        Smith 2017, https://arxiv.org/abs/1506.01186.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: float = 2000,
        step_size_down: float | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        where = "CyclicLR"
        check_optimizer(where, optimizer)
        base_lrs = per_group(where, "base_lr", base_lr, optimizer)
        self.max_lrs = per_group(where, "max_lr", max_lr, optimizer)
        check_positive(where, "step_size_up", step_size_up)
        if step_size_down is None:
            step_size_down = step_size_up
        check_nonnegative(where, "step_size_down", step_size_down)
        if scale_fn is None:
            check_choice(where, "mode", mode, _MODES)
        else:
            check_callable(where, "scale_fn", scale_fn)
        check_number(where, "gamma", gamma)
        check_choice(where, "scale_mode", scale_mode, ("cycle", "iterations"))
        self.total_size = float(step_size_up) + float(step_size_down)
        self.step_ratio = float(step_size_up) / self.total_size
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = uses_beta1(where, optimizer)
            self.base_momentums = per_group(where, "base_momentum", base_momentum, optimizer)
            self.max_momentums = per_group(where, "max_momentum", max_momentum, optimizer)
        if last_epoch == -1:
            for index, group in enumerate(optimizer.param_groups):
                group["lr"] = base_lrs[index]
                if cycle_momentum:
                    group["max_momentum"] = self.max_momentums[index]
                    group["base_momentum"] = self.base_momentums[index]
        super().__init__(optimizer, last_epoch)
        # Not `initial_lr`, which another schedule may have made before.
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """Return the scale of cycle or step ``x``."""
        if self._scale_fn_custom is not None:
            return check_number("CyclicLR", "the result of scale_fn", self._scale_fn_custom(x))
        if self.mode == "triangular":
            return 1.0
        return float(1 / 2.0 ** (x - 1) if self.mode == "triangular2" else self.gamma**x)

    def _rates(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            groups = self.optimizer.param_groups
            for group, low, high in zip(groups, self.base_momentums, self.max_momentums, strict=True):
                set_momentum(group, high - (high - low) * height * scale, self.use_beta1)
        return [low + (high - low) * height * scale for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Return the state. Of a callable object as ``scale_fn`` it has the attributes; functions are not saved."""
        return {**super().state_dict(), "_scale_fn_custom": function_state(self._scale_fn_custom)}

    def _take(self, state: dict[str, Any]) -> None:
        saved = state.pop("_scale_fn_custom", None)
        super()._take(state)
        take_function_state(self._scale_fn_custom, saved)

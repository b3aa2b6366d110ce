"""The one-cycle policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from fastnn._types import check_choice, check_number
from fastnn.optim.lr_scheduler._momentum import set_momentum, uses_beta1
from fastnn.optim.lr_scheduler.scheduler import LRScheduler, check_optimizer, check_positive, cosine, per_group
from fastnn.optim.optimizer import Optimizer


class OneCycleLR(LRScheduler):
    """Up to a large rate, then down to a tiny one; momentum goes the other way.

    With N = ``total_steps``, ``initial_lr = max_lr / div_factor`` and ``min_lr = initial_lr / final_div_factor``, the
    rate goes from one to the next along half a cosine, or a line::

        initial_lr  →  max_lr      until step pct_start * N - 1
        max_lr      →  min_lr      until step N - 1

    or, with ``three_phase``, from ``max_lr`` back to ``initial_lr`` in as many steps as up, and then to ``min_lr``.
    It is to be stepped after every batch.

    Args:
        optimizer: The optimizer.
        max_lr: The large rate, or one for each group.
        total_steps: Number of steps, at least 1; or ``epochs`` and ``steps_per_epoch``.
        epochs: Number of epochs, at least 1.
        steps_per_epoch: Batches an epoch, at least 1.
        pct_start: Share of the steps up, a float in [0, 1].
        anneal_strategy: ``"cos"`` or ``"linear"``.
        cycle_momentum: Whether ``momentum``, or the first of ``betas``, is set too.
        base_momentum: Momentum at ``max_lr``, or one for each group.
        max_momentum: Momentum at the other ends, or one for each group.
        div_factor: ``max_lr / initial_lr``, above 0.
        final_div_factor: ``initial_lr / min_lr``, above 0.
        three_phase: Whether the way down has two parts, as in the paper.
        last_epoch: Number of the step to go on from; -1 to begin.

    Raises:
        ValueError: A setting is out of range, a list has another length than the groups, the optimizer has no
            momentum; or, while it runs, it is stepped more than N times.
        TypeError: Not one of fastnn's optimizers, or a rate that is no number.

    Source:
        Smith & Topin 2018, https://arxiv.org/abs/1708.07120; two phases and the cosine are fastai's, and PyTorch's
        defaults. A phase without steps, at which PyTorch divides by 0, counts as ended.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        where = "OneCycleLR"
        check_optimizer(where, optimizer)
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"{where}: expected pct_start to be a float in [0, 1]; got {pct_start!r}")
        check_choice(where, "anneal_strategy", anneal_strategy, ("cos", "linear"))
        check_positive(where, "div_factor", div_factor)
        check_positive(where, "final_div_factor", final_div_factor)
        max_lrs = per_group(where, "max_lr", max_lr, optimizer)
        self._schedule_phases = _phases(self.total_steps, pct_start, three_phase)
        self._anneal_func_type = anneal_strategy
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = uses_beta1(where, optimizer)
            lowest = per_group(where, "base_momentum", base_momentum, optimizer)
            highest = per_group(where, "max_momentum", max_momentum, optimizer)
        if last_epoch == -1:
            for index, group in enumerate(optimizer.param_groups):
                group["max_lr"] = max_lrs[index]
                group["initial_lr"] = max_lrs[index] / div_factor
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    group["max_momentum"], group["base_momentum"] = highest[index], lowest[index]
        super().__init__(optimizer, last_epoch)

    def _anneal(self, start: float, end: float, share: float) -> float:
        if self._anneal_func_type == "cos":
            return end + (start - end) / 2.0 * (cosine(share, 1) + 1)
        return (end - start) * share + start

    def _rates(self) -> list[float]:
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(f"OneCycleLR.step: expected at most {self.total_steps} steps; got {step}")
        begin = 0.0
        for phase in self._schedule_phases:
            if step <= phase["end_step"] or phase is self._schedule_phases[-1]:
                break
            begin = phase["end_step"]
        length = phase["end_step"] - begin
        share = (step - begin) / length if length else 1.0
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._anneal(group[phase["start_lr"]], group[phase["end_lr"]], share))
            if self.cycle_momentum:
                momentum = self._anneal(group[phase["start_momentum"]], group[phase["end_momentum"]], share)
                set_momentum(group, momentum, self.use_beta1)
        return rates


def _total_steps(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total_steps is None and (epochs is None or steps_per_epoch is None):
        raise ValueError("OneCycleLR: expected total_steps, or both epochs and steps_per_epoch; got neither")
    given = (
        {"epochs": epochs, "steps_per_epoch": steps_per_epoch} if total_steps is None else {"total_steps": total_steps}
    )
    product = 1
    for name, value in given.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"OneCycleLR: expected {name} to be an int of at least 1; got {value!r}")
        product *= value
    check_number("OneCycleLR", "the number of steps", product)
    return product


def _phases(total_steps: int, pct_start: float, three_phase: bool) -> list[dict[str, Any]]:
    """Return the end of each phase, and the settings of a group at its two ends."""
    up = float(pct_start * total_steps)
    ends = [
        (up - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum"),
        (total_steps - 1, "max_lr", "min_lr", "base_momentum", "max_momentum"),
    ]
    if three_phase:
        ends[1:] = [
            (2 * up - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
            (total_steps - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
        ]
    keys = ("end_step", "start_lr", "end_lr", "start_momentum", "end_momentum")
    return [dict(zip(keys, phase, strict=True)) for phase in ends]

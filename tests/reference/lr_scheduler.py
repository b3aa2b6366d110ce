"""The schedules once more: each rate by itself from the formula, in float64 NumPy, never from the one before.

Every function takes a group's first rate, the number of steps, and PyTorch's settings, and returns the rate at each
step; those of momentum end in ``_momentum``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def lambdalr(base: float, steps: int, *, lr_lambda: Callable[[int], float]) -> Array:
    return np.array([base * lr_lambda(t) for t in range(steps)])


def multiplicativelr(base: float, steps: int, *, lr_lambda: Callable[[int], float]) -> Array:
    return base * np.cumprod([1.0] + [lr_lambda(t) for t in range(1, steps)])


def steplr(base: float, steps: int, *, step_size: int, gamma: float = 0.1) -> Array:
    return base * gamma ** np.floor(np.arange(steps) / step_size)


def multisteplr(base: float, steps: int, *, milestones: Sequence[int], gamma: float = 0.1) -> Array:
    passed = (np.array(milestones)[:, None] <= np.arange(steps)).sum(0)
    return base * gamma**passed


def exponentiallr(base: float, steps: int, *, gamma: float) -> Array:
    return base * np.exp(np.log(gamma) * np.arange(steps))


def poweroftenlr(base: float, steps: int, *, n: float) -> Array:
    return base * 10.0 ** (-np.arange(steps) / n)


def constantlr(base: float, steps: int, *, factor: float = 1 / 3, total_iters: int = 5) -> Array:
    return np.where(np.arange(steps) < total_iters, base * factor, base)


def linearlr(
    base: float, steps: int, *, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5
) -> Array:
    return base * np.interp(np.arange(steps), [0, total_iters], [start_factor, end_factor])


def polynomiallr(base: float, steps: int, *, total_iters: int = 5, power: float = 1.0) -> Array:
    return base * np.clip(1 - np.arange(steps) / total_iters, 0, None) ** power


def cosineannealinglr(base: float, steps: int, *, T_max: int, eta_min: float = 0.0) -> Array:  # noqa: N803
    return eta_min + (base - eta_min) * (1 + np.cos(np.pi * np.arange(steps) / T_max)) / 2


def cosineannealingwarmrestarts(
    base: float,
    steps: int,
    *,
    T_0: int,  # noqa: N803
    T_mult: int = 1,  # noqa: N803
    eta_min: float = 0.0,
) -> Array:
    length, runs = T_0, []
    while sum(map(len, runs)) < steps:
        runs.append(cosineannealinglr(base, length, T_max=length, eta_min=eta_min))
        length *= T_mult
    return np.concatenate(runs)[:steps]


def _triangle(
    steps: int,
    *,
    step_size_up: float = 2000,
    step_size_down: float | None = None,
    mode: str = "triangular",
    gamma: float = 1.0,
    scale_fn: Callable[[float], float] | None = None,
    scale_mode: str = "cycle",
    **_: Any,
) -> Array:
    """Return the height of a cyclic value between its two ends."""
    down = step_size_up if step_size_down is None else step_size_down
    t = np.arange(steps)
    cycle = 1 + t // (step_size_up + down)
    within = t % (step_size_up + down)
    height = np.where(within <= step_size_up, within / step_size_up, 1 - (within - step_size_up) / max(down, 1e-9))
    if scale_fn is not None:
        scale = np.array([scale_fn(x) for x in (cycle if scale_mode == "cycle" else t)])
    else:
        scale = {"triangular": 1.0, "triangular2": 0.5 ** (cycle - 1), "exp_range": gamma**t}[mode]
    return height * scale


def cycliclr(base: float, steps: int, *, base_lr: float, max_lr: float, **settings: Any) -> Array:
    return base_lr + (max_lr - base_lr) * _triangle(steps, **settings)


def cycliclr_momentum(
    base: float, steps: int, *, base_momentum: float = 0.8, max_momentum: float = 0.9, **settings: Any
) -> Array:
    return max_momentum - (max_momentum - base_momentum) * _triangle(steps, **settings)


def _phases(steps: int, ends: Sequence[float], values: Sequence[float], strategy: str) -> Array:
    """From each value to the next, reached at ``ends``, the first of which is 0."""
    out = []
    for t in range(steps):
        i = next((i for i in range(1, len(ends)) if t <= ends[i]), len(ends) - 1)
        share = (t - ends[i - 1]) / (ends[i] - ends[i - 1])
        weight = share if strategy == "linear" else (1 - np.cos(np.pi * share)) / 2
        out.append(values[i - 1] * (1 - weight) + values[i] * weight)
    return np.array(out)


def _one_cycle_ends(total_steps: int, pct_start: float, three_phase: bool) -> list[float]:
    up = pct_start * total_steps
    return [0, up - 1, *([2 * up - 2] if three_phase else []), total_steps - 1]


def onecyclelr(
    base: float,
    steps: int,
    *,
    max_lr: float,
    total_steps: int,
    pct_start: float = 0.3,
    anneal_strategy: str = "cos",
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
    **_: Any,
) -> Array:
    first = max_lr / div_factor
    values = [first, max_lr, *([first] if three_phase else []), first / final_div_factor]
    return _phases(steps, _one_cycle_ends(total_steps, pct_start, three_phase), values, anneal_strategy)


def onecyclelr_momentum(
    base: float,
    steps: int,
    *,
    total_steps: int,
    pct_start: float = 0.3,
    anneal_strategy: str = "cos",
    base_momentum: float = 0.85,
    max_momentum: float = 0.95,
    three_phase: bool = False,
    **_: Any,
) -> Array:
    values = [max_momentum, base_momentum, *([max_momentum] if three_phase else []), max_momentum]
    return _phases(steps, _one_cycle_ends(total_steps, pct_start, three_phase), values, anneal_strategy)


def plateau(
    base: float,
    metrics: Sequence[float],
    *,
    mode: str = "min",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: str = "rel",
    cooldown: int = 0,
    min_lr: float = 0,
    eps: float = 1e-8,
) -> Array:
    """The rate after each metric, from the metrics since the last reduction instead of counters."""
    rate, best, bad, quiet_until, out = base, None, [], -1, []
    for i, value in enumerate(metrics):
        margin = threshold * (abs(best) if threshold_mode == "rel" else 1) if best is not None else 0
        if best is None:
            better = not np.isnan(value)
        else:
            better = value < best - margin if mode == "min" else value > best + margin
        if better:
            best = value
        bad = [] if better or i <= quiet_until else [*bad, i]
        if len(bad) > patience:
            new = max(rate * factor, min_lr)
            rate = new if rate - new > eps else rate
            bad, quiet_until = [], i + cooldown
        out.append(rate)
    return np.array(out)

"""Cost of a schedule inside the planned step: an epoch of the mnist net with one stepped by batch, against none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benches import nets
from benches.compare import interleaved, table

BATCHES = 60


def _schedules() -> dict[str, Callable[[Any], Any]]:
    from fastnn.optim import lr_scheduler as schedules

    steps = 10**6
    return {
        "ExponentialLR": lambda o: schedules.ExponentialLR(o, 0.999),
        "CosineAnnealingLR": lambda o: schedules.CosineAnnealingLR(o, steps),
        "OneCycleLR": lambda o: schedules.OneCycleLR(o, 1e-3, steps),
        "WarmupLR": lambda o: schedules.WarmupLR(o, 100, schedules.CosineAnnealingLR(o, steps)),
    }


def _constant(optimizer: Any) -> Any:
    from fastnn.optim import lr_scheduler as schedules

    return schedules.LambdaLR(optimizer, lambda _: 1.0)


def _epoch(schedule: Callable[[Any], Any] | None = None) -> Callable[[], float]:
    """Batches of the mnist net in one call, as in a fit."""
    import fastnn as fnn

    net = next(net for net in nets.NETS if net.name == "mnist")
    model, loss, optimizer = nets.fastnn_model(nets.Problem.make(net))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCHES * net.batch, net.widths[0])).astype(np.float32)
    y = rng.integers(0, net.widths[-1], len(x))
    step = fnn.TrainStep(model, loss, optimizer)
    order = rng.permutation(len(x))
    schedulers = [] if schedule is None else [schedule(optimizer)]

    def epoch() -> float:
        return float(step.run_batches(x, y, order, 0, BATCHES, net.batch, schedulers)[-1])

    return epoch


def rows(seconds: float) -> str:
    """A table: each schedule's time a step, and what it adds."""
    assert _epoch()() == _epoch(_constant)(), "a constant schedule does not compute what none does"
    schedules = {name: _epoch(schedule) for name, schedule in _schedules().items()}
    times = interleaved({"none": _epoch(), **schedules}, seconds=seconds)
    lines = [
        [name, f"{time / BATCHES * 1e6:,.1f}", "–" if name == "none" else f"{100 * (time / times['none'] - 1):+.1f} %"]
        for name, time in times.items()
    ]
    return table("A schedule by batch: mnist 784-256-128-10, batch 64, Adam", ["schedule", "µs a step", "cost"], lines)


if __name__ == "__main__":
    nets.limit_threads(2)
    print(rows(10.0))

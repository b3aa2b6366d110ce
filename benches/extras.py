"""Cost of penalties, clipping, noise, max-norm and averages in the planned step, beside it in one run."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from benches import nets
from benches.compare import interleaved, table

BATCHES = 16
STEPS = 32
COPIES = 3
"""Of every step, each in memory of its own: where that lies is worth more than a percent."""


def settings() -> dict[str, dict[str, Any]]:
    """A timed step: the arguments of a ``TrainStep``."""
    from fastnn.nn import penalties

    return {
        "plain": {},
        "L1": {"penalty": penalties.L1(1e-5)},
        "L2": {"penalty": penalties.L2(1e-4)},
        "elastic": {"penalty": penalties.ElasticNet(1e-5, 1e-4)},
        **{f"Lp, p = {p:g}": {"penalty": penalties.Lp(1e-5, p)} for p in (0.5, 0.7, 1.25, 1.3, 1.5, 2.7, 3.0, 3.7)},
        "clip by value": {"clip_grad_value": 0.1},
        "clip by norm": {"clip_grad_norm": 1.0},
        "gradient noise": {"grad_noise": 1e-6},
        "max-norm": {"max_norm": 2.0},
        "EMA": {"ema": 0.999},
    }


def _candidate(net: nets.Net, arguments: dict[str, Any], threads: int) -> Callable[[], object]:
    """As ``fit`` runs them: a stretch of batches in one call."""
    import fastnn as fnn

    problem = nets.Problem.make(net)
    model, loss, optimizer = nets.fastnn_model(problem)
    step = fnn.TrainStep(model, loss, optimizer, **arguments)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(net.batch * BATCHES, net.widths[0])).astype(np.float32)
    y = rng.integers(0, net.widths[-1], net.batch * BATCHES)
    order = np.concatenate([rng.permutation(len(x)) for _ in range(STEPS // BATCHES)])
    fnn.set_num_threads(threads)
    step(x[: net.batch], y[: net.batch])
    if step.reason is not None:
        raise RuntimeError(step.reason)
    return lambda: step.run_batches(x, y, order, 0, STEPS, net.batch)


def extras(seconds: float, threads: int) -> str:
    """The table for the mnist net: time a step, and what it costs beside the plain step."""
    net = next(n for n in nets.NETS if n.name == "mnist")
    candidates = {
        f"{name} {i}": _candidate(net, arguments, threads)
        for i in range(COPIES)
        for name, arguments in settings().items()
    }
    found = interleaved(candidates, seconds=COPIES * seconds, rounds=30)
    times = {name: statistics.mean(found[f"{name} {i}"] for i in range(COPIES)) for name in settings()}
    plain = times["plain"]
    rows = [[name, f"{t / STEPS * 1e6:,.1f}", f"{(t / plain - 1) * 100:+.1f}"] for name, t in times.items()]
    shape = "-".join(map(str, net.widths))
    return table(f"Extras of a step: {net.name} {shape}, batch {net.batch}", ["with", "µs a step", "cost, %"], rows)

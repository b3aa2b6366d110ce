"""Ten nets fitted to bootstrap samples of a curve with a gap: where they disagree."""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from numpy.typing import NDArray

import fastnn as fnn
from fastnn import ensemble, nn, optim

GRID = np.linspace(-1.5, 1.5, 121, dtype=np.float32)[:, None]
# Inputs without data: the gap, and both ends.
SEEN = (np.abs(GRID[:, 0]) > 0.3) & (np.abs(GRID[:, 0]) < 1)


def bagged(seed: int, epochs: int, members: int = 10) -> dict[str, NDArray[Any]]:
    """Return the mean and the spread of nets that were fitted to bootstrap samples of a curve with a gap."""
    rng = np.random.default_rng(seed)
    x = (rng.uniform(0.3, 1.0, (60, 1)) * rng.choice([-1, 1], (60, 1))).astype(np.float32)
    y = (np.sin(4 * x) + 0.1 * rng.normal(size=x.shape)).astype(np.float32)
    bagging = ensemble.BaggingEnsemble(
        lambda: nn.Sequential(nn.Linear(1, 50), nn.ReLU(), nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 1)),
        members,
        nn.MSELoss(),
        lambda weights: optim.Adam(weights, lr=1e-2),
    )
    bagging.fit(x, y, epochs=epochs, batch_size=20, verbose=False)
    mean, std = bagging.predict(GRID, return_std=True)
    return {"x": x, "y": y, "mean": mean[:, 0], "std": std[:, 0]}


def run(seeds: range = range(5), epochs: int = 100) -> list[dict[str, NDArray[Any]]]:
    """Return what the nets say, one a seed."""
    result = []
    for seed in seeds:
        fnn.manual_seed(seed)
        result.append(bagged(seed, epochs))
    return result


def doubt(bagging: dict[str, NDArray[Any]]) -> tuple[float, float]:
    """Return the mean spread where there is data, and where there is none."""
    return float(bagging["std"][SEEN].mean()), float(bagging["std"][~SEEN].mean())


def show(result: list[dict[str, NDArray[Any]]]) -> None:
    """Print the table."""
    spread = np.mean([doubt(bagging) for bagging in result], axis=0)
    common.print_table(["spread where there is data", "where there is none"], [[float(value) for value in spread]])


def draw(result: list[dict[str, NDArray[Any]]]) -> Any:
    """Return the picture."""
    drawn, (axis,) = common.figure()
    of = result[0]
    axis.fill_between(GRID[:, 0], of["mean"] - 2 * of["std"], of["mean"] + 2 * of["std"], alpha=0.3)
    axis.plot(GRID[:, 0], of["mean"])
    axis.plot(of["x"], of["y"], ".", color="black", markersize=3)
    axis.set(xlabel="x", ylim=(-3, 3), title="ten nets, bagged: mean ± 2 spreads")
    return drawn


if __name__ == "__main__":
    common.main("bagging", run, show, draw)

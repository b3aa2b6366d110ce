"""Random search, coarse then fine, over the learning rate and the width."""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import nn, optim

Range = tuple[tuple[float, float], tuple[float, float]]
# Exponents of ten for the rate, of two for the width.
COARSE: Range = ((-5.0, 0.0), (2.0, 8.0))


def accuracy(rate: float, width: int, epochs: int, seed: int) -> float:
    """Return the validation accuracy of one net, of 1,000 training images."""
    x, y, x_test, y_test = common.digits(train=1000, test=1000)
    fnn.manual_seed(seed)
    model = nn.Sequential(nn.Linear(784, width), nn.ReLU(), nn.Linear(width, 10))
    optimizer = optim.Adam(model.parameters(), lr=rate)
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
    trainer.fit(x, y, epochs=epochs, batch_size=64, verbose=False)
    return trainer.evaluate(x_test, y_test)["accuracy"]


def search(ranges: Range, trials: int, epochs: int, seed: int) -> list[tuple[float, float, float]]:
    """Return (exponent of the rate, exponent of the width, accuracy) of each trial."""
    rng = np.random.default_rng(seed)
    drawn = [(rng.uniform(*ranges[0]), rng.uniform(*ranges[1])) for _ in range(trials)]
    return [(a, b, accuracy(10**a, round(2**b), epochs, seed)) for a, b in drawn]


def around(best: tuple[float, float, float], coarse: Range) -> Range:
    """Return a quarter of each range, around the best trial, inside the coarse ranges."""
    spans = []
    for center, (low, high) in zip(best, coarse, strict=False):
        half = (high - low) / 8
        spans.append((max(low, center - half), min(high, center + half)))
    return spans[0], spans[1]


def run(seeds: range = range(5), trials: int = 16, epochs: int = 6) -> list[dict[str, Any]]:
    """Return both stages for every seed."""
    result = []
    for seed in seeds:
        coarse = search(COARSE, trials, epochs, seed)
        fine = search(around(max(coarse, key=lambda trial: trial[2]), COARSE), trials, epochs, 1000 + seed)
        result.append({"coarse": coarse, "fine": fine})
    return result


def show(result: list[dict[str, Any]]) -> None:
    """Print the table."""
    rows = []
    for stage in ("coarse", "fine"):
        scores = np.array([[trial[2] for trial in searched[stage]] for searched in result])
        rows.append([stage, float(np.median(scores)), float(scores.max(axis=1).mean())])
    common.print_table(["stage", "median accuracy", "best accuracy, mean of searches"], rows)


def draw(result: list[dict[str, Any]]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(2)
    for axis, stage in zip(axes, ("coarse", "fine"), strict=True):
        rates, widths, scores = np.array(result[0][stage]).T
        dots = axis.scatter(10**rates, 2**widths, c=scores, vmin=0.5, vmax=0.95)
        axis.set(title=stage, xlabel="learning rate", ylabel="width", xscale="log", yscale="log")
        axis.set(xlim=(1e-5, 1), ylim=(4, 256))
    drawn.colorbar(dots, ax=axes, label="validation accuracy")
    return drawn


if __name__ == "__main__":
    common.main("random_search", run, show, draw)

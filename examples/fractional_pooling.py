"""Max pooling by 2 and by √2 on 500 digits: where the windows of the latter lie is drawn anew for every image."""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import nn, optim

# Draws of windows while testing: the argument ``samples`` of FractionalMaxPool2d.
DRAWS = {"fractional, drawn once": 1, "fractional, mean of 8 draws": 8, "fractional, fixed": None}


def build(fractional: bool) -> nn.Sequential:
    """Return four convolutions: two poolings from 28 pixels to 14 and 7, or four to 19, 13, 9 and 6."""
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate([(1, 8), (8, 16), (16, 24), (24, 32)]):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
        if fractional:
            layers.append(nn.FractionalMaxPool2d(2, output_ratio=2**-0.5))
        elif i % 2:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * (36 if fractional else 49), 10))


def fit(x: Any, y: Any, fractional: bool, epochs: int, batch: int) -> fnn.Trainer:
    """Train by Adam on a one-cycle rate."""
    model = build(fractional)
    adam = optim.Adam(model.parameters(), lr=3e-3)
    rate = common.one_cycle(adam, len(x), epochs, batch)
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), adam, metrics=["accuracy"])
    trainer.fit(x, y, epochs=epochs, batch_size=batch, callbacks=[rate], train_metrics=False, verbose=False)
    return trainer


def run(
    seeds: range = range(5), epochs: int = 20, images: int = 500, test: int = 2000, batch: int = 25
) -> dict[str, np.ndarray]:
    """Return by kind, (seed, 2): loss and accuracy on the test images."""
    x, y, x_test, y_test = common.digits(test=test)
    x, x_test = x.reshape(-1, 1, 28, 28), x_test.reshape(-1, 1, 28, 28)
    result: dict[str, Any] = {kind: [] for kind in ("max", *DRAWS)}
    for seed in seeds:
        rows = np.random.default_rng(seed).permutation(len(x))[:images]
        for fractional in (False, True):
            fnn.manual_seed(seed)
            trainer = fit(x[rows], y[rows], fractional, epochs, batch)
            pools = [layer for layer in trainer.model.modules() if isinstance(layer, nn.FractionalMaxPool2d)]
            for kind, samples in (DRAWS if fractional else {"max": None}).items():
                for layer in pools:
                    layer.samples = samples
                measured = trainer.evaluate(x_test, y_test)
                result[kind].append([measured["loss"], measured["accuracy"]])
    return {kind: np.array(rows) for kind, rows in result.items()}


def show(result: dict[str, np.ndarray]) -> None:
    """Print the table."""
    rows = [[kind, *of.mean(axis=0).tolist(), float(of[:, 1].std())] for kind, of in result.items()]
    common.print_table(["pooling", "test loss", "test accuracy", "spread over seeds"], rows)


def draw(result: dict[str, np.ndarray]) -> Any:
    """Return the picture."""
    drawn, (axis,) = common.figure()
    for i, (kind, of) in enumerate(result.items()):
        axis.plot(of[:, 1], np.full(len(of), -i), "o", alpha=0.5, markeredgewidth=0)
        axis.plot(of[:, 1].mean(), -i, "k|", markersize=14)
        axis.text(of[:, 1].mean(), 0.25 - i, kind, ha="center")
    axis.set(xlabel="test accuracy, 500 training images", yticks=[], ylim=(0.6 - len(result), 0.6))
    axis.spines["left"].set_visible(False)
    return drawn


if __name__ == "__main__":
    common.main("fractional_pooling", run, show, draw)

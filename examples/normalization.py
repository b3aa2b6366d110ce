"""Batch norm against none over 20 sizes of the initial weights; batch, layer and group norm over batch sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import nn, optim

WIDTH = 50
SCALES = np.logspace(-4, 0, 20)
BATCH_SIZES = (2, 8, 64)
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda _: nn.Identity(),
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "group": lambda width: nn.GroupNorm(5, width),
}


def network(norm: str, depth: int, scale: float | None = None) -> nn.Sequential:
    """Return ReLU layers, normalized before the ReLU; the weights drawn from N(0, scale²), if given."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(784 if i == 0 else WIDTH, WIDTH), NORMS[norm](WIDTH), nn.ReLU()]
    layers.append(nn.Linear(WIDTH, 10))
    for layer in layers:
        if scale is not None and isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=scale)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def accuracy(model: nn.Module, optimizer: optim.Optimizer, data: common.Split, epochs: int, batch_size: int) -> float:
    """Train, and return the share of the test images that are told apart."""
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"], on_nonfinite="ignore")
    trainer.fit(data[0], data[1], epochs=epochs, batch_size=batch_size, drop_last=True, verbose=False)
    return float(trainer.evaluate(data[2], data[3])["accuracy"])


def run(seeds: range = range(5), epochs: int = 10, scales: np.ndarray = SCALES) -> dict[str, dict[str, np.ndarray]]:
    """Return test accuracies by norm: (scale, seed) under ``scale``, (batch size, seed) under ``batch size``."""
    data = common.digits(train=1000)
    result: dict[str, dict[str, np.ndarray]] = {"scale": {}, "batch size": {}}
    for norm in ("none", "batch"):
        rows = np.empty((len(scales), len(seeds)))
        for i, j in np.ndindex(*rows.shape):
            fnn.manual_seed(seeds[j])
            model = network(norm, 5, float(scales[i]))
            rows[i, j] = accuracy(model, optim.Adam(model.parameters(), lr=1e-3), data, epochs, 50)
        result["scale"][norm] = rows
    for norm in ("batch", "layer", "group"):
        rows = np.empty((len(BATCH_SIZES), len(seeds)))
        for i, j in np.ndindex(*rows.shape):
            fnn.manual_seed(seeds[j])
            model = network(norm, 2)
            # The rate in proportion to the batch, as in the paper of group norm.
            optimizer = optim.SGD(model.parameters(), lr=0.1 * BATCH_SIZES[i] / 64, momentum=0.9)
            rows[i, j] = accuracy(model, optimizer, data, epochs, BATCH_SIZES[i])
        result["batch size"][norm] = rows
    return result


def show(result: dict[str, dict[str, np.ndarray]]) -> None:
    """Print both tables."""
    for name, values in (("scale", SCALES), ("batch size", BATCH_SIZES)):
        means = [rows.mean(axis=1) for rows in result[name].values()]
        header = [name, *(f"{norm} norm" for norm in result[name])]
        common.print_table(header, [[float(value), *map(float, row)] for value, *row in zip(values, *means, strict=True)])


def draw(result: dict[str, dict[str, np.ndarray]]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(2)
    for axis, (name, values) in zip(axes, (("scale", SCALES), ("batch size", BATCH_SIZES)), strict=True):
        for norm, rows in result[name].items():
            axis.semilogx(values, rows.mean(axis=1), ".-", label=f"{norm} norm" if norm != "none" else "none")
        axis.set(xlabel=name, ylabel="test accuracy")
        axis.legend(frameon=False)
    axes[0].set_xlabel("standard deviation of the initial weights")
    axes[1].set_xticks(BATCH_SIZES, [str(size) for size in BATCH_SIZES], minor=False)
    axes[1].minorticks_off()
    return drawn

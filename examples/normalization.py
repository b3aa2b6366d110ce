"""Batch norm against none over 20 sizes of the initial weights; batch, layer and group norm over batch sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import nn, optim

WIDTH, SCALES = 50, np.logspace(-4, 0, 20)
BATCH_SIZES, TO_COMPARE = (2, 8, 64), ("batch", "layer", "group")
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


def accuracy(data: common.Split, norm: str, size: int, scale: float | None, seed: int, epochs: int) -> float:
    """Train on batches of a size, and return the share of the test images that are told apart."""
    fnn.manual_seed(seed)
    model = network(norm, depth=2 if scale is None else 5, scale=scale)
    # The rate of SGD goes with the batch size, as in the paper of group norm.
    sgd = optim.SGD(model.parameters(), lr=0.1 * size / 64, momentum=0.9)
    optimizer = sgd if scale is None else optim.Adam(model.parameters(), lr=1e-3)
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"], on_nonfinite="ignore")
    trainer.fit(data[0], data[1], epochs=epochs, batch_size=size, drop_last=True, verbose=False)
    return float(trainer.evaluate(data[2], data[3])["accuracy"])


def run(seeds: range = range(5), epochs: int = 10, scales: np.ndarray = SCALES) -> dict[str, dict[str, np.ndarray]]:
    """Return test accuracies by norm: (scale, seed) under ``scale``, (batch size, seed) under ``batch size``."""
    data = common.digits(train=1000)
    by_scale = {n: [[accuracy(data, n, 50, s, i, epochs) for i in seeds] for s in scales] for n in ("none", "batch")}
    by_size = {n: [[accuracy(data, n, b, None, i, epochs) for i in seeds] for b in BATCH_SIZES] for n in TO_COMPARE}
    parts = {"scale": by_scale, "batch size": by_size}
    return {part: {norm: np.array(rows) for norm, rows in norms.items()} for part, norms in parts.items()}


def show(result: dict[str, dict[str, np.ndarray]]) -> None:
    """Print both tables."""
    for name, values in (("scale", SCALES), ("batch size", BATCH_SIZES)):
        means = np.column_stack([values, *(rows.mean(axis=1) for rows in result[name].values())])
        common.print_table([name, *result[name]], means.tolist())


def draw(result: dict[str, dict[str, np.ndarray]]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(2)
    for axis, (name, values) in zip(axes, (("scale", SCALES), ("batch size", BATCH_SIZES)), strict=True):
        for norm, rows in result[name].items():
            axis.semilogx(values, rows.mean(axis=1), ".-", label=norm)
        axis.set(xlabel=name, ylabel="test accuracy")
        axis.legend(frameon=False)
    axes[0].set_xlabel("standard deviation of the initial weights")
    axes[1].set_xticks(BATCH_SIZES, BATCH_SIZES)
    axes[1].minorticks_off()
    return drawn


if __name__ == "__main__":
    common.main("normalization", run, show, draw)

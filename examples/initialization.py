"""Activations of a deep net before training: zeros, N(0, small), Xavier and He, for tanh and ReLU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import nn

DEPTH, WIDTH = 10, 256
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}
INITIALIZATIONS: dict[str, Callable[[fnn.Tensor], Any]] = {
    "zeros": nn.init.zeros_,
    "N(0, 0.01²)": lambda weight: nn.init.normal_(weight, std=0.01),
    "Xavier": nn.init.xavier_normal_,
    "He": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
}


def activations(start: Callable[[fnn.Tensor], Any], activation: Callable[[], nn.Module], seed: int) -> list[np.ndarray]:
    """Return each layer's activations on 500 random inputs."""
    fnn.manual_seed(seed)
    x, layers = fnn.randn(500, WIDTH), []
    with fnn.no_grad():
        for _ in range(DEPTH):
            layer = nn.Linear(WIDTH, WIDTH, bias=False)
            start(layer.weight)
            x = activation()(layer(x))
            layers.append(x.numpy())
    return layers


def run(seeds: range = range(5)) -> dict[tuple[str, str], list[list[np.ndarray]]]:
    """Return the activations by (activation, initialization), seed and layer."""
    return {
        (kind, name): [activations(start, make, seed) for seed in seeds]
        for kind, make in ACTIVATIONS.items()
        for name, start in INITIALIZATIONS.items()
    }


def spread(layers: list[np.ndarray]) -> float:
    """Return the last layer's root mean square, as a share of the first's."""
    first, last = (float(np.sqrt(np.mean(layers[i].astype(np.float64) ** 2))) for i in (0, -1))
    return last / first if first else 0.0


def show(result: dict[tuple[str, str], list[list[np.ndarray]]]) -> None:
    """Print the table."""
    rows = [[kind, name, float(np.mean([spread(s) for s in seeds]))] for (kind, name), seeds in result.items()]
    common.print_table(["activation", "weights", f"size in layer {DEPTH} / in layer 1"], rows)


def draw(result: dict[tuple[str, str], list[list[np.ndarray]]]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(len(INITIALIZATIONS), len(ACTIVATIONS), size=2.2)
    for axis, ((kind, name), seeds) in zip(axes, result.items(), strict=True):
        for layer in (0, 4, 9):
            values = seeds[0][layer].ravel()
            values = values[values != 0] if kind == "relu" and values.any() else values
            axis.hist(
                values, bins=40, range=(-1, 1) if kind == "tanh" else (0, 2), alpha=0.5, label=f"layer {layer + 1}"
            )
        axis.set(title=f"{kind}, {name}", yticks=[], yscale="log")
    axes[0].legend(frameon=False)
    return drawn


if __name__ == "__main__":
    common.main("initialization", run, show, draw)

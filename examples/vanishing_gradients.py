"""The gradient's size by depth, before training: sigmoid, tanh and ReLU, with and without batch norm."""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import nn

DEPTH, WIDTH = 15, 100
ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "ReLU": nn.ReLU}


def gradient_norms(activation: type[nn.Module], *, batch_norm: bool, seed: int) -> list[float]:
    """Return the norm of each hidden weight's gradient, the input's layer first."""
    fnn.manual_seed(seed)
    x, y, _, _ = common.digits(train=256, test=1)
    layers: list[nn.Module] = []
    for i in range(DEPTH):
        linear = nn.Linear(784 if i == 0 else WIDTH, WIDTH)
        nn.init.xavier_normal_(linear.weight)
        layers += [linear, *([nn.BatchNorm1d(WIDTH)] if batch_norm else []), activation()]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    nn.functional.cross_entropy(model(x), fnn.tensor(y)).backward()
    weights = [layer.weight for layer in layers if isinstance(layer, nn.Linear)]
    return [float(np.linalg.norm(weight.grad.numpy())) for weight in weights if weight.grad is not None]


def run(seeds: range = range(5)) -> dict[tuple[str, bool], np.ndarray]:
    """Return the norms by (activation, whether batch norm), a row a seed."""
    return {
        (name, batch_norm): np.array([gradient_norms(activation, batch_norm=batch_norm, seed=s) for s in seeds])
        for name, activation in ACTIVATIONS.items()
        for batch_norm in (False, True)
    }


def show(result: dict[tuple[str, bool], np.ndarray]) -> None:
    """Print the table."""
    rows = []
    for (name, batch_norm), norms in result.items():
        first, last = float(np.median(norms[:, 0])), float(np.median(norms[:, -1]))
        rows.append([name, "yes" if batch_norm else "no", first, last, first / last])
    common.print_table(["activation", "batch norm", "layer 1", f"layer {DEPTH}", "ratio"], rows)


def draw(result: dict[tuple[str, bool], np.ndarray]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(2)
    for (name, batch_norm), norms in result.items():
        axes[batch_norm].semilogy(range(1, DEPTH + 1), np.median(norms, axis=0), label=name)
    for axis, title in zip(axes, ("without batch norm", "with batch norm"), strict=True):
        axis.set(title=title, xlabel="layer", ylabel="norm of the weight's gradient", ylim=(1e-9, 10))
    axes[0].legend(frameon=False)
    return drawn


if __name__ == "__main__":
    common.main("vanishing_gradients", run, show, draw)

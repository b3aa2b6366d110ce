"""Gradient descent on a regression with features of different size: its path before and after standardizing them."""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import nn, optim

SCALES = np.array([1.0, 8.0])
WEIGHTS = np.array([2.0, -0.25])


def descend(x: np.ndarray, y: np.ndarray, steps: int) -> tuple[np.ndarray, list[float]]:
    """Return the path of the two weights, and the losses, with the largest rate that is stable, times 0.9."""
    curvature = 2 * np.linalg.eigvalsh(x.T @ x / len(x))
    weight = fnn.zeros(2, dtype=fnn.float64, requires_grad=True)
    optimizer = optim.SGD([weight], lr=0.9 * 2 / curvature[-1])
    path, losses = [weight.detach().numpy().copy()], []
    for _ in range(steps):
        loss = nn.functional.mse_loss(fnn.tensor(x) @ weight, fnn.tensor(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        path.append(weight.detach().numpy().copy())
        losses.append(loss.item())
    return np.array(path), losses


def run(seeds: range = range(5), steps: int = 300) -> dict[str, Any]:
    """Return paths, losses and condition numbers by name, for every seed."""
    result: dict[str, Any] = {"as they are": [], "standardized": []}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(200, 2)) * SCALES
        y = x @ WEIGHTS
        for name, inputs in (("as they are", x), ("standardized", x / x.std(axis=0))):
            eigenvalues = np.linalg.eigvalsh(inputs.T @ inputs)
            path, losses = descend(inputs, y, steps)
            result[name].append((inputs, y, path, losses, eigenvalues[-1] / eigenvalues[0]))
    return result


def steps_to(losses: list[float], share: float = 1e-6) -> int:
    """Return how many steps it takes until the loss is this share of the first."""
    below = np.flatnonzero(np.array(losses) < share * losses[0])
    return int(below[0]) if len(below) else len(losses)


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    rows = [
        [name, float(np.median([r[4] for r in runs])), int(np.median([steps_to(r[3]) for r in runs]))]
        for name, runs in result.items()
    ]
    common.print_table(["features", "condition number", "steps to 1e-6 of the loss"], rows)


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(2)
    for axis, (name, runs) in zip(axes, result.items(), strict=True):
        x, y, path, _, _ = runs[0]
        best = np.linalg.lstsq(x, y, rcond=None)[0]
        reach = 1.3 * np.abs(best).max() * np.ones(2)
        a, b = np.meshgrid(*(np.linspace(c - r, c + r, 80) for c, r in zip(best, reach, strict=True)))
        loss = np.mean((x[:, :1, None] * a.ravel() + x[:, 1:, None] * b.ravel() - y[:, None, None]) ** 2, axis=(0, 1))
        axis.contour(a, b, loss.reshape(a.shape), levels=12, colors="lightgray")
        axis.plot(*path.T, ".-", color="tab:red", markersize=3, linewidth=0.8)
        axis.set(title=name, xlabel="weight 1", ylabel="weight 2")
    return drawn


if __name__ == "__main__":
    common.main("feature_scaling", run, show, draw)

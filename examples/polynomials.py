"""Fit x sin 2πx with noise by polynomials of degree 1, 5 and 15: too stiff, about right, and too supple."""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from numpy.typing import NDArray

import fastnn as fnn
from fastnn import nn, optim

DEGREES = (1, 5, 15)
NOISE = 0.15


def target(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the data is of."""
    return x * np.sin(2 * np.pi * x)


def features(x: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    """Return Legendre polynomials of 2x - 1: the span of 1, x, …, x^degree, well conditioned."""
    return np.polynomial.legendre.legvander(2 * x - 1, degree)


def fit(x: NDArray[np.float64], y: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    """Return the coefficients of least squares, found by L-BFGS."""
    weight = fnn.zeros(degree + 1, dtype=fnn.float64, requires_grad=True)
    optimizer = optim.LBFGS([weight], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")
    inputs, outputs = fnn.tensor(features(x, degree)), fnn.tensor(y)

    def closure() -> fnn.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(inputs @ weight, outputs)
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach().numpy()


def run(seeds: range = range(10), rows: int = 20) -> dict[str, Any]:
    """Return the errors by degree, a row a seed; and the points and curves of the first seed."""
    grid, samples, curves = np.linspace(0, 1, 200), [], []
    train, test = np.zeros((len(seeds), len(DEGREES))), np.zeros((len(seeds), len(DEGREES)))
    for i, seed in enumerate(seeds):
        rng = np.random.default_rng(seed)
        x = np.sort(rng.uniform(0, 1, rows))
        samples.append((x, target(x) + NOISE * rng.normal(size=rows)))
        for j, degree in enumerate(DEGREES):
            weight = fit(*samples[-1], degree)
            curves.append(features(grid, degree) @ weight)
            train[i, j] = np.mean((features(x, degree) @ weight - samples[-1][1]) ** 2)
            test[i, j] = np.mean((curves[-1] - target(grid)) ** 2)
    return {"train": train, "test": test, "grid": grid, "points": samples[0], "curves": curves[: len(DEGREES)]}


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    train, test = (np.median(result[name], axis=0).tolist() for name in ("train", "test"))
    common.print_table(["degree", "train error", "error on the truth"], zip(DEGREES, train, test, strict=True))


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(3)
    for axis, degree, curve in zip(axes, DEGREES, result["curves"], strict=True):
        axis.plot(result["grid"], target(result["grid"]), "--", color="gray", label="x sin 2πx")
        axis.plot(*result["points"], ".", color="black")
        axis.plot(result["grid"], curve, color="tab:red", label=f"degree {degree}")
        axis.set_ylim(-1.3, 0.8)
        axis.legend(frameon=False)
    return drawn


if __name__ == "__main__":
    common.main("polynomials", run, show, draw)

"""Into a LeNet that has learned the digits: its filters, what they find, the pixels that matter, and its mistakes."""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from numpy.typing import NDArray

import fastnn as fnn
from fastnn import models
from fastnn.visualize import arrays

COLUMNS = 6
ROWS = {"filters": "RdBu_r", "their maps\nof the 3": "viridis", "digits": "gray", "saliency": "inferno"}


def near_ink(images: NDArray[Any], maps: NDArray[Any], share: float = 0.1) -> tuple[float, float]:
    """Return how many of the pixels of highest saliency are ink or touch it, and how many of all pixels."""
    ink = np.pad(images[:, 0] > 0.2, ((0, 0), (1, 1), (1, 1)))
    near = np.lib.stride_tricks.sliding_window_view(ink, (3, 3), (1, 2)).any((3, 4))
    high = maps >= np.quantile(maps, 1 - share, axis=(1, 2), keepdims=True)
    return float(near[high].mean()), float(near.mean())


def look(model: Any, x: NDArray[Any], x_test: NDArray[Any], y_test: NDArray[Any]) -> dict[str, Any]:
    """Return a row of pictures each, and of the worst mistakes also their names."""
    wrong = arrays.misclassified(model, x_test, y_test)
    maps = [arrays.filters(model.conv1)[:, 0], arrays.feature_maps(model, x[3:4], "conv1")[0].clip(0)]
    rows = [*maps, x[:, 0], arrays.saliency(model, x, samples=16)]
    names = [f"{taken} for {shown}" for taken, shown in zip(wrong.predicted, wrong.expected, strict=True)]
    return {"rows": rows, "mistakes": x_test[wrong.rows[:COLUMNS], 0], "names": names[:COLUMNS]}


def run(seeds: range = range(5), images: int = 4000, epochs: int = 6, test: int = 1000) -> dict[str, Any]:
    """Return by seed the accuracy, the shares of pixels that are ink or touch it; and pictures of the last net."""
    x, y, x_test, y_test = common.digits(images, test)
    x, x_test = x.reshape(-1, 1, 28, 28), x_test.reshape(-1, 1, 28, 28)
    shown = [y.tolist().index(digit) for digit in range(COLUMNS)]
    table = []
    for seed in seeds:
        fnn.manual_seed(seed)
        trainer = common.fit(models.lenet5(), x, y, epochs, 3e-3, batch_size=50)
        accuracy = trainer.evaluate(x_test, y_test)["accuracy"]
        table.append([seed, accuracy, *near_ink(x_test[:200], arrays.saliency(trainer.model, x_test[:200], samples=8))])
    return {"table": table, **look(trainer.model, x[shown], x_test, y_test)}


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    common.print_table(["seed", "test accuracy", "salient pixels on or by ink", "all pixels"], result["table"])


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(COLUMNS, len(ROWS) + 1, size=0.9)
    grid = np.array(axes).reshape(-1, COLUMNS)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    for (name, colors), images, row in zip(ROWS.items(), result["rows"], grid, strict=False):
        row[0].set_ylabel(name)
        for axis, image in zip(row, images, strict=True):
            limit = np.abs(image).max() * (-1 if name == "filters" else 0)
            axis.imshow(image, cmap=colors, vmin=limit, vmax=np.abs(image).max())
    grid[-1, 0].set_ylabel("mistakes")
    for axis, image, name in zip(grid[-1], result["mistakes"], result["names"], strict=True):
        axis.imshow(image, cmap="gray")
        axis.set_title(name, fontsize=7, pad=2)
    return drawn


if __name__ == "__main__":
    common.main("what_a_net_sees", run, show, draw)

"""What the experiments share: data, tables, pictures, and the command line."""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn as fnn
from fastnn import nn, optim

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "data"

COLOURS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

Split = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]


def digits(train: int = 8000, test: int = 2000) -> Split:
    """Return x_train, y_train, x_test, y_test: pixels in [0, 1], one row an image, and what they show."""
    with np.load(DATA / "mnist10k.npz") as file:
        x = file["x"].reshape(len(file["x"]), -1).astype(np.float32) / 255
        y = file["y"].astype(np.int64)
    return x[:train], y[:train], x[-test:], y[-test:]


def colours(train: int | None = None, test: int | None = None) -> Split:
    """Return x_train, y_train, x_test, y_test: pixels in [0, 1] as (n, 3, 32, 32), and which of COLOURS they show.

    They are the 2,560 images of data/cifar10.npz, or those of another file of the same arrays, whose path is the
    environment variable ``FASTNN_CIFAR10``. ``train`` and ``test``: how many to take, the first ones; ``None`` for all.
    """
    with np.load(os.environ.get("FASTNN_CIFAR10", DATA / "cifar10.npz")) as file:
        x, y, tested = file["x"].astype(np.float32) / 255, file["y"].astype(np.int64), file["test"]
    return x[~tested][:train], y[~tested][:train], x[tested][:test], y[tested][:test]


def iris(seed: int, test: int = 30) -> Split:
    """Return the 150 flowers in an order of their own for each seed, standardized by the training rows."""
    table = np.loadtxt(DATA / "iris.csv", delimiter=",", skiprows=1, dtype=str)
    table = table[np.random.default_rng(seed).permutation(len(table))]
    x, y = table[:, :4].astype(np.float32), np.unique(table[:, 4], return_inverse=True)[1].astype(np.int64)
    x = (x - x[test:].mean(axis=0)) / x[test:].std(axis=0)
    return x[test:], y[test:], x[:test], y[:test]


def fit(model: nn.Module, x: Any, y: Any, epochs: int, lr: float, **options: Any) -> fnn.Trainer:
    """Train what is not frozen by Adam, its rate falling along half a cosine; ``options`` are those of ``fit``."""
    adam = optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    rate = fnn.callbacks.LearningRateScheduler(optim.lr_scheduler.CosineAnnealingLR(adam, epochs))
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), adam, metrics=["accuracy"])
    trainer.fit(x, y, epochs=epochs, callbacks=[rate], train_metrics=False, verbose=False, **options)
    return trainer


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under their header; numbers with four digits."""
    cells = [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


def figure(columns: int = 1, rows: int = 1, size: float = 3.2) -> tuple[Any, list[Any]]:
    """Return a new figure, and its axes in a row."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False})
    drawn, axes = plt.subplots(
        rows, columns, figsize=(size * 1.2 * columns, size * rows), layout="constrained", squeeze=False
    )
    return drawn, list(axes.flat)


def main(name: str, run: Callable[[], Any], show: Callable[[Any], None], draw: Callable[[Any], Any]) -> None:
    """Run an experiment, print its table, and save its picture as ``name.png``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=HERE / "out", help="folder of the picture")
    out: Path = parser.parse_args().out
    result = run()
    show(result)
    out.mkdir(parents=True, exist_ok=True)
    picture = io.BytesIO()
    draw(result).savefig(picture, dpi=80)
    # A palette makes the file much smaller, and Pillow comes with matplotlib.
    from PIL import Image

    Image.open(picture).convert("RGB").quantize(256).save(out / f"{name}.png")

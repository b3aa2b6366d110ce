"""Helpers of the experiments: data, tables, pictures, and the command line."""

from __future__ import annotations

import argparse
import inspect
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

COLORS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

Split = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]


def digits(train: int = 8000, test: int = 2000) -> Split:
    """Return x_train, y_train, x_test, y_test: pixels in [0, 1], one row an image, and what they show."""
    with np.load(DATA / "mnist10k.npz") as file:
        x = file["x"].reshape(len(file["x"]), -1).astype(np.float32) / 255
        y = file["y"].astype(np.int64)
    return x[:train], y[:train], x[-test:], y[-test:]


def colors(train: int | None = None, test: int | None = None) -> Split:
    """Return x_train, y_train, x_test, y_test: pixels in [0, 1] as (n, 3, 32, 32), and which of COLORS they show.

    They are the 2,560 images of data/cifar10.npz, or those of another file of the same arrays, whose path is the
    environment variable ``FASTNN_CIFAR10``. ``train`` and ``test``: how many to take, the first ones; ``None`` for all.
    """
    with np.load(os.environ.get("FASTNN_CIFAR10", DATA / "cifar10.npz")) as file:
        x, y, tested = file["x"].astype(np.float32) / 255, file["y"].astype(np.int64), file["test"]
    return x[~tested][:train], y[~tested][:train], x[tested][:test], y[tested][:test]


def standardized(images: Split) -> Split:
    """Return images (n, c, h, w) whose channels have mean 0 and deviation 1 over the training images."""
    x, y, x_test, y_test = images
    mean, std = x.mean(axis=(0, 2, 3), keepdims=True), x.std(axis=(0, 2, 3), keepdims=True)
    return (x - mean) / std, y, (x_test - mean) / std, y_test


def iris(seed: int, test: int = 30) -> Split:
    """Return the 150 flowers in an order of their own for each seed, standardized by the training rows."""
    table = np.loadtxt(DATA / "iris.csv", delimiter=",", skiprows=1, dtype=str)
    table = table[np.random.default_rng(seed).permutation(len(table))]
    x, y = table[:, :4].astype(np.float32), np.unique(table[:, 4], return_inverse=True)[1].astype(np.int64)
    x = (x - x[test:].mean(axis=0)) / x[test:].std(axis=0)
    return x[test:], y[test:], x[:test], y[:test]


def one_cycle(optimizer: Any, rows: int, epochs: int, batch: int, **options: Any) -> fnn.callbacks.Callback:
    """Return what leads the rate, batch by batch, up to the optimizer's and down to nothing."""
    rate, steps = optimizer.param_groups[0]["lr"], -(-rows // batch)
    cycle = optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs=epochs, steps_per_epoch=steps, **options)
    return fnn.callbacks.LearningRateScheduler(cycle, by="batch")


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


def main(name: str, run: Callable[..., Any], show: Callable[[Any], None], draw: Callable[[Any], Any]) -> None:
    """Run an experiment, print its table, and save its picture as ``name.png``.

    What ``run`` takes as a whole number, or as a range from 0, is an option: ``--epochs 5 --seeds 3``.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=HERE / "out", help="folder of the picture")
    settings = {key: parameter.default for key, parameter in inspect.signature(run).parameters.items()}
    settings = {key: default for key, default in settings.items() if type(default) in {int, range}}
    for key, default in settings.items():
        count = len(default) if isinstance(default, range) else default
        parser.add_argument(f"--{key}", type=int, default=count, help="%(default)s if not given")
    given = vars(parser.parse_args())
    out: Path = given.pop("out")
    result = run(**{key: range(n) if isinstance(settings[key], range) else n for key, n in given.items()})
    show(result)
    out.mkdir(parents=True, exist_ok=True)
    picture = io.BytesIO()
    draw(result).savefig(picture, dpi=80)
    # A palette makes the file much smaller, and Pillow comes with matplotlib.
    from PIL import Image

    Image.open(picture).convert("RGB").quantize(256).save(out / f"{name}.png")

"""A small residual net on color images: as they are; flipped and shifted; flipped, shifted, and a square cut out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import augment, models, nn, optim

FLIP_SHIFT = (augment.RandomHorizontalFlip(), augment.RandomShift(4))
KINDS = {
    "none": None,
    "flip, shift": augment.Compose(FLIP_SHIFT),
    "flip, shift, CutOut": augment.Compose([*FLIP_SHIFT, augment.CutOut(8)]),
}
COLUMNS = ("train loss", "train accuracy", "test loss", "test accuracy", "seconds")


def fit(data: common.Split, model: nn.Module, kind: str, epochs: int, batch: int) -> tuple[list[float], list[float]]:
    """Train on a one-cycle rate; return the test accuracy of each epoch, and what COLUMNS say."""
    x, y, x_test, y_test = data
    sgd = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), sgd, metrics=["accuracy"])
    rate = common.one_cycle(sgd, len(x), epochs, batch, cycle_momentum=False)
    options = {"epochs": epochs, "batch_size": batch, "callbacks": [rate], "verbose": False}
    begin = time.perf_counter()
    history = trainer.fit(x, y, augment=KINDS[kind], validation_data=(x_test, y_test), **options)
    seconds = time.perf_counter() - begin
    train, test = trainer.evaluate(x, y), trainer.evaluate(x_test, y_test)
    return history["val_accuracy"], [train["loss"], train["accuracy"], test["loss"], test["accuracy"], seconds]


def run(
    seeds: range = range(3),
    epochs: int = 30,
    train: int = 0,
    test: int = 0,
    batch: int = 64,
    build: Callable[[], nn.Module] = models.resnet8,
) -> dict[str, dict[str, np.ndarray]]:
    """Return by kind: test accuracies, (seed, epoch), as ``history``; COLUMNS by seed as ``last``. 0 images are all."""
    data = common.standardized(common.colors(train or None, test or None))
    result: dict[str, dict[str, np.ndarray]] = {}
    for kind in KINDS:
        fits = []
        for seed in seeds:
            fnn.manual_seed(seed)
            fits.append(fit(data, build(), kind, epochs, batch))
        result[kind] = {"history": np.array([f[0] for f in fits]), "last": np.array([f[1] for f in fits])}
    return result


def show(result: dict[str, dict[str, np.ndarray]]) -> None:
    """Print the table."""
    rows = [[kind, *of["last"].mean(axis=0).tolist(), float(of["last"][:, 3].std())] for kind, of in result.items()]
    common.print_table(["augmentation", *COLUMNS, "spread of accuracy"], rows)


def draw(result: dict[str, dict[str, np.ndarray]]) -> Any:
    """Return the picture."""
    drawn, (axis,) = common.figure()
    for kind, of in result.items():
        mean = of["history"].mean(axis=0)
        axis.plot(range(1, len(mean) + 1), mean, label=f"{kind}: {of['last'][:, 3].mean():.3f}")
    axis.set(xlabel="epoch", ylabel="test accuracy", title="resnet8 on color images")
    axis.legend(frameon=False)
    return drawn


if __name__ == "__main__":
    common.main("color_images", run, show, draw)

"""Stochastic depth: a residual net of 20 layers on few color images, all of whose blocks survive, or only some."""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import models, nn, optim

# Probability that the last of the nine blocks survives; from 1 before the first, it falls along a line.
SURVIVALS = {"none": 1.0, "stochastic depth": 0.5}
COLUMNS = ("train loss", "train accuracy", "test loss", "test accuracy")


def fit(data: common.Split, survival: float, epochs: int, batch: int, shrink: int) -> tuple[Any, Any, list[float]]:
    """Return the losses of each epoch, on batches as they are trained on and on the test images, and the COLUMNS."""
    x, y, x_test, y_test = data
    model = nn.Sequential(nn.AvgPool2d(shrink), models.resnet20(survival=survival))
    sgd = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), sgd, metrics=["accuracy"])
    rate = common.one_cycle(sgd, len(x), epochs, batch, cycle_momentum=False)
    history = trainer.fit(
        x, y, epochs=epochs, batch_size=batch, validation_data=(x_test, y_test), callbacks=[rate], verbose=False
    )
    train, test = trainer.evaluate(x, y), trainer.evaluate(x_test, y_test)
    return history["loss"], history["val_loss"], [of[key] for of in (train, test) for key in ("loss", "accuracy")]


def run(
    seeds: range = range(5), epochs: int = 20, train: int = 500, test: int = 500, batch: int = 25, shrink: int = 2
) -> dict[str, dict[str, np.ndarray]]:
    """Return by kind: losses while ``training`` and ``testing``, (seed, epoch); and (seed, column) under ``last``."""
    data = common.standardized(common.colors(train, test))
    result: dict[str, Any] = {}
    for kind, survival in SURVIVALS.items():
        fits = []
        for seed in seeds:
            fnn.manual_seed(seed)
            fits.append(fit(data, survival, epochs, batch, shrink))
        names = ("training", "testing", "last")
        result[kind] = {name: np.array(rows) for name, rows in zip(names, zip(*fits, strict=True), strict=True)}
    return result


def show(result: dict[str, dict[str, np.ndarray]]) -> None:
    """Print the table."""
    means = {kind: of["last"].mean(axis=0).tolist() for kind, of in result.items()}
    rows = [[kind, *of, of[2] - of[0]] for kind, of in means.items()]
    common.print_table(["", *COLUMNS, "gap of the losses"], rows)


def draw(result: dict[str, dict[str, np.ndarray]]) -> Any:
    """Return the picture."""
    drawn, (axis,) = common.figure()
    for color, (kind, of) in zip(("C0", "C1"), result.items(), strict=True):
        for name, style in (("training", "--"), ("testing", "-")):
            mean = of[name].mean(axis=0)
            axis.plot(range(1, len(mean) + 1), mean, style, color=color, label=f"{kind}, {name}")
    axis.set(xlabel="epoch", ylabel="loss", ylim=(-0.1, 5.4), title="resnet20 on 500 color images")
    axis.legend(frameon=False, loc="upper right")
    return drawn


if __name__ == "__main__":
    common.main("stochastic_depth", run, show, draw)

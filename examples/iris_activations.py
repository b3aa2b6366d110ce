"""Sigmoid against ReLU on the iris flowers: two hidden layers of four, Adam on the whole batch, 500 epochs."""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import nn, optim

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "ReLU": nn.ReLU}
# Train loss and accuracy, test loss and accuracy, as a lecture shows them for one split.
LECTURE = {"sigmoid": (0.8528, 0.7083, 0.8874, 0.6000), "ReLU": (0.2703, 0.8917, 0.2630, 0.9000)}


def run(seeds: range = range(10), epochs: int = 500) -> dict[str, Any]:
    """Return the four numbers of every seed, and the loss curves of the first, by activation."""
    numbers: dict[str, Any] = {name: [] for name in ACTIVATIONS}
    curves = {}
    for seed in seeds:
        x_train, y_train, x_test, y_test = common.iris(seed)
        for name, activation in ACTIVATIONS.items():
            fnn.manual_seed(seed)
            model = nn.Sequential(nn.Linear(4, 4), activation(), nn.Linear(4, 4), activation(), nn.Linear(4, 3))
            optimizer = optim.Adam(model.parameters(), lr=1e-3)
            trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
            # One batch is all rows.
            history = trainer.fit(x_train, y_train, epochs=epochs, batch_size=len(x_train), verbose=False)
            train, test = trainer.evaluate(x_train, y_train), trainer.evaluate(x_test, y_test)
            numbers[name].append((train["loss"], train["accuracy"], test["loss"], test["accuracy"]))
            curves.setdefault(name, history["loss"])
    return {"numbers": {name: np.array(rows) for name, rows in numbers.items()}, "curves": curves}


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    rows = []
    for name, numbers in result["numbers"].items():
        rows.append([name, *map(float, numbers.mean(axis=0))])
        rows.append([f"{name}, the lecture", *LECTURE[name]])
    common.print_table(["", "train loss", "accuracy", "test loss", "accuracy"], rows)


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    drawn, (axis,) = common.figure()
    for name, losses in result["curves"].items():
        axis.plot(losses, label=name)
    axis.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    axis.legend(frameon=False)
    return drawn


if __name__ == "__main__":
    common.main("iris_activations", run, show, draw)

"""The learning rate on the digits: too low, good, too high, and a good one that falls in steps."""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import nn, optim

RATES = {"too low": 0.0003, "good": 0.1, "too high": 3.0, "steps": 0.3}


def run(seeds: range = range(5), epochs: int = 12, rows: int = 2000) -> dict[str, Any]:
    """Return the training loss by epoch, a row a seed, and the test accuracies, by name."""
    x_train, y_train, x_test, y_test = common.digits(train=rows)
    result: dict[str, Any] = {name: {"loss": [], "accuracy": []} for name in RATES}
    for name, rate in RATES.items():
        for seed in seeds:
            fnn.manual_seed(seed)
            model = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
            optimizer = optim.SGD(model.parameters(), lr=rate)
            trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"], on_nonfinite="ignore")
            callbacks = []
            if name == "steps":
                fall = lambda epoch, _: RATES["steps"] * 0.3 ** (3 * epoch // epochs)  # noqa: E731
                callbacks.append(fnn.callbacks.LearningRateScheduler(fall))
            history = trainer.fit(x_train, y_train, epochs=epochs, batch_size=16, callbacks=callbacks, verbose=False)
            result[name]["loss"].append(history["loss"])
            result[name]["accuracy"].append(trainer.evaluate(x_test, y_test)["accuracy"])
    return {name: {key: np.array(values) for key, values in kept.items()} for name, kept in result.items()}


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    rows = [
        [name, RATES[name], float(r["loss"][:, -1].mean()), float(r["accuracy"].mean())] for name, r in result.items()
    ]
    common.print_table(["rate", "", "training loss", "test accuracy"], rows)


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    drawn, (axis,) = common.figure()
    for name, kept in result.items():
        axis.semilogy(range(1, kept["loss"].shape[1] + 1), kept["loss"].mean(axis=0), label=f"{name} ({RATES[name]:g})")
    axis.set(xlabel="epoch", ylabel="training loss")
    axis.legend(frameon=False)
    return drawn


if __name__ == "__main__":
    common.main("learning_rates", run, show, draw)

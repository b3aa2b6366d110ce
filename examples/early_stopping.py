"""Early stopping: a large net on 300 digits, trained to the end, and stopped where validation was best."""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import nn, optim


def run(seeds: range = range(5), epochs: int = 100, rows: int = 300) -> dict[str, Any]:
    """Return test losses and epochs, a row a seed, with and without; and the curves of the first seed."""
    x, y, x_test, y_test = common.digits(train=rows)
    result: dict[str, Any] = {"to the end": [], "early": [], "curves": None}
    for seed in seeds:
        for name in ("to the end", "early"):
            fnn.manual_seed(seed)
            model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
            optimizer = optim.Adam(model.parameters(), lr=2e-3)
            trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
            stop = fnn.callbacks.EarlyStopping(patience=8, restore_best_weights=True)
            history = trainer.fit(
                x, y, epochs=epochs, batch_size=32, validation_split=0.33, verbose=False,
                callbacks=[stop] if name == "early" else [],
            )  # fmt: skip
            test = trainer.evaluate(x_test, y_test)
            result[name].append((test["loss"], test["accuracy"], len(history.epochs)))
            if name == "to the end" and result["curves"] is None:
                result["curves"] = history["loss"], history["val_loss"]
    return {key: value if key == "curves" else np.array(value) for key, value in result.items()}


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    rows = [[name, *map(float, result[name].mean(axis=0))] for name in ("to the end", "early")]
    common.print_table(["", "test loss", "test accuracy", "epochs"], rows)


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    drawn, (axis,) = common.figure()
    training, validation = result["curves"]
    best = int(np.argmin(validation))
    axis.semilogy(training, label="training")
    axis.semilogy(validation, label="validation")
    axis.axvline(best, linestyle="--", color="gray", label=f"best: epoch {best}")
    axis.set(xlabel="epoch", ylabel="loss")
    axis.legend(frameon=False)
    return drawn


if __name__ == "__main__":
    common.main("early_stopping", run, show, draw)

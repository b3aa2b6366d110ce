"""Digits of which 40 % are labeled at random: plain training, label smoothing, MixUp."""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import nn, optim

KINDS = ("plain", "label smoothing", "MixUp")
NOISE = 0.4


def run(seeds: range = range(5), epochs: int = 40, train: int = 1000, test: int = 1000) -> dict[str, Any]:
    """Return the accuracies by kind, an epoch a column and a seed a row: on the test images, and on wrong labels."""
    result: dict[str, Any] = {kind: {"test": [], "loss": [], "noisy": []} for kind in KINDS}
    x, clean, x_test, y_test = common.digits(train, test)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        wrong = rng.random(train) < NOISE
        y = np.where(wrong, rng.integers(0, 10, train), clean)
        mistaken = y != clean
        for kind in KINDS:
            fnn.manual_seed(seed)
            model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
            optimizer = optim.Adam(model.parameters(), lr=1e-3)
            loss = nn.CrossEntropyLoss(label_smoothing=0.3 if kind == "label smoothing" else 0.0)
            trainer = fnn.Trainer(model, loss, optimizer, metrics=["accuracy"])
            augment = fnn.augment.MixUp(8.0, num_classes=10) if kind == "MixUp" else None
            test_accuracy = trainer.fit(
                x, y, epochs=epochs, batch_size=50, validation_data=(x_test, y_test), augment=augment, verbose=False
            )["val_accuracy"]
            result[kind]["test"].append(test_accuracy)
            loss_test = nn.functional.cross_entropy(fnn.tensor(trainer.predict(x_test)), fnn.tensor(y_test))
            result[kind]["loss"].append(loss_test.item())
            result[kind]["noisy"].append(trainer.evaluate(x[mistaken], y[mistaken])["accuracy"])
    return {kind: {name: np.array(rows) for name, rows in of.items()} for kind, of in result.items()}


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    rows = []
    for kind, of in result.items():
        rows.append([kind, *(float(of[name].mean()) for name in ("loss", "noisy")), float(of["test"][:, -5:].mean())])
    common.print_table(["", "test loss", "wrong labels learned", "test accuracy"], rows)


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    drawn, (axis,) = common.figure()
    for kind, of in result.items():
        mean = of["test"].mean(axis=0)
        axis.plot(range(1, len(mean) + 1), mean, label=kind)
    axis.set(xlabel="epoch", ylabel="accuracy on clean test images", title=f"{NOISE:.0%} of the labels drawn at random")
    axis.legend(frameon=False)
    return drawn


if __name__ == "__main__":
    common.main("label_noise", run, show, draw)

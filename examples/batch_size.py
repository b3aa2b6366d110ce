"""Batches of 16 against batches of 2048: the sharpness of the minimum, and the test accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import common
import numpy as np
from numpy.typing import NDArray

import fastnn as fnn
from fastnn import nn, optim

SIZES = (16, 2048)
# Trained until they fit their images about equally well, as minima are to be compared.
TARGET_LOSS = 0.1


class StopAt(fnn.callbacks.Callback):
    """Stop when an epoch's training loss is low enough."""

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Look at the loss."""
        del epoch
        if logs["loss"] < TARGET_LOSS:
            self.trainer.stop(f"loss below {TARGET_LOSS}")


def halved(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return images of 14 × 14, each pixel the mean of four."""
    return x.reshape(len(x), 14, 2, 14, 2).mean(axis=(2, 4)).reshape(len(x), 196)


def run(seeds: range = range(5), epochs: int = 1500, train: int = 2048) -> dict[int, np.ndarray]:
    """Return sharpness, accuracy and epochs by batch size, a row a seed."""
    numbers: dict[int, list[Any]] = {size: [] for size in SIZES}
    x, y, x_test, y_test = common.digits(train, test=1000)
    x, x_test = halved(x), halved(x_test)
    loss = nn.CrossEntropyLoss()
    for seed in seeds:
        for size in SIZES:
            fnn.manual_seed(seed)
            model = nn.Sequential(nn.Linear(196, 32), nn.ReLU(), nn.Linear(32, 10))
            trainer = fnn.Trainer(model, loss, optim.SGD(model.parameters(), lr=0.3), metrics=["accuracy"])
            history = trainer.fit(x, y, epochs=epochs, batch_size=size, callbacks=[StopAt()], verbose=False)
            sharpness = fnn.sharpness(model, loss, x[:512], y[:512], iterations=30, tol=1e-2)
            numbers[size].append((sharpness, trainer.evaluate(x_test, y_test)["accuracy"], len(history.epochs)))
    return {size: np.array(rows) for size, rows in numbers.items()}


def show(result: dict[int, np.ndarray]) -> None:
    """Print the table."""
    rows = [[f"{size}", *map(float, numbers.mean(axis=0))] for size, numbers in result.items()]
    common.print_table(["batch size", "sharpness", "test accuracy", "epochs"], rows)


def draw(result: dict[int, np.ndarray]) -> Any:
    """Return the picture."""
    drawn, (axis,) = common.figure()
    for size, numbers in result.items():
        axis.plot(numbers[:, 0], numbers[:, 1], "o", label=f"batches of {size}")
    axis.set(xlabel="sharpness: greatest eigenvalue of the Hessian", ylabel="test accuracy", xlim=(0, None))
    axis.legend(frameon=False)
    return drawn


if __name__ == "__main__":
    common.main("batch_size", run, show, draw)

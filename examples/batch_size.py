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
TARGET_LOSS = 0.2


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


def run(seeds: range = range(5), epochs: int = 1000, train: int = 2048, offsets: int = 21) -> dict[str, Any]:
    """Return sharpness, accuracy and epochs by batch size, a row a seed; and the loss along a line, for the first."""
    numbers: dict[int, list[Any]] = {size: [] for size in SIZES}
    lines = {}
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
            if size not in lines:
                lines[size] = fnn.loss_along(model, loss, x[:512], y[:512], points=offsets)
    return {"numbers": {size: np.array(rows) for size, rows in numbers.items()}, "lines": lines}


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    rows = [[f"{size}", *map(float, numbers.mean(axis=0))] for size, numbers in result["numbers"].items()]
    common.print_table(["batch size", "sharpness", "test accuracy", "epochs"], rows)


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(2)
    for size, numbers in result["numbers"].items():
        axes[0].plot(numbers[:, 0], numbers[:, 1], "o", label=f"batches of {size}")
        axes[1].plot(result["lines"][size].alphas, result["lines"][size].losses, label=f"batches of {size}")
    axes[0].set(xlabel="sharpness: greatest eigenvalue of the Hessian", ylabel="test accuracy", xlim=(0, None))
    axes[1].set(xlabel="along a random direction, in sizes of the weights", ylabel="training loss")
    for axis in axes:
        axis.legend(frameon=False)
    return drawn


if __name__ == "__main__":
    common.main("batch_size", run, show, draw)

"""LeNet on 8,000 digits: as they are, and turned, zoomed and shifted at random in every epoch."""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import augment, models, nn, optim

KINDS = {
    "none": None,
    "turn, zoom, shift": augment.RandomAffine(15, (0.1, 0.1), (0.9, 1.1), interpolation="bilinear"),
}


def run(
    seeds: range = range(5), epochs: int = 20, train: int = 8000, test: int = 2000, batch: int = 64
) -> dict[str, dict[str, np.ndarray]]:
    """Return by kind: the test accuracies, (seed, epoch), and the loss on the training images, (seed,)."""
    x, y, x_test, y_test = common.digits(train, test)
    x, x_test = x.reshape(-1, 1, 28, 28), x_test.reshape(-1, 1, 28, 28)
    result: dict[str, Any] = {kind: {"accuracy": [], "train loss": []} for kind in KINDS}
    for seed in seeds:
        for kind, transform in KINDS.items():
            fnn.manual_seed(seed)
            model = models.lenet5()
            adam = optim.Adam(model.parameters(), lr=3e-3)
            trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), adam, metrics=["accuracy"])
            history = trainer.fit(
                x, y, epochs=epochs, batch_size=batch, augment=transform, validation_data=(x_test, y_test),
                callbacks=[common.one_cycle(adam, len(x), epochs, batch)], verbose=False,
            )  # fmt: skip
            result[kind]["accuracy"].append(history["val_accuracy"])
            result[kind]["train loss"].append(trainer.evaluate(x, y)["loss"])
    return {kind: {name: np.array(rows) for name, rows in of.items()} for kind, of in result.items()}


def show(result: dict[str, dict[str, np.ndarray]]) -> None:
    """Print the table."""
    last = {kind: of["accuracy"][:, -1] for kind, of in result.items()}
    losses = {kind: float(of["train loss"].mean()) for kind, of in result.items()}
    rows = [[kind, float(of.mean()), float(of.min()), float(of.max()), losses[kind]] for kind, of in last.items()]
    common.print_table(["augmentation", "test accuracy", "lowest", "highest", "train loss"], rows)


def draw(result: dict[str, dict[str, np.ndarray]]) -> Any:
    """Return the picture."""
    drawn, (axis,) = common.figure()
    for kind, of in result.items():
        error = 100 * (1 - of["accuracy"])
        epochs = range(1, error.shape[1] + 1)
        (line,) = axis.plot(epochs, error.mean(axis=0), label=f"{kind}: {error[:, -1].mean():.2f} %")
        axis.fill_between(epochs, error.min(axis=0), error.max(axis=0), color=line.get_color(), alpha=0.2)
    axis.set(xlabel="epoch", ylabel="test errors, %", yscale="log", title="LeNet, 8,000 training images")
    axis.set_yticks([1, 2, 5, 10, 20], map(str, [1, 2, 5, 10, 20]))
    axis.minorticks_off()
    axis.legend(frameon=False)
    return drawn


if __name__ == "__main__":
    common.main("lenet_digits", run, show, draw)

"""CutOut, MixUp and CutMix: what they make of images and labels, and LeNet-5 on 500 digits with each of them."""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from numpy.typing import NDArray

import fastnn as fnn
from fastnn import augment, models

KINDS = {
    "as they are": None,
    "CutOut": augment.CutOut(12),
    "MixUp": augment.MixUp(0.4, 10),
    "CutMix": augment.CutMix(1.0, 10),
}
SHOWN = 8


def pictures(x: NDArray[Any], y: NDArray[Any], seed: int = 46) -> dict[str, tuple[Any, Any]]:
    """Return what each kind makes of a batch, and the labels it gives."""
    made: dict[str, tuple[Any, Any]] = {}
    for kind, transform in KINDS.items():
        fnn.manual_seed(seed)
        given = (x, y) if transform is None else transform(x, y)
        made[kind] = (given[0], given[1] if given[1].ndim == 2 else np.eye(10)[given[1]])
    return made


def run(seeds: range = range(5), images: int = 500, epochs: int = 60, test: int = 2000) -> dict[str, Any]:
    """Return the test accuracies, a seed a row and a kind a column; and some images of each kind."""
    x, y, x_test, y_test = common.digits(test=test)
    x, x_test = x.reshape(-1, 1, 28, 28), x_test.reshape(-1, 1, 28, 28)
    accuracies = np.zeros((len(seeds), len(KINDS)))
    for i, seed in enumerate(seeds):
        rows = np.random.default_rng(seed).permutation(len(x))[:images]
        for j, transform in enumerate(KINDS.values()):
            fnn.manual_seed(seed)
            model = models.lenet5()
            trainer = common.fit(model, x[rows], y[rows], epochs, 3e-3, batch_size=50, augment=transform)
            accuracies[i, j] = trainer.evaluate(x_test, y_test)["accuracy"]
    shown = [y.tolist().index(digit) for digit in range(SHOWN)]
    return {"accuracies": accuracies, "pictures": pictures(x[shown], y[shown])}


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    columns = zip(KINDS, result["accuracies"].T, strict=True)
    common.print_table(
        ["images", "test accuracy", "spread over seeds"],
        [[kind, float(values.mean()), float(values.std())] for kind, values in columns],
    )


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(SHOWN, len(KINDS), size=1.0)
    means = dict(zip(KINDS, result["accuracies"].mean(axis=0), strict=True))
    for i, (kind, (images, labels)) in enumerate(result["pictures"].items()):
        for axis, image, label in zip(axes[i * SHOWN :], images, labels, strict=False):
            axis.imshow(image[0], cmap="gray", vmin=0, vmax=1)
            parts = [f"{label[k]:.2f}".removesuffix(".00") + f" · {k}" for k in label.argsort()[::-1] if label[k] > 0]
            axis.set_title(" + ".join(part.removeprefix("1 · ") for part in parts), fontsize=6.5, pad=2)
            axis.set(xticks=[], yticks=[])
        axes[i * SHOWN].set_ylabel(f"{kind}\n{means[kind]:.3f} right", fontsize=8)
    return drawn


if __name__ == "__main__":
    common.main("mixing_images", run, show, draw)

"""Digits turned, sheared, zoomed, bent and partly erased: how they look, and who still reads them."""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from numpy.typing import NDArray

import fastnn as fnn
from fastnn import augment, models

KINDS: dict[str, augment.Transform] = {
    "as they are": augment.Compose([]),
    "rotation": augment.RandomRotation(40, interpolation="bilinear"),
    "shear": augment.RandomShear(40),
    "zoom": augment.RandomZoom((0.5, 1.3)),
    "elastic": augment.ElasticTransform(alpha=35.0, sigma=4.0),
    "erasing": augment.RandomErasing(p=1.0, scale=(0.05, 0.2), value=0.5),
}
NETS = {"as they are": None, "any of these": augment.OneOf(list(KINDS.values()))}
COLUMNS = 10


def changed(x: NDArray[Any], seed: int) -> dict[str, NDArray[Any]]:
    """Return what each transform makes of images."""
    fnn.manual_seed(seed)
    return {kind: transform(x) for kind, transform in KINDS.items()}


def run(seeds: range = range(5), images: int = 2000, epochs: int = 20, test: int = 1000) -> dict[str, Any]:
    """Return the test accuracies, by seed, what the net learned from and the changes of images; and some images."""
    x, y, x_test, y_test = common.digits(test=test)
    x, x_test = x.reshape(-1, 1, 28, 28), x_test.reshape(-1, 1, 28, 28)
    accuracies = np.zeros((len(seeds), len(NETS), len(KINDS)))
    for i, seed in enumerate(seeds):
        rows = np.random.default_rng(seed).permutation(len(x))[:images]
        for j, transform in enumerate(NETS.values()):
            fnn.manual_seed(seed)
            trainer = common.fit(models.lenet5(), x[rows], y[rows], epochs, 3e-3, batch_size=50, augment=transform)
            for k, seen in enumerate(changed(x_test, seed).values()):
                accuracies[i, j, k] = trainer.evaluate(seen, y_test)["accuracy"]
    shown = [y.tolist().index(digit) for digit in range(COLUMNS)]
    return {"accuracies": accuracies, "images": changed(x[shown], 0)}


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    means = result["accuracies"].mean(axis=0)
    rows = [[kind, *map(float, values)] for kind, values in zip(KINDS, means.T, strict=True)]
    common.print_table(["test accuracy, learned from digits", *NETS], rows)


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    drawn, (axis,) = common.figure(size=4.2)
    images = np.concatenate(list(result["images"].values()))
    canvas = fnn.visualize.arrays.image_grid(images, columns=COLUMNS, pad_value=0.4)
    axis.imshow(canvas, cmap="gray")
    means = result["accuracies"].mean(axis=0).T
    names = [f"{kind}\n{plain:.2f}, {taught:.2f}" for kind, (plain, taught) in zip(KINDS, means, strict=True)]
    axis.set_yticks(canvas.shape[0] / len(KINDS) * (np.arange(len(KINDS)) + 0.5), names)
    axis.set(xticks=[], title="accuracy of a net that knows digits as they are,\nand of one that knows all of these")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return drawn


if __name__ == "__main__":
    common.main("augmented_digits", run, show, draw)

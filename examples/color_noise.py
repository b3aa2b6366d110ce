"""One photograph in other lights: brightness, contrast, saturation, hue, and noise of principal components."""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from numpy.typing import NDArray

import fastnn as fnn
from fastnn import augment

IMAGE, COPIES = 12, 7


def transforms(x: NDArray[Any]) -> dict[str, augment.Transform]:
    """Return the transforms by name; the colors of these images have the principal components."""
    return {
        "brightness": augment.ColorJitter(brightness=0.6),
        "contrast": augment.ColorJitter(contrast=0.8),
        "saturation": augment.ColorJitter(saturation=1.0),
        "hue": augment.ColorJitter(hue=0.5),
        "all four": augment.ColorJitter(0.4, 0.4, 0.4, 0.1),
        "PCA, std 0.1": augment.PCANoise.fit(x, std=0.1),
        "PCA, std 1": augment.PCANoise.fit(x, std=1.0),
    }


def run(seed: int = 0, images: int = 500, copies: int = COPIES) -> dict[str, NDArray[np.float32]]:
    """Return the original and its copies, ``(1 + copies, 3, 32, 32)``, by transform."""
    x = common.colors(images)[0]
    one = x[IMAGE : IMAGE + 1]
    fnn.manual_seed(seed)
    return {
        name: np.concatenate([one, transform(np.repeat(one, copies, axis=0))])
        for name, transform in transforms(x).items()
    }


def changes(rows: NDArray[Any]) -> list[float]:
    """Return how far the copies are from the original, in all, in brightness, and in color: roots of mean squares."""
    difference = rows[1:] - rows[:1]
    gray = difference.mean(axis=1, keepdims=True)
    return [float(np.sqrt(np.square(part).mean())) for part in (difference, gray, difference - gray)]


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    rows = [[name, *changes(images)] for name, images in result.items()]
    common.print_table(["transform", "change of pixels", "of brightness", "of color"], rows)


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    drawn, (axis,) = common.figure(size=4.2)
    rows = np.concatenate(list(result.values())).clip(0, 1)
    canvas = fnn.visualize.arrays.image_grid(rows, columns=1 + COPIES, pad_value=1)
    axis.imshow(canvas)
    height = canvas.shape[0] / len(result)
    axis.set_yticks(height * (np.arange(len(result)) + 0.5), result)
    axis.set_xticks([canvas.shape[1] / (1 + COPIES) / 2], ["original"])
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return drawn


if __name__ == "__main__":
    common.main("color_noise", run, show, draw)

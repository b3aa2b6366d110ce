"""Ten crops of a photograph while testing: one net learns from the centers of images, one from parts at random."""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import augment, nn, tta

SIZE = 28
CENTER = tta.Crop((SIZE, SIZE))
VIEWS = {
    "center": [CENTER],
    "and its mirror image": [CENTER, tta.Chain(tta.Flip(), CENTER)],
    "five crops": tta.five_crop(SIZE),
    "ten crops": tta.ten_crop(SIZE),
}
KINDS = {
    "centers": None,
    "random crops, mirrored": augment.Compose([augment.RandomCrop(SIZE), augment.RandomHorizontalFlip()]),
}


def build(width: int = 8) -> nn.Sequential:
    """Return three convolutions and a linear layer, which knows where in the image it looks."""
    layers: list[nn.Module] = []
    for c_in, c_out in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
        convolution = nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(c_out), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * width * 9, 10))


def run(seeds: range = range(5), epochs: int = 15, images: int | None = None) -> dict[str, Any]:
    """Return the test accuracies: seed, kind, views; and a test image."""
    x, y, x_test, y_test = common.colors(images)
    accuracies = np.zeros((len(seeds), len(KINDS), len(VIEWS)))
    for i, seed in enumerate(seeds):
        for j, transform in enumerate(KINDS.values()):
            fnn.manual_seed(seed)
            model = build()
            shown = CENTER(x) if transform is None else x
            trainer = common.fit(model, shown, y, epochs, 3e-3, batch_size=64, augment=transform)
            accuracies[i, j] = [trainer.evaluate(x_test, y_test, tta=views)["accuracy"] for views in VIEWS.values()]
    return {"accuracies": accuracies, "image": x_test[14]}


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    means = result["accuracies"].mean(axis=0)
    rows = [[kind, *map(float, values)] for kind, values in zip(KINDS, means, strict=True)]
    common.print_table(["test accuracy, learned from", *VIEWS], rows)


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(2)
    crops = np.concatenate([view(result["image"][None]) for view in VIEWS["ten crops"]])
    axes[0].imshow(fnn.visualize.arrays.image_grid(crops, columns=5, pad_value=1))
    axes[0].axis("off")
    axes[0].set_title("ten crops of one image")
    for j, kind in enumerate(KINDS):
        values = result["accuracies"][:, j]
        axes[1].errorbar(range(len(VIEWS)), values.mean(axis=0), values.std(axis=0), fmt=".", capsize=2, label=kind)
    axes[1].set_xticks(range(len(VIEWS)), [name.replace(" ", "\n", 1) for name in VIEWS])
    axes[1].set(ylabel="test accuracy", xlabel="views of a test image", xlim=(-0.5, len(VIEWS) - 0.5))
    axes[1].margins(y=0.25)
    axes[1].legend(frameon=False, title="learned from", loc="lower right")
    return drawn


if __name__ == "__main__":
    common.main("ten_crop", run, show, draw)

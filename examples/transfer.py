"""From digits 0-4 to 5-9, and from animals to vehicles: what nets learn from few images if they have seen others."""

from __future__ import annotations

from itertools import product
from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import models, nn

IMAGES, RATE = (20, 100, 500), 3e-3
KINDS = ("from scratch", "frozen, new head", "new head, all of it learns")


def digits_net(classes: int) -> nn.Sequential:
    """Return two convolutions and a linear layer."""
    first = nn.Sequential(nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))
    second = nn.Sequential(nn.Conv2d(8, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    return nn.Sequential(first, second, nn.Linear(400, classes))


# The data, the net, the classes that come first, and those that come then.
TASKS: dict[str, tuple[Any, ...]] = {
    "from digits 0-4 to 5-9": (common.digits, digits_net, (0, 1, 2, 3, 4), (5, 6, 7, 8, 9)),
    "from animals to vehicles": (common.colors, models.resnet8, (2, 3, 4, 5, 6, 7), (0, 1, 8, 9)),
}


def of(classes: tuple[int, ...], x: Any, y: Any) -> tuple[Any, Any]:
    """Return the images of these classes, numbered anew."""
    chosen = np.isin(y, classes)
    return x[chosen], np.searchsorted(classes, y[chosen])


def run(
    seeds: range = range(5), images: Any = IMAGES, old_epochs: int = 6, epochs: int = 20, tasks: Any = TASKS
) -> Any:
    """Return the test accuracies by task: seed, kind, number of images."""
    result = {task: np.zeros((len(seeds), len(KINDS), len(images))) for task in tasks}
    for task, (i, seed) in product(tasks, enumerate(seeds)):
        load, make, old, new = TASKS[task]
        x, y, x_test, y_test = load()
        fnn.manual_seed(seed)
        state = common.fit(make(len(old)), *of(old, x, y), old_epochs, RATE, batch_size=20).model.state_dict()
        (x, y), test = of(new, x, y), of(new, x_test, y_test)
        for (k, count), (j, kind) in product(enumerate(images), enumerate(KINDS)):
            model = make(len(old))
            if kind != "from scratch":
                model.load_state_dict(state)
            frozen = kind == "frozen, new head"
            nn.utils.replace_head(fnn.freeze(model) if frozen else model, len(new))
            rows = np.random.default_rng(seed).permutation(len(x))[:count]
            trainer = common.fit(model, x[rows], y[rows], epochs, RATE, batch_size=20, cache_features=frozen)
            result[task][i, j, k] = trainer.evaluate(*test)["accuracy"]
    return result


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    for task, accuracies in result.items():
        rows = [[kind, *map(float, means)] for kind, means in zip(KINDS, accuracies.mean(axis=0), strict=True)]
        common.print_table([f"{task}, with images", *IMAGES], rows)


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    (drawn, axes), shown = common.figure(len(result)), [*map(str, IMAGES)]
    for ax, (task, values) in zip(axes, result.items(), strict=True):
        for kind, each in zip(KINDS, values.swapaxes(0, 1), strict=True):
            ax.errorbar(shown, each.mean(axis=0), each.std(axis=0), marker=".", capsize=2, label=kind)
        ax.set(xlabel="images", ylabel="test accuracy", title=task)
        ax.legend(frameon=False)
    return drawn


if __name__ == "__main__":
    common.main("transfer", run, show, draw)

"""From digits 0-4 to 5-9, and from animals to vehicles: what nets learn from few images if they have seen others."""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import models, nn, optim

IMAGES = (20, 100, 500)
KINDS = ("from scratch", "frozen, new head", "new head, all of it learns")
TASKS = ("digits", "colours")
ANIMALS, VEHICLES = (2, 3, 4, 5, 6, 7), (0, 1, 8, 9)


def digits_net(classes: int) -> nn.Sequential:
    """Return two convolutions and a linear layer."""
    trunk = nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
    )  # fmt: skip
    return nn.Sequential(trunk, nn.Linear(400, classes))


def of(classes: tuple[int, ...], x: Any, y: Any) -> tuple[Any, Any]:
    """Return the images of these classes, numbered anew."""
    chosen = np.isin(y, classes)
    return x[chosen], np.searchsorted(classes, y[chosen])


def fit(model: nn.Module, x: Any, y: Any, epochs: int, lr: float, **options: Any) -> fnn.Trainer:
    """Train what is not frozen, at a rate that falls along half a cosine."""
    adam = optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    rate = fnn.callbacks.LearningRateScheduler(optim.lr_scheduler.CosineAnnealingLR(adam, epochs))
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), adam, metrics=["accuracy"])
    trainer.fit(x, y, epochs=epochs, batch_size=20, callbacks=[rate], verbose=False, **options)
    return trainer


def transfer(task: str, seed: int, images: tuple[int, ...], old_epochs: int, epochs: int) -> Any:
    """Return the test accuracies of each kind, by the number of images."""
    x, y, x_test, y_test = common.digits() if task == "digits" else common.colours()
    old, new = ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9)) if task == "digits" else (ANIMALS, VEHICLES)
    make = digits_net if task == "digits" else models.resnet8
    if task == "digits":
        x, x_test = x.reshape(-1, 1, 28, 28), x_test.reshape(-1, 1, 28, 28)
    fnn.manual_seed(seed)
    state = fit(make(len(old)), *of(old, x, y), old_epochs, 3e-3).model.state_dict()
    (x, y), test = of(new, x, y), of(new, x_test, y_test)
    order = np.random.default_rng(seed).permutation(len(x))
    accuracies = np.zeros((len(KINDS), len(images)))
    for j, count in enumerate(images):
        for i, kind in enumerate(KINDS):
            model = make(len(old))
            if kind != "from scratch":
                model.load_state_dict(state)
            frozen = kind == "frozen, new head"
            nn.utils.replace_head(fnn.freeze(model) if frozen else model, len(new))
            rows = order[:count]
            trainer = fit(model, x[rows], y[rows], epochs, 3e-3, cache_features=frozen)
            accuracies[i, j] = trainer.evaluate(*test)["accuracy"]
    return accuracies


def run(
    seeds: range = range(3), images: tuple[int, ...] = IMAGES, old_epochs: int = 6, epochs: int = 20, tasks: Any = TASKS
) -> dict[str, Any]:
    """Return the accuracies by task: seed, kind, number of images."""
    return {task: np.array([transfer(task, seed, images, old_epochs, epochs) for seed in seeds]) for task in tasks}


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    means = {(task, kind): values[:, i].mean(axis=0) for task, values in result.items() for i, kind in enumerate(KINDS)}
    rows = [[*key, *map(float, accuracies)] for key, accuracies in means.items()]
    common.print_table(["test accuracy", "with images", *IMAGES], rows)


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(2)
    titles = {"digits": "from digits 0-4 to 5-9", "colours": "from animals to vehicles"}
    for ax, (task, values) in zip(axes, result.items(), strict=True):
        for i, kind in enumerate(KINDS):
            ax.errorbar(IMAGES, values[:, i].mean(axis=0), values[:, i].std(axis=0), marker=".", capsize=2, label=kind)
        ax.set(xscale="log", xlabel="images", ylabel="test accuracy", title=titles[task])
        ax.set_xticks(IMAGES, map(str, IMAGES))
        ax.minorticks_off()
        ax.legend(frameon=False)
    return drawn


if __name__ == "__main__":
    common.main("transfer", run, show, draw)

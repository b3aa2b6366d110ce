"""Every first-order optimizer on the digits: the training loss by epoch, each with a rate that suits it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import nn, optim

# By kin: what makes an optimizer of parameters and a rate, and a rate for the digits.
FAMILIES: dict[str, dict[str, tuple[Callable[..., Any], float]]] = {
    "momentum": {
        "SGD": (optim.SGD, 0.5),
        "momentum": (partial(optim.SGD, momentum=0.9), 0.1),
        "Nesterov": (partial(optim.Nesterov, momentum=0.9), 0.1),
        "ASGD": (partial(optim.ASGD, t0=10), 0.5),
        "SAM": (lambda params, lr: optim.SAM(optim.SGD(params, lr)), 0.5),
    },
    "a rate for each element": {
        "Adagrad": (optim.Adagrad, 0.03),
        "Adadelta": (partial(optim.Adadelta, eps=1e-5), 3.0),
        "RMSprop": (optim.RMSprop, 0.003),
        "Adafactor": (optim.Adafactor, 0.1),
    },
    "Adam and its kin": {
        "Adam": (optim.Adam, 0.005),
        "AdamW": (optim.AdamW, 0.005),
        "Adamax": (optim.Adamax, 0.01),
        "NAdam": (optim.NAdam, 0.005),
        "RAdam": (optim.RAdam, 0.01),
    },
    "signs and directions": {
        "Rprop": (optim.Rprop, 0.003),
        "Lion": (optim.Lion, 0.001),
        "Muon": (partial(optim.Muon, weight_decay=0), 0.01),
    },
}
NAMED = {name: entry for family in FAMILIES.values() for name, entry in family.items()}


def losses(name: str, seed: int, epochs: int, rows: int) -> list[float]:
    """Return the training loss by epoch, of a net without biases, so that Muon may have all of it."""
    fnn.manual_seed(seed)
    x, y, _, _ = common.digits(train=rows)
    model = nn.Sequential(nn.Linear(784, 64, bias=False), nn.ReLU(), nn.Linear(64, 10, bias=False))
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), NAMED[name][0](model.parameters(), NAMED[name][1]))
    # Rprop looks at signs alone, and those of small batches are noise.
    history = trainer.fit(x, y, epochs=epochs, batch_size=rows if name == "Rprop" else 50, verbose=False)
    return history["loss"]


def run(seeds: range = range(5), epochs: int = 15, rows: int = 2000) -> dict[str, np.ndarray]:
    """Return the losses by optimizer, a row a seed."""
    return {name: np.array([losses(name, seed, epochs, rows) for seed in seeds]) for name in NAMED}


def show(result: dict[str, np.ndarray]) -> None:
    """Print the table."""
    rows = [[name, NAMED[name][1], *map(float, loss.mean(axis=0)[[0, 4, -1]])] for name, loss in result.items()]
    common.print_table(["optimizer", "rate", "epoch 1", "epoch 5", "last epoch"], rows)


def draw(result: dict[str, np.ndarray]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(len(FAMILIES), size=2.4)
    for axis, (family, names) in zip(axes, FAMILIES.items(), strict=True):
        for name in dict.fromkeys(["SGD", *names]):
            axis.semilogy(result[name].mean(axis=0), label=name, color="gray" if name == "SGD" else None)
        axis.set(title=family, xlabel="epoch", ylabel="training loss", ylim=(1e-4, 3))
        axis.legend(frameon=False)
    return drawn


if __name__ == "__main__":
    common.main("optimizers_on_digits", run, show, draw)

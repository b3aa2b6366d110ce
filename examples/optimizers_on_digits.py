"""Every first-order optimizer on the digits: the training loss by epoch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import nn, optim

# By kin: what makes an optimizer of parameters and a rate, and the rate.
FAMILIES: dict[str, dict[str, tuple[Callable[..., Any], float]]] = {
    "momentum": {
        "SGD": (optim.SGD, 0.3),
        "momentum": (partial(optim.SGD, momentum=0.9), 0.05),
        "Nesterov": (partial(optim.Nesterov, momentum=0.9), 0.05),
        "ASGD": (partial(optim.ASGD, t0=10), 0.3),
        "SAM": (lambda params, lr: optim.SAM(optim.SGD(params, lr)), 0.3),
    },
    "a rate for each element": {
        "Adagrad": (optim.Adagrad, 0.03),
        "Adadelta": (optim.Adadelta, 1.0),
        "RMSprop": (optim.RMSprop, 1e-3),
        "Adafactor": (optim.Adafactor, 0.03),
    },
    "Adam's kin": {
        "Adam": (optim.Adam, 3e-3),
        "AdamW": (optim.AdamW, 3e-3),
        "Adamax": (optim.Adamax, 5e-3),
        "NAdam": (optim.NAdam, 3e-3),
        "RAdam": (optim.RAdam, 3e-3),
    },
    "signs and directions": {
        "Rprop": (optim.Rprop, 1e-3),
        "Lion": (optim.Lion, 3e-4),
        "Muon": (partial(optim.Muon, weight_decay=0), 0.02),
    },
}


def losses(make: Callable[..., Any], rate: float, seed: int, epochs: int, rows: int) -> list[float]:
    """Return the training loss by epoch, of a net without biases, so that Muon may have all of it."""
    fnn.manual_seed(seed)
    x, y, _, _ = common.digits(train=rows)
    model = nn.Sequential(nn.Linear(784, 64, bias=False), nn.ReLU(), nn.Linear(64, 10, bias=False))
    optimizer = make(model.parameters(), rate)
    # Rprop looks at signs alone, and those of small batches are noise.
    batch_size = rows if isinstance(optimizer, optim.Rprop) else 50
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optimizer)
    return trainer.fit(x, y, epochs=epochs, batch_size=batch_size, verbose=False)["loss"]


def run(seeds: range = range(5), epochs: int = 15, rows: int = 2000) -> dict[str, np.ndarray]:
    """Return the losses by optimizer, a row a seed."""
    makers = {name: entry for family in FAMILIES.values() for name, entry in family.items()}
    return {
        name: np.array([losses(make, rate, seed, epochs, rows) for seed in seeds])
        for name, (make, rate) in makers.items()
    }


def show(result: dict[str, np.ndarray]) -> None:
    """Print the table."""
    rates = {name: rate for family in FAMILIES.values() for name, (_, rate) in family.items()}
    rows = [[name, rates[name], *map(float, curves.mean(axis=0)[[0, 4, -1]])] for name, curves in result.items()]
    common.print_table(["optimizer", "rate", "epoch 1", "epoch 5", "last"], rows)


def draw(result: dict[str, np.ndarray]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(len(FAMILIES), size=2.4)
    for axis, (family, names) in zip(axes, FAMILIES.items(), strict=True):
        for name in names:
            axis.semilogy(range(1, result[name].shape[1] + 1), result[name].mean(axis=0), linewidth=1, label=name)
        axis.set(title=family, xlabel="epoch", ylim=(1e-3, 2))
        axis.legend(frameon=False)
    axes[0].set_ylabel("training loss")
    return drawn


if __name__ == "__main__":
    common.main("optimizers_on_digits", run, show, draw)

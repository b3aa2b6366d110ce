"""Dropout on 500 digits: none, scaled while training, scaled while testing; and its spread as uncertainty."""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from numpy.typing import NDArray

import fastnn as fnn
from fastnn import nn, optim

KINDS = {"none": {}, "inverted": {"scaling": "training"}, "scaled while testing": {"scaling": "evaluation"}}


def build(settings: dict[str, Any]) -> nn.Sequential:
    """Return 784-256-256-10 with dropout of the pixels, and behind each hidden layer."""
    pixels, hidden = (0.2, 0.5) if settings else (0.0, 0.0)
    return nn.Sequential(
        nn.Dropout(pixels, **settings),
        nn.Linear(784, 256), nn.ReLU(), nn.Dropout(hidden, **settings),
        nn.Linear(256, 256), nn.ReLU(), nn.Dropout(hidden, **settings),
        nn.Linear(256, 10),
    )  # fmt: skip


def uncertainty(model: nn.Module, x: NDArray[Any], y: NDArray[Any], samples: int) -> dict[str, NDArray[Any]]:
    """Return the spread of the winning class' probability, for rows that are right and for rows that are wrong."""
    mean, std = fnn.mc_predict(nn.Sequential(model, nn.Softmax(1)), x, samples)
    right, spread = mean.argmax(axis=1) == y, std[np.arange(len(y)), mean.argmax(axis=1)]
    return {"right": spread[right], "wrong": spread[~right]}


def run(seeds: range = range(5), epochs: int = 100, samples: int = 30, test: int = 1000) -> dict[str, Any]:
    """Return the test accuracies by kind, an epoch a column and a seed a row; and the spreads, an item a seed."""
    accuracies, spreads = {kind: [] for kind in KINDS}, []
    x, y, x_test, y_test = common.digits(test=test)
    for seed in seeds:
        rows = np.random.default_rng(seed).permutation(len(x))[:500]
        for kind, settings in KINDS.items():
            fnn.manual_seed(seed)
            model = build(settings)
            optimizer = optim.Adam(model.parameters(), lr=1e-3)
            trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
            data = (x_test, y_test)
            history = trainer.fit(x[rows], y[rows], epochs=epochs, batch_size=50, validation_data=data, verbose=False)
            accuracies[kind].append(history["val_accuracy"])
            if kind == "inverted":
                spreads.append(uncertainty(model, x_test, y_test, samples))
    return {"accuracies": {kind: np.array(rows) for kind, rows in accuracies.items()}, "spreads": spreads}


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    last = {kind: rows[:, -10:].mean(axis=1) for kind, rows in result["accuracies"].items()}
    rows = [[kind, float(values.mean()), float(values.std())] for kind, values in last.items()]
    common.print_table(["dropout", "test accuracy", "spread over seeds"], rows)
    spread = [[name, float(np.mean([np.median(s[name]) for s in result["spreads"]]))] for name in ("right", "wrong")]
    common.print_table(["Monte-Carlo dropout says", "median spread"], spread)


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(2)
    for kind, rows in result["accuracies"].items():
        axes[0].plot(range(1, rows.shape[1] + 1), rows.mean(axis=0), label=kind)
    axes[0].set(xlabel="epoch", ylabel="test accuracy", ylim=(0.8, 0.92), title="500 training images")
    bins = np.linspace(0, 0.45, 31)
    for name in ("right", "wrong"):
        values = np.concatenate([spread[name] for spread in result["spreads"]])
        axes[1].hist(values, bins, density=True, alpha=0.6, label=f"{name} ({len(values)})")
    axes[1].set(xlabel="spread of the probability, Monte-Carlo dropout", ylabel="density", yscale="log")
    for axis in axes:
        axis.legend(frameon=False)
    return drawn


if __name__ == "__main__":
    common.main("dropout", run, show, draw)

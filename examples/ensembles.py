"""A snapshot ensemble against its members, and an average of weights against the last."""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from numpy.typing import NDArray

import fastnn as fnn
from fastnn import ensemble, nn, optim

CYCLES = 5
NAMES = {"snapshots": ("one snapshot", "all five"), "averages": ("last weights", "their average")}


def classifier() -> nn.Module:
    """Return a net for digits."""
    return nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))


def accuracy(model: nn.Module, x: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the share of rows that are right."""
    return float(np.mean(model(x).detach().numpy().argmax(axis=1) == y))


def snapshots(digits: common.Split, epochs: int) -> tuple[float, float]:
    """Return the test accuracy of the snapshots, on average, and that of all together."""
    x, y, x_test, y_test = digits
    snapshot = ensemble.SnapshotEnsemble(
        classifier, CYCLES, nn.CrossEntropyLoss(), lambda weights: optim.SGD(weights, lr=0.5)
    )
    snapshot.fit(x, y, epochs=epochs, batch_size=20, verbose=False)
    together = float(np.mean(snapshot.predict(x_test).argmax(axis=1) == y_test))
    return float(np.mean([accuracy(member, x_test, y_test) for member in snapshot.members])), together


def averaged(digits: common.Split, epochs: int) -> tuple[float, float]:
    """Return the test accuracy of the last weights, and that of their exponential average, at a large rate."""
    x, y, x_test, y_test = digits
    model = classifier()
    average = optim.swa_utils.AveragedModel(model, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.98))
    step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.5))
    for epoch in range(epochs):
        for rows in np.random.default_rng(epoch).permutation(len(x)).reshape(-1, 10):
            step(x[rows], y[rows])
            average.update_parameters(model)
    return accuracy(model, x_test, y_test), accuracy(average, x_test, y_test)


def run(seeds: range = range(5), epochs: int = 25, train: int = 1000) -> dict[str, Any]:
    """Return accuracies, a row a seed: a snapshot and all, last weights and their average."""
    digits = common.digits(train, test=1000)
    result: dict[str, Any] = {"snapshots": [], "averages": []}
    for seed in seeds:
        fnn.manual_seed(seed)
        result["snapshots"].append(snapshots(digits, epochs))
        result["averages"].append(averaged(digits, epochs=5))
    return {name: np.array(rows) for name, rows in result.items()}


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    for key, names in NAMES.items():
        common.print_table(names, [[float(value) for value in result[key].mean(axis=0)]])


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(2, size=2.8)
    for axis, (key, names) in zip(axes, NAMES.items(), strict=True):
        axis.plot([0, 1], result[key].T, "o-", color="tab:blue", alpha=0.5)
        axis.set(xticks=[0, 1], xlim=(-0.3, 1.3), ylabel="test accuracy, a line a seed")
        axis.set_xticklabels(names)
    return drawn


if __name__ == "__main__":
    common.main("ensembles", run, show, draw)

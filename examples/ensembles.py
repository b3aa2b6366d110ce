"""A snapshot ensemble against its members, an average of weights against the last, and bagging's doubt."""

from __future__ import annotations

from typing import Any

import common
import numpy as np
from numpy.typing import NDArray

import fastnn as fnn
from fastnn import ensemble, nn, optim

CYCLES = 5
GRID = np.linspace(-1.5, 1.5, 121, dtype=np.float32)[:, None]
# Where bagging has no data: the gap between them, and both ends.
SEEN = (np.abs(GRID[:, 0]) > 0.3) & (np.abs(GRID[:, 0]) < 1)


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


def bagged(seed: int, epochs: int, members: int = 10) -> dict[str, NDArray[Any]]:
    """Return the mean and the spread of nets that were fitted to bootstrap samples of a curve with a gap."""
    rng = np.random.default_rng(seed)
    x = (rng.uniform(0.3, 1.0, (60, 1)) * rng.choice([-1, 1], (60, 1))).astype(np.float32)
    y = (np.sin(4 * x) + 0.1 * rng.normal(size=x.shape)).astype(np.float32)
    bagging = ensemble.BaggingEnsemble(
        lambda: nn.Sequential(nn.Linear(1, 50), nn.ReLU(), nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 1)),
        members,
        nn.MSELoss(),
        lambda weights: optim.Adam(weights, lr=1e-2),
    )
    bagging.fit(x, y, epochs=epochs, batch_size=20, verbose=False)
    mean, std = bagging.predict(GRID, return_std=True)
    return {"x": x, "y": y, "mean": mean[:, 0], "std": std[:, 0]}


def run(seeds: range = range(5), epochs: int = 25, train: int = 1000, bag_epochs: int = 100) -> dict[str, Any]:
    """Return accuracies, a row a seed: a snapshot and all, last weights and average; and what bagging says."""
    digits = common.digits(train, test=1000)
    result: dict[str, Any] = {"snapshots": [], "averages": [], "bagging": []}
    for seed in seeds:
        fnn.manual_seed(seed)
        result["snapshots"].append(snapshots(digits, epochs))
        result["averages"].append(averaged(digits, epochs=5))
        result["bagging"].append(bagged(seed, bag_epochs))
    return {**result, **{name: np.array(result[name]) for name in ("snapshots", "averages")}}


def doubt(bagging: dict[str, NDArray[Any]]) -> tuple[float, float]:
    """Return the mean spread where there is data, and where there is none."""
    return float(bagging["std"][SEEN].mean()), float(bagging["std"][~SEEN].mean())


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    rows = [["one snapshot", "all five"], ["last weights", "their average"]]
    for names, key in zip(rows, ("snapshots", "averages"), strict=True):
        common.print_table(names, [[float(value) for value in result[key].mean(axis=0)]])
    spread = np.mean([doubt(bagging) for bagging in result["bagging"]], axis=0)
    common.print_table(["bagging's spread, with data", "without"], [[float(value) for value in spread]])


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(3, size=2.6)
    for axis, key, names in (
        (axes[0], "snapshots", ("one snapshot", "all five")),
        (axes[1], "averages", ("last weights", "their average")),
    ):
        axis.plot([0, 1], result[key].T, "o-", color="tab:blue", alpha=0.5)
        axis.set(xticks=[0, 1], xlim=(-0.3, 1.3), ylabel="test accuracy, a line a seed")
        axis.set_xticklabels(names)
    of = result["bagging"][0]
    axes[2].fill_between(GRID[:, 0], of["mean"] - 2 * of["std"], of["mean"] + 2 * of["std"], alpha=0.3)
    axes[2].plot(GRID[:, 0], of["mean"])
    axes[2].plot(of["x"], of["y"], ".", color="black", markersize=3)
    axes[2].set(xlabel="x", ylim=(-3, 3), title="ten nets, bagged: mean ± 2 spreads")
    return drawn


if __name__ == "__main__":
    common.main("ensembles", run, show, draw)

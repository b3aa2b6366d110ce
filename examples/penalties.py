"""L1 against L2 on the weights of a net that sees digits: what is left of them."""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import nn, optim

PENALTIES = {"none": None, "L1": nn.penalties.L1(1e-3), "L2": nn.penalties.L2(3e-3)}
# Bound below which a weight counts as zero: the last steps, by which weights swing around it, are smaller.
ZERO = 1e-4


def run(seeds: range = range(5), epochs: int = 40, train: int = 1000) -> dict[str, Any]:
    """Return the weights of the first layer and the test accuracies, by penalty, one a seed."""
    result: dict[str, Any] = {name: {"weights": [], "accuracy": []} for name in PENALTIES}
    x, y, x_test, y_test = common.digits(train, test=1000)
    for seed in seeds:
        for name, penalty in PENALTIES.items():
            fnn.manual_seed(seed)
            model = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
            optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
            # The rate ends near 0, and with it the swinging.
            schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
            trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"], penalty=penalty)
            callbacks = [fnn.callbacks.LearningRateScheduler(schedule)]
            trainer.fit(x, y, epochs=epochs, batch_size=50, callbacks=callbacks, verbose=False)
            result[name]["weights"].append(model[0].weight.detach().numpy().ravel().copy())
            result[name]["accuracy"].append(trainer.evaluate(x_test, y_test)["accuracy"])
    return result


def zeros(weights: np.ndarray) -> float:
    """Return the share of weights that are zero, but for the swinging."""
    return float(np.mean(np.abs(weights) < ZERO))


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    rows = []
    for name, of in result.items():
        share, norm = np.mean([(zeros(w), np.linalg.norm(w)) for w in of["weights"]], axis=0)
        rows.append(
            [name, f"{share:.1%}", float(norm), float(np.max(np.abs(of["weights"]))), float(np.mean(of["accuracy"]))]
        )
    common.print_table(["penalty", f"|w| < {ZERO:g}", "2-norm", "greatest |w|", "test accuracy"], rows)


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(len(result), size=2.4)
    bins = np.linspace(-0.1, 0.1, 82)
    for axis, (name, of) in zip(axes, result.items(), strict=True):
        weights = of["weights"][0]
        axis.hist(np.clip(weights, bins[0], bins[-1]), bins, log=True)
        axis.set(title=f"{name}: {zeros(weights):.0%} are zero", xlabel="weight of the first layer", ylim=(0.7, 1e5))
    return drawn


if __name__ == "__main__":
    common.main("penalties", run, show, draw)

"""Nets with one fault each, found by ``diagnose``."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import common

import fastnn as fnn
from fastnn import nn, optim

LR = 0.1


def net(depth: int = 2, activation: type[nn.Module] = nn.ReLU, width: int = 32) -> nn.Sequential:
    """Return a net for digits, with He's weights."""
    widths = [784, *[width] * depth]
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.kaiming_normal_(linear.weight)
        layers += [linear, activation()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def with_dead_units() -> nn.Sequential:
    """Return a net whose hidden biases are far below zero."""
    model = net()
    nn.init.constant_(model[2].bias, -20.0)
    return model


def with_equal_units() -> nn.Sequential:
    """Return a net whose units all begin alike."""
    model = net()
    for layer in model[::2]:
        nn.init.constant_(layer.weight, 0.01)
    return model


# What is wrong: the net, its learning rate, the factor of its inputs, and the check that has to find it.
FAULTS: dict[str, tuple[Callable[[], nn.Sequential], float, float, str]] = {
    "nothing": (net, LR, 1.0, ""),
    "pixels up to 255": (net, LR, 255.0, "feature scale"),
    "dead ReLUs": (with_dead_units, LR, 1.0, "dead units"),
    "equal weights": (with_equal_units, LR, 1.0, "symmetry"),
    "12 sigmoids": (lambda: net(12, nn.Sigmoid), LR, 1.0, "gradients"),
    "rate of 100": (net, 100.0, 1.0, "loss stays finite"),
    "rate of 1e-7": (net, 1e-7, 1.0, "learning rate"),
}


def run(seeds: range = range(5), rows: int = 512) -> dict[str, list[Any]]:
    """Return the diagnoses by fault, one a seed."""
    result: dict[str, list[Any]] = {fault: [] for fault in FAULTS}
    x, y, _, _ = common.digits(train=rows, test=1)
    for seed in seeds:
        for fault, (build, lr, factor, _) in FAULTS.items():
            fnn.manual_seed(seed)
            model = build()
            optimizer = optim.SGD(model.parameters(), lr=lr)
            found = fnn.diagnose(model, nn.CrossEntropyLoss(), factor * x, y, optimizer, rows=256, verbose=False)
            result[fault].append(found)
    return result


def show(result: dict[str, list[Any]]) -> None:
    """Print what was found for the first seed, and one diagnosis in full."""
    rows = []
    for fault, found in result.items():
        named = ", ".join(check.name for check in found[0].problems) or "no problem"
        rows.append([fault, named, ", ".join(check.name for check in found[0].warnings)])
    common.print_table(["fault", "problems", "warnings"], rows)
    print(f"\n{result['dead ReLUs'][0]}")


def draw(result: dict[str, list[Any]]) -> Any:
    """Return the picture: verdicts by fault and check."""
    drawn, (axis,) = common.figure(size=4.2)
    names = [check.name for check in result["nothing"][0]]
    grade = {"ok": 0.0, "warning": 1.0, "problem": 2.0}
    share = [[sum(grade[d[name].verdict] for d in found) / len(found) for name in names] for found in result.values()]
    axis.imshow(share, cmap="YlOrRd", vmin=0, vmax=2, aspect="auto")
    axis.set(title="darker: found in more seeds, or worse", yticks=range(len(result)))
    axis.set_yticklabels(result)
    axis.set_xticks(range(len(names)), names, rotation=60, ha="right")
    return drawn


if __name__ == "__main__":
    common.main("broken_net", run, show, draw)

"""Nets with one fault each, found by ``diagnose``."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import common

import fastnn as fnn
from fastnn import nn, optim


def net(depth: int = 2, activation: type[nn.Module] = nn.ReLU, width: int = 32) -> nn.Sequential:
    """Return a net for digits, with He's weights."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise([784, *[width] * depth]):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.kaiming_normal_(linear.weight)
        layers += [linear, activation()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def filled(names: set[str], value: float) -> nn.Sequential:
    """Return a net of which these parameters are one number."""
    model = net()
    for name, parameter in model.named_parameters():
        if name in names:
            nn.init.constant_(parameter, value)
    return model


# Faults: the net, its learning rate, the factor of its inputs, and the check that has to find it.
FAULTS: dict[str, tuple[Callable[[], nn.Sequential], float, float, str]] = {
    "nothing": (net, 0.1, 1.0, ""),
    "pixels up to 255": (net, 0.1, 255.0, "feature scale"),
    "dead ReLUs": (lambda: filled({"2.bias"}, -20.0), 0.1, 1.0, "dead units"),
    "equal weights": (lambda: filled({"0.weight", "2.weight", "4.weight"}, 0.01), 0.1, 1.0, "symmetry"),
    "12 sigmoids": (lambda: net(12, nn.Sigmoid), 0.1, 1.0, "gradients"),
    "rate of 100": (net, 100.0, 1.0, "loss stays finite"),
    "rate of 1e-7": (net, 1e-7, 1.0, "update ratio"),
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
            loss = nn.CrossEntropyLoss()
            result[fault].append(fnn.diagnose(model, loss, factor * x, y, optimizer, rows=256, verbose=False))
    return result


def show(result: dict[str, list[Any]]) -> None:
    """Print what was found for the first seed, and one diagnosis in full."""
    rows = [[fault, ", ".join(check.name for check in found[0].problems)] for fault, found in result.items()]
    common.print_table(["fault", "problems"], rows)
    print(f"\n{result['dead ReLUs'][0]}")


def draw(result: dict[str, list[Any]]) -> Any:
    """Return the picture: verdicts by fault and check."""
    drawn, (axis,) = common.figure(size=4.2)
    names, grade = [check.name for check in result["nothing"][0]], {"ok": 0.0, "warning": 1.0, "problem": 2.0}
    share = [[sum(grade[d[name].verdict] for d in found) / len(found) for name in names] for found in result.values()]
    axis.imshow(share, cmap="YlOrRd", vmin=0, vmax=2, aspect="auto")
    axis.set(title="darker: found in more seeds, or worse")
    axis.set_yticks(range(len(result)), result)
    axis.set_xticks(range(len(names)), names, rotation=60, ha="right")
    return drawn


if __name__ == "__main__":
    common.main("broken_net", run, show, draw)

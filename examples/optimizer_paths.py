"""Every optimizer on an elongated bowl, a saddle and Beale's function: paths, with the best rate of a grid for each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import optim

# By kin; each is made of parameters and a rate.
FAMILIES: dict[str, dict[str, Callable[..., Any]]] = {
    "momentum": {
        "SGD": optim.SGD,
        "momentum": partial(optim.SGD, momentum=0.9),
        "Nesterov": partial(optim.Nesterov, momentum=0.9),
        "ASGD": partial(optim.ASGD, t0=10),
        "SAM": lambda params, lr: optim.SAM(optim.SGD(params, lr)),
    },
    "a rate an element": {name: getattr(optim, name) for name in ("Adagrad", "Adadelta", "RMSprop", "Adafactor")},
    "Adam's kin": {name: getattr(optim, name) for name in ("Adam", "AdamW", "Adamax", "NAdam", "RAdam")},
    "signs": {"Rprop": optim.Rprop, "Lion": optim.Lion, "Muon": partial(optim.Muon, weight_decay=0)},
    "second order": {
        "LBFGS": partial(optim.LBFGS, max_iter=1, line_search_fn="strong_wolfe"),
        **({"Newton": optim.Newton} if hasattr(optim, "Newton") else {}),
    },
}
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
# Of each surface: height, where to start, the least height, and the part that is drawn.
SURFACES: dict[str, tuple[Callable[[Any, Any], Any], tuple[float, float], float, tuple[float, ...]]] = {
    "bowl": (lambda x, y: (x**2 + 25 * y**2) / 2, (-4, 1.5), 0, (-5, 3, -2, 2)),
    "saddle": (lambda x, y: 5 * x**2 - y**2 / 2 + y**4 / 4, (-2, 0.01), -0.25, (-2.5, 2.5, -1, 2)),
    "Beale": (
        lambda x, y: (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2,
        (1, 1.5),
        0,
        (-1, 4.5, -1.5, 2),
    ),
}


def walk(surface: str, make: Callable[..., Any], rate: float, seed: int, steps: int) -> np.ndarray:
    """Return the points of a path, from a start that the seed moves a little, and their heights above the least."""
    height, start, least, _ = SURFACES[surface]
    moved = np.array(start) * np.random.default_rng(seed).uniform(0.9, 1.1, 2)
    point = fnn.tensor(moved[None], dtype=fnn.float64, requires_grad=True)  # a matrix, for Muon
    optimizer = make([point], rate)

    def closure() -> fnn.Tensor:
        loss = height(point[0, 0], point[0, 1])
        if type(optimizer).__name__ != "Newton":  # which differentiates on its own
            optimizer.zero_grad()
            loss.backward()
        return loss

    path = [moved]
    while len(path) <= steps and np.abs(path[-1]).max() < 100:
        optimizer.step(closure)
        state = getattr(optimizer, "state", {}).get(point, {})
        path.append(np.array(state.get("ax", point.detach()))[0])  # the average, for ASGD
    points = np.array(path + [path[-1]] * (steps + 1 - len(path)))
    return np.column_stack([points, height(*points.T) - least])


def run(seeds: range = range(5), steps: int = 100) -> dict[tuple[str, str], tuple[float, np.ndarray]]:
    """Return by (surface, optimizer) the rate that leads lowest from the first start, and the path from each."""
    result = {}
    for surface in SURFACES:
        for name, make in {k: v for family in FAMILIES.values() for k, v in family.items()}.items():
            rates = (1.0,) if name in FAMILIES["second order"] else RATES
            rate = min(rates, key=lambda r: walk(surface, make, r, seeds[0], steps)[-1, 2])  # noqa: B023
            result[surface, name] = rate, np.array([walk(surface, make, rate, seed, steps) for seed in seeds])
    return result


def show(result: dict[tuple[str, str], tuple[float, np.ndarray]]) -> None:
    """Print rates, steps until 1 % of the first height is left, and what is left in the end."""
    rows = []
    for name in [name for family in FAMILIES.values() for name in family]:
        row: list[Any] = [name]
        for surface in SURFACES:
            rate, paths = result[surface, name]
            row += [rate, int(np.median(steps_to(paths))), float(np.median(paths[:, -1, 2]))]
        rows.append(row)
    common.print_table(["", *(f"{s} {what}" for s in SURFACES for what in ("rate", "steps", "left"))], rows)


def steps_to(paths: np.ndarray, share: float = 0.01) -> np.ndarray:
    """Return after how many steps each path stays below a share of its first height."""
    above = paths[:, :, 2] > share * paths[:, :1, 2]
    return above.shape[1] - np.argmax(above[:, ::-1], axis=1)


def draw(result: dict[tuple[str, str], tuple[float, np.ndarray]]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(len(FAMILIES), len(SURFACES), size=2)
    for i, (surface, (height, _, least, box)) in enumerate(SURFACES.items()):
        x, y = np.meshgrid(np.linspace(*box[:2], 80), np.linspace(*box[2:], 80))
        for axis, (family, names) in zip(axes[i * len(FAMILIES) :], FAMILIES.items(), strict=False):
            axis.contour(x, y, np.log10(height(x, y) - least + 0.03), levels=9, colors="lightgray", linewidths=0.6)
            for name in names:
                axis.plot(*result[surface, name][1][0, :, :2].T, linewidth=1, label=name)
            axis.set(xlim=box[:2], ylim=box[2:], xticks=[], yticks=[])
            if i == 0:
                axis.set_title(family)
                axis.legend(frameon=False, fontsize=6, loc="lower right")
        axes[i * len(FAMILIES)].set_ylabel(surface)
    return drawn


if __name__ == "__main__":
    common.main("optimizer_paths", run, show, draw)

"""Every optimizer on an elongated bowl, a saddle and Beale's function: its path, with the rate of a grid that suits."""

from __future__ import annotations

from itertools import product
from typing import Any

import common
import numpy as np
from optimizers_on_digits import FAMILIES

import fastnn as fnn
from fastnn import optim

NAMED = {name: make for family in FAMILIES.values() for name, (make, _) in family.items()} | {"Newton": optim.Newton}
NAMED["LBFGS"] = lambda params, lr: optim.LBFGS(params, lr, max_iter=1, line_search_fn="strong_wolfe")
KINDS: dict[str, Any] = {**FAMILIES, "second order": ("LBFGS", "Newton")}
Paths = dict[tuple[str, str], tuple[float, np.ndarray]]
RATES, BEALE = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0), ((1, 1.5), (2, 2.25), (3, 2.625))
# Of each surface: height, where to start, the least height, and the part that is drawn.
SURFACES: dict[str, tuple[Any, ...]] = {
    "bowl": (lambda x, y: (x**2 + 25 * y**2) / 2, (-4, 1.5), 0, (-5, 3, -2, 2)),
    "saddle": (lambda x, y: 5 * x**2 - y**2 / 2 + y**4 / 4, (-2, 0.01), -0.25, (-2.5, 2, -1.6, 1.6)),
    "Beale": (lambda x, y: sum((c - x + x * y**k) ** 2 for k, c in BEALE), (1, 1.5), 0, (-0.5, 4, -1, 2)),
}


def walk(surface: str, name: str, rate: float, seed: int, steps: int) -> np.ndarray:
    """Return a row (x, y, height above the least) a step, from a start that the seed moves a little."""
    height, start, least, _ = SURFACES[surface]
    path = [start * np.random.default_rng(seed).uniform(0.9, 1.1, 2)]
    point = fnn.tensor(path[0][None], dtype=fnn.float64, requires_grad=True)  # a matrix, for Muon
    optimizer = NAMED[name]([point], rate)

    def closure() -> fnn.Tensor:
        point.grad, loss = None, height(point[0, 0], point[0, 1])
        if name != "Newton":  # which differentiates on its own
            loss.backward()
        return loss

    while len(path) <= steps and np.abs(path[-1]).max() < 100:
        optimizer.step(closure)
        path.append(np.array(optimizer.state[point]["ax"] if name == "ASGD" else point.detach())[0])
    path += [path[-1]] * (steps + 1 - len(path))
    return np.column_stack([path, height(*np.transpose(path)) - least])


def run(seeds: range = range(5), steps: int = 100) -> Paths:
    """Return by (surface, optimizer) the rate that suits, and the path from every start."""
    result = {}
    for surface, name in product(SURFACES, NAMED):
        rates = RATES[-1:] if name in KINDS["second order"] else RATES
        tried = [(rate, np.array([walk(surface, name, rate, seed, steps) for seed in seeds])) for rate in rates]
        # The least mean logarithm, down to a thousandth of the first height: soon low, and never far up.
        result[surface, name] = min(tried, key=lambda t: np.log(t[1][:, :, 2] + t[1][:, :1, 2] / 1000).mean())
    return result


def show(result: Paths) -> None:
    """Print rates, and the share of the first height that is left in the end, the median over the starts."""
    found = {key: (rate, float(np.median(p[:, -1, 2] / p[:, 0, 2]))) for key, (rate, p) in result.items()}
    rows = [[name, *(value for surface in SURFACES for value in found[surface, name])] for name in NAMED]
    common.print_table(["", *(f"{surface}: {what}" for surface in SURFACES for what in ("rate", "left"))], rows)


def draw(result: Paths) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(len(KINDS), len(SURFACES), size=1.9)
    for axis, ((surface, (height, _, least, box)), kind) in zip(axes, product(SURFACES.items(), KINDS), strict=True):
        x, y = np.meshgrid(np.linspace(*box[:2], 80), np.linspace(*box[2:], 80))
        axis.contourf(x, y, np.log10(height(x, y) - least + 0.03), levels=6, cmap="Greys_r", alpha=0.3, antialiased=0)
        for name in KINDS[kind]:
            axis.plot(*result[surface, name][1][0, :, :2].T, linewidth=1, label=name)
        axis.set(xlim=box[:2], ylim=box[2:], xticks=[], yticks=[], title=f"{surface}: {kind}")
        axis.legend(frameon=False, fontsize=5, loc="upper right", handlelength=1)
    return drawn


if __name__ == "__main__":
    common.main("optimizer_paths", run, show, draw)

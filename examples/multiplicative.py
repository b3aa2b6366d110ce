"""Learn f(x, z) = ⟨x, z⟩ from examples: by a net of sums and ReLUs, and by layers that multiply."""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import nn, optim

WIDTH, SCALES = 8, (1.0, 2.0, 4.0)


class Product(nn.Module):
    """A bilinear layer of rank WIDTH, given both vectors in one row."""

    def __init__(self) -> None:
        super().__init__()
        self.bilinear = nn.LowRankBilinear(WIDTH, WIDTH, 1, rank=WIDTH)

    def forward(self, rows: fnn.Tensor) -> fnn.Tensor:
        """Return the function of [x, z], the rows."""
        return self.bilinear(rows[:, :WIDTH], rows[:, WIDTH:])


MODELS = {
    "MLP": lambda: nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1)),
    "low-rank bilinear": Product,
    "factorization machine": lambda: nn.FactorizationMachine(2 * WIDTH, k=WIDTH, std=0.1),
}


def inner_products(rng: np.random.Generator, rows: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return rows [x, z] of normal numbers, and ⟨x, z⟩."""
    x = (scale * rng.normal(size=(rows, 2 * WIDTH))).astype(np.float32)
    return x, (x[:, :WIDTH] * x[:, WIDTH:]).sum(axis=1, keepdims=True)


def run(seeds: range = range(5), epochs: int = 100, rows: int = 2000) -> dict[str, Any]:
    """Return 1 - R² on new data by (model, scale of the data), one a seed; and the first seed's predictions."""
    errors: dict[tuple[str, float], list[float]] = {(name, scale): [] for name in MODELS for scale in SCALES}
    points = {}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        x, y = inner_products(rng, rows, 1.0)
        tests = {scale: inner_products(rng, 1000, scale) for scale in SCALES}
        for name, build in MODELS.items():
            fnn.manual_seed(seed)
            optimizer = optim.Adam((model := build()).parameters(), lr=1e-2)
            rate = fnn.callbacks.LearningRateScheduler(optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs))
            trainer = fnn.Trainer(model, nn.MSELoss(), optimizer)
            trainer.fit(x, y, epochs=epochs, batch_size=50, callbacks=[rate], verbose=False)
            for scale, (inputs, outputs) in tests.items():
                predicted = trainer.predict(inputs)
                errors[name, scale].append(float(np.mean((predicted - outputs) ** 2) / np.var(outputs)))
                points.setdefault((name, scale), (outputs[:300], predicted[:300]))
    return {"errors": {key: np.array(values) for key, values in errors.items()}, "points": points}


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    rows = [[name, *(float(np.median(result["errors"][name, scale])) for scale in SCALES)] for name in MODELS]
    common.print_table(["unexplained variance of data", *(f"{scale:g} × as large" for scale in SCALES)], rows)


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    drawn, axes = common.figure(len(MODELS), size=2.8)
    for axis, name in zip(axes, MODELS, strict=True):
        for scale in reversed(SCALES[:2]):
            axis.plot(*result["points"][name, scale], ".", markersize=2, label=f"{scale:g} × the data")
        axis.set(title=name, xlabel="⟨x, z⟩", ylabel="predicted", xlim=(-40, 40), ylim=(-40, 40))
    axes[0].legend(frameon=False)
    return drawn


if __name__ == "__main__":
    common.main("multiplicative", run, show, draw)

"""Base of callbacks that measure after an epoch, and draw at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn.diagnostics.checks import spread_rows
from fastnn.diagnostics.landscape import sharpness
from fastnn.diagnostics.layers import LayerStatistics, examine
from fastnn.diagnostics.report import label_layers, new_figure, saved
from fastnn.diagnostics.training_checks import update_ratios
from fastnn.training import data
from fastnn.training.data import Types
from fastnn.training.restored import restored
from fastnn.training.step import TrainStep

if TYPE_CHECKING:
    from fastnn.training.trainer import Trainer


@dataclass(frozen=True)
class EpochDiagnostics:
    """Base of measurements after an epoch.

    Attributes:
        epoch: Its number, from 0.
        layers: The statistics of every layer.
        gradients: The norm of every parameter's gradient.
        ratios: The update ratio of every weight.
        sharpness: The greatest eigenvalue of the Hessian; ``None`` if not measured.
    """

    epoch: int
    layers: tuple[LayerStatistics, ...]
    gradients: dict[str, float | None]
    ratios: dict[str, float]
    sharpness: float | None

    def logs(self) -> dict[str, float]:
        """Return the measures that join the history."""
        hidden = self.layers[:-1] or self.layers
        logs = {
            "activation_signal": min((layer.signal for layer in hidden), default=0.0),
            "activation_rms": max((layer.rms for layer in hidden), default=0.0),
            "gradient_norm": float(np.linalg.norm([norm for norm in self.gradients.values() if norm is not None])),
            "dead_units": _share([(layer.dead, layer.units) for layer in self.layers]),
            "saturated_units": _share([(layer.saturated, layer.units) for layer in self.layers]),
            "update_ratio": median(self.ratios.values()) if self.ratios else 0.0,
        }
        if self.sharpness is not None:
            logs["sharpness"] = self.sharpness
        return logs


def choose_rows(trainer: Trainer, x: Any, y: Any, rows: int) -> data.Batch:
    """Return evenly spaced rows as arrays of the trainer's types."""
    inputs, targets = data.pair("Diagnostics", x, y, Types.of(trainer.model, trainer.loss))
    some = spread_rows(len(inputs), rows)
    return np.ascontiguousarray(inputs[some]), np.ascontiguousarray(targets[some])


def measure_epoch(
    trainer: Trainer, x: NDArray[Any], y: NDArray[Any], epoch: int, *, with_sharpness: bool
) -> EpochDiagnostics:
    """Run forward, backward and a step on some rows, and leave no trace."""
    model, loss, optimizer = trainer.model, trainer.loss, trainer.optimizer
    with restored(model, optimizer):
        model.train()
        layers, gradients, _ = examine(model, loss, x, y)
        ratios = update_ratios(TrainStep(model, loss, optimizer), x, y)
    return EpochDiagnostics(epoch, layers, gradients, ratios, sharpness(model, loss, x, y) if with_sharpness else None)


def draw_epochs(epochs: Sequence[EpochDiagnostics], path: Any) -> Any:
    """Draw signal and gradient by layer, for six epochs at most, and each weight's update ratio."""
    if not epochs:
        raise ValueError("Diagnostics.plot: expected at least one epoch; got none")
    figure = new_figure("Diagnostics.plot", 12.0, 3.6)
    signal, gradient, ratio = figure.subplots(1, 3)
    for i in spread_rows(len(epochs), 6):
        label = f"epoch {epochs[i].epoch + 1}"
        signal.plot([_positive(layer.signal) for layer in epochs[i].layers], marker=".", label=label)
        gradient.plot([_positive(layer.gradient) for layer in epochs[i].layers], marker=".", label=label)
    for axes, name in ((signal, "signal"), (gradient, "gradient")):
        axes.set(xlabel="layer", ylabel=name, yscale="log")
        label_layers(axes, epochs[-1].layers)
    numbers = [one.epoch + 1 for one in epochs]
    for name in epochs[-1].ratios:
        ratio.plot(numbers, [_positive(one.ratios.get(name)) for one in epochs], marker=".", label=name)
    ratio.axhline(1e-3, color="black", linestyle=":")
    ratio.set(xlabel="epoch", ylabel="update ratio", yscale="log")
    for axes in (signal, gradient, ratio):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    return saved(figure, path)


def _positive(value: float | None) -> float:
    """Replace 0 by NaN, which a logarithmic axis leaves out."""
    return value if value is not None and value > 0 else float("nan")


def _share(shares: Sequence[tuple[float | None, int]]) -> float:
    known = [(share, units) for share, units in shares if share is not None]
    total = sum(units for _, units in known)
    return sum(share * units for share, units in known) / total if total else 0.0

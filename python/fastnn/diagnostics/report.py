"""Findings of a diagnosis."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from fastnn._files import save_figure

if TYPE_CHECKING:
    from fastnn.diagnostics.layers import LayerStatistics

Verdict: TypeAlias = Literal["ok", "warning", "problem"]
_ORDER = ("ok", "warning", "problem")


@dataclass(frozen=True)
class Check:
    """One check of a diagnosis.

    Attributes:
        name: What was checked.
        verdict: ``"ok"``, ``"warning"`` or ``"problem"``.
        measured: What was measured.
        expected: What a healthy net measures.
        advice: What to try; empty if all is well.
        value: The measured number that decided; NaN if none did.
    """

    name: str
    verdict: Verdict
    measured: str
    expected: str
    advice: str = ""
    value: float = float("nan")


def graded(value: float, warning: float, problem: float) -> Verdict:
    """Judge a number of which less is better; NaN is a problem."""
    if not value <= problem:
        return "problem"
    return "ok" if value <= warning else "warning"


@dataclass(frozen=True)
class Diagnosis(Sequence[Check]):
    """The checks of a diagnosis, in order; ``report["initial loss"]`` is one by its name. ``str()`` is the table.

    Attributes:
        checks: All of them.
        layers: What every layer does with the data.
        overfit_losses: Losses while a handful of rows was learned by heart; empty if that was not tried.
        training_losses: Losses of the first steps by learning rate; empty without an optimizer.
    """

    checks: tuple[Check, ...]
    layers: tuple[LayerStatistics, ...] = ()
    overfit_losses: tuple[float, ...] = ()
    training_losses: dict[float, tuple[float, ...]] = field(default_factory=dict)

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return self.checks[key]
        for check in self.checks:
            if check.name == key:
                return check
        raise KeyError(f"Diagnosis: expected one of {[check.name for check in self.checks]}; got {key!r}")

    def __len__(self) -> int:
        return len(self.checks)

    def __iter__(self) -> Iterator[Check]:
        return iter(self.checks)

    @property
    def verdict(self) -> Verdict:
        """The worst of all verdicts."""
        return max((check.verdict for check in self.checks), key=_ORDER.index, default="ok")

    @property
    def problems(self) -> tuple[Check, ...]:
        """The checks whose verdict is ``"problem"``."""
        return tuple(check for check in self.checks if check.verdict == "problem")

    @property
    def warnings(self) -> tuple[Check, ...]:
        """The checks whose verdict is ``"warning"``."""
        return tuple(check for check in self.checks if check.verdict == "warning")

    def __str__(self) -> str:
        head = ("check", "verdict", "measured", "expected")
        rows = [(check.name, check.verdict, check.measured, check.expected) for check in self.checks]
        # A long one is not to push all others aside.
        widths = [min(max(len(row[i]) for row in [head, *rows]), 56) for i in range(3)]
        lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(head, widths, strict=False)), head[3]])]
        for check, row in zip(self.checks, rows, strict=True):
            lines.append("  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]).rstrip())
            if check.advice:
                lines += textwrap.wrap(f"try: {check.advice}", 116, initial_indent="    ", subsequent_indent="    ")
        counts = [sum(check.verdict == verdict for check in self.checks) for verdict in ("problem", "warning", "ok")]
        lines.append(f"{counts[0]} problems, {counts[1]} warnings, {counts[2]} ok")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Diagnosis({len(self.problems)} problems, {len(self.warnings)} warnings, {len(self.checks)} checks)"

    def plot(self, path: Any = None) -> Any:
        """Draw signal and gradient by layer, the share of dead and saturated units, and the losses of what was tried.

        Args:
            path: Where to save the picture, if anywhere.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: matplotlib is not installed.
        """
        figure = new_figure("Diagnosis.plot", 12.0, 3.6)
        by_layer, units, losses = figure.subplots(1, 3)
        draw_layers(by_layer, self.layers)
        places = np.arange(len(self.layers))
        units.bar(places - 0.2, [layer.dead or 0.0 for layer in self.layers], 0.4, label="dead")
        units.bar(places + 0.2, [layer.saturated or 0.0 for layer in self.layers], 0.4, label="saturated")
        units.set(xlabel="layer", ylabel="share", ylim=(0, 1))
        label_layers(units, self.layers)
        if self.overfit_losses:
            losses.plot(self.overfit_losses, label="a handful of rows")
        for lr, values in self.training_losses.items():
            losses.plot(values, label=f"lr {lr:.3g}", alpha=0.7)
        losses.set(xlabel="step", ylabel="loss", yscale="symlog")
        for axes in (units, losses):
            axes.grid(alpha=0.3)
            if axes.get_legend_handles_labels()[0]:
                axes.legend()
        return saved(figure, path)


def new_figure(where: str, width: float, height: float) -> Any:
    """Return an empty figure.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(f"{where} needs matplotlib: pip install fastnn-cpu[plot]") from error
    # Figures in IPython and notebooks show themselves; pyplot would keep every one of them alive.
    return Figure(figsize=(width, height), layout="constrained")


def saved(figure: Any, path: Any) -> Any:
    """Save a figure if there is a path, and return it."""
    if path is not None:
        save_figure(figure, path, 120)
    return figure


def label_layers(axes: Any, layers: Sequence[LayerStatistics]) -> None:
    """Write the layers' names under an axis, as many as there is room for."""
    every = max(1, len(layers) // 12)
    places = range(0, len(layers), every)
    axes.set_xticks(list(places), [f"{layers[i].name} {layers[i].kind}" for i in places], rotation=90, fontsize=7)


def draw_layers(axes: Any, layers: Sequence[LayerStatistics]) -> None:
    """Draw signal and gradient by layer."""
    for name, values in (
        ("signal", [layer.signal for layer in layers]),
        ("gradient", [layer.gradient for layer in layers]),
    ):
        # 0 has no place on a logarithmic axis.
        axes.plot([np.nan if value is None or not value > 0 else value for value in values], marker=".", label=name)
    axes.set(xlabel="layer", ylabel="root mean square", yscale="log")
    label_layers(axes, layers)
    axes.grid(alpha=0.3)
    axes.legend()

"""History: the measurements of a fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastnn._files import save_figure


class History(Mapping[str, list[float]]):
    """Lists by name, with a value for each epoch: ``loss``, ``val_loss``, metrics, ``seconds``, ``lr`` if scheduled.

    Attributes:
        epochs: The epochs' numbers, from ``initial_epoch`` on.
        interrupted: Whether Ctrl-C has ended the fit.
        stop_reason: Why it ended before its last epoch; ``None`` if it did not.
    """

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}
        self.epochs: list[int] = []
        self.interrupted = False
        self.stop_reason: str | None = None

    def __getitem__(self, name: str) -> list[float]:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"History({len(self.epochs)} epochs: {', '.join(self._values)})"

    def append(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Add an epoch. A name that it does not have, or that earlier ones did not have, is NaN there."""
        numbers = {name: float(value) for name, value in logs.items()}
        for name in numbers:
            self._values.setdefault(name, [float("nan")] * len(self.epochs))
        for name, values in self._values.items():
            values.append(numbers.get(name, float("nan")))
        self.epochs.append(epoch)

    def plot(self, path: Any = None) -> Any:
        """Draw every curve, training and validation together.

        Args:
            path: Where to save the picture, if anywhere.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: There is nothing to draw yet.
        """
        try:
            from matplotlib.figure import Figure  # noqa: PLC0415
            from matplotlib.ticker import MaxNLocator  # noqa: PLC0415
        except ImportError as error:
            raise ImportError("History.plot needs matplotlib: pip install fastnn-cpu[plot]") from error
        names = [name for name in self._values if name != "seconds" and not name.startswith("val_")]
        names += [name[4:] for name in self._values if name.startswith("val_") and name[4:] not in self._values]
        if not self.epochs:
            raise ValueError("History.plot: expected at least one epoch; got none")
        # Figures in IPython and notebooks show themselves; pyplot would keep every one of them alive.
        figure = Figure(figsize=(4.5 * len(names), 3.4), layout="constrained")
        numbers = [epoch + 1 for epoch in self.epochs]
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            for key, label in ((name, "training"), (f"val_{name}", "validation")):
                if key in self._values:
                    axes.plot(numbers, self._values[key], marker=".", label=label)
            axes.set(xlabel="epoch", ylabel=name)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.3)
            axes.legend()
        if path is not None:
            save_figure(figure, path, 120)
        return figure

"""The progress bar of a fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The counts of batches and their rate would leave no room for the validation in 80 columns.
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"
_FORMAT_WITHOUT_TOTAL = "{desc}: {n_fmt} batches, {elapsed}{postfix}"


class Progress:
    """One bar for the whole fit: epoch, time, time left, loss, and the last validation.

    Args:
        shown: Whether there is a bar at all.
        epochs: Number of the last epoch.
        initial_epoch: Number of epochs that are done.
        batches: Batches an epoch, or ``None`` if nobody knows; the first epoch then tells.
    """

    def __init__(self, *, shown: bool, epochs: int, initial_epoch: int, batches: int | None) -> None:
        self._epochs = epochs
        self._to_do = epochs - initial_epoch
        self._validation: dict[str, str] = {}
        self._bar: Any = None
        if shown and self._to_do > 0:
            from tqdm import tqdm  # noqa: PLC0415  (only a bar needs it)

            total = None if batches is None else self._to_do * batches
            bar_format = _FORMAT if total else _FORMAT_WITHOUT_TOTAL
            description = f"epoch {initial_epoch + 1}/{epochs}"
            self._bar = tqdm(
                total=total, desc=description, unit="batch", bar_format=bar_format, dynamic_ncols=True, leave=True
            )

    def begin_epoch(self, epoch: int) -> None:
        """Show the epoch's number, counted from 1."""
        if self._bar is not None:
            self._bar.set_description_str(f"epoch {epoch + 1}/{self._epochs}", refresh=False)

    def advance(self, batches: int, loss: float) -> None:
        """Count batches, and show the epoch's mean loss so far."""
        if self._bar is not None:
            self._bar.set_postfix({"loss": f"{loss:.4f}", **self._validation}, refresh=False)
            self._bar.update(batches)

    def end_epoch(self, logs: Mapping[str, float]) -> None:
        """Show what the epoch has measured."""
        if self._bar is not None:
            # The bar has little room: the validation loss only where there is no metric.
            validation = {name: f"{value:.4f}" for name, value in logs.items() if name.startswith("val_")}
            if len(validation) > 1:
                validation.pop("val_loss", None)
            self._validation = validation
            if self._bar.total is None:
                self._bar.total = self._to_do * self._bar.n
                self._bar.bar_format = _FORMAT
            self._bar.set_postfix({"loss": f"{logs['loss']:.4f}", **validation}, refresh=True)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

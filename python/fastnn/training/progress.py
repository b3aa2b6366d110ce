"""The progress bar of a fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Progress:
    """One bar for the whole fit: epoch, batches, time left, loss, and the last validation.

    Args:
        shown: Whether there is a bar at all.
        epochs: Number of the last epoch.
        initial_epoch: Number of epochs that are done.
        batches: Batches an epoch, or ``None`` if nobody knows.
    """

    def __init__(self, *, shown: bool, epochs: int, initial_epoch: int, batches: int | None) -> None:
        self._epochs = epochs
        self._validation: dict[str, str] = {}
        self._bar: Any = None
        if shown:
            from tqdm import tqdm  # noqa: PLC0415  (only a bar needs it)

            total = None if batches is None else (epochs - initial_epoch) * batches
            self._bar = tqdm(total=total, unit="batch", dynamic_ncols=True, leave=True)

    def begin_epoch(self, epoch: int) -> None:
        """Show the epoch's number, counted from 1."""
        if self._bar is not None:
            self._bar.set_description(f"epoch {epoch + 1}/{self._epochs}", refresh=False)

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
            self._bar.set_postfix({"loss": f"{logs['loss']:.4f}", **validation}, refresh=True)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

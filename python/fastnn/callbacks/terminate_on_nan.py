"""Stopping at NaN."""

from __future__ import annotations

from fastnn.callbacks.base import Callback


class TerminateOnNaN(Callback):
    """End the fit at a loss that is NaN or infinite, with a warning that names the layer.

    For this fit, it is ``Trainer(on_nonfinite="stop")``.
    """

    def on_fit_begin(self) -> None:
        self.trainer.on_nonfinite = "stop"

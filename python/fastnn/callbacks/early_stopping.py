"""Stopping when nothing gets better."""

from __future__ import annotations

from collections.abc import Mapping

from fastnn._core import Tensor
from fastnn._types import check_at_least
from fastnn.callbacks._monitor import Monitor
from fastnn.callbacks.base import Callback


class EarlyStopping(Callback):
    """End the fit when a measure has not improved for a number of epochs.

    Args:
        monitor: The measure.
        patience: How many epochs in a row may be no better than the best one. 0 stops at the first.
        min_delta: By how much an epoch must be better, to count.
        mode: ``"min"``, ``"max"``, or ``"auto"``: ``"max"`` for accuracies and r2, ``"min"`` for everything else.
        restore_best_weights: Whether the model ends with the state of its best epoch, however the fit ends: after
            this or another stop, the last epoch, Ctrl-C or an error.

    Attributes:
        best: The measure's best value.
        best_epoch: Its epoch; ``None`` before there is one.

    Raises:
        ValueError: A setting is out of range; or, after the first epoch, there is no such measure.

    Source:
        Prechelt 1998, https://doi.org/10.1007/3-540-49430-8_3. With a ``patience`` of p, it stops after p epochs
        in a row without improvement, but at least one; so does Keras.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 0,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best_weights: bool = False,
    ) -> None:
        check_at_least("EarlyStopping", "patience", patience, 0)
        self._monitor = Monitor("EarlyStopping", monitor, mode, min_delta)
        self.patience = patience
        self.restore_best_weights = restore_best_weights
        self.best_epoch: int | None = None
        self._waited = 0
        self._weights: dict[str, Tensor] | None = None

    @property
    def best(self) -> float:
        """The measure's best value."""
        return self._monitor.best

    def on_fit_begin(self) -> None:
        self._monitor.reset()
        self.best_epoch = None
        self._waited = 0
        self._weights = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        if self._monitor.improved(logs):
            self.best_epoch = epoch
            self._waited = 0
            if self.restore_best_weights:
                state = self.trainer.model.state_dict()
                self._weights = {name: value.clone() for name, value in state.items()}
            return
        self._waited += 1
        if self._waited >= self.patience:
            self.trainer.stop(f"{self._monitor.name} has not improved for {self._waited} epochs")

    def on_fit_end(self) -> None:
        self._restore()

    def on_fit_error(self, error: BaseException) -> None:  # noqa: ARG002
        self._restore()

    def _restore(self) -> None:
        if self._weights is not None:
            self.trainer.model.load_state_dict(self._weights)
            self._weights = None

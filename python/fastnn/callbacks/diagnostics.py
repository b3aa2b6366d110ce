"""Watching layers, gradients and updates while a model is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastnn._types import check_at_least
from fastnn.callbacks.base import Callback

if TYPE_CHECKING:
    from fastnn.diagnostics.epoch import EpochDiagnostics


class Diagnostics(Callback):
    """Record, after epochs, what every layer does with some rows, into the history and by layer.

    The history gets, in training mode and for the rows given:

    =================  ===============================================================================================
    name               what
    =================  ===============================================================================================
    activation_signal  the smallest, over layers, of the deviation of the output over rows (root mean square of units)
    activation_rms     the greatest, over layers, of the output's root mean square
    gradient_norm      the norm of the gradient of all parameters
    dead_units         the share of ReLU units that are 0 for all rows; 0 if there are none
    saturated_units    the share of tanh and sigmoid outputs at their flat ends; 0 if there are none
    update_ratio       ``|Δw| / |w|`` of the next step, if taken with these rows, unclipped: the median over weights
    sharpness          the greatest eigenvalue of the Hessian, if asked for
    =================  ===============================================================================================

    The training itself does not change by a bit.

    Args:
        x: Inputs, ``(n, *)``; some rows of the training set will do.
        y: Targets, n of them.
        rows: At most so many rows, evenly spaced, are used; at least 1.
        every: Record each so many epochs; in between the history has NaN.
        sharpness: Whether to measure the sharpness too, which takes some hundred gradients.

    Attributes:
        epochs: What was measured, an :class:`~fastnn.diagnostics.EpochDiagnostics` for each epoch recorded, with the
            statistics of every layer, every gradient's norm and every weight's update ratio.

    Raises:
        ValueError: A setting is out of range, or, when the fit begins, lengths differ.
        TypeError: Settings are of another type.

    Source:
        Glorot & Bengio 2010, PMLR 9:249, who watch activations and gradients of every layer over epochs.
    """

    def __init__(self, x: Any, y: Any, *, rows: int = 256, every: int = 1, sharpness: bool = False) -> None:
        check_at_least("Diagnostics", "rows", rows, 1)
        check_at_least("Diagnostics", "every", every, 1)
        self._given = x, y
        self.rows = rows
        self.every = every
        self.sharpness = sharpness
        self.epochs: list[EpochDiagnostics] = []
        self._begun = self._epoch = 0

    def on_fit_begin(self) -> None:
        # It imports the trainer, which imports this package.
        from fastnn.diagnostics.epoch import choose_rows  # noqa: PLC0415

        self.epochs = []
        self._begun = 0
        self._batch = choose_rows(self.trainer, *self._given, self.rows)

    def on_epoch_begin(self, epoch: int) -> None:
        self._epoch = epoch
        self._begun += 1

    def epoch_logs(self) -> Mapping[str, float]:
        from fastnn.diagnostics.epoch import measure_epoch  # noqa: PLC0415

        if self._begun % self.every:
            return {}
        self.epochs.append(measure_epoch(self.trainer, *self._batch, self._epoch, with_sharpness=self.sharpness))
        return self.epochs[-1].logs()

    def plot(self, path: Any = None) -> Any:
        """Draw signal and gradient by layer, a curve an epoch, and update ratios by epoch, a curve a weight.

        Args:
            path: Where to save the picture, if anywhere.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: There is nothing to draw yet.
        """
        from fastnn.diagnostics.epoch import draw_epochs  # noqa: PLC0415

        return draw_epochs(self.epochs, path)

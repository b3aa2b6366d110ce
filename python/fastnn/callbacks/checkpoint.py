"""Saving the model while it is trained."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fastnn import serialization
from fastnn._types import check_at_least
from fastnn.callbacks._monitor import Monitor
from fastnn.callbacks.base import Callback

if TYPE_CHECKING:
    from pathlib import Path


class ModelCheckpoint(Callback):
    """Save the model's state after epochs, as a safetensors file for ``fastnn.load``.

    Args:
        path: Where to. May hold fields: ``"net-{epoch:03d}-{val_loss:.3f}.safetensors"``.
        monitor: The measure; only with ``save_best_only``.
        save_best_only: Whether an epoch is saved only if it is the best so far.
        mode: ``"min"``, ``"max"``, or ``"auto"``: ``"max"`` for accuracies and r2, ``"min"`` for everything else.
        every: Save each so many epochs.

    Attributes:
        saved: The last file; ``None`` before there is one.

    Raises:
        ValueError: A setting is out of range; or, after an epoch, there is no such measure.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str = "val_loss",
        save_best_only: bool = False,
        mode: str = "auto",
        every: int = 1,
    ) -> None:
        check_at_least("ModelCheckpoint", "every", every, 1)
        self._monitor = Monitor("ModelCheckpoint", monitor, mode)
        self._path = os.fspath(path)
        self.save_best_only = save_best_only
        self.every = every
        self.saved: Path | None = None

    def on_fit_begin(self) -> None:
        self._monitor.reset()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        if (epoch + 1) % self.every:
            return
        if self.save_best_only and not self._monitor.improved(logs):
            return
        from pathlib import Path  # noqa: PLC0415  (importing fastnn is to stay quick)

        try:
            path = Path(self._path.format(epoch=epoch, **logs))
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"ModelCheckpoint: expected path to hold fields of the logs; got {self._path!r}"
            ) from error
        path.parent.mkdir(parents=True, exist_ok=True)
        serialization.save(self.trainer.model.state_dict(), path)
        self.saved = path

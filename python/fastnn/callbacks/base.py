"""The base of all callbacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastnn.optim.lr_scheduler import LRScheduler
    from fastnn.training.trainer import Trainer


class Callback:
    """Is told of a fit while it runs. Override what you need.

    Epochs and batches count from 0. ``logs`` holds what has been measured: ``loss``, metrics, ``val_loss`` and so on.
    To end the fit, call ``self.trainer.stop(reason)``.

    The batch methods cost time: without them, batches run many at a time. They are called only where they are
    overridden.

    Attributes:
        trainer: The trainer, from :meth:`on_fit_begin` on.
    """

    trainer: Trainer

    def on_fit_begin(self) -> None:
        """Do something before the first epoch."""

    def on_fit_end(self) -> None:
        """Do something after the last epoch, also after Ctrl-C; after an error, :meth:`on_fit_error` is called."""

    def on_fit_error(self, error: BaseException) -> None:
        """Do something when an error ends the fit, before it goes on to the caller."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Do something before an epoch."""

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Do something after an epoch and its validation."""

    def on_batch_begin(self, batch: int) -> None:
        """Do something before a batch."""

    def on_batch_end(self, batch: int, logs: Mapping[str, float]) -> None:
        """Do something after a batch."""

    def epoch_logs(self) -> Mapping[str, float]:
        """Return measures of the epoch that ends, which join the logs and the history before :meth:`on_epoch_end`."""
        return {}

    def batch_schedulers(self) -> Sequence[LRScheduler]:
        """Return schedules to be stepped after every batch; asked once, when a fit begins.

        Unlike the batch methods they cost no time: batches still run many at a time.
        """
        return ()


class CallbackList:
    """Tells several callbacks, in order.

    Args:
        callbacks: The callbacks.
        trainer: Theirs from now on.

    Raises:
        TypeError: One of them is no callback.
    """

    def __init__(self, callbacks: Iterable[Callback], trainer: Trainer) -> None:
        self._callbacks = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
        for callback in self._callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(f"Trainer.fit: expected callbacks to be Callback objects; got {callback!r}")
            callback.trainer = trainer
        self.wants_batches = any(_overrides_batches(callback) for callback in self._callbacks)

        self.schedulers = [one for callback in self._callbacks for one in callback.batch_schedulers()]
        for scheduler in self.schedulers:
            if scheduler.optimizer is not trainer.optimizer:
                # A schedule that is stepped, and sets the rates of somebody else.
                raise ValueError(
                    f"Trainer.fit: expected schedules of the trainer's optimizer; got {type(scheduler).__name__} of "
                    f"another {type(scheduler.optimizer).__name__}"
                )

    def fit_begin(self) -> None:
        for callback in self._callbacks:
            callback.on_fit_begin()

    def fit_end(self) -> None:
        for callback in self._callbacks:
            callback.on_fit_end()

    def fit_error(self, error: BaseException) -> None:
        for callback in self._callbacks:
            callback.on_fit_error(error)

    def epoch_begin(self, epoch: int) -> None:
        for callback in self._callbacks:
            callback.on_epoch_begin(epoch)

    def epoch_logs(self) -> dict[str, float]:
        return {name: value for callback in self._callbacks for name, value in callback.epoch_logs().items()}

    def epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        for callback in self._callbacks:
            callback.on_epoch_end(epoch, logs)

    def batch_begin(self, batch: int) -> None:
        for callback in self._callbacks:
            callback.on_batch_begin(batch)

    def batch_end(self, batch: int, logs: Mapping[str, float]) -> None:
        for callback in self._callbacks:
            callback.on_batch_end(batch, logs)


def _overrides_batches(callback: Callback) -> bool:
    return any(
        getattr(getattr(callback, name), "__func__", None) is not getattr(Callback, name)
        for name in ("on_batch_begin", "on_batch_end")
    )

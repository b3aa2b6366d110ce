"""Fitting, evaluating and predicting."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastnn._core import Tensor, Undo
from fastnn._types import check_at_least, check_choice, check_flag
from fastnn.callbacks.base import Callback, CallbackList
from fastnn.data.generator import draws_alone
from fastnn.nn.module import Module
from fastnn.optim.lr_scheduler import LRScheduler
from fastnn.training import data_sources, metrics as metric_functions, nonfinite
from fastnn.training.assumptions import check_learns, check_optimizes
from fastnn.training.batches import IterableData, Running
from fastnn.training.data import ArrayData, Piece, Types
from fastnn.training.evaluator import Evaluator, rows_at_once
from fastnn.training.exclusive import alone
from fastnn.training.history import History
from fastnn.training.metrics import MetricLike
from fastnn.training.progress import Progress
from fastnn.training.step import TrainStep
from fastnn.training.trunk import FrozenTrunk
from fastnn.training.update_options import MaxNorm, Penalty
from fastnn.training.weighing import Total, Weighing, reduction_of

OnNonfinite: TypeAlias = Literal["raise", "stop", "ignore"]

# Batches that run in one call: long enough for the call to cost nothing, short enough for Ctrl-C and the bar.
_CHUNK_SECONDS = 0.025


class _Epoch(Total):
    """Sums over an epoch."""

    def __init__(self, number: int, weighing: Weighing) -> None:
        super().__init__(weighing)
        self.number = number
        self.weighing = weighing
        self.batches = 0

    def add(self, loss: float, count: float) -> None:
        super().add(loss, count)
        self.batches += 1


class Trainer(Evaluator):
    """A model, a loss and an optimizer, and the loops around them.

    Args:
        model: The model; it is trained in place.
        loss: Called with the model's output and the targets; returns a scalar. Its reduction is
            ``"mean"`` or ``"sum"``. With a loss of ``fastnn.nn``, or a function of ``fastnn.nn.functional``, the losses
            of ``fit`` and :meth:`evaluate` are those of all rows at once, whatever the batches: class weights, ignored
            labels and ``sample_weight`` count as they do in one batch, and ``"sum"`` is the sum over all rows. Of
            another function or module, batches are weighted with their rows, or with what its method
            ``normalizer(y, sample_weight=None)`` returns, and added up if its ``reduction`` is ``"sum"``.
        optimizer: Of the model's parameters.
        metrics: Names (``"accuracy"``, ``"binary_accuracy"``, ``"top_k"``, ``"top_3"``, ``"mse"``, ``"rmse"``,
            ``"mae"``, ``"r2"``), or functions of the arrays (y_pred, y_true); also a mapping of names and either.
        on_nonfinite: When a loss is NaN or infinite: ``"raise"`` a ValueError that names the layer it comes from, or
            ``"stop"`` with a warning that does; the step changes nothing in either case. Or ``"ignore"`` it. A batch
            in which nothing counts, since all its labels are ignored, has no loss: it is passed over.
        accumulate: Into how many micro-batches every batch is split, for memory's sake; see :class:`TrainStep`.
        penalty: As for :class:`~fastnn.TrainStep`, and so are the settings below. The training loss includes it, with
            ``reduction="sum"`` once a batch; that of the validation does not.
        clip_grad_value: The greatest absolute value of an element of a gradient.
        clip_grad_norm: The greatest norm of all gradients together.
        grad_noise: Variance of noise on the gradients, or that and its decay.
        max_norm: The greatest norm of the weights into a unit.
        ema: The share of an average of the parameters that an update keeps; see ``step.averages()``.

    Attributes:
        history: Of the last fit.
        running: Epochs and data of the fit that is on, for callbacks; ``None`` between fits.
        step: The training step, for whoever wants to call it alone; ``step.reason`` says why it is not planned.

    Raises:
        ValueError: An unknown metric or setting, a loss with reduction ``"none"``, or an optimizer that has none of the
            model's parameters. It may lack some, or have others too.
        TypeError: ``model`` is not a module, or ``loss`` cannot be called.

    Example:
        >>> import numpy as np
        >>> import fastnn as fnn
        >>> x = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
        >>> y = (x[:, 0] > 0).astype(np.int64)
        >>> model = fnn.nn.Linear(2, 2)
        >>> optimizer = fnn.optim.Adam(model.parameters(), lr=0.1)
        >>> trainer = fnn.Trainer(model, fnn.nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
        >>> history = trainer.fit(x, y, epochs=20, batch_size=20, verbose=0)
        >>> trainer.evaluate(x, y)["accuracy"] > 0.95
        True
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[[Any, Any], Tensor],
        optimizer: Any,
        metrics: Iterable[MetricLike] | Mapping[str, MetricLike] = (),
        on_nonfinite: OnNonfinite = "raise",
        accumulate: int = 1,
        *,
        penalty: Penalty | None = None,
        clip_grad_value: float | None = None,
        clip_grad_norm: float | None = None,
        grad_noise: float | tuple[float, float] | None = None,
        max_norm: MaxNorm | None = None,
        ema: float | None = None,
    ) -> None:
        check_at_least("Trainer", "accumulate", accumulate, 1)
        if not isinstance(model, Module):
            raise TypeError(f"Trainer: expected model to be an nn.Module; got {type(model).__name__}")
        if not callable(loss):
            raise TypeError(f"Trainer: expected loss to be a function or a module; got {type(loss).__name__}")
        if reduction_of(loss) == "none":
            raise ValueError("Trainer: expected a loss with reduction 'mean' or 'sum'; got 'none'")
        check_choice("Trainer", "on_nonfinite", on_nonfinite, ("raise", "stop", "ignore"))
        check_optimizes("Trainer", model, optimizer, loss, penalty)
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.metrics = metric_functions.resolve(metrics, loss)
        self.on_nonfinite: OnNonfinite = on_nonfinite
        self.history = History()
        self.step = TrainStep(
            model,
            loss,
            optimizer,
            accumulate,
            penalty=penalty,
            clip_grad_value=clip_grad_value,
            clip_grad_norm=clip_grad_norm,
            grad_noise=grad_noise,
            max_norm=max_norm,
            ema=ema,
        )
        self.running: Running | None = None
        self._stopped: str | None = None

    def stop(self, reason: str) -> None:
        """End the fit after the current epoch, or batch; for callbacks."""
        self._stopped = reason

    # Fit

    @draws_alone
    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        validation_data: Any = None,
        validation_split: float = 0.0,
        shuffle: bool = True,
        drop_last: bool = False,
        callbacks: Sequence[Callback] = (),
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        train_metrics: bool | None = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        augment: Callable[[NDArray[Any], NDArray[Any]], tuple[Any, Any]] | None = None,
        prefetch: int = 2,
        cache_features: bool = False,
        verbose: bool = True,
    ) -> History:
        """Train for a number of epochs. Ctrl-C ends it early, and the model can be used.

        The whole model is put into training mode, and every part back into its own afterwards.

        A fit draws from a generator of its own, so that fits in several threads have the numbers that each has alone.
        In the main thread it is that of the process. In another thread it begins where the thread's own stands, if it
        was seeded there by ``fastnn.manual_seed``; else where that of the process stands, or where the last fit of this
        trainer ended. Two fits begun after one seeding thus draw the same numbers.

        Args:
            x: Inputs, ``(n, *)``, anything NumPy makes an array of; they are converted to the model's type, their
                values as they are. Large arrays of narrower numbers, such as images of uint8, and those that
                ``np.load(mmap_mode="r")`` maps from a file are converted a few batches at a time, and never copied as a
                whole. Or an iterable of (x, y), such as a :class:`fastnn.data.DataLoader`, or a function that returns
                one, and then no ``y``.
            y: Targets, n of them.
            epochs: Number of the last epoch.
            batch_size: Rows a batch of arrays; an iterable has batches of its own.
            validation_data: A pair (x, y), or an iterable of such; measured after every epoch.
            validation_split: Share of the arrays, from their end, that is used for validation instead.
            shuffle: Whether arrays are taken in a new order every epoch, drawn from fastnn's generator.
            drop_last: Whether a last, smaller batch is left out; only with arrays.
            callbacks: Told of every epoch.
            initial_epoch: Number of epochs that are done.
            steps_per_epoch: Batches that make an epoch; only with an iterable, which begins again when it ends.
            train_metrics: Whether metrics are also measured on the training data, after every epoch; only with arrays
                and lists of batches. ``None``: if there is no validation.
            sample_weight: What each row counts for in the loss, ``(n,)``, each at least 0, 0 leaving it out; only with
                arrays.
            class_weight: What each class counts for: a mapping by class, where missing ones count for 1, or an array
                ``(C,)``; only with arrays and class indices ``(n,)``. It multiplies ``sample_weight``.
            augment: What changes every batch before its step: a transform of :mod:`fastnn.augment`, which runs where
                the batch is gathered, without the GIL; or a function, called with the arrays (x, y), that returns
                those to train on. White is 255 for a transform if ``x`` is uint8, else 1. Not for validation; not for
                metrics of the training data either, but where it changes the size of the images, as a crop does: they
                are measured on images that are drawn anew, and the generator stays where it was.
            prefetch: How many batches of an iterable a second thread prepares while the model is trained, at least 0.
                What the iterable draws comes from a generator of its own, so that the numbers do not depend on it. Take
                0 where batches depend on the model or on callbacks, or where the iterable must stay in this thread. If
                the fit ends within an epoch, so many batches more have been taken. Also whether rows that have to be
                converted are prepared ahead.
            cache_features: Whether what a frozen trunk makes of the data is computed once, before the first epoch, and
                kept in memory; the rest of the model is then trained on it, with the same result. Only with arrays and
                without ``augment``. See :func:`fastnn.freeze`.
            verbose: Whether there is a progress bar.

        Returns:
            The history, also as ``self.history``.

        Raises:
            ValueError: A setting is out of range, lengths differ, a loss is not finite, or features would not stay the
                same.
            TypeError: Data or settings are of another type.
            RuntimeError: The model is being fitted already.
        """
        for name in ("model", "loss", "optimizer"):
            if getattr(self, name) is not getattr(self.step, name):
                raise ValueError(
                    f"Trainer.fit: expected the {name} that it was made with; make another Trainer for another"
                )
        for name, flag in (
            ("shuffle", shuffle),
            ("drop_last", drop_last),
            ("cache_features", cache_features),
            ("train_metrics", train_metrics or False),
        ):
            check_flag("Trainer.fit", name, flag)
        check_at_least("Trainer.fit", "epochs", epochs, 0)
        check_at_least("Trainer.fit", "initial_epoch", initial_epoch, 0)
        types = Types.of(self.model, self.loss)
        training, validation = data_sources.training_data(
            self.model,
            self.loss,
            types,
            x,
            y,
            batch_size=batch_size,
            validation_data=validation_data,
            validation_split=validation_split,
            shuffle=shuffle,
            drop_last=drop_last,
            steps_per_epoch=steps_per_epoch,
            sample_weight=sample_weight,
            class_weight=class_weight,
            augment=augment,
            prefetch=prefetch,
        )
        for source, what in ((training, "x"), (validation, "validation_data")):
            if isinstance(source, IterableData) and source.serves_once and epochs - initial_epoch > 1:
                raise ValueError(
                    f"Trainer.fit: expected {what} to serve {epochs - initial_epoch} epochs; "
                    f"got a generator, which serves one: pass the function that makes it"
                )
        if cache_features and not isinstance(training, ArrayData):
            raise ValueError(f"Trainer.fit: expected arrays with cache_features; got {type(x).__name__}")
        if cache_features and augment is not None:
            raise ValueError("Trainer.fit: expected no augment with cache_features: it changes the images every epoch")
        again = isinstance(training, ArrayData) or training.in_memory
        if train_metrics and not again:
            raise ValueError("Trainer.fit: expected arrays or a list of batches with train_metrics; got an iterable")
        if train_metrics is None:
            train_metrics = validation is None and again
        with Undo() as undo:
            alone(undo, self.model)
            undo.set_attr(self, "running", None)
            undo.call(self.step.train_part, None)
            self.running = Running(range(initial_epoch, epochs), training)
            callback_list = CallbackList(callbacks, self)
            progress = Progress(shown=verbose, epochs=epochs, initial_epoch=initial_epoch, batches=training.batches)
            return self._fit_epochs(
                self.running.epochs,
                training,
                validation,
                callback_list,
                progress,
                train_metrics=train_metrics,
                cache_features=cache_features,
            )

    def _fit_epochs(
        self,
        epochs: range,
        training: ArrayData | IterableData,
        validation: Any,
        callbacks: CallbackList,
        progress: Progress,
        *,
        train_metrics: bool,
        cache_features: bool,
    ) -> History:
        history = self.history = History()
        self._stopped = None
        with Undo() as undo:
            undo.modes(list(self.model.modules()))
            undo.set_attr(self, "on_nonfinite", self.on_nonfinite)
            undo.call(progress.close)
            try:
                callbacks.fit_begin()
                check_learns("Trainer.fit", self.model, self.optimizer, self.loss, self.step.penalty)
                trunk: FrozenTrunk | None = None
                if cache_features and isinstance(training, ArrayData):
                    trunk = FrozenTrunk(self.model, training.x)
                    training = training.with_inputs(trunk.features(training.x))
                    if isinstance(validation, tuple):
                        validation = trunk.features(validation[0]), validation[1]
                    self.step.train_part(trunk.tail)
                self.step.stop_on_nonfinite = self.on_nonfinite != "ignore"
                for number in epochs:
                    begin = time.perf_counter()
                    callbacks.epoch_begin(number)
                    if trunk is not None:
                        trunk.check()
                    progress.begin_epoch(number)
                    self.model.train()
                    epoch = self._run_epoch(number, training, callbacks, progress)
                    if not epoch.batches:
                        break
                    logs = {"loss": epoch.loss}
                    if self._stopped is None or validation is not None:
                        logs |= self._measure_epoch(training, validation, train_metrics)
                    logs |= callbacks.epoch_logs()
                    logs["seconds"] = time.perf_counter() - begin
                    history.append(number, logs)
                    progress.end_epoch(logs)
                    callbacks.epoch_end(number, logs)
                    if self._stopped is not None:
                        break
            except KeyboardInterrupt:
                history.interrupted = True
                self._stopped = "interrupted"
            except BaseException as error:
                callbacks.fit_error(error)
                raise
        history.stop_reason = self._stopped
        callbacks.fit_end()
        return history

    def _run_epoch(
        self, number: int, training: ArrayData | IterableData, callbacks: CallbackList, progress: Progress
    ) -> _Epoch:
        epoch = _Epoch(number, Weighing(self.loss))
        if isinstance(training, ArrayData):
            self._run_arrays(epoch, training, callbacks, progress)
        else:
            self._run_iterable(epoch, training, callbacks, progress)
        return epoch

    def _run_arrays(self, epoch: _Epoch, arrays: ArrayData, callbacks: CallbackList, progress: Progress) -> None:
        """Run batches in chunks of a few milliseconds, each one call that holds no GIL."""
        order = arrays.order()
        batch, chunk = 0, 1
        alone = arrays.augment is not None and arrays.augment.transform is None
        single = callbacks.wants_batches or alone
        with closing(arrays.pieces(order, lambda: 1 if single else chunk)) as pieces:
            for piece in pieces:
                if callbacks.wants_batches:
                    callbacks.batch_begin(batch)
                begin = time.perf_counter()
                losses, counts = self._run_piece(piece, arrays, callbacks, epoch.weighing)
                seconds = time.perf_counter() - begin
                for offset, (loss, count) in enumerate(zip(losses, counts)):  # noqa: B905  (one may have ended it)
                    if self._fails(loss, count):
                        x, y = self._given(arrays).batch(order, batch + offset)
                        rows = order[arrays.rows(batch + offset)]
                        self._nonfinite(epoch.number, batch + offset, loss, x, y, rows)
                        return
                    epoch.add(loss, count)
                batch += piece.batches
                progress.advance(piece.batches, epoch.loss)
                if callbacks.wants_batches:
                    callbacks.batch_end(batch - 1, {"loss": losses[-1]})
                if self._stopped is not None:
                    return
                # The first call also plans, so grow no faster than fourfold.
                chunk = max(1, min(4 * piece.batches, int(_CHUNK_SECONDS * piece.batches / max(seconds, 1e-9))))

    def _given(self, arrays: ArrayData) -> ArrayData:
        """Return the inputs of the model, where the arrays hold features."""
        whole = None if self.running is None else self.running.training
        return whole if isinstance(whole, ArrayData) else arrays

    def _fails(self, loss: float, count: float) -> bool:
        """Return whether a loss ends the fit. NaN is no failure if nothing in the batch counts: a mean over nothing."""
        return not math.isfinite(loss) and self.on_nonfinite != "ignore" and bool(count)

    def _run_piece(
        self, piece: Piece, arrays: ArrayData, callbacks: CallbackList, weighing: Weighing
    ) -> tuple[list[float], list[float]]:
        """Run some batches; return the loss of each, up to the first that fails, and what each batch counts for."""
        x, y, weight, order = piece.x, piece.y, piece.sample_weight, piece.order
        size, augment, schedulers = arrays.batch_size, arrays.augment, callbacks.schedulers
        transform = None if augment is None else augment.transform
        if augment is not None and transform is None:
            rows = order[piece.first * size : (piece.first + 1) * size]
            inputs, targets = augment(x[rows], y[rows])
            kept = None if weight is None else weight[rows]
            count = weighing.batch(targets, kept)
            loss = self.step(inputs, targets, kept)
            if not self._fails(loss, count):
                self._advance(schedulers)
            return [loss], [count]
        counts = weighing.batches(piece, size, transform is not None and transform._mix() is not None)
        losses: list[float] = []
        while len(losses) < piece.batches:
            first, count = piece.first + len(losses), piece.batches - len(losses)
            losses += self.step.run_batches(x, y, order, first, count, size, schedulers, weight, transform).tolist()
            if self.step.stop_on_nonfinite and not math.isfinite(losses[-1]):
                if self._fails(losses[-1], counts[len(losses) - 1]):
                    break
                self._advance(schedulers)
        return losses, counts

    def _advance(self, schedulers: Sequence[LRScheduler]) -> None:
        """Step the schedules after a batch, also after one that changed nothing, since nothing in it counts."""
        if schedulers:
            self.optimizer._opt_called = True
        for scheduler in schedulers:
            scheduler.step()

    def _run_iterable(self, epoch: _Epoch, iterable: IterableData, callbacks: CallbackList, progress: Progress) -> None:
        with closing(iterable.epoch()) as batches:
            for batch, (x, y) in enumerate(batches):
                if callbacks.wants_batches:
                    callbacks.batch_begin(batch)
                inputs, targets = (x, y) if iterable.augment is None else iterable.augment(x, y)
                count = epoch.weighing.batch(targets)
                loss = self.step(inputs, targets)
                if self._fails(loss, count):
                    self._nonfinite(epoch.number, batch, loss, x, y, None)
                    return
                self._advance(callbacks.schedulers)
                epoch.add(loss, count)
                progress.advance(1, epoch.loss)
                if callbacks.wants_batches:
                    callbacks.batch_end(batch, {"loss": loss})
                if self._stopped is not None:
                    return

    def _nonfinite(
        self, epoch: int, batch: int, loss: float, x: NDArray[Any], y: NDArray[Any], rows: NDArray[np.int64] | None
    ) -> None:
        cause = nonfinite.explain(self.model, x, y, rows)
        message = f"Trainer.fit: the loss is {loss} in epoch {epoch}, batch {batch}: {cause}"
        if self.on_nonfinite == "raise":
            raise ValueError(message)
        warnings.warn(message, RuntimeWarning, stacklevel=2)
        self.stop(f"the loss is {loss}")

    def _measure_epoch(
        self, training: ArrayData | IterableData, validation: Any, train_metrics: bool
    ) -> dict[str, float]:
        logs: dict[str, float] = {}
        if train_metrics and self.metrics:
            measured = self._measure(training, rows_at_once(training), model=self.step.part)
            logs |= {name: measured[name] for name in self.metrics}
        if validation is not None:
            # Features are made of arrays only.
            model = self.step.part if isinstance(validation, tuple) else self.model
            measured = self._measure(validation, rows_at_once(validation), model=model)
            logs |= {f"val_{name}": value for name, value in measured.items()}
        return logs

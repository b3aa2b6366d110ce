"""One training step, planned: forward, loss, backward and update in one call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor, Undo
from fastnn._types import TensorLike, check_at_least, check_callable, check_instance, shown
from fastnn.augment.transform import Transform
from fastnn.nn.module import Module
from fastnn.optim import Newton, Optimizer
from fastnn.optim.lr_scheduler import LRScheduler
from fastnn.optim.lr_scheduler._ahead import Ahead
from fastnn.training.assumptions import check_optimizes, obstacle, state_of
from fastnn.training.update_options import MaxNorm, Penalty, UpdateOptions
from fastnn.training.watch import Watch
from fastnn.training.weighing import adds_up, mean_of_labels

_Data: TypeAlias = "tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]"
"""Inputs, targets and weights of all samples."""

# After so many traces in a row that changed what they read, the step runs eagerly.
_GIVEN_UP = 2


class TrainStep:
    """Train on a batch: ``step(x, y)`` returns the loss before the update.

    The first two steps on batches of a new shape run eagerly and are traced; the ops are then fused and placed in one
    arena, and every further step is one call, with the GIL released, that allocates nothing. The numbers are the same,
    bit for bit, and so are random ones: every op draws anew. Settings of the optimizer are read at every step. A change
    of the model (a mode, an attribute, ``requires_grad``), or of a variable, attribute or container that the code of
    ``forward`` or of the loss refers to, is noticed, and the next steps are traced again.

    What cannot be planned runs eagerly, and ``reason`` says why: where the second trace is not like the first, where
    ``forward`` or the loss changes what it reads, draws random numbers of Python or NumPy, or reads values of the
    batch. An optimizer that evaluates the loss itself, such as
    ``LBFGS`` or ``SAM``, gets a closure over the batch; the loss returned is the first that it evaluated.

    Args:
        model: The model, in whichever mode it is.
        loss: Called with the model's output, the targets and, where samples are weighted, their weights; returns a
            scalar.
        optimizer: Of the model's parameters.
        accumulate: Into how many micro-batches a batch is split, at least 1. Forward and backward run on one after
            another, and their gradients add up to that of the batch: exactly for the losses of ``fastnn.nn``, also with
            class weights and ignored labels, and for any other that is the mean over rows, or the sum (``reduction``).
            Then comes one update. It takes less memory. Batch norm sees micro-batches.
        penalty: Added to the loss, also to the one that is returned: called with the model, such as
            ``nn.penalties.L2(1e-4)``; or a dict of penalties by patterns of parameters' names, of which the first
            that matches counts (:class:`fastnn.nn.penalties.PerLayer`).
        clip_grad_value: Hold every element of the gradients in ``[-clip_grad_value, clip_grad_value]``; above 0.
        clip_grad_norm: Multiply all gradients by ``min(1, clip_grad_norm / (norm + 1e-6))``, where ``norm`` is their
            2-norm as one vector, after clipping by value; above 0.
        grad_noise: ``eta``, or ``(eta, gamma)``: add random numbers of variance ``eta / (1 + t)**gamma`` to the
            gradients, after clipping, where t counts the updates from 0. Both at least 0; gamma is 0.55 unless given.
            For speed each number is a sum of 16 uniform ones: normal, but for an excess kurtosis of -0.075.
        max_norm: After the update, multiply every row of a weight (the weights into one unit; parameters of 2 or more
            dimensions) whose 2-norm is greater by ``max_norm / (norm + 1e-7)``. Above 0; or a dict of such by patterns
            of parameters' names, of which the first that matches counts.
        ema: Keep an average of every parameter, ``average = ema * average + (1 - ema) * parameter`` after every update,
            beginning with the parameter itself after the first. In [0, 1). See :meth:`averages`.

    Raises:
        ValueError: A setting is out of range, a pattern matches no parameter, or the optimizer has none of the model's.
        TypeError: A setting is of another type, or the optimizer is ``Newton``, which takes the loss without gradients.

    Attributes:
        reason: Why the step runs eagerly; ``None`` if it is planned.
        stop_on_nonfinite: Whether a step whose loss is NaN or infinite changes nothing, and ends :meth:`run_batches`.

    Source:
        Clipping: Pascanu et al. 2013, https://arxiv.org/abs/1211.5063, with PyTorch's 1e-6. Noise: Neelakantan et al.
        2015, https://arxiv.org/abs/1511.06807, equation 1. Max-norm: Hinton et al. 2012,
        https://arxiv.org/abs/1207.0580, with the formula of ``torch.renorm``; Keras' ``MaxNorm`` takes columns, since
        its weights are transposed. Averages: Polyak & Juditsky 1992, https://doi.org/10.1137/0330046, as PyTorch's
        ``AveragedModel`` with ``get_ema_multi_avg_fn``; Keras' begin with the parameter before the first update.

    Example:
        >>> import numpy as np
        >>> import fastnn as fnn
        >>> model = fnn.nn.Linear(3, 1)
        >>> step = fnn.TrainStep(model, fnn.nn.MSELoss(), fnn.optim.SGD(model.parameters(), lr=0.1))
        >>> x = np.eye(3, dtype=np.float32)
        >>> y = np.array([[1.0], [2.0], [3.0]], np.float32)
        >>> losses = [step(x, y) for _ in range(100)]
        >>> losses[-1] < 0.01 * losses[0], step.reason
        (True, None)
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[..., Tensor],
        optimizer: Optimizer,
        accumulate: int = 1,
        *,
        penalty: Penalty | None = None,
        clip_grad_value: float | None = None,
        clip_grad_norm: float | None = None,
        grad_noise: float | tuple[float, float] | None = None,
        max_norm: MaxNorm | None = None,
        ema: float | None = None,
    ) -> None:
        check_at_least("TrainStep", "accumulate", accumulate, 1)
        check_instance("TrainStep", "model", model, Module, "a module")
        check_callable("TrainStep", "loss", loss, "a function or a module")
        if isinstance(optimizer, Newton):
            raise TypeError(
                "TrainStep: expected an optimizer that steps by gradients; got Newton: call its step instead"
            )
        # Without an optimizer, a trainer predicts and evaluates.
        steps = (callable(getattr(optimizer, name, None)) for name in ("step", "zero_grad"))
        if optimizer is not None and (isinstance(optimizer, type) or not all(steps)):
            raise TypeError(f"TrainStep: expected optimizer to be one, with step and zero_grad; got {shown(optimizer)}")
        check_optimizes("TrainStep", model, optimizer, loss, penalty)
        self.model = model
        self._part = model
        self.loss = loss
        self.optimizer = optimizer
        self.accumulate = accumulate
        self._update_options = UpdateOptions(
            model,
            optimizer,
            penalty=penalty,
            clip_grad_value=clip_grad_value,
            clip_grad_norm=clip_grad_norm,
            grad_noise=grad_noise,
            max_norm=max_norm,
            ema=ema,
        )
        self.reason: str | None = None
        self.stop_on_nonfinite = False
        self._planner = _core.Planner()
        self._version = -1
        self._state: object = None
        self._watch = Watch(())
        # Number of traces of forward and loss that changed the values they read.
        self._restless = 0
        self._thread = 0

    def __call__(self, x: TensorLike, y: TensorLike, sample_weight: TensorLike | None = None) -> float:
        if x is None or y is None:
            raise TypeError("TrainStep: expected x and y to be tensors or arrays; got None")
        self._begin()
        if self.reason is not None and self._is_eager():
            return self._run_eagerly(x, y, sample_weight)
        optimizer = self.optimizer
        loss = self._planner.step(x, y, sample_weight, optimizer._slots, optimizer.param_groups, self.stop_on_nonfinite)
        if loss is None:
            return self._trace(x, y, sample_weight)
        # A schedule asks whether it is stepped after the optimizer.
        optimizer._opt_called = True
        return loss

    def run_batches(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        order: NDArray[np.int64],
        first_batch: int,
        n_batches: int,
        batch_size: int,
        schedulers: Sequence[LRScheduler] = (),
        sample_weight: NDArray[Any] | None = None,
        augment: Transform | None = None,
    ) -> NDArray[np.float64]:
        """Train on batches ``first_batch`` to ``first_batch + n_batches - 1``, and return their losses.

        Args:
            x: All inputs, C-contiguous.
            y: All targets, C-contiguous.
            order: Rows; batch b is ``order[b * batch_size : (b + 1) * batch_size]``, and the last may be smaller.
            first_batch: The batch to begin with.
            n_batches: How many.
            batch_size: Rows a batch.
            schedulers: Stepped after every update. The settings of many steps are worked out beforehand; at the end
                schedules and groups are as if each had been stepped in its turn.
            sample_weight: What each row counts for, C-contiguous; ``None`` for 1.
            augment: What changes every batch before its step.

        Returns:
            A loss for each batch; fewer if ``stop_on_nonfinite``, and then the last one is not finite.

        Raises:
            ValueError: A schedule is that of another optimizer.
            Exception: That of a schedule which refuses to go on, after the last step that it has settings for.
        """
        for scheduler in schedulers:
            if scheduler.optimizer is not self.optimizer:
                raise ValueError(
                    "TrainStep.run_batches: expected schedules of the step's optimizer; got "
                    f"{type(scheduler).__name__} of another {type(scheduler.optimizer).__name__}"
                )
        losses: list[float] = []
        last = first_batch + n_batches
        batch = first_batch
        pipeline = None if augment is None else augment._pipeline()
        while batch < last:
            ahead = order[batch * batch_size : last * batch_size]
            done = self._run_whole_batches((x, y, sample_weight), ahead, batch_size, schedulers, pipeline)
            if done is None:
                rows = order[batch * batch_size : (batch + 1) * batch_size]
                given = (x[rows], y[rows], None if sample_weight is None else sample_weight[rows])
                done = [self(*(given if augment is None else augment._apply(*given)))]
                if self._updated(done):
                    for scheduler in schedulers:
                        scheduler.step()
            losses += done
            batch += len(done)
            if self._updated(done) < len(done):
                break
        return np.array(losses)

    def set_ema(self, ema: float | None) -> float | None:
        """Keep averages with another ``ema`` from now on, or none. They begin anew.

        Args:
            ema: As for the class.

        Returns:
            What it was.

        Raises:
            ValueError: ``ema`` is out of range.
            TypeError: ``ema`` is not a number.
        """
        before = self._update_options.ema
        self._update_options = self._update_options.with_ema(ema)
        # Plans hold the averages.
        self._version, self._state = -1, None
        return before

    @property
    def penalty(self) -> Any:
        """The penalty that is added to the loss; ``None`` if there is none."""
        return self._update_options.penalty

    @property
    def part(self) -> Module:
        """The module that the step calls: the model, or a part of it."""
        return self._part

    def train_part(self, part: Module | None) -> None:
        """Call a part of the model in its place from now on, on inputs made for it.

        Penalties, norms and averages go on being the model's.

        Args:
            part: Modules of the model; ``None`` for the model again.
        """
        part = self.model if part is None else part
        if part is not self._part:
            self._part = part
            self._version, self._state = -1, None

    def averages(self) -> dict[str, Tensor]:
        """Return the average of every parameter by its name, as ``ema`` keeps it; the tensors change with every step.

        A parameter that the model has under several names has its one average under all of them.

        Raises:
            ValueError: There is no ``ema``.
        """
        return self._update_options.averages()

    def averaged_state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the model's state with the averages in the parameters' place, for a second model to load.

        Running statistics are those of the model now.

        Raises:
            ValueError: There is no ``ema``.
        """
        state = {**self.model.state_dict(), **self.averages()}
        return {name: state[name].detach().clone() for name in self.model.state_dict()}

    def state_dict(self) -> dict[str, Any]:
        """Return what the step itself keeps: ``updates``, how many there were, and ``averages``.

        Model and optimizer have states of their own. The tensors change with every step.
        """
        return self._update_options.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned: the same noise, the same averages.

        Raises:
            ValueError: Other keys, other parameters' names, or an average of the wrong shape. Nothing is loaded then.
        """
        self._update_options.load_state_dict(state_dict)

    def _updated(self, losses: list[float]) -> int:
        """Return how many steps with these losses have changed something: all, or all but the last."""
        return len(losses) - (self.stop_on_nonfinite and not math.isfinite(losses[-1]))

    def describe(self) -> str:
        """Return the stages of the plans made so far, a line each: what was fused with what."""
        return self._planner.describe()

    def _run_whole_batches(
        self,
        data: _Data,
        order: NDArray[np.int64],
        batch_size: int,
        schedulers: Sequence[LRScheduler],
        augment: _core.Augment | None,
    ) -> list[float] | None:
        """Run the batches that have their full size in one call, if there are any and they are planned."""
        whole = len(order) // batch_size
        self._begin()
        if whole == 0 or self._is_eager():
            return None
        if not schedulers:
            ahead_of_time = self.optimizer.param_groups
            losses = self._run_planned(data, order[: whole * batch_size], batch_size, augment, ahead_of_time)
            self._planner.raise_interruption()
            return losses
        ahead = Ahead(self.optimizer, schedulers)
        with Undo() as undo:
            undo.call(ahead.settle)
            # That of calls before.
            self._planner.updated()
            settings = ahead.look(whole)
            try:
                losses = self._run_planned(data, order[: ahead.steps * batch_size], batch_size, augment, settings)
            finally:
                # Counted there, since Python sees a Ctrl-C only once the call is over.
                ahead.taken = self._planner.updated()
        self._planner.raise_interruption()
        return losses

    def _run_planned(
        self,
        data: _Data,
        order: NDArray[np.int64],
        batch_size: int,
        augment: _core.Augment | None,
        settings: list[dict[str, Any]],
    ) -> list[float] | None:
        slots, stop = self.optimizer._slots, self.stop_on_nonfinite
        losses = self._planner.run_batches(*data, order, batch_size, augment, slots, settings, stop)
        if losses is None:
            return None
        self.optimizer._opt_called = True
        return list(losses.tolist())

    def _begin(self) -> None:
        """Look for changes since the last step, and see to it that the thread has a generator to train with."""
        if self._version != _core.config_version() or (self._watch.places and self._watch.changed() is not None):
            self._look_again()
        self._thread = _core.begin_training_draws(self._thread)

    def _is_eager(self) -> bool:
        # The first step may have set up the values that forward changes, so a second one is traced too.
        return self.reason is not None and not 0 < self._restless < _GIVEN_UP

    def _look_again(self) -> None:
        """Something in some model changed; plans are made anew if it was ours."""
        if self.optimizer is None:
            raise TypeError("TrainStep: expected an optimizer to train with; got None")
        self._version = _core.config_version()
        if self._watch.changed() is not None or self._state_now() != self._state:
            self._watch = Watch([self.model, self._part, self.loss, self._update_options.penalty])
            self._state = self._state_now()
            self._restless = 0
            self._planner.clear()
            self.reason = obstacle(self.model, self.optimizer)

    def _state_now(self) -> object:
        """All that a trace takes for granted, but for what is watched."""
        roots = {self.model: None, self._part: None, **dict.fromkeys(self._watch.modules)}
        penalty = state_of(self._update_options.penalty)
        return [state_of(model) for model in roots], state_of(self.loss), penalty, _core.is_anomaly_enabled()

    def _own_change(self) -> str | None:
        """Return what the step that just ran has changed of what a trace takes for granted; that counts from now on."""
        changed = self._watch.changed()
        reason = None if changed is None else f"forward or loss changes {changed}, which it reads"
        if self._version != _core.config_version():
            self._version = _core.config_version()
            if self._state_now() != self._state:
                reason = "forward changes attributes of a module"
        if reason is not None:
            self._watch.refresh()
            self._state = self._state_now()
        return reason

    def _trace(self, x: TensorLike, y: TensorLike, sample_weight: TensorLike | None) -> float:
        optimizer = self.optimizer
        optimizer._check()
        statistics = _Statistics(self.model)
        draws = self._watch.draws()
        self._update_options.follow()
        with Undo() as undo:
            # A step that fails leaves no trace of the forward pass either.
            undo.call(statistics.restore_unless_moved)
            with Undo() as tracing:
                tracing.call(self._planner.abort)
                try:
                    batch = self._planner.start(*self._apart(x, y, sample_weight))
                except Exception:
                    # Nothing was begun, or another thread has begun it.
                    tracing.keep()
                    raise
                if batch is None:
                    # Inside of another step, which is being traced.
                    tracing.keep()
                    undo.keep()
                    return self._run_eagerly(x, y, sample_weight)
                loss = self._differentiate(*batch)
                tracing.keep()
            self.reason = self._planner.finish(
                loss, optimizer._slots, optimizer.param_groups, self._update_options.core
            )
            changed = self._own_change()
            # There is no use in a second trace of what cannot be planned anyway.
            self._restless = 0 if changed is None else self._restless + 1 if self.reason is None else _GIVEN_UP
            if changed is None and self._watch.draws() != draws:
                changed = "forward or loss draws random numbers of Python or NumPy"
            if changed is not None:
                self._planner.clear()
                self.reason = self.reason or changed
            return self._update(loss, undo)

    def _run_eagerly(self, x: TensorLike, y: TensorLike, sample_weight: TensorLike | None) -> float:
        if isinstance(self.optimizer, Optimizer):
            self.optimizer._check()
        by_closure = getattr(self.optimizer, "_needs_closure", False)
        statistics = _Statistics(self.model, by_closure)
        with Undo() as undo:
            undo.call(statistics.restore_unless_moved)
            batch = [value for value in self._apart(x, y, sample_weight) if value is not None]
            if by_closure:
                return self._update_by_closure(batch, undo)
            loss = self._differentiate(*batch)
            if self._restless:
                self._own_change()
            return self._update(loss, undo)

    def _apart(self, *batch: TensorLike | None) -> list[Any]:
        """Return a batch, off the tape, as a step is given it, even where the step writes what the batch lies in."""
        written = [*self.model.parameters(), *self.model.buffers()]
        return [None if value is None else _core.apart(value, written) for value in batch]

    def _differentiate(self, x: Tensor, y: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        if self.accumulate > 1:
            if sample_weight is not None:
                raise ValueError(f"TrainStep: expected accumulate of 1 with sample_weight; got {self.accumulate}")
            return self._accumulate(x, y)
        output = self._part(x)
        loss = self.loss(output, y) if sample_weight is None else self.loss(output, y, sample_weight)
        if self._update_options.penalty is not None:
            loss = loss + self._update_options.penalty(self.model)
        self.optimizer.zero_grad()
        loss.backward()
        return loss

    def _accumulate(self, x: Tensor, y: Tensor) -> Tensor:
        """Add up the gradients of micro-batches, and return the loss of the whole batch."""
        rows = len(x)
        size = max(1, -(-rows // self.accumulate))
        sums = adds_up(self.loss)
        # Labels count for more or less than their rows.
        counted = None if sums else mean_of_labels(self.loss, y)
        self.optimizer.zero_grad()
        total: Tensor | None = None
        for start in range(0, rows, size):
            stop = min(start + size, rows)
            output, target = self._part(x[start:stop]), y[start:stop]
            if counted is not None:
                loss = counted(output, target)
            elif sums:
                loss = self.loss(output, target)
            else:
                loss = self.loss(output, target) * ((stop - start) / rows)
            loss.backward()
            total = loss.detach() if total is None else total + loss.detach()
        if total is None:
            raise ValueError("TrainStep: expected at least one row in x; got none")
        if self._update_options.penalty is not None:
            penalty = self._update_options.penalty(self.model)
            penalty.backward()
            total = total + penalty.detach()
        return total

    def _update(self, loss: Tensor, undo: Undo) -> float:
        value = float(loss.item())
        if not self.stop_on_nonfinite or math.isfinite(value):
            self._update_options.before()
            self.optimizer.step()
            self._update_options.after()
            undo.keep()
        self.optimizer.zero_grad()
        return value

    def _update_by_closure(self, batch: Sequence[Tensor], undo: Undo) -> float:
        """Take the step of an optimizer that evaluates the loss itself; return its first value."""
        first: list[float] = []

        def closure() -> Tensor:
            loss = self._differentiate(*batch)
            if not first:
                first.append(float(loss.item()))
                if self.stop_on_nonfinite and not math.isfinite(first[0]):
                    raise _NotFiniteError
            self._update_options.before()
            return loss

        with suppress(_NotFiniteError):
            self.optimizer.step(closure)
            self._update_options.after()
            undo.keep()
        self.optimizer.zero_grad()
        return first[0]


class _NotFiniteError(Exception):
    """Ends a step before it changes anything."""


class _Statistics:
    """A model's buffers as they were before a step, to undo one that fails.

    Args:
        model: The model.
        tried: Whether parameters are moved and moved back within the step, so that only their values tell.
    """

    def __init__(self, model: Module, tried: bool = False) -> None:
        # A step cannot change read-only buffers.
        self._kept = [(buffer, buffer.clone()) for buffer in model.buffers() if _core.is_writable(buffer)]
        self._parameters = [(p, p.detach().clone() if tried else None, p._version) for p in model.parameters()]

    def restore_unless_moved(self) -> None:
        """Restore them unless the parameters have moved since, to which the new ones belong then."""
        if not any(_has_moved(*parameter) for parameter in self._parameters):
            names = [f"buffer {number}" for number in range(len(self._kept))]
            _core.assign("TrainStep", names, [buffer for buffer, _ in self._kept], [kept for _, kept in self._kept])


def _has_moved(parameter: Tensor, value: Tensor | None, version: int) -> bool:
    if value is None:
        return parameter._version != version
    return not np.array_equal(parameter.detach().numpy(), value.numpy(), equal_nan=True)

"""Averages of a model's weights over a fit."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from fastnn._types import check_at_least, check_choice, check_number
from fastnn.callbacks.base import Callback
from fastnn.optim.swa_utils import SWALR, AveragedModel, batch_norms, update_bn

if TYPE_CHECKING:
    from fastnn.nn.module import Module


class _Averaging(Callback):
    """Base of averages: the end of a fit."""

    def __init__(self, *, update_bn: bool, apply: bool) -> None:
        self.update_bn = update_bn
        self.apply = apply
        self.model: Module | None = None

    def _measures(self) -> bool:
        return self.update_bn and any(norm.track_running_stats for norm in batch_norms(self.trainer.model))

    def on_fit_begin(self) -> None:
        self.model = None
        running = self.trainer.running
        if running is not None and self._measures() and running.serves_once:
            raise ValueError(
                f"{type(self).__name__}: expected training data that can be gone through once more, for batch norm; "
                "got a generator: pass the function that makes it, or update_bn=False"
            )

    def _finish(self, averaged: Module) -> None:
        running = self.trainer.running
        if running is not None and self._measures():
            update_bn(running.inputs(), averaged)
        self.model = averaged
        if self.apply:
            self.trainer.model.load_state_dict(averaged.state_dict())


class _AverageOfStates(_Averaging):
    """Equal averages, from an epoch on."""

    def __init__(self, start: int, *, update_bn: bool, apply: bool) -> None:
        super().__init__(update_bn=update_bn, apply=apply)
        check_at_least(type(self).__name__, "start", start, 0)
        self.start = start
        self.averaged: AveragedModel | None = None

    def on_fit_begin(self) -> None:
        super().on_fit_begin()
        self.averaged = None
        running = self.trainer.running
        if running is not None and running.epochs and self.start >= running.epochs.stop:
            raise ValueError(
                f"{type(self).__name__}: expected start below {running.epochs.stop}, the number of epochs; "
                f"got {self.start}"
            )

    def _take(self) -> None:
        if self.averaged is None:
            self.averaged = AveragedModel(self.trainer.model)
        self.averaged.update_parameters(self.trainer.model)

    def on_fit_end(self) -> None:
        if self.averaged is not None:
            self._finish(self.averaged.module)


class SWA(_AverageOfStates):
    """Stochastic weight averaging: the mean of the weights at the ends of epochs.

    After every epoch from ``start`` on, with n weights in the average::

        average = average + (weight - average) / (n + 1)

    With ``swa_lr`` the rate goes there over ``anneal_epochs`` epochs and stays, by
    :class:`fastnn.optim.swa_utils.SWALR`; any other schedule should have come to its end by then.

    Args:
        start: The first epoch that is averaged, counted from 0.
        swa_lr: The rate from then on; ``None`` to leave the rate alone.
        anneal_epochs: Epochs on the way to it, at least 0.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        update_bn: Whether running statistics of batch norm are measured anew at the end, on the training data.
        apply: Whether the model ends with the averages, also after Ctrl-C. Otherwise only :attr:`model` has them.

    Attributes:
        model: A copy of the model with the averages, at the end of a fit; ``None`` if it ended before ``start``.
        averaged: The averages while they are made.

    Raises:
        ValueError: A setting is out of range; in a fit: it has no epoch ``start``, or batch norm needs the training
            data once more and they are a generator.
        TypeError: A setting is of another type.

    Source:
        Izmailov et al. 2018, https://arxiv.org/abs/1803.05407, Algorithm 1, as Lightning's
        ``StochasticWeightAveraging`` does it.
    """

    def __init__(
        self,
        start: int,
        swa_lr: float | None = None,
        anneal_epochs: int = 10,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        update_bn: bool = True,
        apply: bool = True,
    ) -> None:
        super().__init__(start, update_bn=update_bn, apply=apply)
        if swa_lr is not None and not 0 <= check_number("SWA", "swa_lr", swa_lr) < float("inf"):
            raise ValueError(f"SWA: expected swa_lr of at least 0; got {swa_lr}")
        check_choice("SWA", "anneal_strategy", anneal_strategy, ("cos", "linear"))
        check_at_least("SWA", "anneal_epochs", anneal_epochs, 0)
        self.swa_lr = swa_lr
        self.anneal_epochs = anneal_epochs
        self.anneal_strategy: Literal["cos", "linear"] = anneal_strategy
        self._schedule: SWALR | None = None

    def on_fit_begin(self) -> None:
        super().on_fit_begin()
        self._schedule = None

    def on_epoch_begin(self, epoch: int) -> None:
        if epoch >= self.start and self.swa_lr is not None and self._schedule is None:
            self._schedule = SWALR(self.trainer.optimizer, self.swa_lr, self.anneal_epochs, self.anneal_strategy)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:  # noqa: ARG002
        if epoch < self.start:
            return
        self._take()
        if self._schedule is not None:
            self._schedule.step()


class PolyakAveraging(_AverageOfStates):
    """The mean of the weights after every update, from an epoch on.

    With n weights in the average::

        average = average + (weight - average) / (n + 1)

    Batches run one at a time, which makes small models slower; :class:`EMA` does not.

    Args:
        start: The first epoch that is averaged, counted from 0.
        update_bn: Whether running statistics of batch norm are measured anew at the end, on the training data.
        apply: Whether the model ends with the averages, also after Ctrl-C. Otherwise only :attr:`model` has them.

    Attributes:
        model: A copy of the model with the averages, at the end of a fit; ``None`` if it ended before ``start``.
        averaged: The averages while they are made.

    Raises:
        ValueError: ``start`` is negative; in a fit: it has no epoch ``start``, or batch norm needs the training data
            once more and they are a generator.
        TypeError: ``start`` is not an int.

    Source:
        Polyak & Juditsky 1992, https://doi.org/10.1137/0330046; Ruppert 1988. ``optim.ASGD`` is the same about SGD.
    """

    def __init__(self, start: int = 0, update_bn: bool = True, apply: bool = True) -> None:
        super().__init__(start, update_bn=update_bn, apply=apply)
        self._epoch = 0

    def on_epoch_begin(self, epoch: int) -> None:
        self._epoch = epoch

    def on_batch_end(self, batch: int, logs: Mapping[str, float]) -> None:  # noqa: ARG002
        if self._epoch >= self.start:
            self._take()


class EMA(_Averaging):
    """An exponential average of the weights over all updates.

    It begins with the weights after the fit's first update, and after every further one::

        average = decay * average + (1 - decay) * weight

    It is made inside the planned step. An ``ema`` of the trainer's own rests meanwhile, and then begins anew.

    Args:
        decay: The share that the average keeps, in [0, 1). It reaches back over some ``1 / (1 - decay)`` updates.
        update_bn: Whether running statistics of batch norm are measured anew at the end, on the training data.
        apply: Whether the model ends with the averages, also after Ctrl-C. Otherwise only :attr:`model` has them.

    Attributes:
        model: A copy of the model with the averages, at the end of a fit.

    Raises:
        ValueError: ``decay`` is out of range; in a fit: batch norm needs the training data once more and they are a
            generator.
        TypeError: ``decay`` is not a number.

    Source:
        Polyak & Juditsky 1992, https://doi.org/10.1137/0330046, with weights that decay; PyTorch's ``AveragedModel``
        with ``get_ema_multi_avg_fn``. Keras' optimizers begin with the weights before the first update.
    """

    def __init__(self, decay: float = 0.999, update_bn: bool = True, apply: bool = True) -> None:
        super().__init__(update_bn=update_bn, apply=apply)
        if not 0 <= check_number("EMA", "decay", decay) < 1:
            raise ValueError(f"EMA: expected decay in [0, 1); got {decay}")
        self.decay = float(decay)
        self._before: float | None = None

    def on_fit_begin(self) -> None:
        super().on_fit_begin()
        self._before = self.trainer.step.set_ema(self.decay)

    def on_fit_end(self) -> None:
        averaged = copy.deepcopy(self.trainer.model)
        averaged.load_state_dict(self.trainer.step.averaged_state_dict())
        self.trainer.step.set_ema(self._before)
        self._finish(averaged)

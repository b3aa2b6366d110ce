"""Several models out of one fit."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fastnn._types import check_at_least
from fastnn.callbacks.base import Callback
from fastnn.optim.lr_scheduler import LambdaLR, LRScheduler

if TYPE_CHECKING:
    from fastnn.nn.module import Module


class SnapshotEnsemble(Callback):
    """Bring the rate down along a cosine several times, and keep the model at each end.

    The fit's E epochs are cut into M = ``cycles`` parts, the i-th from epoch ``floor(i * E / M)`` on. At batch t of a
    cycle of T batches::

        lr = initial_lr * (1 + cos(pi * t / T)) / 2

    where ``initial_lr`` is the group's rate before the fit, which it gets back at the end. No other schedule should be
    in the same fit.

    Args:
        cycles: How many times, at least 1.
        keep: The last so many models are kept, at least 1; ``None`` for all.

    Attributes:
        models: Copies of the model, in the order of their cycles; fewer if the fit ended early.

    Raises:
        ValueError: A setting is out of range; in a fit: it has fewer epochs than cycles, or an iterable does not
            tell how many batches it has.
        TypeError: A setting is not an int.

    Source:
        Huang et al. 2017, https://arxiv.org/abs/1704.00109, eq. 2, where every cycle has ``ceil(T / M)`` batches, so
        that the last one may be cut off. :class:`fastnn.ensemble.Ensemble` averages what the models predict.
    """

    def __init__(self, cycles: int, keep: int | None = None) -> None:
        check_at_least("SnapshotEnsemble", "cycles", cycles, 1)
        if keep is not None:
            check_at_least("SnapshotEnsemble", "keep", keep, 1)
            if keep > cycles:
                raise ValueError(f"SnapshotEnsemble: expected keep of at most {cycles}, the cycles; got {keep}")
        self.cycles = cycles
        self.keep = keep
        self.models: list[Module] = []
        self._ends: list[int] = []
        self._rates: list[float] = []

    def batch_schedulers(self) -> Sequence[LRScheduler]:
        running = self.trainer.running
        if running is None or not running.epochs:
            self._ends, self._rates = [], []
            return ()
        epochs = len(running.epochs)
        if epochs < self.cycles:
            raise ValueError(f"SnapshotEnsemble: expected at least {self.cycles} epochs, one a cycle; got {epochs}")
        batches = running.batches
        if batches is None:
            raise ValueError(
                "SnapshotEnsemble: expected data that tell how many batches they have; got an iterable without a "
                "length: pass steps_per_epoch"
            )
        edges = [i * epochs // self.cycles for i in range(self.cycles + 1)]
        self._ends = [running.epochs.start + edge for edge in edges[1:]]
        groups = self.trainer.optimizer.param_groups
        self._rates = [group["lr"] for group in groups]
        # The cycles begin with the present rates, whatever an earlier schedule began with.
        earlier = [group.pop("initial_lr", None) for group in groups]
        schedule = LambdaLR(self.trainer.optimizer, _Cycles([edge * batches for edge in edges]))
        for group, rate in zip(groups, earlier, strict=True):
            if rate is not None:
                group["initial_lr"] = rate
            else:
                del group["initial_lr"]
        return [schedule]

    def on_fit_begin(self) -> None:
        self.models = []

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:  # noqa: ARG002
        if epoch + 1 in self._ends:
            self.models.append(copy.deepcopy(self.trainer.model))
            if self.keep is not None:
                del self.models[: -self.keep]

    def on_fit_end(self) -> None:
        for group, rate in zip(self.trainer.optimizer.param_groups, self._rates):  # noqa: B905  (a group may be new)
            group["lr"] = rate


class _Cycles:
    """The factor of the rate at each batch.

    Args:
        edges: The batches at which cycles begin, and the end.
    """

    def __init__(self, edges: list[int]) -> None:
        self._edges = edges

    def __call__(self, batch: int) -> float:
        for start, end in zip(self._edges, self._edges[1:]):  # noqa: B905  (neighbors)
            if batch < end:
                return (1 + math.cos(math.pi * (batch - start) / (end - start))) / 2
        return 0.0

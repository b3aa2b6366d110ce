"""Models that one fit came by."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from fastnn._types import check_at_least
from fastnn.callbacks import snapshot
from fastnn.data.generator import draws_alone
from fastnn.ensemble.base import Ensemble, MakeModel, MakeOptimizer, make_members
from fastnn.nn.container import ModuleList
from fastnn.training import History, Trainer
from fastnn.training.metrics import MetricLike


class SnapshotEnsemble(Ensemble):
    """Train one model with a rate that comes down several times, and keep it at each end.

    The rate is that of :class:`fastnn.callbacks.SnapshotEnsemble`. It costs one fit, whatever the number of members.

    Args:
        make_model: Returns a new model; called once.
        cycles: How many times the rate comes down, at least 1.
        loss: As for :class:`~fastnn.Trainer`.
        optimizer: Returns an optimizer of a model's parameters, such as ``optim.Adam``; its rate is the greatest.
        metrics: As for :class:`~fastnn.Trainer`.
        keep: The last so many are members; ``None`` for all.

    Attributes:
        members: The models, as a :class:`~fastnn.nn.ModuleList`; before the first fit, all are the untrained one.
        trainer: Of the model that is trained.

    Raises:
        ValueError: A setting is out of range.
        TypeError: Something cannot be called, or ``make_model`` does not return a module.

    Source:
        Huang et al. 2017, https://arxiv.org/abs/1704.00109.
    """

    def __init__(
        self,
        make_model: MakeModel,
        cycles: int,
        loss: Any,
        optimizer: MakeOptimizer,
        metrics: Iterable[MetricLike] | Mapping[str, MetricLike] = (),
        keep: int | None = None,
    ) -> None:
        name = type(self).__name__
        check_at_least(name, "cycles", cycles, 1)
        self._cycle = snapshot.SnapshotEnsemble(cycles, keep)
        if not callable(optimizer):
            raise TypeError(
                f"{name}: expected optimizer to be a function of parameters, such as optim.Adam; "
                f"got {type(optimizer).__name__}"
            )
        (model,) = make_members(name, make_model, 1)
        super().__init__((copy.deepcopy(model) for _ in range(keep or cycles)), loss)
        self.trainer = Trainer(model, loss, optimizer(model.parameters()), metrics)

    @draws_alone
    def fit(self, x: Any, y: Any = None, **options: Any) -> History:
        """Train the model; the members are what it was at the end of each cycle.

        A second fit goes on with the model, and its members take the place of the first's. Ctrl-C ends the fit early,
        and there are as many members as cycles that were done; if none was, they stay as they were.

        Args:
            x: Inputs, as for :meth:`fastnn.Trainer.fit`.
            y: Targets.
            **options: Further arguments of :meth:`fastnn.Trainer.fit`; ``epochs`` of at least ``cycles``.

        Returns:
            The history.

        Raises:
            ValueError: As for :meth:`fastnn.Trainer.fit`; there are fewer epochs than cycles.
            TypeError: As for :meth:`fastnn.Trainer.fit`.
        """
        callbacks = [*options.pop("callbacks", ()), self._cycle]
        history = self.trainer.fit(x, y, callbacks=callbacks, **options)
        if self._cycle.models:
            self.members = ModuleList(self._cycle.models)
        return history

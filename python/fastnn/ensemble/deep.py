"""Models that differ in how they began."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastnn.data.generator import draws_alone
from fastnn.ensemble.base import Ensemble, MakeModel, MakeOptimizer, make_members
from fastnn.training import History, Trainer
from fastnn.training.metrics import MetricLike


class DeepEnsemble(Ensemble):
    """Train the same model several times on the same data, from different weights and in different orders.

    Prediction and disagreement are those of :class:`Ensemble`. Weights and orders come from fastnn's generator, one
    member after another, so that ``manual_seed`` makes the whole ensemble reproducible.

    Args:
        make_model: Returns a new model; called ``n`` times.
        n: Number of members, at least 1.
        loss: As for :class:`~fastnn.Trainer`.
        optimizer: Returns an optimizer of a model's parameters, such as ``optim.Adam``.
        metrics: As for :class:`~fastnn.Trainer`.

    Attributes:
        members: The models, as a :class:`~fastnn.nn.ModuleList`.
        trainers: Theirs.
        histories: Of the last fit, one a member.

    Raises:
        ValueError: ``n`` is below 1, or ``make_model`` returns a model twice.
        TypeError: Something cannot be called, or ``make_model`` does not return a module.

    Source:
        Lakshminarayanan et al. 2017, https://arxiv.org/abs/1612.01474, Algorithm 1 without its adversarial examples.
        For regression the paper's members predict a variance too; here the spread is that between members alone.
    """

    def __init__(
        self,
        make_model: MakeModel,
        n: int,
        loss: Any,
        optimizer: MakeOptimizer,
        metrics: Iterable[MetricLike] | Mapping[str, MetricLike] = (),
    ) -> None:
        name = type(self).__name__
        if not callable(optimizer):
            raise TypeError(
                f"{name}: expected optimizer to be a function of parameters, such as optim.Adam; "
                f"got {type(optimizer).__name__}"
            )
        super().__init__(make_members(name, make_model, n), loss)
        # An iterator would serve the first member only.
        metrics = metrics if isinstance(metrics, Mapping) else list(metrics)
        self.trainers = [Trainer(model, loss, optimizer(model.parameters()), metrics) for model in self.members]
        self.histories: list[History] = []

    @draws_alone
    def fit(self, x: Any, y: Any = None, **options: Any) -> list[History]:
        """Train every member, one after another. Ctrl-C ends the fit of all, and the ensemble can be used.

        A second fit goes on from the first.

        Args:
            x: Inputs, as for :meth:`fastnn.Trainer.fit`. An iterable has to serve every member.
            y: Targets.
            **options: Further arguments of :meth:`fastnn.Trainer.fit`. Callbacks are told of one fit after another.

        Returns:
            A history for each member that was trained, also as ``self.histories``.

        Raises:
            ValueError: As for :meth:`fastnn.Trainer.fit`.
            TypeError: Likewise.
        """
        self.histories = []
        for number, trainer in enumerate(self.trainers):
            history = self._fit_member(number, trainer, x, y, options)
            self.histories.append(history)
            if history.interrupted:
                break
        return self.histories

    def _fit_member(self, number: int, trainer: Trainer, x: Any, y: Any, options: dict[str, Any]) -> History:  # noqa: ARG002
        return trainer.fit(x, y, **options)

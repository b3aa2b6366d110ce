"""Models that differ in the rows that they have seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn.data.generator import draws_alone
from fastnn.ensemble.base import MakeModel, MakeOptimizer
from fastnn.ensemble.deep import DeepEnsemble
from fastnn.training import History, Trainer, data
from fastnn.training.data import Types
from fastnn.training.data_sources import count_classes
from fastnn.training.metrics import MetricLike
from fastnn.training.weights import sample_weights

_BATCH = 1024


class BaggingEnsemble(DeepEnsemble):
    """Train every member on a bootstrap sample: n of the n rows, drawn with replacement.

    A member does not see a share of ``(1 - 1/n)**n``, about ``1/e`` = 37 %, of the rows. The out-of-bag prediction of a
    row is the mean over the members that did not see it, and so is as good as one of new data.

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
        counts: How often each member has each row, ``(members, rows)``; ``None`` before the first fit.
        oob_prediction: The out-of-bag predictions, of the shape of a model's outputs; NaN for rows that all members
            have seen. ``None`` before the first fit.
        oob_score: How good they are, over the rows that have one: the accuracy for classes, and for yes and no; R² for
            numbers. NaN if no row has one, and before the first fit.

    Raises:
        ValueError: ``n`` is below 1, or ``make_model`` returns a model twice.
        TypeError: Something cannot be called, or ``make_model`` does not return a module.

    Source:
        Breiman 1996, https://doi.org/10.1007/BF00058655; out-of-bag: Breiman 1996, "Out-of-bag estimation".
        scikit-learn's ``BaggingClassifier(oob_score=True)`` averages probabilities too; Breiman's classifiers vote.
    """

    def __init__(
        self,
        make_model: MakeModel,
        n: int,
        loss: Any,
        optimizer: MakeOptimizer,
        metrics: Iterable[MetricLike] | Mapping[str, MetricLike] = (),
    ) -> None:
        super().__init__(make_model, n, loss, optimizer, metrics)
        self.counts: NDArray[np.int64] | None = None
        self.oob_prediction: NDArray[Any] | None = None
        self.oob_score = math.nan
        self._samples: list[NDArray[np.int64]] = []

    @draws_alone
    def fit(self, x: Any, y: Any = None, **options: Any) -> list[History]:
        """Train every member on its sample, one after another, and measure them out of bag.

        A second fit goes on with the same samples. Ctrl-C ends the fit of all, and the ensemble can be used.

        Args:
            x: Inputs, ``(n, *)``; arrays only.
            y: Targets, n of them.
            **options: Further arguments of :meth:`fastnn.Trainer.fit`, but no ``validation_split``. Callbacks are told
                of one fit after another.

        Returns:
            A history for each member that was trained, also as ``self.histories``.

        Raises:
            ValueError: As for :meth:`fastnn.Trainer.fit`; there is no ``y``, or a ``validation_split``; or a second fit
                has another number of rows than the first.
            TypeError: As for :meth:`fastnn.Trainer.fit`.
        """
        where = f"{type(self).__name__}.fit"
        if y is None:
            raise ValueError(f"{where}: expected arrays x and y; got no y")
        if options.get("validation_split"):
            raise ValueError(
                f"{where}: expected validation_data, or the out-of-bag score; got validation_split, whose rows "
                "would be in the samples too"
            )
        inputs, targets = data.pair(where, x, y, Types.of(self.members[0], self.loss))
        rows = len(inputs)
        if self.counts is not None and self.counts.shape[1] != rows:
            raise ValueError(f"{where}: expected the {self.counts.shape[1]} rows of the first fit; got {rows}")
        weights = options.get("sample_weight")
        if weights is not None:
            weights = data.to_array(where, "sample_weight", weights)
            if weights.shape != (rows,):
                raise ValueError(f"{where}: expected sample_weight of shape ({rows},); got {weights.shape}")
            options["sample_weight"] = weights
        if options.get("class_weight") is not None:
            # By all rows: a sample may lack a class.
            trainer = self.trainers[0]
            types = Types.of(trainer.model, self.loss)
            classes = partial(count_classes, trainer.model, self.loss, inputs, targets, types)
            weights = sample_weights(
                where, self.loss, targets, weights, options.pop("class_weight"), types.features, classes
            )
            options["sample_weight"] = weights
        if self.counts is None:
            self._samples = [_core.randint(0, rows, (rows,)).numpy() for _ in self.members]
            self.counts = np.stack([np.bincount(sample, minlength=rows) for sample in self._samples])
        histories = super().fit(inputs, targets, **options)
        self._measure(inputs, targets, self.counts == 0)
        return histories

    def _fit_member(self, number: int, trainer: Trainer, x: Any, y: Any, options: dict[str, Any]) -> History:
        sample = self._samples[number]
        if options.get("sample_weight") is not None:
            options = {**options, "sample_weight": options["sample_weight"][sample]}
        return trainer.fit(x[sample], y[sample], **options)

    def _measure(self, x: NDArray[Any], y: NDArray[Any], unseen: NDArray[np.bool_]) -> None:
        """Predict every row by the members that have not seen it."""
        total: NDArray[np.float64] | None = None
        for model, out in zip(self.members, unseen, strict=True):
            if out.any():
                predicted = self._predict_one(model, x[out], _BATCH)
                if total is None:
                    total = np.zeros((len(x), *predicted.shape[1:]))
                total[out] += predicted
        votes = unseen.sum(axis=0)
        has = votes > 0
        if total is None:
            total = np.zeros((len(x), *self._predict_one(self.members[0], x[:1], 1).shape[1:]))
        total[~has] = np.nan
        total[has] /= votes[has].reshape(-1, *(1,) * (total.ndim - 1))
        self.oob_prediction = total.astype(x.dtype)
        self.oob_score = self._kind.score(total[has], y[has]) if has.any() else math.nan

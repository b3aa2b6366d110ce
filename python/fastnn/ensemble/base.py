"""Base of all ensembles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from fastnn._core import Tensor
from fastnn._types import check_at_least, check_items
from fastnn.ensemble._kind import kind_of
from fastnn.nn._state import IncompatibleKeys
from fastnn.nn.container import ModuleList
from fastnn.nn.module import Module
from fastnn.training import data, evaluation
from fastnn.training.data import Types

MakeModel: TypeAlias = Callable[[], Module]
"""Returns a new model, with weights of its own."""
MakeOptimizer: TypeAlias = Callable[[Any], Any]
"""Returns an optimizer of these parameters: ``optim.Adam``, or ``lambda params: optim.SGD(params, lr=0.1)``."""

_BATCH = 1024


class Ensemble:
    """Average what several models predict.

    For M members, of which member m predicts p[m]::

        mean = (p[1] + ... + p[M]) / M
        std = sqrt(((p[1] - mean) ** 2 + ... + (p[M] - mean) ** 2) / M)

    Predictions are probabilities where the loss says so: the softmax of the outputs with ``CrossEntropyLoss``, ``exp``
    of them with ``NLLLoss``, the sigmoid with ``BCEWithLogitsLoss``, and themselves with ``BCELoss``; likewise with
    these losses as functions. With any other loss they are the outputs.

    Args:
        members: The models, at least one.
        loss: The loss that they were trained with; ``None`` to average outputs.

    Attributes:
        members: The models, as a :class:`~fastnn.nn.ModuleList`.

    Raises:
        ValueError: There is no member.
        TypeError: A member is not a module.

    Source:
        Hansen & Salamon 1990, https://doi.org/10.1109/34.58871; Lakshminarayanan et al. 2017,
        https://arxiv.org/abs/1612.01474, section 2.4. Some average logits instead, which is a geometric mean.
    """

    def __init__(self, members: Iterable[Module], loss: Any = None) -> None:
        name = type(self).__name__
        models = check_items(name, "members", members, "nn.Modules")
        if not models:
            raise ValueError(f"{name}: expected at least one member; got none")
        for model in models:
            if not isinstance(model, Module):
                raise TypeError(f"{name}: expected members to be nn.Modules; got {type(model).__name__}")
        self.members = ModuleList(models)
        self.loss = loss
        self._kind = kind_of(loss)

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} members)"

    @overload
    def predict(self, x: Any, *, return_std: Literal[False] = False, batch_size: int = _BATCH) -> NDArray[Any]: ...

    @overload
    def predict(
        self, x: Any, *, return_std: Literal[True], batch_size: int = _BATCH
    ) -> tuple[NDArray[Any], NDArray[Any]]: ...

    def predict(
        self, x: Any, *, return_std: bool = False, batch_size: int = _BATCH
    ) -> NDArray[Any] | tuple[NDArray[Any], NDArray[Any]]:
        """Return the mean of what the members predict, in evaluation mode; modes are put back.

        Args:
            x: Inputs, ``(n, *)``.
            return_std: Whether the standard deviation over members is returned too.
            batch_size: Rows a batch, at least 1.

        Returns:
            The mean, of the shape of a model's outputs; with ``return_std``, that and the standard deviation.

        Raises:
            ValueError: There are no rows, or ``batch_size`` is below 1.
            TypeError: Data or settings are of another type.
        """
        predictions = self._predictions("predict", x, batch_size)
        mean: NDArray[Any] = predictions.mean(axis=0, dtype=np.float64)
        rounded = mean.astype(predictions.dtype)
        if not return_std:
            return rounded
        std = np.sqrt(((predictions - mean) ** 2).mean(axis=0))
        return rounded, std.astype(predictions.dtype)

    def disagreement(self, x: Any, *, batch_size: int = _BATCH) -> NDArray[np.float64]:
        """Return how far the members disagree on each row: 0 where they agree.

        For probabilities, in nats, between 0 and ln M for M members::

            (1 / M) * sum over m and classes c of  p[m, c] * ln(p[m, c] / mean[c])

        where yes and no are two classes, and several outputs count for their mean. For numbers, the standard deviation
        over members; for several outputs the root of the mean of their variances.

        Args:
            x: Inputs, ``(n, *)``.
            batch_size: Rows a batch, at least 1.

        Returns:
            ``(n,)``.

        Raises:
            ValueError: There are no rows, or ``batch_size`` is below 1.
            TypeError: Data or settings are of another type.

        Source:
            Lakshminarayanan et al. 2017, https://arxiv.org/abs/1612.01474, section 3.5, where the sum is not divided by
            M; divided, it is the mutual information of prediction and member (Houlsby et al. 2011,
            https://arxiv.org/abs/1112.5745).
        """
        return self._kind.disagreement(self._predictions("disagreement", x, batch_size))

    def _predictions(self, method: str, x: Any, batch_size: int) -> NDArray[Any]:
        """Return what each member predicts: ``(members, n, *)``."""
        where = f"{type(self).__name__}.{method}"
        batch_size = data.check_batch_size(where, batch_size)
        inputs = data.features(where, x, Types.of(self.members[0]), whole=False)
        if not len(inputs):
            raise ValueError(f"{where}: expected at least one row in x; got shape {inputs.shape}")
        return np.stack([self._predict_one(model, inputs, batch_size) for model in self.members])

    def _predict_one(self, model: Module, x: NDArray[Any], batch_size: int) -> NDArray[Any]:
        with evaluation.evaluating(model):
            outputs = evaluation.outputs(model, evaluation.slices(x, batch_size, Types.of(model).features))
            return np.concatenate([self._kind.convert(output).numpy() for output in outputs])

    def state_dict(self) -> dict[str, Tensor]:
        """Return the states of all members together, under ``"0."``, ``"1."`` and so on; for ``fastnn.save``."""
        return dict(self.members.state_dict())

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy the members' states from what :meth:`state_dict` returned, in place.

        Args:
            state_dict: The states.
            strict: Whether the keys must match exactly.

        Returns:
            The keys that were missing, and those that were not expected.

        Raises:
            ValueError: Keys or shapes do not match; nothing was loaded.
        """
        return self.members.load_state_dict(state_dict, strict)


def make_members(where: str, make_model: MakeModel, n: int) -> list[Module]:
    """Make the models of an ensemble.

    Raises:
        ValueError: ``n`` is below 1, a model is made twice, or models share a parameter that is not frozen.
        TypeError: ``make_model`` cannot be called, or returns something else.
    """
    check_at_least(where, "n", n, 1)
    if not callable(make_model) or isinstance(make_model, Module):
        raise TypeError(
            f"{where}: expected make_model to be a function that returns a model; got {type(make_model).__name__}"
        )
    models: list[Module] = []
    for _ in range(n):
        model = make_model()
        if not isinstance(model, Module):
            raise TypeError(f"{where}: expected make_model to return an nn.Module; got {type(model).__name__}")
        if any(model is other for other in models):
            raise ValueError(f"{where}: expected make_model to return a new model each time; got the same one twice")
        models.append(model)
    seen: dict[int, int] = {}
    for number, model in enumerate(models):
        for parameter in model.parameters():
            first = seen.setdefault(id(parameter), number)
            if first != number and parameter.requires_grad:
                raise ValueError(
                    f"{where}: expected make_model to return models with weights of their own; got a parameter of "
                    f"shape {tuple(parameter.shape)} that models {first} and {number} share, and that is not frozen"
                )
    return models

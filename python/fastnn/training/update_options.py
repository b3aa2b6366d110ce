"""Parts of a training step besides loss, gradient and rule: clipping, noise, max-norm, averages."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import check_at_least, check_number, shape_of
from fastnn.nn._state import chosen_by_patterns, names_of
from fastnn.nn.module import Module
from fastnn.nn.penalties import PerLayer

Penalty: TypeAlias = "Callable[[Any], Tensor] | Mapping[str, Module]"
"""A penalty of a model, such as those of :mod:`fastnn.nn.penalties`; or penalties by patterns of names."""
MaxNorm: TypeAlias = "float | Mapping[str, float]"
"""The greatest norm of a weight's rows; or several, by patterns of parameters' names."""

_NOISE_DECAY = 0.55


class UpdateOptions:
    """The settings of a :class:`~fastnn.TrainStep` that it and :class:`~fastnn.Trainer` share.

    Args:
        model: The model.
        optimizer: The optimizer.
        penalty: See :class:`~fastnn.TrainStep`, as for all others.
        clip_grad_value: The greatest absolute value.
        clip_grad_norm: The greatest norm.
        grad_noise: Its variance, or that and its decay.
        max_norm: The greatest norm of rows.
        ema: The share that an average keeps.

    Raises:
        ValueError: A setting is out of range, or a pattern matches no parameter.
        TypeError: A setting is of another type.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Any,
        *,
        penalty: Penalty | None,
        clip_grad_value: float | None,
        clip_grad_norm: float | None,
        grad_noise: float | tuple[float, float] | None,
        max_norm: MaxNorm | None,
        ema: float | None,
    ) -> None:
        self.penalty = PerLayer(penalty) if isinstance(penalty, Mapping) else penalty
        if not (self.penalty is None or callable(self.penalty)):
            raise TypeError(
                f"TrainStep: expected penalty to be a penalty or a mapping of them; got {type(penalty).__name__}"
            )
        self._model = model
        self._optimizer = optimizer
        self._max_norm = _max_norm(model, max_norm)
        self._ema = _share("ema", ema)
        self._clip = _above_0("clip_grad_value", clip_grad_value), _above_0("clip_grad_norm", clip_grad_norm)
        self._noise = _noise(grad_noise)
        self.core = _core.UpdateOptions(*self._clip, self._noise, self._ema)
        self._active_without_ema = any(s is not None for s in (*self._clip, grad_noise, max_norm))
        self.active = self._active_without_ema or ema is not None
        self._followed: list[Tensor] = []

    @property
    def ema(self) -> float | None:
        """The share that an average keeps."""
        return self._ema

    def with_ema(self, ema: float | None) -> UpdateOptions:
        """Return the same with other averages, which begin anew.

        Raises:
            ValueError: ``ema`` is out of range.
            TypeError: ``ema`` is not a number.
        """
        other = copy.copy(self)
        other._ema = _share("ema", ema)
        other.core = _core.UpdateOptions(*self._clip, self._noise, other._ema)
        if self._noise is not None:
            # It decays with the number of updates. Averages then begin with the parameters as they are.
            other.core.done = self.core.done
        other.active = self._active_without_ema or ema is not None
        return other

    def _parameters(self) -> list[Tensor]:
        groups = getattr(self._optimizer, "param_groups", [])
        return [param for group in groups for param in group["params"] if isinstance(param, Tensor)]

    def follow(self) -> None:
        """Take the parameters that the optimizer has now."""
        params = self._parameters()
        names = _names(self._model, params)
        self.core.follow(params, [self._limit(own, param) for own, param in zip(names, params, strict=True)])
        self._followed = params

    def _limit(self, names: list[str], param: Tensor) -> float | None:
        if param.dim() < 2:
            return None
        matching = (limit for pattern, limit in self._max_norm.items() if _matches(names, pattern))
        return next(matching, None)

    def before(self) -> None:
        """Treat the gradients, before the optimizer's step."""
        if self.active:
            self.follow()
            self.core.before(self._followed)

    def after(self) -> None:
        """Treat the parameters, after the optimizer's step."""
        if self.active:
            self.core.after(self._followed)

    def averages(self) -> dict[str, Tensor]:
        """Return the averages by the parameters' names, each under all of its names; they change with every step."""
        return {name: average for names, average in self._averages() for name in names}

    def _averages(self) -> list[tuple[list[str], Tensor]]:
        if self._ema is None:
            raise ValueError("TrainStep: expected ema to be set; got None")
        self.follow()
        found: list[tuple[list[str], Tensor]] = []
        for i, names in enumerate(_names(self._model, self._followed)):
            average = self.core.average(i)
            if average is not None:
                found.append((names, average))
        return found

    def _averages_once(self) -> dict[str, Tensor]:
        return {} if self._ema is None else {names[0]: average for names, average in self._averages()}

    def state_dict(self) -> dict[str, Any]:
        """Return the number of updates, and the averages if there are any."""
        return {"updates": self.core.done, "averages": self._averages_once()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned. Nothing is loaded if anything is wrong."""
        if not isinstance(state, Mapping) or not isinstance(state.get("averages", {}), Mapping):
            raise TypeError("TrainStep.load_state_dict: expected a dict of 'updates' and 'averages', which is a dict")
        if set(state) != {"updates", "averages"}:
            raise ValueError(
                f"TrainStep.load_state_dict: expected the keys 'updates' and 'averages'; got {list(state)}"
            )
        check_at_least("TrainStep.load_state_dict", "updates", state["updates"], 0)
        mine = self._averages_once()
        if set(mine) != set(state["averages"]):
            raise ValueError(
                f"TrainStep.load_state_dict: expected averages of {sorted(mine)}; got {sorted(state['averages'])}"
            )
        for name, value in state["averages"].items():
            if shape_of(value) != shape_of(mine[name]):
                raise ValueError(
                    f"TrainStep.load_state_dict: expected an average of shape {shape_of(mine[name])} for '{name}'; "
                    f"got {shape_of(value)}"
                )
        given = state["averages"]
        values = [_core.as_tensor(given[name]) for name in mine]
        _core.assign("TrainStep.load_state_dict", list(mine), list(mine.values()), values)
        self.core.done = state["updates"]


def _names(model: Module, params: list[Tensor]) -> list[list[str]]:
    """Return all names of each parameter."""
    found = {id(param): names for names, param in names_of(model)}
    return [found.get(id(param), [f"parameter {i}"]) for i, param in enumerate(params)]


def _matches(names: list[str], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


def _above_0(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    number = check_number("TrainStep", name, value)
    if not number > 0:
        raise ValueError(f"TrainStep: expected {name} above 0; got {value}")
    return number


def _at_least_0(name: str, value: float) -> float:
    number = check_number("TrainStep", name, value)
    if not 0 <= number < float("inf"):
        raise ValueError(f"TrainStep: expected {name} of at least 0, and finite; got {value}")
    return number


def _share(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    number = check_number("TrainStep", name, value)
    if not 0 <= number < 1:
        raise ValueError(f"TrainStep: expected {name} in [0, 1); got {value}")
    return number


def _noise(value: float | tuple[float, float] | None) -> tuple[float, float] | None:
    if value is None:
        return None
    if not isinstance(value, tuple):
        return _at_least_0("grad_noise", value), _NOISE_DECAY
    if len(value) != 2:
        raise ValueError(f"TrainStep: expected grad_noise to be a variance and its decay; got {value}")
    return _at_least_0("the variance of grad_noise", value[0]), _at_least_0("the decay of grad_noise", value[1])


def _max_norm(model: Module, value: MaxNorm | None) -> dict[str, float]:
    if value is None:
        return {}
    patterns = value if isinstance(value, Mapping) else {"*": value}
    limits = {pattern: _above_0("max_norm", limit) for pattern, limit in patterns.items()}
    what, names = " of max_norm", list(limits)
    chosen = chosen_by_patterns("TrainStep", what, model, names, lambda _, parameter: parameter.dim() >= 2)
    if not chosen and isinstance(value, Mapping):
        raise ValueError(f"TrainStep: expected max_norm for parameters of 2 dimensions or more; {names} match none")
    return {pattern: limit for pattern, limit in limits.items() if limit is not None}

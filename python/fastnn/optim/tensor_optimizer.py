"""The base of the optimizers whose update is no loop over elements: it is written in Python, over tensors."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import _core
from fastnn._core import Tensor, Undo
from fastnn._types import shape_of
from fastnn.optim.optimizer import Optimizer

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TensorOptimizer(Optimizer):
    """Parameters in groups, updated one by one by a function over tensors.

    A subclass says which settings it refuses (:meth:`_check_settings`), which state it keeps of a parameter
    (:meth:`_new_state`), and how it updates one (:meth:`_update_one`).
    """

    def _make_slots(self, params: list[Any]) -> TensorSlots:
        return TensorSlots(self, params)

    @abstractmethod
    def _check_settings(self, group: Mapping[str, Any]) -> None:
        """Refuse settings that are out of range."""

    @abstractmethod
    def _new_state(self, param: Tensor) -> dict[str, Any]:
        """Return what is kept of a parameter before its first update, under PyTorch's names."""

    def _update(self, grads: list[Any] | None) -> None:
        parts: list[list[Any] | None] = [None] * len(self._slots)
        if grads is not None:
            total = sum(map(len, self._slots))
            if len(grads) != total:
                raise ValueError(f"{type(self).__name__}.step: expected {total} gradients; got {len(grads)}")
            rest = iter(grads)
            parts = [[next(rest) for _ in range(len(slots))] for slots in self._slots]
        groups = list(zip(self._slots, self.param_groups, parts, strict=True))
        with Undo() as undo:
            undo.grad_mode(False)
            checked = []
            for number, (slots, group, part) in enumerate(groups):
                try:
                    checked.append(slots.checked(group, part))
                except (TypeError, ValueError) as error:
                    if len(groups) == 1:
                        raise
                    raise type(error)(f"{error}, in group {number}") from None
            # New values beside the old ones, so that an error or Ctrl-C leaves all parameters as they are.
            new = [
                one
                for (slots, group, _), given in zip(groups, checked, strict=True)
                for one in slots.updated(group, given)
            ]
            _commit(f"{type(self).__name__}.step", new)

    def zero_grad(self, set_to_none: bool = True) -> None:
        _core.zero_grads([slots._core for slots in self._slots], set_to_none)

    def _update_one(self, group: Mapping[str, Any], param: Tensor, grad: Tensor, state: dict[str, Any]) -> None:
        """Update a parameter and its state in place; ``grad`` may be the parameter itself.

        Not needed by a subclass whose ``step`` is its own, because it concerns all parameters at once.
        """
        raise NotImplementedError(f"{type(self).__name__} updates no parameter by itself")

    def _read_state(self, index: int, param: Tensor, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of what was kept of parameter ``index`` of a group, checked."""
        return {
            name: read_tensor(name, index, state, fresh.shape, fresh.dtype)
            for name, fresh in self._new_state(param).items()
        }


def read_tensor(name: str, index: int, state: Mapping[str, Any], shape: tuple[int, ...], dtype: Any) -> Tensor:
    """Return a copy of a tensor of a loaded state.

    Raises:
        ValueError: It is not there, or has another shape.
    """
    value = state.get(name)
    if value is None:
        raise ValueError(f"load_state_dict: expected '{name}' in the state of parameter {index}")
    try:
        value = value.detach() if isinstance(value, Tensor) else _core.as_tensor(np.asarray(value))
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"load_state_dict: expected '{name}' of parameter {index} to be a tensor; got {value!r}"
        ) from None
    if value.shape != shape:
        raise ValueError(f"load_state_dict: expected '{name}' of parameter {index} of shape {shape}; got {value.shape}")
    if name == "step" and not 0 <= value.item() < math.inf:
        raise ValueError(f"load_state_dict: expected 'step' of parameter {index} of at least 0; got {value.item()}")
    return value.to(dtype).clone()


def _commit(where: str, new: list[tuple[Tensor, Tensor, dict[str, Any], dict[str, Any]]]) -> None:
    """Take over new values and states, all in one call."""
    names, targets, sources = [], [], []
    items: list[tuple[dict[Any, Any], Any, Any]] = []
    for number, (param, value, state, made) in enumerate(new):
        names.append(f"parameter {number}")
        targets.append(param)
        sources.append(value)
        for name, kept in made.items():
            held = state.get(name)
            # A tensor of the state stays the same object, whoever holds it.
            if isinstance(held, Tensor) and isinstance(kept, Tensor) and held.dtype == kept.dtype:
                names.append(name)
                targets.append(held)
                sources.append(kept)
            else:
                items.append((state, name, kept))
    _core.assign(where, names, targets, sources, items)


class TensorSlots:
    """The parameters of one group with their state: what ``_core.Slots`` is to a rule of the core.

    Args:
        optimizer: Whose rule it is.
        params: The group's parameters.
    """

    def __init__(self, optimizer: TensorOptimizer, params: list[Any]) -> None:
        self._name = type(optimizer).__name__
        self._optimizer = optimizer
        # The core checks the parameters and clears their gradients; for these every rule does the same.
        self._core: _core.Slots = self._named(_core.Slots, "SGD", params)
        self._holds_arrays = any(isinstance(param, np.ndarray) for param in params)
        # An array and its tensor share their memory.
        self._params = [_core.from_numpy(p) if isinstance(p, np.ndarray) else p for p in params]
        self.states: list[dict[str, Any]] = [{} for _ in params]

    def __len__(self) -> int:
        return len(self._params)

    def validate(self, group: Mapping[str, Any]) -> None:
        """Refuse settings that are out of range."""
        self._optimizer._check_settings(group)

    def check(self, group: Mapping[str, Any]) -> None:
        """Refuse settings, and parameters that learn but cannot be changed in place."""
        self.validate(group)
        self._named(self._core.check)

    def check_target(self, index: int) -> None:
        """Refuse a parameter that cannot be changed in place."""
        self._named(self._core.check_target, index)

    def check_apart(self, other: TensorSlots) -> None:
        """Refuse parameters that share memory with those of another group."""
        self._named(self._core.check_apart, other._core)

    def _named(self, check: Callable[..., Any], *args: Any) -> Any:
        """Call a function of the core, whose errors name the rule that stands in for this one."""
        try:
            return check(*args)
        except (TypeError, ValueError) as error:
            raise type(error)(str(error).replace("SGD", self._name, 1)) from None

    def state(self, index: int) -> dict[str, Any]:
        """Return what is kept of a parameter; empty before its first update."""
        return dict(self.states[index])

    def load(self, group: Mapping[str, Any], states: list[dict[str, Any]]) -> None:  # noqa: ARG002
        """Read states as :meth:`state` gives them; all are checked first."""
        read = self._optimizer._read_state
        self.states = [
            read(index, param, state) if state else {}
            for index, (param, state) in enumerate(zip(self._params, states, strict=True))
        ]

    def checked(
        self, group: Mapping[str, Any], grads: Sequence[Tensor | NDArray[Any] | None] | None
    ) -> list[tuple[int, Tensor]]:
        """Refuse settings and gradients; return the gradients that there are, with their parameters' indices."""
        self.validate(group)
        if grads is None:
            if self._holds_arrays:
                raise RuntimeError(f"{self._name}.step: expected grads, as parameters are arrays; got none")
            grads = [param.grad for param in self._params]
        # As they were before anything is updated, whichever parameter's turn comes first.
        written = [*self._params, *(t for state in self.states for t in state.values() if isinstance(t, Tensor))]
        given = [(i, _core.apart(grad, written)) for i, grad in enumerate(grads) if grad is not None]
        for index, grad in given:
            self._check(index, grad)
        return given

    def updated(
        self, group: Mapping[str, Any], given: list[tuple[int, Tensor]]
    ) -> Iterator[tuple[Tensor, Tensor, dict[str, Any], dict[str, Any]]]:
        """Yield each parameter and its new value, its state and the new state; nothing is changed."""
        for index, grad in given:
            param, state = self._params[index], self.states[index]
            value = param.detach().clone()
            # As it is now, where `data` has got another type since.
            fresh = self._optimizer._new_state(param)
            new = {name: _copy(state[name], fresh[name]) for name in state} if state else fresh
            self._optimizer._update_one(group, value, grad.detach(), new)
            yield param, value, state, new

    def _check(self, index: int, grad: Tensor) -> None:
        """Check a gradient against its parameter, and the state too: ``data`` may have been replaced."""
        param, where = self._params[index], f"{self._name}.step"
        if grad.shape != param.shape:
            raise ValueError(f"{where}: expected gradient {index} of shape {param.shape}; got {grad.shape}")
        if grad.dtype != param.dtype:
            raise TypeError(
                f"{where}: expected gradient {index} of dtype {_short(param.dtype)}; got {_short(grad.dtype)}"
            )
        self.check_target(index)
        state = self.states[index]
        if not state:
            return
        fresh = self._optimizer._new_state(param)
        if any(shape_of(state[name]) != value.shape for name, value in fresh.items()):
            raise ValueError(f"{where}: expected parameter {index} of the shape that it had; got {param.shape}")


def _copy(value: Any, like: Any) -> Any:
    """Return a copy of a tensor of the state in the type that it has now; numbers as they are."""
    return value.to(like.dtype).clone() if isinstance(value, Tensor) else value


def _short(dtype: object) -> str:
    return str(dtype).removeprefix("fastnn.")

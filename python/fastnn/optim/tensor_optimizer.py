"""The base of the optimizers whose update is no loop over elements: it is written in Python, over tensors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import _core
from fastnn._core import Tensor
from fastnn._grad_mode import no_grad
from fastnn._types import shape_of
from fastnn.optim.optimizer import Optimizer

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TensorOptimizer(Optimizer):
    """Parameters in groups, updated one by one by a function over tensors.

    A subclass says which settings it refuses (:meth:`_check_settings`), which state it keeps of a parameter
    (:meth:`_new_state`), and how it updates one (:meth:`_update`).
    """

    def _make_slots(self, params: list[Any]) -> TensorSlots:
        return TensorSlots(self, params)

    @abstractmethod
    def _check_settings(self, group: Mapping[str, Any]) -> None:
        """Refuse settings that are out of range."""

    @abstractmethod
    def _new_state(self, param: Tensor) -> dict[str, Any]:
        """Return what is kept of a parameter before its first update, under PyTorch's names."""

    def _update(self, group: Mapping[str, Any], param: Tensor, grad: Tensor, state: dict[str, Any]) -> None:
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
    value = value.detach() if isinstance(value, Tensor) else _core.as_tensor(np.asarray(value))
    if value.shape != shape:
        raise ValueError(f"load_state_dict: expected '{name}' of parameter {index} of shape {shape}; got {value.shape}")
    return value.to(dtype).clone()


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
        """Refuse settings, and parameters that learn but can not be changed in place."""
        self.validate(group)
        self._named(self._core.check)

    def check_target(self, index: int) -> None:
        """Refuse a parameter that can not be changed in place."""
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

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or zero them in place."""
        self._core.zero_grad(set_to_none)

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

    def step(self, group: Mapping[str, Any], grads: Sequence[Tensor | NDArray[Any] | None] | None = None) -> None:
        """Update every parameter that has a gradient. All is checked first."""
        self.validate(group)
        if grads is None:
            if self._holds_arrays:
                raise RuntimeError(f"{self._name}.step: expected grads, as parameters are arrays; got none")
            grads = [param.grad for param in self._params]
        # As they were before anything is updated, whichever parameter's turn comes first.
        written = [*self._params, *(t for state in self.states for t in state.values() if isinstance(t, Tensor))]
        given = [(i, _core.apart(grad, written)) for i, grad in enumerate(grads) if grad is not None]
        with no_grad():
            for index, grad in given:
                self._check(index, grad)
            for index, grad in given:
                param, state = self._params[index], self.states[index]
                if not state:
                    state.update(self._optimizer._new_state(param))
                self._optimizer._update(group, param.detach(), grad.detach(), state)

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
        for name, value in fresh.items():
            if state[name].dtype != value.dtype:
                state[name] = state[name].to(value.dtype)


def _short(dtype: object) -> str:
    return str(dtype).removeprefix("fastnn.")

"""The base of every optimizer: parameter groups, ``step``, and the ``state_dict``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import check_callable, check_instance, check_items

if TYPE_CHECKING:
    from numpy.typing import NDArray

Parameters: TypeAlias = (
    "Iterable[Tensor] | Iterable[NDArray[Any]] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]"
)
"""Parameters; or groups, each a dict with ``params`` and settings of its own; or pairs of name and parameter."""

# Arguments of PyTorch's that choose among implementations, of which there is one here.
_IGNORED = ("foreach", "capturable", "differentiable", "fused")


# A closure is called while gradients are recorded.
_RECORDING = _core.GradMode(True)


class Optimizer:
    """Parameters in groups, each with settings of its own, that are updated together.

    ``param_groups`` is a list of dicts with the key ``params`` and one for every setting. Settings are read at each
    step, so that ``optimizer.param_groups[0]["lr"] = 0.1`` takes effect at once.

    A subclass only has to name a rule of the core and to pass on its settings; or, where the update is no loop over
    elements, to write it over tensors: :class:`~fastnn.optim.tensor_optimizer.TensorOptimizer`.

    Args:
        params: The parameters, or groups of them.
        defaults: Settings of groups that do not have them.

    Raises:
        ValueError: No parameters, a setting out of range, the same parameter twice, or a parameter that is no leaf.
        TypeError: A parameter that is neither a tensor nor an array.
    """

    _rule: ClassVar[str]
    # True if it was stepped since a schedule was made for it.
    _opt_called = False
    # True if somebody puts its groups and schedules back if one of these fails.
    _is_kept = False
    # True if a step evaluates the loss itself, so that `step` has to be given a closure.
    _needs_closure: ClassVar[bool] = False
    # Why no plan can take the step, if none can.
    _not_planned: ClassVar[str | None] = None

    def __init__(self, params: Parameters, defaults: dict[str, Any]) -> None:
        where = type(self).__name__
        check_instance(where, "defaults", defaults, dict, "a dict")
        for name in _IGNORED:
            defaults.pop(name, None)
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        # Of each group, `_core.Slots` or what stands in for it.
        self._slots: list[Any] = []
        if isinstance(params, Tensor | np.ndarray):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                f"{type(params).__name__}"
            )
        groups = check_items(where, "params", params, "Tensors, arrays or dicts")
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _make_slots(self, params: list[Any]) -> Any:
        """Check the parameters of a group, and return the place of their state."""
        if not hasattr(self, "_rule"):
            raise NotImplementedError(f"{type(self).__name__}: expected a subclass that names its rule")
        return _core.Slots(self._rule, params)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own, such as those of a layer that is trained from now on.

        Args:
            param_group: ``params``, and the settings that differ from the defaults.

        Raises:
            ValueError: As for the class. Nothing is added then.
            TypeError: Likewise.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        if "params" not in param_group:
            raise ValueError("param_group: expected the key 'params'; got none")
        group = dict(param_group)
        params = group["params"]
        if isinstance(params, Tensor | np.ndarray):
            params = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
                "will change between runs. Please use a list instead."
            )
        params = check_items(type(self).__name__, "params", params, "Tensors or arrays")
        if params and isinstance(params[0], tuple):
            if any(not isinstance(pair, tuple) or len(pair) != 2 for pair in params):
                raise TypeError(f"{type(self).__name__}: expected params to be pairs of name and parameter; got others")
            group["param_names"] = [name for name, _ in params]
            params = [param for _, param in params]
        if not params:
            raise ValueError("optimizer got an empty parameter list")
        group["params"] = params
        for name, value in self.defaults.items():
            group.setdefault(name, value)
        slots = self._make_slots(params)
        slots.validate(group)
        seen = {id(param) for other in self.param_groups for param in other["params"]}
        if any(id(param) in seen for param in params):
            raise ValueError("some parameters appear in more than one parameter group")
        if len({id(param) for param in params}) != len(params):
            raise ValueError("optimizer contains a parameter group with duplicate parameters")
        for other in self._slots:
            slots.check_apart(other)
        self.param_groups.append(group)
        self._slots.append(slots)

    def _check(self) -> None:
        """Refuse what the next step would refuse whatever the gradients, before anything is computed."""
        for slots, group in zip(self._slots, self.param_groups, strict=True):
            slots.check(group)

    def step(
        self,
        closure: Callable[[], Any] | None = None,
        *,
        grads: Sequence[Tensor | NDArray[Any] | None] | None = None,
    ) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: Computes the loss once more, and its gradients; called first.
            grads: A gradient for each parameter, in the place of ``parameter.grad``; ``None`` to leave one alone.
                Parameters that are arrays need it.

        Returns:
            What ``closure`` returned.

        Raises:
            ValueError: A gradient of another shape, a number of gradients that is not that of the parameters, or a
                setting out of range. Nothing is changed then, in any group.
            TypeError: A gradient of another dtype.
        """
        if closure is None and grads is None:
            self._update(None)
            return None
        where = f"{type(self).__name__}.step"
        given = None if grads is None else check_items(where, "grads", grads, "a gradient for each parameter")
        if closure is not None:
            check_callable(where, "closure", closure)
        loss = None if closure is None else _RECORDING.run(closure)
        self._update(given)
        return loss

    def _update(self, grads: list[Any] | None) -> None:
        """Update all groups, or none; ``grads``, one for each parameter, stand in for the parameters' own."""
        _core.step_slots(self._slots, self.param_groups, grads)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients; with ``set_to_none=False`` make them 0 in place, or none if one is read-only."""
        _core.zero_grads(self._slots, set_to_none)

    def _numbered(self) -> Iterator[tuple[int, Any, int]]:
        number = 0
        for slots in self._slots:
            for index in range(len(slots)):
                yield number, slots, index
                number += 1

    @property
    def state(self) -> dict[Any, dict[str, Any]]:
        """State of each parameter, by parameter (by ``id`` for arrays); the tensors are the optimizer's own."""
        params = [param for group in self.param_groups for param in group["params"]]
        states = ((params[number], slots.state(index)) for number, slots, index in self._numbered())
        return {id(param) if isinstance(param, np.ndarray) else param: state for param, state in states if state}

    def state_dict(self) -> dict[str, Any]:
        """Return the state in PyTorch's format: ``state`` by the parameter's number, and ``param_groups``.

        The tensors are the optimizer's own, and change with the next step.
        """
        state = {number: kept for number, slots, index in self._numbered() if (kept := slots.state(index))}
        groups = []
        start = 0
        for group in self.param_groups:
            numbers = list(range(start, start + len(group["params"])))
            groups.append({**{key: value for key, value in group.items() if key != "params"}, "params": numbers})
            start += len(numbers)
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned; the next steps have the same bits.

        Args:
            state_dict: State and settings, of as many groups and parameters as there are here. The values are copied,
                in the dtype of their parameter.

        Raises:
            ValueError: Another number of groups or parameters, a missing key, or a state of the wrong shape. Nothing
                is loaded then.
            TypeError: A part of it is of another type; likewise.
        """
        saved, states = read_state_dict(state_dict, [len(group["params"]) for group in self.param_groups])
        # Built anew beside the old, which stays as it is if anything is wrong.
        loaded: list[tuple[dict[str, Any], Any]] = []
        for old, new in zip(saved, self.param_groups, strict=True):
            settings = {key: value for key, value in old.items() if key not in {"params", *_IGNORED}}
            # JSON makes lists of tuples.
            settings |= {key: tuple(settings[key]) for key in settings if isinstance(new.get(key), tuple)}
            group = {**new, **settings, "params": new["params"]}
            slots = self._make_slots(new["params"])
            slots.validate(group)
            slots.load(group, [states[number] for number in old["params"]])
            loaded.append((group, slots))
        for target, (group, _) in zip(self.param_groups, loaded, strict=True):
            target.update(group)
        self._slots[:] = [slots for _, slots in loaded]
        _core.bump_config()

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(f"{type(self).__name__} cannot be pickled: save its state_dict() instead")


def read_state_dict(state_dict: Any, sizes: list[int]) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]]]:
    """Check the form of a state, for groups of so many parameters; return its groups, and its states by number.

    Raises:
        ValueError: A key is missing, or there is another number of groups or parameters.
        TypeError: A part of it is of another type.
    """

    def check(what: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
        if not isinstance(value, kind):
            raise TypeError(f"load_state_dict: expected {what} to be {expected}; got {type(value).__name__}")

    check("state_dict", state_dict, Mapping, "a dict")
    for key in ("state", "param_groups"):
        if key not in state_dict:
            raise ValueError(f"load_state_dict: expected the keys 'state' and 'param_groups'; got {list(state_dict)}")
    groups, kept = state_dict["param_groups"], state_dict["state"]
    check("param_groups", groups, (list, tuple), "a list")
    check("state", kept, Mapping, "a dict")
    if len(groups) != len(sizes):
        raise ValueError("loaded state dict has a different number of parameter groups")
    for number, (group, size) in enumerate(zip(groups, sizes, strict=True)):
        check(f"group {number}", group, Mapping, "a dict")
        if "params" not in group:
            raise ValueError(f"load_state_dict: expected the key 'params' in group {number}; got {list(group)}")
        check(f"'params' of group {number}", group["params"], (list, tuple), "a list of numbers")
        if len(group["params"]) != size:
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        for one in group["params"]:
            check(f"'params' of group {number}", one, int, "a list of numbers")
    states: dict[int, dict[str, Any]] = {}
    for number in (number for group in groups for number in group["params"]):
        # JSON makes strings of numbers.
        state = kept.get(number, kept.get(str(number), {}))
        check(f"the state of parameter {number}", state, Mapping, "a dict")
        states[number] = dict(state)
    return list(groups), states

"""Unfreezing a pretrained model from its output to its input."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from fastnn._types import check_at_least, check_items
from fastnn.callbacks.base import Callback
from fastnn.nn.module import Module
from fastnn.nn.utils.freezing import freeze, unfreeze

_Group: TypeAlias = "Module | Sequence[Module]"


class GradualUnfreezing(Callback):
    """Let the last layers of a model learn first, and a group more of those below after every so many epochs::

        groups that learn in epoch e = the last min(G, 1 + e // every) of G

    The others are frozen as by :func:`fastnn.freeze`: batch norm keeps its statistics. Epochs count from 0, also when a
    fit begins with a later one. After the fit, everything stays as it is then.

    Args:
        every: After how many epochs another group learns, at least 1.
        groups: Modules, or sequences of modules, from input to output; what is in none of them is left alone. ``None``
            for the model's children: each with a matrix of weights begins a group, and others, such as norms, belong
            to the one before. A model with one such child counts for that child.

    Raises:
        ValueError: ``every`` is out of range, there is no group; in a fit: the model has parameters outside of its
            children, and ``groups`` is None; a module is not the model's; or the optimizer lacks a parameter.
        TypeError: A setting is of another type.

    Source:
        Howard & Ruder 2018, https://arxiv.org/abs/1801.06146, section 3.3, one epoch a group.
    """

    def __init__(self, every: int = 1, groups: Iterable[_Group] | None = None) -> None:
        check_at_least("GradualUnfreezing", "every", every, 1)
        self.every = every
        self.groups = None if groups is None else _checked(groups)
        self._running: list[list[Module]] = []
        self._learning: int | None = None

    def on_fit_begin(self) -> None:
        self._running = _groups_of(self.trainer.model) if self.groups is None else self.groups
        parts = set(self.trainer.model.modules())
        for number, group in enumerate(self._running):
            for module in group:
                if module not in parts:
                    raise ValueError(
                        "GradualUnfreezing: expected groups of modules of the trainer's model; got "
                        f"{type(module).__name__} of another in group {number}"
                    )
        held = {id(p) for group in self.trainer.optimizer.param_groups for p in group["params"]}
        for number, group in enumerate(self._running):
            if any(id(p) not in held for module in group for p in module.parameters()):
                raise ValueError(
                    "GradualUnfreezing: expected an optimizer of all groups' parameters; it lacks some of group "
                    f"{number}, {', '.join(type(module).__name__ for module in group)}"
                )
        self._learning = None
        if self.trainer.running is not None:
            self.on_epoch_begin(self.trainer.running.epochs.start)

    def on_epoch_begin(self, epoch: int) -> None:
        learning = min(len(self._running), 1 + epoch // self.every)
        if learning == self._learning:
            return
        self._learning = learning
        frozen = len(self._running) - learning
        for group in self._running[:frozen]:
            for module in group:
                freeze(module)
        # Last, so that what two groups share learns.
        for group in self._running[frozen:]:
            for module in group:
                unfreeze(module)


def _checked(groups: Iterable[_Group]) -> list[list[Module]]:
    where = "GradualUnfreezing"
    if isinstance(groups, Module) or not isinstance(groups, Iterable):
        raise TypeError(f"{where}: expected groups to be modules in a sequence; got {type(groups).__name__}")
    lists = [[group] if isinstance(group, Module) else check_items(where, "groups", group) for group in groups]
    for group in lists:
        for module in group:
            if not isinstance(module, Module):
                raise TypeError(f"{where}: expected groups to hold modules; got {type(module).__name__}")
    if not any(lists):
        raise ValueError(f"{where}: expected at least one group; got none")
    return lists


def _groups_of(model: Module) -> list[list[Module]]:
    children: list[Module] = []
    parent = model
    while len(children) < 2:
        if any(p is not None for p in parent._parameters.values()):
            name = type(parent).__name__
            raise ValueError(
                f"GradualUnfreezing: expected groups for {name}, which has parameters of its own; got None"
            )
        children = [child for child in parent.children() if any(True for _ in child.parameters())]
        if not children:
            raise ValueError(f"GradualUnfreezing: expected a model with parameters; got {type(model).__name__}")
        if len(children) == 1 and not any(True for _ in children[0].children()):
            break
        parent = children[0]
    groups: list[list[Module]] = []
    pending: list[Module] = []
    for child in children:
        if any(p.ndim >= 2 for p in child.parameters()):
            groups.append([*pending, child])
            pending = []
        elif groups:
            groups[-1].append(child)
        else:
            pending.append(child)
    return groups or [pending]

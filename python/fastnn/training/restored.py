"""Trying something on a model, and leaving no trace of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastnn import _core
from fastnn._core import Tensor, Undo
from fastnn.nn.module import Module
from fastnn.optim import Optimizer


def restored(model: Module, optimizer: Optimizer | None = None) -> Undo:
    """Put everything back that training changes within a ``with`` block, whatever happens.

    Parameters, buffers, gradients, modes, the generator and, if there is one, the optimizer with its settings and its
    state, bit for bit.
    """

    def begin(undo: Undo) -> None:
        undo.modes(list(model.modules()))
        for module in model.modules():
            # A hook that came and went has changed how the next one is numbered, and plans look at all attributes.
            undo.set_item(module.__dict__, "_next_hook", module.__dict__["_next_hook"])
        undo.call(_core.set_rng_state, _core.get_rng_state())
        tensors = list({id(t): t for t in _tensors(model, optimizer)}.values())
        undo.values(tensors)
        # A new gradient is not to be added to the old one.
        undo.grads(tensors)
        if optimizer is not None:
            _train_on_copies(undo, optimizer)

    return Undo(begin)


def _train_on_copies(undo: Undo, optimizer: Optimizer) -> None:
    """Note an optimizer as it is; from now on it trains on copies of its state."""
    groups = [dict(group) for group in optimizer.param_groups]
    undo.call(_go_back, optimizer, groups, dict(vars(optimizer)), list(optimizer._slots))
    optimizer.load_state_dict(optimizer.state_dict())


def _go_back(optimizer: Optimizer, groups: list[dict[str, Any]], attributes: dict[str, Any], slots: list[Any]) -> None:
    vars(optimizer).clear()
    vars(optimizer).update(attributes)
    optimizer._slots[:] = slots
    for group, was in zip(optimizer.param_groups, groups, strict=True):
        group.clear()
        group.update(was)


def _tensors(model: Module, optimizer: Optimizer | None) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()
    for group in [] if optimizer is None else optimizer.param_groups:
        yield from (param for param in group["params"] if isinstance(param, Tensor))

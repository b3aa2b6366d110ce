"""Trying something on a model, and leaving no trace of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastnn import _core
from fastnn._core import Tensor
from fastnn._grad_mode import no_grad
from fastnn.data.generator import own_state
from fastnn.nn.module import Module
from fastnn.optim import Optimizer
from fastnn.training import evaluation


@contextmanager
def restored(model: Module, optimizer: Optimizer | None = None) -> Iterator[None]:
    """Put everything back that training changes, whatever happens.

    Parameters, buffers, gradients, modes, the generator and, if there is one, the optimizer with its settings and its
    state, bit for bit.
    """
    tensors = list({id(t): t for t in _tensors(model, optimizer)}.values())
    kept = [(tensor, tensor.detach().clone(), tensor.grad) for tensor in tensors]
    for tensor, _, grad in kept:
        # A new gradient is not to be added to the old one.
        tensor.grad = None if grad is None else grad.detach().clone()
    modes = evaluation.Modes(model)
    # A hook that came and went has changed how the next one is numbered, and plans look at all attributes.
    numbers = [(module, module.__dict__["_next_hook"]) for module in model.modules()]
    optimizer_kept = None if optimizer is None else _OptimizerKept(optimizer)
    try:
        with own_state(_core.get_rng_state()):
            yield
    finally:
        with no_grad():
            for tensor, value, grad in kept:
                tensor.detach().copy_(value)
                tensor.grad = grad
        if optimizer_kept is not None:
            optimizer_kept.restore()
        for module, number in numbers:
            module.__dict__["_next_hook"] = number
        modes.restore()


class _OptimizerKept:
    """An optimizer as it was; from now on it trains on copies of its state."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._groups = [dict(group) for group in optimizer.param_groups]
        self._attributes, self._slots = dict(vars(optimizer)), list(optimizer._slots)
        optimizer.load_state_dict(optimizer.state_dict())

    def restore(self) -> None:
        optimizer = self._optimizer
        vars(optimizer).clear()
        vars(optimizer).update(self._attributes)
        optimizer._slots[:] = self._slots
        for group, was in zip(optimizer.param_groups, self._groups, strict=True):
            group.clear()
            group.update(was)


def _tensors(model: Module, optimizer: Optimizer | None) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()
    for group in [] if optimizer is None else optimizer.param_groups:
        yield from (param for param in group["params"] if isinstance(param, Tensor))

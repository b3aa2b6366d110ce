"""The passes of ``init.lsuv_`` over a model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from fastnn import _core
from fastnn._core import Tensor, Undo
from fastnn._types import TensorLike, check_at_least, check_number
from fastnn.nn._hooks import attach
from fastnn.nn.module import Module

_M = TypeVar("_M", bound=Module)


class _ReachedError(Exception):
    """The pass has come to the layer in question, and need not go on."""


def _has_weights(module: Module) -> bool:
    weight = module._parameters.get("weight")
    return weight is not None and weight.ndim >= 2


def _order(model: Module, x: Tensor) -> list[tuple[str, Module]]:
    """Return the layers that run, in order."""
    layers = [(name, module) for name, module in model.named_modules() if _has_weights(module)]
    ran: list[Module] = []

    def hook(module: Module, _args: Any, _output: Any) -> None:
        if module not in ran:
            ran.append(module)

    with Undo() as undo:
        for _, module in layers:
            attach(undo, module, hook)
        model(x)
    names = {id(module): name for name, module in layers}
    return [(names[id(module)], module) for module in ran]


def _std_of(model: Module, x: Tensor, layer: Module) -> float:
    """Return the standard deviation of all outputs of a layer."""

    def hook(_module: Module, _args: Any, output: Tensor) -> None:
        raise _ReachedError(float(np.std(output.numpy(), dtype=np.float64)))

    with Undo() as undo:
        attach(undo, layer, hook)
        try:
            model(x)
        except _ReachedError as reached:
            return float(reached.args[0])
    raise AssertionError("a layer that ran once runs again")


def scale_layers(
    model: _M, x: TensorLike, target_std: float, tol: float, max_iter: int, start: Callable[[Module], None]
) -> _M:
    """See :func:`fastnn.nn.init.lsuv_`; ``start`` gives a layer its orthonormal weights."""
    if not isinstance(model, Module):
        raise TypeError(f"lsuv_: expected model to be an nn.Module; got {type(model).__name__}")
    for name, value in (("target_std", target_std), ("tol", tol)):
        if not 0 < check_number("lsuv_", name, value) < math.inf:
            raise ValueError(f"lsuv_: expected {name} above 0; got {value}")
    check_at_least("lsuv_", "max_iter", max_iter, 1)
    dtype = next((parameter.dtype for parameter in model.parameters()), _core.float32)
    inputs = (x if isinstance(x, Tensor) else _core.as_tensor(np.asarray(x))).detach().to(dtype)

    layers_of_weights = [(name, module) for name, module in model.named_modules() if _has_weights(module)]
    params = [
        (f"{name}.{kind}" if name else kind, module._parameters[kind])
        for name, module in layers_of_weights
        for kind in ("weight", "bias")
        if module._parameters.get(kind) is not None
    ]
    names, changed = [name for name, _ in params], [param for _, param in params if param is not None]
    _core.check_writable("lsuv_", names, changed)
    with Undo() as undo:
        # New weights come to the layers at the end, all or none.
        undo.values(changed)
        undo.modes(list(model.modules()))
        undo.values(list(model.buffers()))
        undo.grad_mode(False)
        model.eval()
        layers = _order(model, inputs)
        if not layers:
            raise ValueError("lsuv_: expected a model with weights of two dimensions; got none")
        for _, layer in layers:
            start(layer)
        for name, layer in layers:
            for _ in range(max_iter):
                std = _std_of(model, inputs, layer)
                if not 0 < std < math.inf:
                    raise ValueError(
                        f"lsuv_: expected layer {name!r} to have outputs that vary; got a standard deviation of {std}"
                    )
                if abs((std / target_std) ** 2 - 1) < tol:
                    break
                layer.weight.mul_(target_std / std)
        found = [param.detach().clone() for param in changed]
    _core.assign("lsuv_", names, changed, found)
    return model

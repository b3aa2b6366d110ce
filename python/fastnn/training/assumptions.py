"""Assumptions of a traced step, and reasons why a step cannot be planned."""

from __future__ import annotations

import numpy as np

from fastnn import _core
from fastnn._core import Tensor
from fastnn.nn.module import Module
from fastnn.optim import Optimizer

_SIMPLE = (bool, int, float, str, type(None))


class Same:
    """An object that equals itself alone. Kept alive, so that no other can take its address."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def state_of(model: object) -> object:
    """All that a trace takes for granted: modes, attributes, which tensors there are and which of them learn."""
    if not isinstance(model, Module):
        return Same(model)
    return [
        (
            Same(module),
            [(name, attribute_state(value)) for name, value in vars(module).items()],
            [(name, attribute_state(p)) for name, p in module._parameters.items()],
            [(name, attribute_state(b)) for name, b in module._buffers.items()],
            [(name, Same(m)) for name, m in module._modules.items()],
            len(module._forward_hooks) + len(module._forward_pre_hooks),
        )
        for module in model.modules()
    ]


def attribute_state(value: object) -> object:
    """Return the part of a module's attribute that a trace relies on."""
    if isinstance(value, Tensor):
        # The memory too: `data` may be replaced. A plan keeps what it uses, so no other tensor has it meanwhile.
        return Same(value), value.data_ptr(), value.shape, value.dtype, value.requires_grad
    if isinstance(value, tuple):
        return tuple(map(attribute_state, value))
    return value if isinstance(value, _SIMPLE) else Same(value)


def check_optimizes(where: str, model: Module, optimizer: object, *others: object) -> None:
    """Refuse an optimizer that has none of the parameters of a model.

    Args:
        where: Who asks, for errors.
        model: The model.
        optimizer: The optimizer. It may lack some parameters, or have others too.
        others: What else may have parameters that it trains: a loss, a penalty.

    Raises:
        ValueError: It has none of them.
    """
    shared = _shared(model, optimizer, others)
    if shared is not None and not shared:
        raise ValueError(
            f"{where}: expected an optimizer of the model's parameters; got {type(optimizer).__name__}, which has none "
            f"of {type(model).__name__}'s"
        )


def check_learns(where: str, model: Module, optimizer: object, *others: object) -> None:
    """Refuse, as :func:`check_optimizes`, also an optimizer all of whose parameters are frozen, if the model's are not.

    Raises:
        ValueError: It would train nothing.
    """
    check_optimizes(where, model, optimizer, *others)
    shared = _shared(model, optimizer, others)
    if shared and not any(p.requires_grad for p in shared) and any(p.requires_grad for p in model.parameters()):
        raise ValueError(
            f"{where}: expected an optimizer of parameters that require a gradient; got {type(optimizer).__name__}, "
            f"whose parameters of {type(model).__name__} are all frozen, while others of it are not"
        )


def _shared(model: Module, optimizer: object, others: tuple[object, ...]) -> list[Tensor] | None:
    """Return the parameters that an optimizer has of these; ``None`` if it, or the model, has none to be compared."""
    groups = getattr(optimizer, "param_groups", None)
    mine: list[Tensor] = list(model.parameters())
    if groups is None or not mine:
        return None
    params = [param for group in groups for param in group["params"]]
    held = {id(param) for param in params}
    # An array, and the parameter that was made of it, share their memory.
    places = {param.ctypes.data for param in params if isinstance(param, np.ndarray)}
    more = [param for other in others if isinstance(other, Module) for param in other.parameters()]
    return [param for param in (*mine, *more) if id(param) in held or param.data_ptr() in places]


def obstacle(model: Module, optimizer: Optimizer) -> str | None:
    """Return the reason, known beforehand, why every step needs Python."""
    if _core.is_anomaly_enabled():
        return "anomalies are being looked for"
    if not isinstance(optimizer, Optimizer):
        return f"{type(optimizer).__name__} is not one of fastnn's optimizers"
    if any(isinstance(p, np.ndarray) for group in optimizer.param_groups for p in group["params"]):
        return "the optimizer holds arrays, which have no gradient"
    for name, module in model.named_modules():
        if module._forward_hooks or module._forward_pre_hooks:
            return f"{name or type(module).__name__} has forward hooks"
    return optimizer._not_planned

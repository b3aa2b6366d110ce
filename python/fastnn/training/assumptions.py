"""What a traced step takes for granted, and what keeps a step from being planned."""

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
    """What a trace takes for granted of an attribute of a module."""
    if isinstance(value, Tensor):
        # The memory too: `data` may be replaced. A plan keeps what it uses, so no other tensor has it meanwhile.
        return Same(value), value.data_ptr(), value.shape, value.dtype, value.requires_grad
    if isinstance(value, tuple):
        return tuple(map(attribute_state, value))
    return value if isinstance(value, _SIMPLE) else Same(value)


def obstacle(model: Module, optimizer: Optimizer) -> str | None:
    """What is known beforehand to need Python at every step."""
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

"""Learning rates that differ from layer to layer."""

from __future__ import annotations

from typing import Any

from fastnn._types import check_number
from fastnn.nn.module import Module


def layerwise_lr(model: Module, lr: float, decay: float) -> list[dict[str, Any]]:
    """Return a parameter group for every layer, with a learning rate that falls from the output to the input::

        lr of layer l = lr * decay**(L - l),    l = 1 … L

    Layers are the modules with a parameter of two dimensions or more, in the order of ``model.named_modules()``.
    Others, such as norms, belong to the layer before them, or to the first one.

    Args:
        model: The model.
        lr: Rate of the last layer, at least 0.
        decay: Factor from one layer to the one before, in (0, 1]; 1 gives all of them ``lr``.

    Returns:
        Groups for an optimizer, first layer first; ``name`` is the path of the layer.

    Raises:
        ValueError: A setting is out of range, or the model has no parameters.
        TypeError: ``model`` is no module.

    Source:
        Howard & Ruder 2018, https://arxiv.org/abs/1801.06146, section 3.2 ("discriminative fine-tuning"), with a decay
        of 1 / 2.6.
    """
    if not isinstance(model, Module):
        raise TypeError(f"layerwise_lr: expected model to be an nn.Module; got {type(model).__name__}")
    if not 0 <= check_number("layerwise_lr", "lr", lr) < float("inf"):
        raise ValueError(f"layerwise_lr: expected lr of at least 0; got {lr}")
    if not 0 < check_number("layerwise_lr", "decay", decay) <= 1:
        raise ValueError(f"layerwise_lr: expected decay in (0, 1]; got {decay}")
    groups: list[dict[str, Any]] = []
    seen: set[int] = set()
    pending: list[Any] = []
    for name, module in model.named_modules():
        own = [p for p in module._parameters.values() if p is not None and id(p) not in seen]
        seen.update(id(p) for p in own)
        if any(p.ndim >= 2 for p in own):
            groups.append({"params": pending + own, "name": name})
            pending = []
        elif groups:
            groups[-1]["params"] += own
        else:
            pending += own
    if pending:
        groups.append({"params": pending, "name": ""})
    if not groups:
        raise ValueError("layerwise_lr: expected a model with parameters; got none")
    for depth, group in enumerate(reversed(groups)):
        group["lr"] = lr * decay**depth
    return groups

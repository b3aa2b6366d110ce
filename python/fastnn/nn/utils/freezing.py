"""Parts of a model that do not learn."""

from __future__ import annotations

from typing import TypeVar

from fastnn import _core
from fastnn.nn.module import Module

_M = TypeVar("_M", bound=Module)


def _check(where: str, module: object) -> None:
    if not isinstance(module, Module):
        raise TypeError(f"{where}: expected module to be an nn.Module; got {type(module).__name__}")


def freeze(module: _M) -> _M:
    """Leave a module, or a whole model, as it is while the rest learns.

    No gradients are computed for its parameters, so no optimizer changes them, not by weight decay either. Layers with
    running statistics stay in evaluation mode, whatever :meth:`Module.train` says, and keep the statistics. Other
    layers, such as dropout, do what they did.

    Args:
        module: The part, changed in place.

    Returns:
        The module.

    Raises:
        TypeError: It is no module.

    Source:
        Keras' ``trainable = False``. ``requires_grad_(False)`` alone, PyTorch's way, leaves batch norm to the batch.

    Example:
        >>> import fastnn as fnn
        >>> model = fnn.nn.Sequential(fnn.nn.Linear(3, 4), fnn.nn.BatchNorm1d(4), fnn.nn.Linear(4, 2))
        >>> for part in model[:2]:
        ...     _ = fnn.freeze(part)
        >>> [name for name, p in model.named_parameters() if p.requires_grad]
        ['2.weight', '2.bias']
        >>> model.train()[1].training
        False
    """
    _check("freeze", module)
    module.requires_grad_(False)
    for part in module.modules():
        if part._buffers.get("running_mean") is not None and part._frozen_mode is None:
            part.__dict__.update(_frozen_mode=part.training, training=False)
    _core.bump_config()
    return module


def unfreeze(module: _M) -> _M:
    """Let a module learn again: the reverse of :func:`freeze`, for all of its parts.

    Args:
        module: The part, changed in place.

    Returns:
        The module.

    Raises:
        TypeError: It is no module.
    """
    _check("unfreeze", module)
    module.requires_grad_(True)
    for part in module.modules():
        if part._frozen_mode is not None:
            part.__dict__.update(training=part._frozen_mode, _frozen_mode=None)
    _core.bump_config()
    return module

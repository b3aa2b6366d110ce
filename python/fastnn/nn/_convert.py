"""``Module.to``: reading its arguments, and converting types in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnn import _core
from fastnn._core import Tensor
from fastnn._grad_mode import no_grad
from fastnn._types import check_device, check_dtype, is_floating

if TYPE_CHECKING:
    from fastnn._core import dtype as Dtype
    from fastnn.nn.module import Module


def parse(where: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Dtype | None:
    """Return the type asked for, if any."""
    dtype = kwargs.pop("dtype", None)
    check_device(where, kwargs.pop("device", None))
    for ignored in ("non_blocking", "copy"):
        kwargs.pop(ignored, None)
    if kwargs:
        raise TypeError(f"{where}: unexpected arguments {sorted(kwargs)}")
    for argument in args:
        if isinstance(argument, Tensor):
            dtype = argument.dtype
        elif isinstance(argument, bool):
            continue  # `non_blocking`
        elif argument == _core.float32 or argument == _core.float64:
            dtype = argument
        elif argument is None or isinstance(argument, str) or hasattr(argument, "index"):
            check_device(where, argument)
        else:
            dtype = argument
    check_dtype(where, dtype)
    return dtype  # type: ignore[no-any-return]


def convert(module: Module, dtype: Dtype) -> None:
    """Convert floating point parameters and buffers; parameters stay the same objects."""
    with no_grad():
        # All new memory first.
        parameters = [
            (parameter, parameter.detach().to(dtype))
            for parameter in module.parameters()
            if parameter.dtype != dtype and is_floating(parameter)
        ]
        buffers = [
            (part._buffers, name, buffer.to(dtype))
            for part in module.modules()
            for name, buffer in part._buffers.items()
            if buffer is not None and buffer.dtype != dtype and is_floating(buffer)
        ]
    for parameter, value in parameters:
        parameter.grad = None
        parameter.data = value
    for registry, name, value in buffers:
        registry[name] = value
    _core.bump_config()

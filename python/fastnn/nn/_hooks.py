"""Functions that run before and after a module's ``forward``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastnn import _core
from fastnn.nn._scope import call_in_scope

if TYPE_CHECKING:
    from typing_extensions import Self

    from fastnn.nn.module import Module

Hook = Callable[..., Any]


class RemovableHandle:
    """Takes a hook out again; also as a context manager."""

    def __init__(self, module: Module, hooks: OrderedDict[int, tuple[Hook, bool]], key: int) -> None:
        self._module = module
        self._hooks = hooks
        self.id = key

    def remove(self) -> None:
        """Take the hook out. A second call does nothing."""
        self._hooks.pop(self.id, None)
        refresh(self._module)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.remove()


def refresh(module: Module) -> None:
    """Recompute whether ``module`` can call ``forward`` directly."""
    if module._forward_hooks or module._forward_pre_hooks:
        module.__dict__["_hooked"] = True
    else:
        # The class says so, unless anomalies are looked for.
        module.__dict__.pop("_hooked", None)
    _core.bump_config()


def register(
    module: Module, hooks: OrderedDict[int, tuple[Hook, bool]], hook: Hook, *, prepend: bool, with_kwargs: bool
) -> RemovableHandle:
    """Add a hook, last or first."""
    if not callable(hook):
        raise TypeError(f"{type(module).__name__}: expected a hook that can be called; got {hook!r}")
    key = module.__dict__["_next_hook"]
    module.__dict__["_next_hook"] = key + 1
    hooks[key] = (hook, with_kwargs)
    if prepend:
        hooks.move_to_end(key, last=False)
    refresh(module)
    return RemovableHandle(module, hooks, key)


def attach(undo: _core.Undo, module: Module, hook: Hook, *, with_kwargs: bool = False) -> None:
    """Add a forward hook, last, until the end of a block."""
    undo.call(_detach, module, module._forward_hooks, module.__dict__["_next_hook"])
    register(module, module._forward_hooks, hook, prepend=False, with_kwargs=with_kwargs)


def attach_pre(undo: _core.Undo, module: Module, hook: Hook) -> None:
    """Add a forward pre-hook, last, until the end of a block."""
    undo.call(_detach, module, module._forward_pre_hooks, module.__dict__["_next_hook"])
    register(module, module._forward_pre_hooks, hook, prepend=False, with_kwargs=False)


def _detach(module: Module, hooks: OrderedDict[int, tuple[Hook, bool]], key: int) -> None:
    RemovableHandle(module, hooks, key).remove()


def _call(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return module.forward(*args, **kwargs)


def call_with_hooks(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run ``forward`` between the hooks, as PyTorch does."""
    for hook, with_kwargs in tuple(module._forward_pre_hooks.values()):
        if with_kwargs:
            changed = hook(module, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    name = type(module).__name__
                    raise TypeError(
                        f"{name}: expected a forward pre-hook to return None or (args, kwargs); got {changed!r}"
                    )
                args, kwargs = changed
        else:
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
    output = (call_in_scope if _core.is_anomaly_enabled() else _call)(module, args, kwargs)
    for hook, with_kwargs in tuple(module._forward_hooks.values()):
        changed = hook(module, args, kwargs, output) if with_kwargs else hook(module, args, output)
        if changed is not None:
            output = changed
    return output

"""Scope of a layer: noted with every op while anomalies are looked for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from fastnn import _core

if TYPE_CHECKING:
    from fastnn.nn.module import Module


class _Local(threading.local):
    """Paths of the modules within the one that was called from outside, by ``id``; ``None`` outside of all."""

    paths: dict[int, str] | None = None


_local = _Local()


def _describe(module: Module, path: str) -> str:
    children = any(True for _ in module.children())
    what = type(module).__name__ if children else repr(module)
    return f"layer {path!r}, {what}" if path else what


def call_in_scope(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run ``forward`` under the module's name."""
    outermost = _local.paths is None
    try:
        if _local.paths is None:
            _local.paths = {id(part): path for path, part in module.named_modules()}
        scope = _describe(module, _local.paths.get(id(module), ""))
        return _core.call_in_anomaly_scope(scope, module.forward, args, kwargs)
    finally:
        if outermost:
            _local.paths = None

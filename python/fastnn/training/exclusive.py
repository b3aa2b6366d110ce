"""One fit of a model at a time."""

from __future__ import annotations

import threading

from fastnn.nn.module import Module

_fitting: set[int] = set()
_fitting_lock = threading.Lock()


class Exclusive:
    """Keeps two fits of one model apart."""

    def __init__(self, model: Module) -> None:
        self._key = id(model)

    def __enter__(self) -> None:
        with _fitting_lock:
            if self._key in _fitting:
                raise RuntimeError("Trainer.fit: this model is being fitted already, in another thread or a callback")
            _fitting.add(self._key)

    def __exit__(self, *exc_info: object) -> None:
        with _fitting_lock:
            _fitting.discard(self._key)

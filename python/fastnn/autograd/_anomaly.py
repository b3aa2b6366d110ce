"""Looking for the place where NaN begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn import _core
from fastnn.nn.module import Module

if TYPE_CHECKING:
    from typing_extensions import Self


class set_detect_anomaly:  # noqa: N801
    """Look for NaN in every backward from now on or not; as a context manager, until the end of the ``with`` block.

    A backward then raises RuntimeError where an op's gradient becomes NaN, or at once if the loss is NaN. The error
    names the op, the layer it ran in, and, if NaN began in the forward pass, the op and the layer that made the first
    one. Steps of a ``TrainStep`` run eagerly meanwhile, and every tensor is read once more: for debugging only.

    Args:
        mode: Whether to look, in all threads.
        check_nan: ``False`` to look for nothing after all.

    Raises:
        TypeError: ``mode`` or ``check_nan`` is no bool.

    Source:
        PyTorch, which does not look at the loss, and prints the forward pass' traceback instead.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        for name, value in (("mode", mode), ("check_nan", check_nan)):
            if not isinstance(value, bool):
                raise TypeError(f"set_detect_anomaly: expected {name} to be a bool; got {value!r}")
        self._previous = _core.is_anomaly_enabled()
        self._mode = mode and check_nan
        self._set(self._mode)

    @staticmethod
    def _set(mode: bool) -> None:
        _core.set_detect_anomaly(mode)
        # So that every module's call notes which layer runs.
        Module._hooked = mode
        _core.bump_config()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._set(self._previous)


class detect_anomaly(set_detect_anomaly):  # noqa: N801
    """Look for NaN in every backward within a ``with`` block. See :class:`set_detect_anomaly`.

    Args:
        check_nan: ``False`` to look for nothing after all.
    """

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__(True, check_nan)
        self._set(self._previous)

    def __enter__(self) -> Self:
        self._previous = _core.is_anomaly_enabled()
        self._set(self._mode)
        return self

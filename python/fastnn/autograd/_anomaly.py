"""Looking for the place where NaN begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn import _core
from fastnn.nn.module import Module

if TYPE_CHECKING:
    from typing_extensions import Self


class set_detect_anomaly(_core.AnomalyMode):  # noqa: N801
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

    def __new__(cls, mode: bool, check_nan: bool = True) -> Self:
        return super().__new__(cls, Module, _checked(mode, check_nan), True)


def _checked(mode: object, check_nan: object) -> bool:
    for name, value in (("mode", mode), ("check_nan", check_nan)):
        if not isinstance(value, bool):
            raise TypeError(f"set_detect_anomaly: expected {name} to be a bool; got {value!r}")
    return bool(mode and check_nan)


class detect_anomaly(_core.AnomalyMode):  # noqa: N801
    """Look for NaN in every backward within a ``with`` block. See :class:`set_detect_anomaly`.

    Args:
        check_nan: ``False`` to look for nothing after all.
    """

    def __new__(cls, check_nan: bool = True) -> Self:
        return super().__new__(cls, Module, _checked(True, check_nan), False)

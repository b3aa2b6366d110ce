"""Watching one measure for improvement."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fastnn._types import check_choice, check_instance, check_number

# Measures that are better when they are greater.
_GREATER_IS_BETTER = ("accuracy", "top_", "r2", "auc", "f1")


def check_measured(where: str, name: str, logs: Mapping[str, float]) -> None:
    """Refuse a measure that is not among the logs.

    Raises:
        ValueError: It is not.
    """
    if name not in logs:
        measured = ", ".join(repr(known) for known in logs if known != "seconds")
        raise ValueError(f"{where}: expected monitor to be one of {measured}; got {name!r}")


class Monitor:
    """Remembers the best value of a measure.

    Args:
        where: The callback, for errors.
        name: The measure, such as ``"val_loss"``.
        mode: ``"min"``, ``"max"``, or ``"auto"`` for what its name suggests.
        min_delta: By how much a value must be better than the best.
    """

    def __init__(self, where: str, name: str, mode: str, min_delta: float = 0.0) -> None:
        check_choice(where, "mode", mode, ("auto", "min", "max"))
        if not check_number(where, "min_delta", min_delta) >= 0:
            raise ValueError(f"{where}: expected min_delta of at least 0; got {min_delta}")
        check_instance(where, "monitor", name, str, "the name of a measure")
        bare = name.removeprefix("val_")
        greater = mode == "max" or (mode == "auto" and any(part in bare for part in _GREATER_IS_BETTER))
        self._where = where
        self.name = name
        self._sign = -1.0 if greater else 1.0
        self._min_delta = float(min_delta)
        self.reset()

    def reset(self) -> None:
        """Forget."""
        self._best = math.inf

    @property
    def best(self) -> float:
        """The best value so far."""
        return self._sign * self._best

    def improved(self, logs: Mapping[str, float]) -> bool:
        """Take an epoch's value, and say whether it is the best so far. NaN never is.

        Raises:
            ValueError: The measure is not among the logs.
        """
        check_measured(self._where, self.name, logs)
        value = self._sign * logs[self.name]
        if value < self._best - self._min_delta:
            self._best = value
            return True
        return False

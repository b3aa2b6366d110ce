"""Schedules by functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from fastnn._types import check_number
from fastnn.optim.lr_scheduler.scheduler import LRScheduler, check_optimizer, function_state, take_function_state
from fastnn.optim.optimizer import Optimizer

LRFunction: TypeAlias = Callable[[int], float]


class _FunctionLR(LRScheduler):
    """Base of schedules by functions: a function for each group, and their states."""

    def __init__(
        self, optimizer: Optimizer, lr_lambda: LRFunction | Sequence[LRFunction], last_epoch: int = -1
    ) -> None:
        where = type(self).__name__
        check_optimizer(where, optimizer)
        count = len(optimizer.param_groups)
        functions = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * count
        if len(functions) != count:
            raise ValueError(f"{where}: expected lr_lambda for each of {count} groups; got {len(functions)}")
        for function in functions:
            if not callable(function):
                raise TypeError(f"{where}: expected lr_lambda to be a function; got {type(function).__name__}")
        self.lr_lambdas: list[Any] = functions
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the state. Of callable objects it has their attributes; functions and lambdas are not saved."""
        return {**super().state_dict(), "lr_lambdas": [function_state(function) for function in self.lr_lambdas]}

    def _factors(self) -> list[Any]:
        factors = [function(self.last_epoch) for function in self.lr_lambdas]
        for factor in factors:
            check_number(type(self).__name__, "the result of lr_lambda", factor)
        return factors

    def _take(self, state: dict[str, Any]) -> None:
        saved, count = state.pop("lr_lambdas"), len(self.lr_lambdas)
        if not isinstance(saved, (list, tuple)) or len(saved) != count:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: expected lr_lambdas for {count} groups; got {saved!r}"
            )
        super()._take(state)
        for function, attributes in zip(self.lr_lambdas, saved, strict=True):
            take_function_state(function, attributes)


class LambdaLR(_FunctionLR):
    """The initial rate times a function of the step.

    At step t::

        lr = initial_lr * lr_lambda(t)

    Args:
        optimizer: The optimizer.
        lr_lambda: Called with the number of the step, from 0; or a list with a function for each group.
        last_epoch: Number of the step to go on from; -1 to begin.

    Raises:
        ValueError: Another number of functions than groups.
        TypeError: Something that cannot be called.

    Source:
        PyTorch. Keras' ``LearningRateScheduler`` takes a function that returns the rate itself.
    """

    def _rates(self) -> list[float]:
        return [base * factor for base, factor in zip(self.base_lrs, self._factors(), strict=True)]


class MultiplicativeLR(_FunctionLR):
    """The present rate times a function of the step.

    At step t, from 1 on::

        lr = lr * lr_lambda(t)

    Args:
        optimizer: The optimizer.
        lr_lambda: Called with the number of the step, from 1; or a list with a function for each group.
        last_epoch: Number of the step to go on from; -1 to begin.

    Raises:
        ValueError: Another number of functions than groups.
        TypeError: Something that cannot be called.

    Source:
        PyTorch.
    """

    def _rates(self) -> list[float]:
        if self._is_initial:
            return self._present()
        groups = self.optimizer.param_groups
        return [group["lr"] * factor for group, factor in zip(groups, self._factors(), strict=True)]

"""The base of all schedules."""

from __future__ import annotations

import functools
import math
import types
import warnings
import weakref
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from fastnn._types import check_instance, check_integer, check_items, check_number, shown
from fastnn.optim.lr_scheduler._kept import all_or_nothing
from fastnn.optim.optimizer import Optimizer

_EPOCH_GIVEN = (
    "LRScheduler.step: an epoch is given, so that the closed form takes the place of the recursion; "
    "PyTorch has deprecated that: call step() alone"
)
_TOO_EARLY = (
    "LRScheduler.step: expected optimizer.step() before the first scheduler.step(); the other way round, "
    "the schedule's first value is skipped"
)
_REPLACED = "LRScheduler.step: optimizer.step was replaced after the scheduler was made, so their order cannot be seen"
# Values of a state that are numbers or None.
_MAY_BE_NONE = {"default_min_lr"}
_GET_LR = "LRScheduler.get_lr: works out the next learning rate; get_last_lr() returns the present one"


class LRScheduler:
    """The base of all schedules: sets ``lr`` of every parameter group, once when made and once a step.

    A group's ``lr`` at that time becomes its ``initial_lr``. Most schedules are recursions: they multiply the group's
    present ``lr``, so that several of them, or a hand, can change it together. For one of your own, override
    :meth:`get_lr`, which is called with ``last_epoch`` already counted.

    Args:
        optimizer: The optimizer.
        last_epoch: Number of the step that the optimizer stands at; -1 to begin. Otherwise its groups need
            ``initial_lr``, as they have after ``load_state_dict``.

    Attributes:
        last_epoch: Number of the present step, from 0.
        base_lrs: ``initial_lr`` of each group.

    Raises:
        TypeError: Not one of fastnn's optimizers.
        KeyError: ``last_epoch`` is given, and a group has no ``initial_lr``.
    """

    _is_initial = False
    _get_lr_called_within_step = False
    _step_count = 0
    _last_lr: list[float]

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        where = type(self).__name__
        check_optimizer(where, optimizer)
        last_epoch = check_integer(where, "last_epoch", last_epoch)
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch != -1 and "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: expected 'initial_lr' in param_groups[{number}] with last_epoch "
                    f"{last_epoch}: load the optimizer's state first, or begin with -1"
                )
        self.optimizer = optimizer
        self._begin(last_epoch)

    @all_or_nothing
    def _begin(self, last_epoch: int) -> None:
        optimizer = self.optimizer
        if last_epoch == -1:
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._initial_step()
        _watch(optimizer)

    def _initial_step(self) -> None:
        """Set the rates of the first step. Recursions leave them as they are."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def _undo(self) -> None:
        """Go back to before the first step, for a schedule whose turn comes later."""
        self.last_epoch -= 1

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer, under PyTorch's keys."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    @all_or_nothing
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned. The optimizer's own state has the present rates: load it too.

        Args:
            state_dict: The state, of a schedule of the same class.

        Raises:
            ValueError: A key is missing, or rates are for another number of groups. Nothing is loaded then.
            TypeError: ``state_dict`` is no mapping.
        """
        where = f"{type(self).__name__}.load_state_dict"
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"{where}: expected state_dict to be a mapping; got {type(state_dict).__name__}")
        missing = [key for key in self.state_dict() if not key.startswith("_") and key not in state_dict]
        if missing:
            raise ValueError(f"{where}: expected the keys {missing}; got {list(state_dict)}")
        rates, groups = state_dict.get("base_lrs"), len(self.optimizer.param_groups)
        if rates is not None and (not isinstance(rates, (list, tuple)) or len(rates) != groups):
            raise ValueError(f"{where}: expected base_lrs for {groups} groups; got {rates!r}")
        state = dict(state_dict)
        for key, value in state.items():
            if value is not None or key not in _MAY_BE_NONE:
                state[key] = _checked(where, key, value, self.__dict__.get(key))
        self._take(state)

    def _take(self, state: dict[str, Any]) -> None:
        """Take over a state that has all keys."""
        self.__dict__.update(state)

    def get_last_lr(self) -> list[float]:
        """Return the rate that each group was given last."""
        return self._last_lr

    def get_lr(self) -> list[float]:
        """Work out the rate of each group at ``last_epoch``; for :meth:`step`, and to be overridden."""
        if not self._get_lr_called_within_step:
            warnings.warn(_GET_LR, UserWarning, stacklevel=2)
        return self._rates()

    def _rates(self) -> list[float]:
        raise NotImplementedError(f"{type(self).__name__}: expected get_lr to be overridden")

    def _get_closed_form_lr(self) -> list[float] | None:
        """Work out the rates from ``base_lrs`` alone, if there is such a formula."""
        return None

    @all_or_nothing
    def step(self, epoch: int | None = None) -> None:
        """Set the rates of the next step; called after the optimizer's.

        Args:
            epoch: Number of a step to go to, by the closed form if there is one. As in PyTorch, that is deprecated.
        """
        if self._step_count == 1:
            self._check_order()
        self._step_count += 1
        if epoch is not None:
            if not math.isfinite(check_number(f"{type(self).__name__}.step", "epoch", epoch)):
                raise ValueError(f"{type(self).__name__}.step: expected epoch to be finite; got {epoch}")
            warnings.warn(_EPOCH_GIVEN, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _check_order(self) -> None:
        if not hasattr(self.optimizer.step, "_watched"):
            warnings.warn(_REPLACED, UserWarning, stacklevel=3)
        elif not self.optimizer._opt_called:
            warnings.warn(_TOO_EARLY, UserWarning, stacklevel=3)

    def _update_lr(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._set(self._computed(closed=epoch is not None))

    def _computed(self, *, closed: bool = False) -> list[float]:
        """Return the rates of `last_epoch`, by the closed form if it is asked for and exists.

        Raises:
            ValueError: float64 cannot hold them.
        """
        self._get_lr_called_within_step = True
        try:
            rates = self._get_closed_form_lr() if closed else None
            return self.get_lr() if rates is None else rates
        except (OverflowError, ZeroDivisionError) as error:
            raise ValueError(
                f"{type(self).__name__}: expected settings with rates that float64 can hold at step "
                f"{shown(self.last_epoch)}; got {error}"
            ) from None
        finally:
            self._get_lr_called_within_step = False

    def _set(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = self._present()

    def _present(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def _times(self, factor: float) -> list[float]:
        return [group["lr"] * factor for group in self.optimizer.param_groups]


def _checked(where: str, key: object, value: Any, present: object) -> Any:
    """Return a value of a state, which has to be of the present one's kind; numbers as Python's own.

    Raises:
        TypeError: It is not.
        ValueError: It is not finite, and the present one is.
    """
    check_instance(where, "keys", key, str, "text")
    name = str(key)
    if isinstance(present, bool | str):
        check_instance(where, name, value, type(present), f"of type {type(present).__name__}")
    elif isinstance(present, Real | np.ndarray) or hasattr(present, "__index__"):
        number = check_number(where, name, value)
        if not math.isfinite(number) and math.isfinite(check_number(where, name, present)):
            raise ValueError(f"{where}: expected {name} to be finite; got {shown(value)}")
        # PyTorch counts in floats where a step is a fraction.
        if type(value) in {int, float}:
            return value
        return int(number) if abs(number) < 2**53 and number % 1 == 0 else number
    elif isinstance(present, Mapping):
        check_instance(where, name, value, Mapping, "a mapping")
    elif isinstance(present, list) and present:
        items = check_items(where, name, value)
        if len(items) != len(present):
            raise ValueError(f"{where}: expected {name} to have {len(present)} items; got {len(items)}")
        return [_checked(where, name, item, now) for item, now in zip(items, present, strict=True)]
    return value


def check_optimizer(where: str, optimizer: object) -> None:
    """Refuse what is not an optimizer.

    Raises:
        TypeError: It is not.
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{where}: expected optimizer to be one of fastnn's; got {type(optimizer).__name__}")


def _watch(optimizer: Optimizer) -> None:
    """Have the optimizer remember that it was stepped, whatever its class does in ``step``."""
    step = optimizer.step
    if hasattr(step, "_watched"):
        return
    function: Callable[..., Any] = step.__func__  # type: ignore[attr-defined]
    # A bound method kept by its own object would be a cycle.
    reference = weakref.ref(optimizer)

    @functools.wraps(function)
    def watched(*args: Any, **kwargs: Any) -> Any:
        owner = reference()
        owner._opt_called = True  # type: ignore[union-attr]
        return function(owner, *args, **kwargs)

    watched._watched = True  # type: ignore[attr-defined]
    optimizer.step = watched  # type: ignore[method-assign]


def per_group(where: str, name: str, value: Any, optimizer: Optimizer) -> list[float]:
    """Return a number for each group, from one for all or a sequence.

    Raises:
        ValueError: A sequence of another length than the groups.
        TypeError: Something else than numbers.
    """
    count = len(optimizer.param_groups)
    values = list(value) if isinstance(value, (list, tuple)) else [value] * count
    if len(values) != count:
        raise ValueError(f"{where}: expected {name} to have a value for each of {count} groups; got {len(values)}")
    numbers = [check_number(where, name, one) for one in values]
    return [one if isinstance(one, int) else number for one, number in zip(values, numbers, strict=True)]


def cosine(step: float, length: float) -> float:
    """Return ``cos(pi * step / length)``.

    Raises:
        OverflowError: float64 cannot hold the angle.
    """
    angle = math.pi * step / length
    if not math.isfinite(angle):
        raise OverflowError(f"an angle of {angle}")
    return math.cos(angle)


def check_positive(where: str, name: str, value: object) -> None:
    """Check a length that may be fractional.

    Raises:
        TypeError: Not a number.
        ValueError: Not above 0, or infinite.
    """
    if not 0 < check_number(where, name, value) < math.inf:
        raise ValueError(f"{where}: expected {name} above 0; got {value}")


def check_nonnegative(where: str, name: str, value: object) -> None:
    """Check a factor.

    Raises:
        TypeError: Not a number.
        ValueError: Below 0, infinite, or NaN.
    """
    if not 0 <= check_number(where, name, value) < math.inf:
        raise ValueError(f"{where}: expected {name} of at least 0; got {value}")


def function_state(function: object) -> dict[str, Any] | None:
    """Return what a callable object holds; ``None`` for a function, which holds nothing that can be saved."""
    if function is None or isinstance(function, (types.FunctionType, types.BuiltinFunctionType)):
        return None
    return dict(vars(function))


def take_function_state(function: object, state: Any) -> None:
    """Give a callable object what :func:`function_state` returned.

    Raises:
        ValueError: It is a function, which holds nothing, or ``state`` is no dict.
    """
    if state is None:
        return
    if not isinstance(state, dict) or not hasattr(function, "__dict__"):
        raise ValueError(f"load_state_dict: expected the attributes of {function!r}; got {state!r}")
    vars(function).update(state)

"""Averages of weights: equal ones (SWA, Polyak) and exponential ones (EMA), under PyTorch's names."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from fastnn import _core
from fastnn._core import Tensor, Undo
from fastnn._grad_mode import no_grad
from fastnn._types import (
    check_at_least,
    check_choice,
    check_device,
    check_instance,
    check_number,
    is_floating,
    shown,
)
from fastnn.nn.batchnorm import NormBase
from fastnn.nn.module import Module
from fastnn.optim.lr_scheduler.scheduler import LRScheduler, check_optimizer, per_group
from fastnn.optim.optimizer import Optimizer

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

AvgFn: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Returns the new average, from the average, the parameter, and how many are in the average."""
MultiAvgFn: TypeAlias = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor], None]
"""The same for many parameters, in place."""

_BATCH = 1024


def _check_decay(where: str, decay: float) -> float:
    if not 0 <= check_number(where, "decay", decay) <= 1:
        raise ValueError(f"{where}: expected decay in [0, 1]; got {decay}")
    return float(decay)


def _move(average: Tensor, current: Tensor, share: float) -> None:
    """Take the average this share of the way to the current value, so that all of the way is the value itself."""
    if not is_floating(average):
        moved = average.numpy() + (current.numpy() - average.numpy()) * share
        average.copy_(_core.as_tensor(moved.astype(average.numpy().dtype)))
    elif share < 0.5:
        average.add_((current - average) * share)
    else:
        average.copy_(current - (current - average) * (1.0 - share))


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAvgFn:
    """Return a function that takes parameters into exponential averages, in place::

        average = decay * average + (1 - decay) * parameter

    Args:
        decay: The share that the average keeps, in [0, 1].

    Returns:
        A function of (averages, parameters, number averaged).

    Raises:
        ValueError: ``decay`` is out of range.
        TypeError: ``decay`` is not a number.

    Source:
        PyTorch. Integers are averaged in float64 and cut off, as PyTorch's ``copy_`` does.
    """
    decay = _check_decay("get_ema_multi_avg_fn", decay)

    @no_grad()
    def ema_update(averages: Sequence[Tensor], current: Sequence[Tensor], num_averaged: Tensor) -> None:  # noqa: ARG001
        for average, value in zip(averages, current, strict=True):
            _move(average, value, 1.0 - decay)

    return ema_update


def get_swa_multi_avg_fn() -> MultiAvgFn:
    """Return a function that takes parameters into equal averages of n values, in place::

        average = average + (parameter - average) / (n + 1)

    Returns:
        A function of (averages, parameters, number averaged).

    Source:
        Izmailov et al. 2018, https://arxiv.org/abs/1803.05407, Algorithm 1; PyTorch.
    """

    @no_grad()
    def swa_update(averages: Sequence[Tensor], current: Sequence[Tensor], num_averaged: Tensor) -> None:
        for average, value in zip(averages, current, strict=True):
            _move(average, value, 1.0 / (int(num_averaged) + 1))

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> AvgFn:
    """Return a function that takes one parameter into an exponential average::

        average = decay * average + (1 - decay) * parameter

    Args:
        decay: The share that the average keeps, in [0, 1].

    Returns:
        A function of (average, parameter, number averaged) that returns the new average.

    Raises:
        ValueError: ``decay`` is out of range.
        TypeError: ``decay`` is not a number.

    Source:
        PyTorch.
    """
    decay = _check_decay("get_ema_avg_fn", decay)

    @no_grad()
    def ema_update(average: Tensor, current: Tensor, num_averaged: Tensor) -> Tensor:  # noqa: ARG001
        return average * decay + current * (1.0 - decay)

    return ema_update


def get_swa_avg_fn() -> AvgFn:
    """Return a function that takes one parameter into an equal average of n values::

        average = average + (parameter - average) / (n + 1)

    Returns:
        A function of (average, parameter, number averaged) that returns the new average.

    Source:
        Izmailov et al. 2018, https://arxiv.org/abs/1803.05407, Algorithm 1; PyTorch.
    """

    @no_grad()
    def swa_update(average: Tensor, current: Tensor, num_averaged: Tensor) -> Tensor:
        return average + (current - average) / (int(num_averaged) + 1)

    return swa_update


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of those that the model had over time.

    The first :meth:`update_parameters` copies the parameters, every further one takes them into the averages. By
    default all count the same (SWA, Polyak averaging)::

        average = average + (parameter - average) / (n_averaged + 1)

    Args:
        model: The model; the copy is its own from now on.
        device: ``None`` or the CPU.
        avg_fn: Another average, parameter by parameter, such as :func:`get_ema_avg_fn`.
        multi_avg_fn: The same for all parameters of a type at once, in place, such as :func:`get_ema_multi_avg_fn`.
        use_buffers: Whether buffers are averaged too. Otherwise they are copied from the model.

    Attributes:
        module: The copy.
        n_averaged: How many states are in the averages; int64, in the ``state_dict``.

    Raises:
        ValueError: A device other than the CPU, or both functions are given (PyTorch: ``AssertionError``).
        TypeError: ``model`` is not a module.

    Source:
        Izmailov et al. 2018, https://arxiv.org/abs/1803.05407; Polyak & Juditsky 1992,
        https://doi.org/10.1137/0330046; PyTorch. Keras' ``SWA`` and ``ExponentialMovingAverage`` were optimizers.
        Running statistics of batch norm belong to the model's weights, not to their averages: see :func:`update_bn`.
    """

    n_averaged: Tensor
    module: Module

    def __init__(
        self,
        model: Module,
        device: object = None,
        avg_fn: AvgFn | None = None,
        multi_avg_fn: MultiAvgFn | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(model, Module):
            raise TypeError(f"AveragedModel: expected model to be an nn.Module; got {type(model).__name__}")
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("AveragedModel: expected avg_fn or multi_avg_fn; got both")
        check_device("AveragedModel", device)
        self.module = copy.deepcopy(model)
        self.register_buffer("n_averaged", _core.tensor(0, dtype=_core.int64))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take the model's parameters into the averages.

        Args:
            model: The model, or one with the same parameters.

        Raises:
            ValueError: It has other parameters or buffers. Nothing is changed then; PyTorch takes what there is.
        """
        averages = _tensors(self.module, self.use_buffers)
        current = _tensors(model, self.use_buffers)
        kept = [] if self.use_buffers else list(self.module.buffers())
        shown = [] if self.use_buffers else list(model.buffers())
        _check_alike(averages + kept, current + shown)
        # New values beside the old ones, which all change in one call.
        if int(self.n_averaged) == 0:
            new = current
        elif self.avg_fn is not None:
            new = [
                self.avg_fn(average, value, self.n_averaged) for average, value in zip(averages, current, strict=True)
            ]
        else:
            new = [average.clone() for average in averages]
            function = self.multi_avg_fn or get_swa_multi_avg_fn()
            for dtype in dict.fromkeys(average.dtype for average in averages):
                chosen = [i for i, average in enumerate(averages) if average.dtype == dtype]
                function([new[i] for i in chosen], [current[i] for i in chosen], self.n_averaged)
        targets = [*averages, *kept, self.n_averaged]
        names = [f"average {number}" for number in range(len(targets))]
        _core.assign("AveragedModel", names, targets, [*new, *shown, self.n_averaged + 1])


def _tensors(module: Module, use_buffers: bool) -> list[Tensor]:
    tensors = itertools.chain(module.parameters(), module.buffers() if use_buffers else ())
    return [tensor.detach() for tensor in tensors]


def _check_alike(mine: list[Tensor], given: list[Tensor]) -> None:
    shapes, other = ([tuple(tensor.shape) for tensor in tensors] for tensors in (mine, given))
    if shapes != other:
        raise ValueError(
            f"AveragedModel.update_parameters: expected parameters and buffers of shapes {shapes}; got {other}"
        )


def _inputs(loader: Any, dtype: Any, batch_size: int) -> Iterable[Any]:
    if hasattr(loader, "__array__"):
        x = np.asarray(loader.detach() if isinstance(loader, Tensor) else loader)
        if not len(x):
            raise ValueError(f"update_bn: expected at least one row; got shape {x.shape}")
        # All batches count the same, so they are made as equal as can be.
        loader = np.array_split(x, -(-len(x) // batch_size))
    for batch in loader:
        if isinstance(batch, (list, tuple)) and not batch:
            raise ValueError(f"update_bn: expected batches that begin with the inputs; got {batch}")
        x = batch[0] if isinstance(batch, (list, tuple)) else batch
        if isinstance(x, Tensor):
            yield x
            continue
        try:
            array = np.ascontiguousarray(x, dtype=dtype)
        except (TypeError, ValueError) as error:
            raise type(error)(f"update_bn: expected batches of real numbers; got {shown(x)}") from None
        yield _core.as_tensor(array)


@no_grad()
def update_bn(loader: Any, model: Module, device: object = None, *, batch_size: int = _BATCH) -> None:
    """Measure the running statistics of batch norm anew, by one pass over the data in training mode.

    For k batches, ``running_mean`` and ``running_var`` become the means over the batches::

        running = (statistic of batch 1 + ... + statistic of batch k) / k

    Modes and ``momentum`` are put back. A model without batch norm is left alone, and so is what is frozen.

    Args:
        loader: Inputs ``(n, *)``, an array or a tensor, which are taken in equal batches; or an iterable of batches,
            each the inputs, or a tuple or list that begins with them.
        model: The model.
        device: ``None`` or the CPU.
        batch_size: The most rows a batch, with an array; at least 1.

    Raises:
        ValueError: A device other than the CPU, no rows, an empty batch, or ``batch_size`` below 1.
        TypeError: ``batch_size`` is not an int, or ``loader`` cannot be gone through.

    Source:
        Izmailov et al. 2018, https://arxiv.org/abs/1803.05407, section 3.2; PyTorch, where an array would be taken row
        by row, and where modes of parts that differed from the model's are lost.
    """
    from fastnn.training.data import Types  # noqa: PLC0415  (training imports optim)

    check_device("update_bn", device)
    check_at_least("update_bn", "batch_size", batch_size, 1)
    if not hasattr(loader, "__array__") and not hasattr(loader, "__iter__"):
        raise TypeError(f"update_bn: expected inputs or an iterable of batches; got {type(loader).__name__}")
    check_instance("update_bn", "model", model, Module, "a module")
    norms = batch_norms(model)
    if not norms:
        return
    dtype = Types.of(model).features
    buffers = [buffer for norm in norms for buffer in norm.buffers()]
    with Undo() as undo:
        undo.modes(list(model.modules()))
        undo.values(buffers)
        for norm in norms:
            undo.set_attr(norm, "momentum", None)
            norm.reset_running_stats()
        model.train()
        for x in _inputs(loader, dtype, batch_size):
            model(x)
        found = [buffer.clone() for buffer in buffers]
    # All statistics in one call, or none.
    _core.assign("update_bn", [f"statistic {number}" for number in range(len(buffers))], buffers, found)


def batch_norms(model: Module) -> list[NormBase]:
    """Return the batch norms of a model, of whatever rank, that are not frozen."""
    norms = (module for module in model.modules() if isinstance(module, NormBase))
    return [norm for norm in norms if norm._layer.startswith("BatchNorm") and norm._frozen_mode is None]


class SWALR(LRScheduler):
    """From the present rate to a fixed one, and on with that.

    At step t of n = ``anneal_epochs``, with a = ``min(t / n, 1)``, for ``"cos"`` a = ``(1 - cos(pi * a)) / 2``::

        lr = swa_lr * a + initial_lr * (1 - a)

    It is worked out from the present rate, so that other schedules can change it too.

    Args:
        optimizer: The optimizer; its groups get ``swa_lr``.
        swa_lr: The rate to go to, or one for each group.
        anneal_epochs: Steps on the way, at least 0.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        last_epoch: Number of the step to go on from; -1 to begin.

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        Izmailov et al. 2018, https://arxiv.org/abs/1803.05407, whose rate is constant or cyclic; PyTorch.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | Sequence[float],
        anneal_epochs: int = 10,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("SWALR", optimizer)
        rates = per_group("SWALR", "swa_lr", swa_lr, optimizer)
        check_choice("SWALR", "anneal_strategy", anneal_strategy, ("cos", "linear"))
        check_at_least("SWALR", "anneal_epochs", anneal_epochs, 0)
        for rate, group in zip(rates, optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """Return the share of the annealing that is done."""
        share = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return (1.0 - math.cos(math.pi * share)) / 2.0 if self._anneal_strategy == "cos" else share

    def _rates(self) -> list[float]:
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            goal = group["swa_lr"]
            start = goal if before == 1 else (group["lr"] - before * goal) / (1.0 - before)
            rates.append(goal * now + start * (1.0 - now))
        return rates

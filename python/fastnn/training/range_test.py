"""The learning-rate range test."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor
from fastnn._files import save_figure
from fastnn._types import check_at_least, check_number
from fastnn.nn.module import Module
from fastnn.optim import Optimizer
from fastnn.optim.lr_scheduler import ExponentialLR
from fastnn.optim.lr_scheduler.scheduler import check_optimizer
from fastnn.training import data
from fastnn.training.assumptions import check_learns
from fastnn.training.data import Types
from fastnn.training.restored import restored
from fastnn.training.step import TrainStep
from fastnn.training.weighing import Weighing

_WHERE = "lr_range_test"


@dataclass(frozen=True)
class LRRangeTest:
    """Result of a range test.

    Attributes:
        lrs: The rates, each for one batch, ascending; up to where the loss blew up.
        raw_losses: The loss of each batch, before its update.
        losses: The same, smoothed.
        suggestion: The rate at which the smoothed loss falls fastest; ``None`` if it does not fall.
    """

    lrs: NDArray[np.float64]
    raw_losses: NDArray[np.float64]
    losses: NDArray[np.float64]
    suggestion: float | None

    def __repr__(self) -> str:
        found = "no suggestion" if self.suggestion is None else f"suggestion {self.suggestion:.3g}"
        return f"LRRangeTest({len(self.lrs)} rates from {self.lrs[0]:.3g} to {self.lrs[-1]:.3g}, {found})"

    def plot(self, path: Any = None) -> Any:
        """Draw the smoothed loss over the rate, on a logarithmic axis, with the suggestion.

        Args:
            path: Where to save the picture, if anywhere.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure  # noqa: PLC0415
        except ImportError as error:
            raise ImportError("LRRangeTest.plot needs matplotlib: pip install fastnn-cpu[plot]") from error
        # Figures in IPython and notebooks show themselves; pyplot would keep every one of them alive.
        figure = Figure(figsize=(5.4, 3.4), layout="constrained")
        axes = figure.subplots()
        axes.plot(self.lrs, self.raw_losses, alpha=0.3, label="loss")
        axes.plot(self.lrs, self.losses, label="smoothed")
        if self.suggestion is not None:
            axes.axvline(self.suggestion, color="black", linestyle=":", label=f"suggestion {self.suggestion:.2g}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        # The last losses before the end would hide everything else.
        span = self.losses.max() - self.losses.min()
        axes.set_ylim(self.losses.min() - 0.1 * span, self.losses.max() + 0.1 * span)
        axes.legend()
        axes.grid(alpha=0.3)
        if path is not None:
            save_figure(figure, path, 150)
        return figure


def lr_range_test(
    model: Module,
    loss: Callable[[Any, Any], Tensor],
    optimizer: Optimizer,
    x: Any,
    y: Any,
    start_lr: float = 1e-7,
    end_lr: float = 10.0,
    num_iter: int = 100,
    batch_size: int = 32,
    smoothing: float = 0.9,
    diverge_factor: float = 4.0,
) -> LRRangeTest:
    """Train for a few batches while the rate grows, and see where the loss falls and where it blows up.

    Batch i of n = ``num_iter`` is trained with::

        lr[i] = start_lr * (end_lr / start_lr) ** (i / (n - 1))

    in every parameter group. The losses are smoothed, by a moving average whose bias is corrected::

        m[i] = smoothing * m[i - 1] + (1 - smoothing) * loss[i]
        losses[i] = m[i] / (1 - smoothing ** (i + 1))

    The test ends before the first loss that is not finite, or with the first smoothed one above ``diverge_factor``
    times the smallest. The suggestion is the rate where ``d losses / d log lr`` is smallest, up to the smallest loss.

    The model, the optimizer, gradients, modes and the generator are left as they were.

    Args:
        model: The model; tested in training mode.
        loss: Called with the model's output and the targets; returns a scalar.
        optimizer: Of the model's parameters.
        x: Inputs, ``(n, *)``; taken in an order drawn anew whenever all have had their turn, without rows whose labels
            are all ignored.
        y: Targets, n of them.
        start_lr: The first rate, above 0.
        end_lr: The last rate, above ``start_lr``.
        num_iter: Number of batches, at least 2.
        batch_size: Rows a batch, at least 1; all rows, if there are fewer.
        smoothing: Share of the average that is kept, in [0, 1).
        diverge_factor: Above 1; ``math.inf`` to go on to the end.

    Returns:
        Rates, losses, a suggestion and a plot.

    Raises:
        ValueError: A setting is out of range, lengths differ, the optimizer trains nothing of the model, no row counts,
            or the first loss is not finite.
        TypeError: Data or settings are of another type.

    Source:
        Smith 2017, https://arxiv.org/abs/1506.01186, section 3.3, who lets the rate grow linearly over some epochs and
        reads the curve by eye. Growing it by factors, and the steepest descent, are from fastai.
    """
    if not isinstance(model, Module):
        raise TypeError(f"{_WHERE}: expected model to be an nn.Module; got {type(model).__name__}")
    check_optimizer(_WHERE, optimizer)
    check_learns(_WHERE, model, optimizer, loss)
    if not 0 < check_number(_WHERE, "start_lr", start_lr) < math.inf:
        raise ValueError(f"{_WHERE}: expected start_lr above 0; got {start_lr}")
    if not start_lr < check_number(_WHERE, "end_lr", end_lr) < math.inf:
        raise ValueError(f"{_WHERE}: expected end_lr above start_lr {start_lr}; got {end_lr}")
    check_at_least(_WHERE, "num_iter", num_iter, 2)
    if not 0 <= check_number(_WHERE, "smoothing", smoothing) < 1:
        raise ValueError(f"{_WHERE}: expected smoothing in [0, 1); got {smoothing}")
    if not check_number(_WHERE, "diverge_factor", diverge_factor) > 1:
        raise ValueError(f"{_WHERE}: expected diverge_factor above 1; got {diverge_factor}")
    batch_size = data.check_batch_size(_WHERE, batch_size)
    inputs, targets = data.pair(_WHERE, x, y, Types.of(model, loss))
    counting = Weighing(loss).counting(targets)
    if not len(counting):
        raise ValueError(f"{_WHERE}: expected a label that counts; got labels that are all ignored")
    batch_size = min(batch_size, len(counting))
    with restored(model, optimizer):
        model.train()
        order = counting[_order(len(counting), batch_size, num_iter)]
        lrs, raw = _sweep(TrainStep(model, loss, optimizer), (inputs, targets), order, batch_size, start_lr, end_lr)
    if not len(raw):
        raise ValueError(f"{_WHERE}: expected a finite loss at start_lr {start_lr}; got none")
    losses = _smoothed(raw, smoothing)
    blown_up = np.flatnonzero(losses > diverge_factor * np.minimum.accumulate(losses))
    kept = blown_up[0] + 1 if len(blown_up) else len(losses)
    lrs, raw, losses = lrs[:kept], raw[:kept], losses[:kept]
    return LRRangeTest(lrs, raw, losses, _steepest(lrs, losses))


def _order(rows: int, batch_size: int, batches: int) -> NDArray[np.int64]:
    """Rows of so many whole batches, from as many permutations as it takes."""
    whole = rows // batch_size
    orders = [_core.permutation(rows)[: whole * batch_size] for _ in range(-(-batches // whole))]
    return np.concatenate(orders)[: batches * batch_size]


def _sweep(
    step: TrainStep, batch: data.Batch, order: NDArray[np.int64], batch_size: int, start_lr: float, end_lr: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rates and losses of all batches, up to the first loss that is not finite."""
    batches = len(order) // batch_size
    for group in step.optimizer.param_groups:
        group["lr"] = group["initial_lr"] = float(start_lr)
    growth = ExponentialLR(step.optimizer, (end_lr / start_lr) ** (1 / (batches - 1)))
    step.stop_on_nonfinite = True
    losses = step.run_batches(*batch, order, 0, batches, batch_size, [growth])
    losses = losses[np.isfinite(losses)]
    lrs = float(start_lr) * (end_lr / start_lr) ** (np.arange(batches) / (batches - 1))
    return lrs[: len(losses)], losses


def _smoothed(losses: NDArray[np.float64], keep: float) -> NDArray[np.float64]:
    average, smoothed = 0.0, []
    for i, loss in enumerate(losses.tolist()):
        average = keep * average + (1 - keep) * loss
        smoothed.append(average / (1 - keep ** (i + 1)))
    return np.array(smoothed)


def _steepest(lrs: NDArray[np.float64], losses: NDArray[np.float64]) -> float | None:
    end = int(losses.argmin()) + 1
    if end < 2:
        return None
    slopes = np.gradient(losses[:end], np.log(lrs[:end]))
    steepest = int(slopes.argmin())
    return float(lrs[steepest]) if slopes[steepest] < 0 else None

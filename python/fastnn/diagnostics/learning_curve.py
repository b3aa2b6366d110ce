"""Bias or variance: training and validation loss over the number of rows."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn import _core
from fastnn._core import Undo
from fastnn._grad_mode import no_grad
from fastnn._types import check_at_least, check_number
from fastnn.diagnostics.baseline import baseline
from fastnn.diagnostics.report import new_figure, saved
from fastnn.training import data, evaluation
from fastnn.training.data import Types
from fastnn.training.restored import restored
from fastnn.training.trainer import Trainer
from fastnn.training.weighing import adds_up

_WHERE = "bias_variance"
_ADVICE = {
    "high bias": "a wider or deeper net, more epochs or another rate, less regularization, better features; more rows "
    "of the same kind will not help",
    "high variance": "more rows or augmentation, weight decay, dropout, early stopping, an ensemble, or a smaller net",
    "high bias and high variance": "first what helps against bias: a wider net, more epochs, better features",
    "fine": "",
}


@dataclass(frozen=True)
class BiasVariance:
    """Training and validation losses by number of rows. ``str()`` is the table.

    Attributes:
        sizes: Numbers of training rows, ascending.
        train_losses: The loss of those rows after training on them.
        val_losses: The loss of the validation rows.
        baseline: The loss of outputs that are the same for every row.
        target: The training loss that would do.
        gap: By how much the validation loss may be greater.
        verdict: ``"fine"``, ``"high bias"``, ``"high variance"`` or ``"high bias and high variance"``; of the last
            size.
    """

    sizes: tuple[int, ...]
    train_losses: tuple[float, ...]
    val_losses: tuple[float, ...]
    baseline: float
    target: float
    gap: float

    @property
    def verdict(self) -> str:
        # NaN is no good loss.
        bias = not self.train_losses[-1] <= self.target
        variance = not self.val_losses[-1] - self.train_losses[-1] <= self.gap
        return {
            (True, True): "high bias and high variance",
            (True, False): "high bias",
            (False, True): "high variance",
        }.get((bias, variance), "fine")

    @property
    def advice(self) -> str:
        """Suggestions; empty if all is well."""
        return _ADVICE[self.verdict]

    def __str__(self) -> str:
        lines = [f"{'rows':>8}  {'training':>10}  {'validation':>10}  {'gap':>10}"]
        for size, train, val in zip(self.sizes, self.train_losses, self.val_losses, strict=True):
            lines.append(f"{size:>8}  {train:>10.4g}  {val:>10.4g}  {val - train:>10.4g}")
        lines.append(
            f"{self.verdict} (knowing nothing costs {self.baseline:.4g}; expected: training at most {self.target:.4g}, "
            f"gap at most {self.gap:.4g})"
        )
        if self.advice:
            lines.append(f"try: {self.advice}")
        return "\n".join(lines)

    def plot(self, path: Any = None) -> Any:
        """Draw both losses over the number of rows: the learning curves.

        Args:
            path: Where to save the picture, if anywhere.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: matplotlib is not installed.
        """
        figure = new_figure("BiasVariance.plot", 5.0, 3.4)
        axes = figure.subplots()
        axes.plot(self.sizes, self.train_losses, marker="o", label="training")
        axes.plot(self.sizes, self.val_losses, marker="o", label="validation")
        axes.axhline(self.target, color="black", linestyle=":", label="target")
        axes.set(xlabel="training rows", ylabel="loss", title=self.verdict)
        axes.grid(alpha=0.3)
        axes.legend()
        return saved(figure, path)


def bias_variance(
    trainer: Trainer | Callable[[], Trainer],
    x_train: Any,
    y_train: Any,
    x_val: Any,
    y_val: Any,
    sizes: Sequence[float] = (0.1, 0.25, 0.5, 1.0),
    *,
    epochs: int = 20,
    batch_size: int = 32,
    target: float | None = None,
    gap: float | None = None,
    verbose: bool = True,
) -> BiasVariance:
    """Train on more and more rows, and tell bias from variance by the losses.

    With all rows::

        high bias      train_loss           > target,  by default 0.3 * baseline
        high variance  val_loss - train_loss > gap,     by default 0.2 * baseline

    where the baseline is the loss of outputs that are the same for every row: ln C for C classes, the variance of y for
    the squared error. Every size gets as many updates as all rows do in ``epochs``. Losses that are sums are divided by
    the number of rows.

    Args:
        trainer: A function that returns a new trainer; or a trainer, which begins anew for each size, and is left with
            its model, optimizer and history, and the generator, as they were.
        x_train: Inputs, ``(n, *)``.
        y_train: Targets, n of them.
        x_val: Inputs to validate on.
        y_val: Targets of those.
        sizes: Shares of the training rows in (0, 1] as floats, or numbers of rows as ints. The rows are drawn from
            fastnn's generator; a greater size holds the rows of a smaller one.
        epochs: Epochs with all rows, at least 1.
        batch_size: Rows a batch, at least 1.
        target: The training loss that would do; above it is high bias.
        gap: By how much the validation loss may be greater; above it is high variance.
        verbose: Whether to print the table.

    Returns:
        The table, its verdict, what to try, and a plot.

    Raises:
        ValueError: A setting is out of range, or lengths differ.
        TypeError: Data or settings are of another type.

    Source:
        Ng 2018, "Machine Learning Yearning", chapters 20 to 32. The default thresholds are ours: what is good enough
        is known to the user alone.
    """
    first = trainer if isinstance(trainer, Trainer) else _made(trainer)
    types = Types.of(first.model, first.loss)
    x, y = data.pair(_WHERE, x_train, y_train, types, "training ")
    validation = data.pair(_WHERE, x_val, y_val, types, "validation ")
    batch_size = data.check_batch_size(_WHERE, batch_size)
    check_at_least(_WHERE, "epochs", epochs, 1)
    for name, value in (("target", target), ("gap", gap)):
        if value is not None:
            check_number(_WHERE, name, value)
    counts = _counts(sizes, len(x))
    with evaluation.evaluating(first.model), no_grad():
        outputs = next(evaluation.outputs(first.model, [validation[0]])).numpy()
    nothing = baseline(first.loss, outputs, validation[1]) / (len(outputs) if adds_up(first.loss) else 1)
    train_losses, val_losses = [], []
    with Undo() as undo:
        if isinstance(trainer, Trainer):
            # A trainer leaves the generator where it was.
            undo.own_rng_state(_core.get_rng_state())
        order = _core.permutation(len(x))
        updates = epochs * math.ceil(len(x) / batch_size)
        for number, count in enumerate(counts):
            rows = np.sort(order[:count])
            batch = np.ascontiguousarray(x[rows]), np.ascontiguousarray(y[rows])
            more = max(1, round(updates / math.ceil(count / batch_size)))
            if isinstance(trainer, Trainer):
                with restored(trainer.model, trainer.optimizer) as back:
                    back.call(trainer.step.load_state_dict, copy.deepcopy(trainer.step.state_dict()))
                    back.set_attr(trainer, "history", trainer.history)
                    measured = _fit(trainer, batch, validation, more, batch_size)
            else:
                measured = _fit(first if number == 0 else _made(trainer), batch, validation, more, batch_size)
            train_losses.append(measured[0])
            val_losses.append(measured[1])
    found = BiasVariance(
        tuple(counts),
        tuple(train_losses),
        tuple(val_losses),
        nothing,
        0.3 * nothing if target is None else float(target),
        0.2 * nothing if gap is None else float(gap),
    )
    if verbose:
        print(found)  # noqa: T201  (it is what was asked for)
    return found


def _made(make: Callable[[], Trainer]) -> Trainer:
    if not callable(make):
        raise TypeError(f"{_WHERE}: expected a Trainer, or a function that returns one; got {type(make).__name__}")
    trainer = make()
    if not isinstance(trainer, Trainer):
        raise TypeError(f"{_WHERE}: expected the function to return a Trainer; got {type(trainer).__name__}")
    return trainer


def _counts(sizes: Sequence[float], rows: int) -> list[int]:
    counts = set()
    for size in sizes:
        share = check_number(_WHERE, "sizes", size)
        whole = hasattr(size, "__index__")
        if not (1 <= share <= rows if whole else 0 < share <= 1):
            allowed = f"numbers of rows in [1, {rows}]" if whole else "shares in (0, 1]"
            raise ValueError(f"{_WHERE}: expected sizes to be {allowed}; got {size}")
        counts.add(int(share) if whole else max(1, round(share * rows)))
    if not counts:
        raise ValueError(f"{_WHERE}: expected at least one size; got none")
    return sorted(counts)


def _fit(
    trainer: Trainer, batch: data.Batch, validation: data.Batch, epochs: int, batch_size: int
) -> tuple[float, float]:
    trainer.fit(*batch, epochs=epochs, batch_size=batch_size, train_metrics=False, verbose=False)
    losses = [trainer.evaluate(*rows)["loss"] for rows in (batch, validation)]
    if adds_up(trainer.loss):
        # Different numbers of rows are compared.
        losses = [loss / len(rows[0]) for loss, rows in zip(losses, (batch, validation), strict=True)]
    return losses[0], losses[1]

"""The checks of a net that does not learn, all together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor
from fastnn._grad_mode import no_grad
from fastnn._types import check_at_least
from fastnn.diagnostics import layers as layer_statistics, training_checks
from fastnn.diagnostics.data_checks import data_checks
from fastnn.diagnostics.gradient_check import gradient_check
from fastnn.diagnostics.layer_checks import layer_checks
from fastnn.diagnostics.report import Check, Diagnosis
from fastnn.nn.module import Module
from fastnn.optim import Optimizer
from fastnn.training import data
from fastnn.training.assumptions import check_learns
from fastnn.training.data import Types
from fastnn.training.restored import restored
from fastnn.training.weighing import reduction_of

_WHERE = "diagnose"
_GRADIENT_ROWS = 8


def check_model_and_loss(where: str, model: object, loss: object) -> None:
    """Refuse what is no model, and what is no loss that training could use.

    Raises:
        TypeError: One of them is of another type.
        ValueError: The loss has reduction ``"none"``.
    """
    if not isinstance(model, Module):
        raise TypeError(f"{where}: expected model to be an nn.Module; got {type(model).__name__}")
    if not callable(loss):
        raise TypeError(f"{where}: expected loss to be a function or a module; got {type(loss).__name__}")
    if reduction_of(loss) == "none":
        raise ValueError(f"{where}: expected a loss with reduction 'mean' or 'sum'; got 'none'")


def diagnose(
    model: Module,
    loss: Callable[[Any, Any], Tensor],
    x: Any,
    y: Any,
    optimizer: Optimizer | None = None,
    *,
    batch_size: int = 32,
    rows: int = 1024,
    steps: int = 60,
    verbose: bool = True,
) -> Diagnosis:
    """Run the checks that find why a net does not learn, and say what to try.

    ===================  ==============================================================================================
    check                what a healthy net measures
    ===================  ==============================================================================================
    data finite          no NaN, no infinity
    constant features    none that is the same, and not 0, in every row
    feature scale        ``sqrt(mean(x[:, j] ** 2))`` at most 10, deviations at most 100-fold apart
    label balance        for classes: at most 10 times as many rows of one as of another
    target scale         for regression: deviation from 0.1 to 10
    initial loss         at most 1.5 times that of outputs that are the same for every row: ln C for C classes, the
                         variance of y for the squared error
    gradient check       ``g·v`` against ``(L(θ + h v) - L(θ - h v)) / 2h`` for random v, in float64
    overfit a handful    at most 5 % of that loss left after 200 steps of Adam on 8 rows
    symmetry             no hidden layer whose units all have the same weights
    dead units           at most 25 % of a layer's ReLUs 0 for all rows
    saturated units      at most 25 % of a layer's tanh outputs beyond ±0.98, or sigmoids within 0.01 of 0 or 1
    activations          the deviation over rows shrinks less than 1000-fold, and the size grows less than 100-fold
    gradients            likewise, within 1000-fold of the last layer's
    update ratio         ``|Δw| / |w|`` of a step about 1e-3; from 1e-5 to 0.1 is well
    loss stays finite    the first steps do not multiply the loss; else it names the layer where it began
    learning rate        the loss falls by 2 % at least; else others are tried
    ===================  ==============================================================================================

    The last three need the optimizer. Dead and saturated units are seen where the activation is a module. The model,
    its gradients and modes, the optimizer and the generator are left bit for bit as they were. Checks that train run
    in training mode.

    Args:
        model: The model; best before training, but a trained one will do.
        loss: Called with the model's output and the targets; returns a scalar.
        x: Inputs, ``(n, *)``.
        y: Targets, n of them.
        optimizer: Of the model's parameters; ``None`` to leave the checks of the learning rate out.
        batch_size: Rows a step, at least 1.
        rows: At most so many rows, evenly spaced, are looked at by the checks of layers and of training; at least 1.
        steps: Steps that the learning rate is tried for, at least 10.
        verbose: Whether to print the table.

    Returns:
        The checks: a sequence, also by name; ``str()`` is the table, ``plot()`` a picture.

    Raises:
        ValueError: A setting is out of range, lengths differ, or the optimizer trains nothing of the model.
        TypeError: Data or settings are of another type.

    Source:
        Karpathy 2019, "A Recipe for Training Neural Networks", and the notes of Stanford's CS231n, "Neural Networks
        Part 3", whose 1e-3 for updates and ln C it is. Glorot & Bengio 2010, PMLR 9:249, for layer-wise statistics.
        Where they say "roughly", the thresholds above are ours.
    """
    check_model_and_loss(_WHERE, model, loss)
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise TypeError(f"{_WHERE}: expected optimizer to be an Optimizer; got {type(optimizer).__name__}")
    if optimizer is not None:
        check_learns(_WHERE, model, optimizer, loss)
    batch_size = data.check_batch_size(_WHERE, batch_size)
    check_at_least(_WHERE, "rows", rows, 1)
    check_at_least(_WHERE, "steps", steps, 10)
    inputs, targets = data.pair(_WHERE, x, y, Types.of(model, loss))
    with restored(model, optimizer):
        report = _diagnose(model, loss, inputs, targets, optimizer, batch_size, rows, steps)
    if verbose:
        print(report)  # noqa: T201  (it is what was asked for)
    return report


def spread_rows(count: int, at_most: int) -> NDArray[np.int64]:
    """Return evenly spaced rows."""
    return np.unique(np.linspace(0, count - 1, min(count, at_most)).round().astype(np.int64))


def _diagnose(
    model: Module,
    loss: Callable[[Any, Any], Tensor],
    x: NDArray[Any],
    y: NDArray[Any],
    optimizer: Optimizer | None,
    batch_size: int,
    rows: int,
    steps: int,
) -> Diagnosis:
    checks = data_checks(x, y)
    if checks[0].verdict != "ok":
        # Nothing else would measure anything.
        return Diagnosis(tuple(checks))
    some = spread_rows(len(x), rows)
    x, y = np.ascontiguousarray(x[some]), np.ascontiguousarray(y[some])
    model.train()
    with restored(model):
        with no_grad():
            outputs = np.array(model(_core.as_tensor(x)).detach().numpy())
        layers, gradients, value = layer_statistics.examine(model, loss, x, y)
    checks.append(training_checks.initial_loss(loss, outputs, y, value))
    few = spread_rows(len(x), _GRADIENT_ROWS)
    with restored(model):
        checks.append(gradient_check(model, loss, x[few], y[few]))
    check, overfit_losses = training_checks.overfit(model, loss, x, y, outputs)
    checks.append(check)
    signal = float(np.sqrt(np.square(x.reshape(len(x), -1).std(axis=0, dtype=np.float64)).mean()))
    checks += layer_checks(model, layers, gradients, signal)
    tried: dict[float, tuple[float, ...]] = {}
    if optimizer is not None:
        checks.append(training_checks.update_ratio(model, loss, optimizer, x, y, min(batch_size, len(x))))
        more, tried = training_checks.learning_rate(model, loss, optimizer, x, y, batch_size, steps)
        checks += more
    return Diagnosis(tuple(checks), layers, overfit_losses, tried)


__all__ = ["Check", "Diagnosis", "diagnose"]

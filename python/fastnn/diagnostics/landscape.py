"""The shape of a minimum: its greatest curvature, and the loss along a random direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor
from fastnn._grad_mode import no_grad
from fastnn._types import check_at_least, check_number
from fastnn.autograd.functional import hessian_max_eigenvalue
from fastnn.diagnostics.checks import check_model_and_loss
from fastnn.diagnostics.gradient_check import in_float64
from fastnn.diagnostics.report import new_figure, saved
from fastnn.nn.module import Module
from fastnn.training import data
from fastnn.training.data import Types
from fastnn.training.restored import restored


def sharpness(
    model: Module,
    loss: Callable[[Any, Any], Tensor],
    x: Any,
    y: Any,
    *,
    iterations: int = 100,
    tol: float = 1e-3,
) -> float:
    """Return the greatest eigenvalue of the loss' Hessian: the curvature of the steepest direction.

    Found by power iteration, :func:`fastnn.autograd.functional.hessian_max_eigenvalue`, in float64 on a copy of the
    model in evaluation mode. Gradient descent with a rate above 2 / sharpness leaves such a minimum.

    Args:
        model: The model. It, its gradients and the generator are left as they were.
        loss: Called with the model's output and the targets; returns a scalar.
        x: Inputs, ``(n, *)``; the loss is of all rows at once.
        y: Targets, n of them.
        iterations: Hessian-vector products at most, at least 1.
        tol: Residual at which to stop, as a share of the eigenvalue; at least 0.

    Returns:
        The eigenvalue.

    Raises:
        ValueError: A setting is out of range, lengths differ, or no parameter learns.
        TypeError: Data or settings are of another type.
        RuntimeError: An op has no second derivative.

    Source:
        Keskar et al. 2017, https://arxiv.org/abs/1609.04836, whose own measure is the greatest loss in a small box
        instead; the eigenvalue is that of Li et al. 2018, https://arxiv.org/abs/1712.09913.
    """
    where = "sharpness"
    check_model_and_loss(where, model, loss)
    check_at_least(where, "iterations", iterations, 1)
    if not check_number(where, "tol", tol) >= 0:
        raise ValueError(f"{where}: expected tol of at least 0; got {tol}")
    inputs, targets = data.pair(where, x, y, Types.of(model, loss))
    precise, measure = in_float64(model, loss, inputs, targets)
    precise.eval()
    params = [p for p in precise.parameters() if p.requires_grad]
    if not params:
        raise ValueError(f"{where}: expected a parameter that requires grad; got none")
    return hessian_max_eigenvalue(measure, params, iterations, tol, "algebraic").value


@dataclass(frozen=True)
class LossAlong:
    """The loss along a direction.

    Attributes:
        alphas: How far from the model; 0 is the model itself.
        losses: The loss there.
    """

    alphas: NDArray[np.float64]
    losses: NDArray[np.float64]

    def __repr__(self) -> str:
        return f"LossAlong({len(self.alphas)} points from {self.alphas[0]:.3g} to {self.alphas[-1]:.3g})"

    def plot(self, path: Any = None) -> Any:
        """Draw the loss along the direction.

        Args:
            path: Where to save the picture, if anywhere.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: matplotlib is not installed.
        """
        figure = new_figure("LossAlong.plot", 5.0, 3.4)
        axes = figure.subplots()
        axes.plot(self.alphas, self.losses, marker=".")
        axes.set(xlabel="distance along a random direction", ylabel="loss")
        axes.grid(alpha=0.3)
        return saved(figure, path)


def loss_along(
    model: Module,
    loss: Callable[[Any, Any], Tensor],
    x: Any,
    y: Any,
    *,
    radius: float = 1.0,
    points: int = 21,
    seed: int = 0,
) -> LossAlong:
    """Measure the loss along a random direction, in steps as large as the weights, so that nets can be compared.

    The direction d is drawn from a normal distribution, and each filter, the weights of one unit, gets the norm of the
    model's::

        d[i] = d[i] / |d[i]| * |θ[i]|,   losses[k] = loss(θ + alphas[k] * d)

    Biases, and scales of normalization layers, stay as they are. The model is in evaluation mode.

    Args:
        model: The model. It and the generator are left as they were.
        loss: Called with the model's output and the targets; returns a scalar.
        x: Inputs, ``(n, *)``.
        y: Targets, n of them.
        radius: How far to go on either side, above 0: at 1 the step is as large as the weights.
        points: How many places, at least 2; with an odd number, the model itself is one.
        seed: Of the direction.

    Returns:
        The places, the losses and a plot.

    Raises:
        ValueError: A setting is out of range, or lengths differ.
        TypeError: Data or settings are of another type.

    Source:
        Li et al. 2018, https://arxiv.org/abs/1712.09913, section 4.
    """
    where = "loss_along"
    check_model_and_loss(where, model, loss)
    if not 0 < check_number(where, "radius", radius) < float("inf"):
        raise ValueError(f"{where}: expected radius above 0; got {radius}")
    check_at_least(where, "points", points, 2)
    inputs, targets = data.pair(where, x, y, Types.of(model, loss))
    alphas = np.linspace(-radius, radius, points)
    with restored(model), no_grad():
        model.eval()
        _core.manual_seed(seed)
        moved = [
            (p.detach(), np.array(p.detach().numpy(), np.float64), _filter_normalized(p))
            for p in model.parameters()
            if p.ndim > 1
        ]
        losses = []
        for alpha in alphas:
            for parameter, start, direction in moved:
                parameter.copy_(_core.as_tensor((start + alpha * direction).astype(parameter.numpy().dtype)))
            losses.append(float(loss(model(_core.as_tensor(inputs)), _core.as_tensor(targets)).item()))
    return LossAlong(alphas, np.array(losses))


def _filter_normalized(parameter: Tensor) -> NDArray[np.float64]:
    rows = parameter.shape[0]
    d = _core.randn(*parameter.shape, dtype=_core.float64).numpy().reshape(rows, -1)
    sizes = np.linalg.norm(np.asarray(parameter.detach().numpy(), np.float64).reshape(rows, -1), axis=1, keepdims=True)
    return np.asarray(d * (sizes / np.linalg.norm(d, axis=1, keepdims=True))).reshape(parameter.shape)

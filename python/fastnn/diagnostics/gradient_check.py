"""Gradients against central differences along random directions, in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor
from fastnn._grad_mode import enable_grad, no_grad
from fastnn.autograd import grad
from fastnn.diagnostics.layers import Loss
from fastnn.diagnostics.report import Check, graded
from fastnn.nn.module import Module

_DIRECTIONS = 2
# Two steps: the smaller crosses fewer kinks of a ReLU, the greater rounds less.
_STEPS = (1e-5, 1e-6)
_ERROR = (1e-4, 1e-2)


def in_float64(model: Module, loss: Loss, x: NDArray[Any], y: NDArray[Any]) -> tuple[Module, Callable[[], Tensor]]:
    """Return a copy of a model in float64, and a function that computes its loss."""
    precise = copy.deepcopy(model).double()
    measure: Loss = copy.deepcopy(loss).double() if isinstance(loss, Module) else loss
    inputs = _core.as_tensor(x.astype(np.float64))
    targets = _core.as_tensor(y.astype(np.float64) if y.dtype.kind == "f" else y)
    return precise, lambda: measure(precise(inputs), targets)


def gradient_check(model: Module, loss: Loss, x: NDArray[Any], y: NDArray[Any]) -> Check:
    """Compare g·v with ``(L(θ + h v) - L(θ - h v)) / 2h``, for a few random directions v of each parameter.

    The differences, above what rounding of the loss may cause, are compared with the root mean square of g·v over the
    directions of a parameter. A wrong backward spoils the gradients of all parameters before it, so that the last wrong
    parameter is the one closest to the error.
    """
    name = "gradient check"
    expected = f"relative error below {_ERROR[0]:g}"
    try:
        precise, measure = in_float64(model, loss, x, y)
        state = _core.get_rng_state()
        value, errors = _errors(precise, measure, state)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        return Check(name, "warning", "not possible in float64", expected, f"see why float64 fails: {error}")
    if not np.isfinite(value):
        return Check(name, "problem", f"the loss is {value}", expected, "see to the loss first")
    if not errors:
        return Check(name, "problem", "no parameter has a gradient", expected, "see what cuts the model off the loss")
    worst = max(errors.values())
    verdict = graded(worst, *_ERROR)
    wrong = [parameter for parameter, error in errors.items() if not error <= _ERROR[0]]
    return Check(
        name,
        verdict,
        (f"relative error {worst:.2g}" if worst else "no error beyond rounding")
        + (f", from {wrong[-1]!r} back" if wrong else ""),
        expected,
        f"the error arises at {wrong[-1]!r} or in what follows it: check the backward of each op written in Python "
        "there with autograd.gradcheck, and that nothing random or discontinuous is in the way"
        if wrong
        else "",
        worst,
    )


def _errors(model: Module, measure: Callable[[], Tensor], state: tuple[int, int]) -> tuple[float, dict[str, float]]:
    """Return the loss, and the relative error for each parameter."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad and p.numel()]

    def again() -> Tensor:
        # The same dropout each time.
        _core.set_rng_state(state)
        return measure()

    with enable_grad():
        value = again()
    if not value.requires_grad or not named:
        return float(value.item()), {}
    gradients = grad(value, [p for _, p in named], allow_unused=True)
    errors = {}
    with no_grad():
        for (name, parameter), gradient in zip(named, gradients, strict=True):
            directions = _core.randn(_DIRECTIONS, *parameter.shape, dtype=_core.float64).numpy()
            analytical = np.array([0.0 if gradient is None else (gradient.numpy() * v).sum() for v in directions])
            error = min(
                _error(analytical, _differences(parameter, again, directions, h), abs(float(value.item())) / h)
                for h in _STEPS
            )
            errors[name] = error
    return float(value.item()), errors


def _differences(
    parameter: Tensor, measure: Callable[[], Tensor], directions: NDArray[np.float64], h: float
) -> NDArray[np.float64]:
    found = []
    kept = parameter.detach().clone()
    for v in directions:
        sides = []
        for step in (h, -h):
            parameter.detach().copy_(_core.as_tensor(kept.numpy() + step * v))
            sides.append(float(measure().item()))
        parameter.detach().copy_(kept)
        found.append((sides[0] - sides[1]) / (2 * h))
    return np.array(found)


def _error(analytical: NDArray[np.float64], numerical: NDArray[np.float64], loss_per_step: float) -> float:
    rounding = 64 * float(np.finfo(np.float64).eps) * (loss_per_step + 1e-3)
    scale = float(np.sqrt(np.mean([np.square(analytical), np.square(numerical)])))
    return float(max(np.abs(analytical - numerical).max() - rounding, 0.0) / max(scale, 1e-300))

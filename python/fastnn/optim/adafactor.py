"""Adafactor: second moments of rows and columns in the place of every element's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastnn import _core
from fastnn._core import Tensor
from fastnn.optim._settings import at_least, at_most, numbers
from fastnn.optim.optimizer import Parameters
from fastnn.optim.tensor_optimizer import TensorOptimizer

# The distance from 1 to the next number.
_EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52}


class Adafactor(TensorOptimizer):
    """Adafactor: steps relative to the parameter's size, from second moments of rows and columns.

    For every parameter x, at step t; ε₁ and ε₂ are ``eps``, rms(x) = ‖x‖ / √(number of elements)::

        g = grad                                             # -grad if maximize
        α = max(ε₂, rms(x)) * min(lr, 1 / √t)
        β = 1 - t**beta2_decay
        r = β * r + (1 - β) * mean of g² over each row       # of a matrix, (…, n, m)
        c = β * c + (1 - β) * mean of g² over each column
        v = r cᵀ / max(mean(r), ε₁)
        v = β * v + (1 - β) * g²                             # of a vector or scalar, instead
        u = g / √max(v, ε₁²)
        x = x - lr * weight_decay * x - α * u / max(1, rms(u) / d)

    The state of an n × m matrix takes n + m numbers, where Adam's takes 2 n m.

    Args:
        params: Parameters, or groups of them.
        lr: Largest relative step, at least 0.
        beta2_decay: Exponent by which 1 - β falls, at most 0.
        eps: ε₁, least size of g that is divided by, at least 0, or ``None`` for the machine epsilon of the type; and
            ε₂, least size of the parameter for its step, at least 0.
        d: Largest rms of a step before it is clipped, at least 1.
        weight_decay: Decoupled decay a step, in units of ``lr``; at least 0.
        foreach: Accepted for PyTorch's sake.
        maximize: Climb instead of descend.

    Raises:
        ValueError: No parameters, or a setting out of range.
        TypeError: A setting of another type.

    Source:
        Shazeer & Stern 2018, https://arxiv.org/abs/1804.04235, Algorithms 4 and 5, with PyTorch's changes: the paper
        adds ε₁ to g² and takes sums in the place of means, and its largest relative step is always 0.01.
    """

    _not_planned = "Adafactor updates whole matrices, in Python"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check_settings(self, group: Mapping[str, Any]) -> None:
        at_least("Adafactor", "lr", group["lr"], 0)
        at_most("Adafactor", "beta2_decay", group["beta2_decay"], 0)
        for number, value in enumerate(numbers("Adafactor", "eps", group["eps"], 2)):
            if number or value is not None:
                at_least("Adafactor", f"eps[{number}]", value, 0)
        at_least("Adafactor", "d", group["d"], 1)
        at_least("Adafactor", "weight_decay", group["weight_decay"], 0)

    def _new_state(self, param: Tensor) -> dict[str, Any]:
        step = _core.zeros((), dtype=_core.float32)
        if param.ndim < 2:
            return {"step": step, "variance": _core.zeros_like(param)}
        *outer, rows, columns = param.shape
        return {
            "step": step,
            "row_var": _core.zeros((*outer, rows, 1), dtype=param.dtype),
            "col_var": _core.zeros((*outer, 1, columns), dtype=param.dtype),
        }

    def _update_one(self, group: Mapping[str, Any], param: Tensor, grad: Tensor, state: dict[str, Any]) -> None:
        state["step"].add_(1.0)
        t = float(state["step"].item())
        lr = float(group["lr"])
        eps1, eps2 = group["eps"]
        eps1 = _EPSILON[str(param.dtype).removeprefix("fastnn.")] if eps1 is None else float(eps1)
        size = max(float(eps2), _rms(param)) * min(lr, 1 / math.sqrt(t))
        gradient = -grad if group["maximize"] else grad
        share = math.pow(t, float(group["beta2_decay"]))
        square = gradient * gradient
        if param.ndim < 2:
            variance = _average(state["variance"], square, share)
        else:
            rows = _average(state["row_var"], square.mean(-1, keepdim=True), share)
            columns = _average(state["col_var"], square.mean(-2, keepdim=True), share)
            variance = rows * columns / rows.mean(-2, keepdim=True).clamp(min=eps1)
        step = gradient * variance.clamp(min=eps1 * eps1).rsqrt()
        size /= max(1.0, _rms(step) / float(group["d"]))
        param.mul_(1 - lr * float(group["weight_decay"]))
        param.sub_(step, alpha=size)


def _rms(x: Tensor) -> float:
    return float(x.norm().item() / math.sqrt(x.numel()))


def _average(average: Tensor, value: Tensor, share: float) -> Tensor:
    """Move an average toward a value, in place."""
    return average.mul_(1 - share).add_(value, alpha=share)

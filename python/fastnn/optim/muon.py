"""Muon: steps whose matrices have singular values near 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import check_at_least, check_number
from fastnn.optim._settings import at_least, numbers, one_of
from fastnn.optim.optimizer import Parameters
from fastnn.optim.tensor_optimizer import TensorOptimizer


class Muon(TensorOptimizer):
    """Muon: momentum whose matrix is made nearly orthogonal before the step.

    For every matrix x, (A, B), at step t::

        m = momentum * m + (1 - momentum) * grad
        u = momentum * m + (1 - momentum) * grad             # if nesterov; else u = m
        o = u / max(‖u‖, eps)                                # Frobenius norm
        o = a * o + (b * g + c * g²) @ o,  g = o @ oᵀ        # ns_steps times; (a, b, c) = ns_coefficients
        x = x - lr * weight_decay * x - lr * scale * o

    The iteration (Newton-Schulz, of degree 5) keeps the singular vectors of u and takes its singular values to about
    0.7 to 1.2. A tall matrix, A > B, is transposed for it. ``scale`` is, by ``adjust_lr_fn``:

    - ``None`` or ``"original"``: √max(1, A / B)
    - ``"match_rms_adamw"``: 0.2 √max(A, B), so that learning rates of AdamW fit
    - ``"spectral_unclamped"``: √(A / B)

    Meant for the weights of hidden layers; give biases, and the first and last layer, to AdamW.

    Args:
        params: Parameters of two dimensions, or groups of them.
        lr: Step size, at least 0.
        weight_decay: Decoupled decay a step, in units of ``lr``; at least 0.
        momentum: Share of the average that is kept, at least 0, sensibly below 1.
        nesterov: Look ahead along the average.
        ns_coefficients: The polynomial's a, b and c.
        eps: Least norm that is divided by, at least 0.
        ns_steps: Iterations, 0 to 99.
        adjust_lr_fn: How the step's size depends on the shape.

    Raises:
        ValueError: No parameters, one that is no matrix, or a setting out of range.
        TypeError: A setting of another type.

    Source:
        Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/, whose momentum is m = momentum * m + grad, which
        differs by a factor that the norm takes away; "match_rms_adamw": Liu et al. 2025, https://arxiv.org/abs/2502.16982,
        section 2.2; "spectral_unclamped": Bernstein 2025, https://jeremybernste.in/writing/deriving-muon. PyTorch
        iterates in bfloat16, for the sake of GPUs, with two to three digits; here it is the parameter's own type.
    """

    _not_planned = "Muon updates whole matrices, in Python"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)

    def _check_settings(self, group: Mapping[str, Any]) -> None:
        for name in ("lr", "momentum", "weight_decay", "eps"):
            at_least("Muon", name, group[name], 0)
        for number, value in enumerate(numbers("Muon", "ns_coefficients", group["ns_coefficients"], 3)):
            check_number("Muon", f"ns_coefficients[{number}]", value)
        check_at_least("Muon", "ns_steps", group["ns_steps"], 0)
        if group["ns_steps"] >= 100:
            raise ValueError(f"Muon: expected ns_steps below 100; got {group['ns_steps']}")
        choices = (None, "original", "match_rms_adamw", "spectral_unclamped")
        one_of("Muon", "adjust_lr_fn", group["adjust_lr_fn"], choices)
        for param in group["params"]:
            if len(param.shape) != 2:
                raise ValueError(f"Muon: expected parameters of two dimensions; got one of shape {tuple(param.shape)}")

    def _new_state(self, param: Tensor) -> dict[str, Any]:
        return {"momentum_buffer": _core.zeros_like(param)}

    def _update_one(self, group: Mapping[str, Any], param: Tensor, grad: Tensor, state: dict[str, Any]) -> None:
        momentum, lr = float(group["momentum"]), float(group["lr"])
        average = state["momentum_buffer"]
        average.mul_(momentum).add_(grad, alpha=1 - momentum)
        ahead = average * momentum + grad * (1 - momentum) if group["nesterov"] else average
        step = _orthogonal(ahead, group["ns_coefficients"], int(group["ns_steps"]), float(group["eps"]))
        param.mul_(1 - lr * float(group["weight_decay"]))
        param.sub_(step, alpha=lr * _scale(group["adjust_lr_fn"], *param.shape))


def _orthogonal(matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Return a matrix of the same singular vectors, its singular values taken near 1."""
    a, b, c = map(float, coefficients)
    rows, columns = matrix.shape
    # So that o oᵀ is the smaller of the two products.
    o: Tensor = matrix.t().contiguous() if rows > columns else matrix
    o = o / max(matrix.norm().item(), eps)
    for _ in range(steps):
        g = o @ o.t()
        o = o * a + (g * b + (g @ g) * c) @ o
    return o.t() if rows > columns else o


def _scale(adjust_lr_fn: str | None, rows: int, columns: int) -> float:
    if adjust_lr_fn == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    ratio = rows / columns
    return math.sqrt(ratio if adjust_lr_fn == "spectral_unclamped" else max(1.0, ratio))

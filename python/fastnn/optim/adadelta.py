"""Adadelta: steps in the units of the parameter, from moving averages of squares."""

from __future__ import annotations

from fastnn.optim.optimizer import Optimizer, Parameters


class Adadelta(Optimizer):
    """Adadelta.

    For every element::

        g = grad + weight_decay * x                          # -grad if maximize
        v = rho * v + (1 - rho) * g²
        d = √(u + eps) / √(v + eps) * g
        u = rho * u + (1 - rho) * d²
        x = x - lr * d

    Args:
        params: Parameters, or groups of them.
        lr: Factor of the step, at least 0.
        rho: Share of the averages that is kept, in [0, 1].
        eps: Added inside the roots, at least 0.
        weight_decay: Factor of the L2 penalty's gradient, at least 0.
        foreach: Accepted for PyTorch's sake, as are ``capturable`` and ``differentiable``.
        capturable: See ``foreach``.
        maximize: Climb instead of descend.
        differentiable: See ``foreach``.

    Raises:
        ValueError: No parameters, or a setting out of range.

    Source:
        Zeiler 2012, https://arxiv.org/abs/1212.5701, Algorithm 1, which has no ``lr``.
    """

    _rule = "Adadelta"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "capturable": capturable,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

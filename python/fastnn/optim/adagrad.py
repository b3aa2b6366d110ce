"""Adagrad: a step size for each element, from all of its gradients so far."""

from __future__ import annotations

from fastnn.optim.optimizer import Optimizer, Parameters


class Adagrad(Optimizer):
    """Adagrad.

    For every element, at step t::

        g = grad + weight_decay * x                          # -grad if maximize
        s = s + g²
        x = x - lr / (1 + (t - 1) * lr_decay) * g / (√s + eps)

    Args:
        params: Parameters, or groups of them.
        lr: Step size, at least 0.
        lr_decay: How fast the step size shrinks, at least 0.
        weight_decay: Factor of the L2 penalty's gradient, at least 0.
        initial_accumulator_value: What s begins with, at least 0.
        eps: Added outside the root, at least 0.
        foreach: Accepted for PyTorch's sake, as are ``differentiable`` and ``fused``.
        maximize: Climb instead of descend.
        differentiable: See ``foreach``.
        fused: See ``foreach``.

    Raises:
        ValueError: No parameters, or a setting out of range.

    Source:
        Duchi, Hazan & Singer 2011, https://jmlr.org/papers/v12/duchi11a.html. Keras begins s with 0.1.
    """

    _rule = "Adagrad"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

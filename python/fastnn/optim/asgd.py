"""ASGD: gradient descent that also keeps the average of the parameters it went through."""

from __future__ import annotations

from fastnn.optim.optimizer import Optimizer, Parameters


class ASGD(Optimizer):
    """Averaged stochastic gradient descent.

    For every element, at step t, with eta = lr and mu = 1 before the first::

        g = grad + weight_decay * x  # -grad if maximize
        x = x - eta * (lambd * x + g)
        ax = ax + mu * (x - ax)
        eta = lr / (1 + lambd * lr * t) ** alpha  # of the next step, as is mu
        mu = 1 / max(1, t - t0)

    ``optimizer.state[parameter]["ax"]`` is the average: of the parameter from step ``t0 + 2`` on, and the
    parameter itself until then.

    Args:
        params: Parameters, or groups of them.
        lr: Step size, at least 0. A change acts one step later, as in PyTorch.
        lambd: Decay of the parameter and of the step size, at least 0.
        alpha: Power by which the step size falls, at least 0.
        t0: Averaging begins after step ``t0 + 1``.
        weight_decay: Factor of the L2 penalty's gradient, at least 0.
        foreach: Accepted for PyTorch's sake, as are ``differentiable`` and ``capturable``.
        maximize: Climb instead of descend.
        differentiable: See ``foreach``.
        capturable: See ``foreach``.

    Raises:
        ValueError: No parameters, or a setting out of range.

    Source:
        Polyak & Juditsky 1992, https://doi.org/10.1137/0330046; the step size is that of Xu 2011,
        https://arxiv.org/abs/1107.2490. ``eta`` and ``mu`` are kept in float64, where PyTorch keeps float32.
    """

    _rule = "ASGD"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

"""Rprop: every element has a step size of its own, and only the sign of its gradient counts."""

from __future__ import annotations

from fastnn.optim.optimizer import Optimizer, Parameters


class Rprop(Optimizer):
    """Resilient backpropagation: steps of adaptive size along the sign of the gradient.

    For every element, with s = lr and p = 0 before the first step::

        g = grad                                             # -grad if maximize
        s = clamp(s * etas[1]) if g * p > 0
            clamp(s * etas[0]) if g * p < 0, and then g = 0
            clamp(s)           otherwise
        x = x - s * sign(g)
        p = g

    Meant for gradients of the whole data set: the noise of small batches turns signs round, and the steps shrink.

    Args:
        params: Parameters, or groups of them.
        lr: What every step size starts from, at least 0; later changes concern new parameters only.
        etas: Factors after a change of sign and without one, in (0, 1) and above 1.
        step_sizes: The least and the greatest step size.
        capturable: Accepted for PyTorch's sake, as are ``foreach`` and ``differentiable``.
        foreach: See ``capturable``.
        maximize: Climb instead of descend.
        differentiable: See ``capturable``.

    Raises:
        ValueError: No parameters, or a setting out of range.

    Source:
        Riedmiller & Braun 1993, https://doi.org/10.1109/ICNN.1993.298623, but without taking back the step that went
        too far: iRprop⁻ of Igel & Hüsken 2000, as in PyTorch. The paper starts from 0.1.
    """

    _rule = "Rprop"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

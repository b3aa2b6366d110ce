"""Adamax: Adam whose second moment is a decaying maximum."""

from __future__ import annotations

from fastnn.optim.optimizer import Optimizer, Parameters


class Adamax(Optimizer):
    """Adamax: Adam whose second moment is a decaying maximum.

    For every element, at step t::

        g = grad + weight_decay * x                          # -grad if maximize
        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, |g| + eps)
        x = x - lr * m / (1 - beta1**t) / u

    Args:
        params: Parameters, or groups of them.
        lr: Step size, at least 0. No step is much longer than that.
        betas: Share of the average that is kept, and of the maximum, in [0, 1).
        eps: Added to the size of the gradient, at least 0.
        weight_decay: Factor of the L2 penalty's gradient, at least 0.
        foreach: Accepted for PyTorch's sake, as are ``differentiable`` and ``capturable``.
        maximize: Climb instead of descend.
        differentiable: See ``foreach``.
        capturable: See ``foreach``.

    Raises:
        ValueError: No parameters, or a setting out of range.

    Source:
        Kingma & Ba 2015, https://arxiv.org/abs/1412.6980, Algorithm 2, which has no ``eps``. PyTorch adds it inside the
        maximum; Keras adds it to ``u`` when dividing, and has 1e-3 for ``lr``.
    """

    _rule = "Adamax"

    def __init__(
        self,
        params: Parameters,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

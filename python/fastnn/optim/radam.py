"""RAdam: Adam that divides by the second moment only once that is known well enough."""

from __future__ import annotations

from fastnn.optim.optimizer import Optimizer, Parameters


class RAdam(Optimizer):
    """RAdam: Adam that divides by the second moment only once that is known well enough.

    For every element, at step t::

        x = x - lr * weight_decay * x                        # if decoupled_weight_decay
        g = grad + weight_decay * x                          # -grad if maximize; grad alone if decoupled_weight_decay
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g²
        q = 2 / (1 - beta2) - 1
        p = q - 2 * t * beta2**t / (1 - beta2**t)
        r = √((p - 4) * (p - 2) * q / ((q - 4) * (q - 2) * p))
        d = r * √(1 - beta2**t) / (√v + eps)  if p > 5
            1                                 otherwise
        x = x - lr * m / (1 - beta1**t) * d

    Args:
        params: Parameters, or groups of them.
        lr: Step size, at least 0.
        betas: Shares of the two averages that are kept, in [0, 1).
        eps: Added outside the root, before the bias is corrected; at least 0.
        weight_decay: Factor of the L2 penalty's gradient, or share that decays, at least 0.
        decoupled_weight_decay: Decay the parameter itself, as AdamW and the authors' code do.
        foreach: Accepted for PyTorch's sake, as are ``capturable`` and ``differentiable``.
        maximize: Climb instead of descend; a decoupled decay still decays.
        capturable: See ``foreach``.
        differentiable: See ``foreach``.

    Raises:
        ValueError: No parameters, or a setting out of range.

    Source:
        Liu et al. 2020, https://arxiv.org/abs/1908.03265, Algorithm 2, which has no ``eps`` and divides from p > 4 on;
        PyTorch from p > 5.
    """

    _rule = "RAdam"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

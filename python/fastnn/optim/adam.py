"""Adam: steps from moving averages of the gradient and of its square."""

from __future__ import annotations

from fastnn.optim.optimizer import Optimizer, Parameters


class Adam(Optimizer):
    """Adam: steps from moving averages of the gradient and of its square.

    For every element, at step t::

        g = grad + weight_decay * x                          # -grad if maximize; without decay if decoupled
        x = x - lr * weight_decay * x                        # if decoupled
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g²
        w = max(w, v)                                        # if amsgrad; else w = v
        x = x - lr * m / (1 - beta1**t) / (√(w / (1 - beta2**t)) + eps)

    Args:
        params: Parameters, or groups of them.
        lr: Step size, at least 0.
        betas: Shares of the two averages that are kept, in [0, 1).
        eps: Added outside the root, at least 0.
        weight_decay: Factor of the L2 penalty's gradient, or, if decoupled, share of the parameter, times ``lr``, that
            each step takes away; at least 0.
        amsgrad: Divide by the largest second moment so far.
        foreach: Accepted for PyTorch's sake, as are ``capturable``, ``differentiable`` and ``fused``.
        maximize: Climb instead of descend.
        capturable: See ``foreach``.
        differentiable: See ``foreach``.
        fused: See ``foreach``.
        decoupled_weight_decay: Decay the parameter itself, as :class:`AdamW` does.

    Raises:
        ValueError: No parameters, or a setting out of range.

    Source:
        Kingma & Ba 2015, https://arxiv.org/abs/1412.6980, Algorithm 1; amsgrad: Reddi, Kale & Kumar 2018,
        https://openreview.net/forum?id=ryQu7f-RZ; decoupled: Loshchilov & Hutter 2019,
        https://arxiv.org/abs/1711.05101. Keras' epsilon stands inside the correction, and is 1e-7.
    """

    _rule = "Adam"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

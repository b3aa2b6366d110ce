"""NAdam: Adam with Nesterov's momentum."""

from __future__ import annotations

from fastnn.optim.optimizer import Optimizer, Parameters


class NAdam(Optimizer):
    """NAdam: Adam with Nesterov's momentum.

    For every element, at step t, with P = 1 before the first::

        mu(t) = beta1 * (1 - 0.96**(t * momentum_decay) / 2)
        P = P * mu(t)
        x = x - lr * weight_decay * x                        # if decoupled_weight_decay
        g = grad + weight_decay * x                          # -grad if maximize; grad alone if decoupled_weight_decay
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g²
        d = mu(t + 1) / (1 - P * mu(t + 1)) * m + (1 - mu(t)) / (1 - P) * g
        x = x - lr * d / (√(v / (1 - beta2**t)) + eps)

    Args:
        params: Parameters, or groups of them.
        lr: Step size, at least 0.
        betas: Shares of the two averages that are kept, in [0, 1).
        eps: Added outside the root, at least 0.
        weight_decay: Factor of the L2 penalty's gradient, or share that decays, at least 0.
        momentum_decay: How fast the momentum grows from ``beta1 / 2`` to ``beta1``, at least 0.
        decoupled_weight_decay: Decay the parameter itself, as AdamW does.
        foreach: Accepted for PyTorch's sake, as are ``capturable`` and ``differentiable``.
        maximize: Climb instead of descend; a decoupled decay still decays.
        capturable: See ``foreach``.
        differentiable: See ``foreach``.

    Raises:
        ValueError: No parameters, or a setting out of range.

    Source:
        Dozat 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ, Algorithm 2. P, ``mu_product`` in the state,
        is the product of the momenta that were in force, whatever the settings are now; it is kept in float64, where
        PyTorch keeps float32. Keras fixes ``momentum_decay`` at 4e-3, and has 1e-3 for ``lr``.
    """

    _rule = "NAdam"

    def __init__(
        self,
        params: Parameters,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
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
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

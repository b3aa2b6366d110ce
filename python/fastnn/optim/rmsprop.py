"""RMSprop: the gradient over the root of the moving average of its square."""

from __future__ import annotations

from fastnn.optim.optimizer import Optimizer, Parameters


class RMSprop(Optimizer):
    """RMSprop.

    For every element::

        g = grad + weight_decay * x                          # -grad if maximize
        v = alpha * v + (1 - alpha) * g²
        m = alpha * m + (1 - alpha) * g                      # if centered; else m = 0
        d = g / (√(v - m²) + eps)
        b = momentum * b + d                                 # if momentum is not 0; else b = d
        x = x - lr * b

    Args:
        params: Parameters, or groups of them.
        lr: Step size, at least 0.
        alpha: Share of the averages that is kept, in [0, 1].
        eps: Added outside the root, at least 0.
        weight_decay: Factor of the L2 penalty's gradient, at least 0.
        momentum: Share of the velocity that is kept, at least 0.
        centered: Divide by the standard deviation instead of the root mean square.
        capturable: Accepted for PyTorch's sake, as are ``foreach`` and ``differentiable``.
        foreach: See ``capturable``.
        maximize: Climb instead of descend.
        differentiable: See ``capturable``.

    Raises:
        ValueError: No parameters, or a setting out of range.

    Source:
        Hinton 2012, lecture 6e of "Neural Networks for Machine Learning"; centered: Graves 2013,
        https://arxiv.org/abs/1308.0850. TensorFlow adds ``eps`` inside the root.
    """

    _rule = "RMSprop"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

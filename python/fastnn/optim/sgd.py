"""SGD: steps along the gradient, with momentum or without."""

from __future__ import annotations

from fastnn.optim.optimizer import Optimizer, Parameters


class SGD(Optimizer):
    """Stochastic gradient descent.

    For every element, at step t::

        g = grad + weight_decay * x                          # -grad if maximize
        v = g                      if t == 1
            momentum * v + (1 - dampening) * g  otherwise
        x = x - lr * (g + momentum * v if nesterov else v)   # g itself if momentum is 0

    Args:
        params: Parameters, or groups of them.
        lr: Step size, at least 0.
        momentum: Share of the velocity that is kept, at least 0.
        dampening: Share of the gradient that the velocity leaves out.
        weight_decay: Factor of the L2 penalty's gradient, at least 0.
        nesterov: Look one step ahead; needs momentum, and no dampening.
        maximize: Climb instead of descend.
        foreach: Accepted for PyTorch's sake, as are ``differentiable`` and ``fused``.
        differentiable: See ``foreach``.
        fused: See ``foreach``.

    Raises:
        ValueError: No parameters, or a setting out of range.

    Source:
        Sutskever et al. 2013, https://proceedings.mlr.press/v28/sutskever13.html. As in PyTorch, ``lr`` multiplies the
        velocity; in the paper, and in Keras, it enters it.

    Example:
        >>> import numpy as np
        >>> from fastnn import optim
        >>> w = np.ones(2)
        >>> optim.SGD([w], lr=0.5).step(grads=[np.array([1.0, -2.0])])
        >>> w
        array([0.5, 2. ])
    """

    _rule = "SGD"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

"""Lion: steps of one size, in the direction of the sign of a momentum."""

from __future__ import annotations

from fastnn.optim.optimizer import Optimizer, Parameters


class Lion(Optimizer):
    """Lion: steps of one size, in the direction of the sign of a momentum.

    For every element::

        g = grad  # -grad if maximize
        c = beta1 * m + (1 - beta1) * g
        x = x - lr * (sign(c) + weight_decay * x)
        m = beta2 * m + (1 - beta2) * g

    One tensor of state, half of Adam's. As every element moves by ``lr``, that should be 3 to 10 times smaller than for
    AdamW, and ``weight_decay`` as much larger.

    Args:
        params: Parameters, or groups of them.
        lr: Step size, at least 0.
        betas: Shares of the momentum that are kept, for the step and for the memory, in [0, 1).
        weight_decay: Share of the parameter, times ``lr``, that each step takes away, at least 0.
        maximize: Climb instead of descend; the decay still decays.

    Raises:
        ValueError: No parameters, or a setting out of range.

    Source:
        Chen et al. 2023, https://arxiv.org/abs/2302.06675, Algorithm 2, with the settings of the authors' code. PyTorch
        has none; Keras' is the same but for ``lr``, 1e-3.
    """

    _rule = "Lion"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

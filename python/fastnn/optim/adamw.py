"""AdamW: Adam whose weight decay does not pass through the averages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastnn.optim.adam import Adam
from fastnn.optim.optimizer import Parameters


class AdamW(Adam):
    """AdamW: Adam whose weight decay does not pass through the averages.

    For every element, at step t::

        g = grad                                             # -grad if maximize
        x = x - lr * weight_decay * x
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g²
        w = max(w, v)                                        # if amsgrad; else w = v
        x = x - lr * m / (1 - beta1**t) / (√(w / (1 - beta2**t)) + eps)

    A group with ``decoupled_weight_decay`` of ``False`` has :class:`Adam`'s decay, as in PyTorch; what
    :meth:`load_state_dict` loads is decoupled again.

    Args:
        params: Parameters, or groups of them.
        lr: Step size, at least 0.
        betas: Shares of the two averages that are kept, in [0, 1).
        eps: Added outside the root, at least 0.
        weight_decay: Share of the parameter, times ``lr``, that each step takes away, at least 0.
        amsgrad: Divide by the largest second moment so far.
        foreach: Accepted for PyTorch's sake, as are ``capturable``, ``differentiable`` and ``fused``.
        maximize: Climb instead of descend.
        capturable: See ``foreach``.
        differentiable: See ``foreach``.
        fused: See ``foreach``.

    Raises:
        ValueError: No parameters, or a setting out of range.

    Source:
        Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101, Algorithm 2 with a constant schedule.
    """

    _rule = "AdamW"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned, be it Adam's; the decay stays decoupled, as in PyTorch."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True

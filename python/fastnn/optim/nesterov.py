"""Nesterov's momentum as he wrote it: the gradient is taken where the momentum alone would lead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import _core
from fastnn._core import Tensor, Undo
from fastnn._grad_mode import enable_grad, no_grad
from fastnn._types import check_callable
from fastnn.optim.optimizer import Optimizer, Parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Nesterov(Optimizer):
    """Nesterov's accelerated gradient, with the gradient of the look-ahead point.

    For every element, with v = 0 before the first step::

        a = x - lr * momentum * v                            # where the momentum alone would lead
        g = grad at a + weight_decay * a                     # -grad if maximize
        v = momentum * v + g
        x = x - lr * v

    The loss is therefore computed at a, by a closure or within :meth:`look_ahead`::

        with optimizer.look_ahead():
            optimizer.zero_grad()
            loss_of(model(x), y).backward()
        optimizer.step()

    ``SGD(nesterov=True)``, as in PyTorch, is the same walk seen from elsewhere: its parameter is a, so that the
    gradient is taken where the parameters are. With constant settings its parameters are the look-ahead points of this
    optimizer, to the rounding. The two differ where ``lr`` or ``momentum`` change between steps (SGD then looks ahead
    with the settings of the step before), and in what they show: x, the point that the theorems are about, is the
    parameter here, and lies one momentum step behind the parameter there.

    Args:
        params: Parameters, or groups of them.
        lr: Step size, at least 0.
        momentum: Share of the velocity that is kept, at least 0. The theorem of 1983 needs it to grow, as (a - 1) / a'
            with a' = (1 + √(4a² + 1)) / 2 from a = 1.
        weight_decay: Factor of the L2 penalty's gradient, which is taken at the look-ahead point too; at least 0.
        maximize: Climb instead of descend.

    Raises:
        ValueError: No parameters, or a setting out of range.

    Source:
        Nesterov 1983; Sutskever et al. 2013, https://proceedings.mlr.press/v28/sutskever13.html, equations 3 and 4,
        where ``lr`` enters the velocity, as in Keras; here, as in ``SGD``, it multiplies it. The form of PyTorch is
        that of Bengio et al. 2012, https://arxiv.org/abs/1212.0901.
    """

    _rule = "Nesterov"
    _needs_closure = True
    _not_planned = "Nesterov takes the gradient at another point than the parameters'"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        # True if there are gradients of a look-ahead point, and whether the parameters are at one.
        self._looked_ahead = False
        self._is_ahead = False
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "maximize": maximize})

    def look_ahead(self) -> Undo:
        """Move the parameters to the look-ahead point within a ``with`` block, and back, bit for bit, on leaving.

        Raises:
            RuntimeError: The parameters are at the look-ahead point already.
        """
        return Undo(self._go_ahead)

    def _go_ahead(self, undo: Undo) -> None:
        if self._is_ahead:
            raise RuntimeError("Nesterov.look_ahead: expected to be left before it is entered again")
        params, velocities, factors = [], [], []
        for group, slots in zip(self.param_groups, self._slots, strict=True):
            for index in range(len(slots)):
                if state := slots.state(index):
                    param = group["params"][index]
                    params.append(_core.from_numpy(param) if isinstance(param, np.ndarray) else param)
                    velocities.append(state["momentum_buffer"])
                    factors.append(group["lr"] * group["momentum"])
        undo.set_attr(self, "_is_ahead", True)
        undo.done(self._note)
        undo.values(params)
        with no_grad():
            ahead = [p.detach() - v * f for p, v, f in zip(params, velocities, factors, strict=True)]
        _core.assign("Nesterov.look_ahead", [f"parameter {i}" for i in range(len(params))], params, ahead)

    def _note(self) -> None:
        self._looked_ahead = True

    def step(
        self,
        closure: Callable[[], Any] | None = None,
        *,
        grads: Sequence[Tensor | NDArray[Any] | None] | None = None,
    ) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: Computes the loss and its gradients; called at the look-ahead point. Not needed after
                :meth:`look_ahead`.
            grads: A gradient for each parameter, taken within :meth:`look_ahead`, in the place of ``parameter.grad``.

        Returns:
            What ``closure`` returned: the loss at the look-ahead point.

        Raises:
            RuntimeError: Neither a closure nor gradients of the look-ahead point, or the parameters are still there.
            ValueError: As for every optimizer.
            TypeError: Likewise.
        """
        if self._is_ahead:
            raise RuntimeError("Nesterov.step: expected to be called after look_ahead(); it was called within")
        loss = None
        if closure is not None:
            check_callable("Nesterov.step", "closure", closure)
            with self.look_ahead(), enable_grad():
                loss = closure()
        if not self._looked_ahead:
            raise RuntimeError("Nesterov.step: expected a closure, or gradients taken within look_ahead(); got neither")
        super().step(grads=grads)
        self._looked_ahead = False
        return loss

"""SAM: descend the worst loss of a neighborhood."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import _core
from fastnn._core import Tensor, Undo
from fastnn._grad_mode import no_grad
from fastnn._types import check_callable
from fastnn.optim._settings import at_least
from fastnn.optim.optimizer import Optimizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Keeps a gradient of 0 from being divided by 0.
_LEAST_NORM = 1e-12


class SAM(Optimizer):
    """Sharpness-aware minimization: another optimizer's step, with the gradient of the worst point nearby.

    With the norm over all parameters::

        e = rho * g / ‖g‖                                    # first_step: g at x
        e = rho * x² * g / ‖|x| * g‖                         # if adaptive
        x = base_optimizer's step from x, with the gradient at x + e   # second_step

    A step costs two evaluations of the loss. In a loop of one's own::

        loss.backward()
        optimizer.first_step(zero_grad=True)
        loss_of(model(x), y).backward()
        optimizer.second_step(zero_grad=True)

    Both evaluations update the running statistics of batch norm, and draw dropout anew.

    Args:
        base_optimizer: Any optimizer that needs no closure. It shares its ``param_groups`` and its state, so that a
            schedule may change the learning rate of either.
        rho: Radius of the neighborhood, at least 0; also a setting of a parameter group.
        adaptive: Scale the neighborhood by each parameter's size; also a setting of a parameter group.

    Raises:
        ValueError: ``rho`` is out of range.
        TypeError: ``base_optimizer`` is no optimizer, or one that needs a closure, or it holds arrays.

    Source:
        Foret et al. 2021, https://arxiv.org/abs/2010.01412, Algorithm 1 with p = 2; adaptive: Kwon et al. 2021,
        https://arxiv.org/abs/2102.11600, whose η, added to the absolute values, is 0 here. PyTorch has no SAM.
        ``state_dict`` is the base optimizer's, with ``rho`` and ``adaptive`` in its groups; take it between steps.
    """

    _needs_closure = True
    _not_planned = "SAM evaluates the gradient twice a step"

    def __init__(self, base_optimizer: Optimizer, rho: float = 0.05, adaptive: bool = False) -> None:
        if not isinstance(base_optimizer, Optimizer):
            raise TypeError(f"SAM: expected base_optimizer to be an optimizer; got {type(base_optimizer).__name__}")
        if base_optimizer._needs_closure:
            raise TypeError(
                f"SAM: expected a base_optimizer that needs no closure; got {type(base_optimizer).__name__}"
            )
        at_least("SAM", "rho", rho, 0)
        self.base_optimizer = base_optimizer
        self.defaults = {**base_optimizer.defaults, "rho": rho, "adaptive": adaptive}
        for group in base_optimizer.param_groups:
            _check({"rho": rho, **group})
        for group in base_optimizer.param_groups:
            group.setdefault("rho", rho)
            group.setdefault("adaptive", adaptive)
        # The very lists of the base, so that both see every group and every state.
        self.param_groups = base_optimizer.param_groups
        self._slots = base_optimizer._slots
        # Parameters and their values, between the two halves of a step.
        self._before: list[tuple[Tensor, Tensor]] | None = None

    def _make_slots(self, params: list[Any]) -> Any:
        return self.base_optimizer._make_slots(params)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own, to the base optimizer too."""
        if isinstance(param_group, dict):
            param_group = {"rho": self.defaults["rho"], "adaptive": self.defaults["adaptive"], **param_group}
            _check(param_group)
        self.base_optimizer.add_param_group(param_group)

    def first_step(self, zero_grad: bool = False) -> None:
        """Go from x, where the gradients were computed, to the worst point nearby, x + e.

        Args:
            zero_grad: Whether the gradients are forgotten then.

        Raises:
            RuntimeError: The step before has no :meth:`second_step` yet.
            ValueError: A setting is out of range.
        """
        if self._before is not None:
            raise RuntimeError("SAM.first_step: expected second_step before the next first_step")
        for group in self.param_groups:
            _check(group)
        self._check()
        with no_grad():
            scaled = [
                (group, p, p.abs() * p.grad if group.get("adaptive", self.defaults["adaptive"]) else p.grad)
                for group in self.param_groups
                for p in group["params"]
                if p.grad is not None
            ]
            norm = math.sqrt(sum((g * g).sum().item() for _, _, g in scaled))
            moved = []
            for group, p, g in scaled:
                share = group.get("rho", self.defaults["rho"]) / (norm + _LEAST_NORM)
                way = p.abs() * g if group.get("adaptive", self.defaults["adaptive"]) else g
                moved.append(p.clone().add_(way, alpha=share))
            before = [(p, p.clone()) for _, p, _ in scaled]
        names = [f"parameter {number}" for number in range(len(moved))]
        # One call: the parameters are at x + e if and only if `_before` knows x.
        noted = [(self.__dict__, "_before", before)]
        _core.assign("SAM.first_step", names, [p for _, p, _ in scaled], moved, noted)
        if zero_grad:
            self.zero_grad()

    def second_step(self, zero_grad: bool = False) -> None:
        """Go back to x, and take the base optimizer's step from there with the gradients of x + e.

        Args:
            zero_grad: Whether the gradients are forgotten then.

        Raises:
            RuntimeError: There was no :meth:`first_step`.
        """
        if self._before is None:
            raise RuntimeError("SAM.second_step: expected first_step before it")
        self._restore()
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()

    def _restore(self) -> None:
        kept = self._before or []
        names = [f"parameter {number}" for number in range(len(kept))]
        params, values = [p for p, _ in kept], [value for _, value in kept]
        _core.assign("SAM.second_step", names, params, values, [(self.__dict__, "_before", None)])

    def step(
        self,
        closure: Callable[[], Any] | None = None,
        *,
        grads: Sequence[Tensor | NDArray[Any] | None] | None = None,
    ) -> Any:
        """Take both halves of a step.

        Args:
            closure: Computes the loss and its gradients: ``zero_grad``, the loss, ``backward``, and returns the loss;
                called at x and at x + e. If it raises, nothing is changed.
            grads: Not for this optimizer.

        Returns:
            What ``closure`` returned first.

        Raises:
            TypeError: No closure, or gradients.
        """
        if closure is None:
            raise TypeError("SAM.step: expected a closure that computes the loss and its gradients; got None")
        check_callable("SAM.step", "closure", closure)
        if grads is not None:
            raise TypeError("SAM.step: expected no grads, as the closure computes them")
        self._check()
        with Undo() as undo:
            undo.grad_mode(True)
            undo.call(self._restore)
            loss = closure()
            self.first_step(zero_grad=True)
            closure()
            self.second_step()
        return loss


def _check(group: Mapping[str, Any]) -> None:
    if "rho" in group:
        at_least("SAM", "rho", group["rho"], 0)
    params = group.get("params", ())
    if any(isinstance(param, np.ndarray) for param in (params if isinstance(params, list | tuple) else ())):
        raise TypeError("SAM: expected tensors, whose gradients are computed twice a step; got arrays")

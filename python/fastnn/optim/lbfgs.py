"""L-BFGS: quasi-Newton steps from the last gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import _core
from fastnn._core import Tensor, Undo
from fastnn._grad_mode import enable_grad
from fastnn._types import check_at_least, check_callable, check_number
from fastnn.optim._line_search import Point, strong_wolfe
from fastnn.optim._settings import at_least, one_of
from fastnn.optim.optimizer import Parameters
from fastnn.optim.tensor_optimizer import TensorOptimizer, read_tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Least curvature y·s that is remembered: below it the approximation might stop being positive definite.
_LEAST_CURVATURE = 1e-10


class LBFGS(TensorOptimizer):
    """L-BFGS: quasi-Newton steps, the Hessian's inverse approximated from the last ``history_size`` steps.

    One call of :meth:`step` makes up to ``max_iter`` iterations; x and g are all parameters and gradients, flat::

        s, y = x - x_before, g - g_before                    # remembered if y·s > 1e-10; the oldest is forgotten
        d = -H g                                             # H from all s and y, beginning at (y·s) / (y·y)
        t = lr                                               # first: min(1, 1 / ‖g‖₁) * lr
        t = where the strong Wolfe conditions hold           # if line_search_fn
        x = x + t * d

    It is meant for losses without noise: whole batches, no dropout. Memory is that of 2 ``history_size`` models.

    Args:
        params: Parameters; one group only.
        lr: Step size, and the first step that the line search tries; at least 0.
        max_iter: Iterations a step, at least 1.
        max_eval: Evaluations of the loss a step, at least 1; ``None`` for ``max_iter * 5 // 4``.
        tolerance_grad: The step ends when no element of the gradient is larger; at least 0.
        tolerance_change: The step ends when neither loss nor any parameter changes more; at least 0.
        history_size: Steps that are remembered, at least 1.
        line_search_fn: ``"strong_wolfe"``, or ``None`` for steps of ``lr``.
        maximize: Climb instead of descend.

    Raises:
        ValueError: No parameters, several groups, or a setting out of range.
        TypeError: A setting of another type, or parameters that are arrays.

    Source:
        Liu & Nocedal 1989, https://doi.org/10.1007/BF01589116; Nocedal & Wright 2006, Algorithms 7.4 and 3.5. The
        state is PyTorch's, without the scratch list ``al``. In PyTorch, scalars of a float32 model are float32; here
        they are float64, and a step whose closure raises changes nothing.
    """

    _needs_closure = True
    _not_planned = "LBFGS evaluates the loss several times a step"

    def __init__(
        self,
        params: Parameters,
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
        *,
        maximize: bool = False,
    ) -> None:
        check_at_least("LBFGS", "max_iter", max_iter, 1)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            # One iteration evaluates at least once.
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take the one group that there may be."""
        if self.param_groups:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        super().add_param_group(param_group)

    def _check_settings(self, group: Mapping[str, Any]) -> None:
        for name in ("lr", "tolerance_grad", "tolerance_change"):
            at_least("LBFGS", name, group[name], 0)
        for name in ("max_iter", "max_eval", "history_size"):
            check_at_least("LBFGS", name, group[name], 1)
        one_of("LBFGS", "line_search_fn", group["line_search_fn"], (None, "strong_wolfe"))
        if any(isinstance(param, np.ndarray) for param in group["params"]):
            raise TypeError("LBFGS: expected tensors, whose gradients the closure makes; got arrays")

    def _new_state(self, param: Tensor) -> dict[str, Any]:  # noqa: ARG002
        return {"func_evals": 0, "n_iter": 0}

    def _read_state(self, index: int, param: Tensor, state: Mapping[str, Any]) -> dict[str, Any]:
        where = f"load_state_dict, parameter {index}"
        loaded = self._new_state(param)
        for name in ("func_evals", "n_iter"):
            if name in state:
                check_at_least(where, name, state[name], 0)
                loaded[name] = int(state[name])
        if state.get("d") is None:
            return loaded
        shape, dtype = (sum(p.numel() for p in self._params),), _wider(self._params)
        for name in ("d", "prev_flat_grad"):
            loaded[name] = read_tensor(name, index, state, shape, dtype)
        for name in ("old_dirs", "old_stps", "ro", "t", "H_diag", "prev_loss"):
            if state.get(name) is None:
                raise ValueError(f"load_state_dict: expected '{name}' in the state of parameter {index}")
        for name in ("old_dirs", "old_stps", "ro"):
            if not isinstance(state[name], (list, tuple)):
                raise TypeError(f"{where}: expected {name} to be a list; got {type(state[name]).__name__}")
            if len(state[name]) != len(state["ro"]):
                raise ValueError(f"{where}: expected {len(state['ro'])} {name}; got {len(state[name])}")
        for name in ("old_dirs", "old_stps"):
            loaded[name] = [read_tensor(name, index, {name: kept}, shape, dtype) for kept in state[name]]
        loaded["ro"] = [check_number(where, "ro", value) for value in state["ro"]]
        return loaded | {name: check_number(where, name, state[name]) for name in ("t", "H_diag", "prev_loss")}

    def step(
        self,
        closure: Callable[[], Any] | None = None,
        *,
        grads: Sequence[Tensor | NDArray[Any] | None] | None = None,
    ) -> Any:
        """Make up to ``max_iter`` iterations.

        Args:
            closure: Computes the loss and its gradients: ``zero_grad``, the loss, ``backward``, and returns the loss.
            grads: Not for this optimizer.

        Returns:
            What ``closure`` returned first.

        Raises:
            TypeError: No closure, or gradients.
        """
        if closure is None:
            raise TypeError("LBFGS.step: expected a closure that computes the loss and its gradients; got None")
        check_callable("LBFGS.step", "closure", closure)
        if grads is not None:
            raise TypeError("LBFGS.step: expected no grads, as the closure computes them")
        group, kept, params = self.param_groups[0], self._slots[0].states[0], self._params
        self._check()
        names = [f"parameter {number}" for number in range(len(params))]
        search = _Search(params, group, closure, kept or self._new_state(params[0]))
        with Undo() as undo:
            undo.grad_mode(False)
            undo.values(params)
            first = search.run()
            found = [param.detach().clone() for param in params]
        # One call: parameters and state belong together.
        _core.assign("LBFGS.step", names, params, found, [(kept, *item) for item in search.state.items()])
        return first

    def _check(self) -> None:
        super()._check()
        # All parameters are one vector, with those that have no gradient.
        for index in range(len(self._slots[0])):
            self._slots[0].check_target(index)

    @property
    def _params(self) -> list[Tensor]:
        params: list[Tensor] = self.param_groups[0]["params"]
        return params


class _Search:
    """One step, on all parameters as one vector. ``state`` is a copy, complete when :meth:`run` has returned."""

    def __init__(
        self, params: list[Tensor], group: Mapping[str, Any], closure: Callable[[], Any], state: Mapping[str, Any]
    ) -> None:
        self.params = params
        self.group = group
        self.closure = closure
        self.state: dict[str, Any] = {
            key: list(value) if isinstance(value, list) else value for key, value in state.items()
        }
        self.sign = -1.0 if group["maximize"] else 1.0
        self.dtype = _wider(params)

    def run(self) -> Any:
        group, state = self.group, self.state
        max_iter, max_eval = int(group["max_iter"]), int(group["max_eval"])
        least_change = float(group["tolerance_change"])
        first, loss, grad = self.evaluate()
        evaluations = 1
        state["func_evals"] += 1
        if self.is_flat(grad):
            return first
        for iteration in range(1, max_iter + 1):
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                state |= {"d": -grad, "old_dirs": [], "old_stps": [], "ro": [], "H_diag": 1.0}
                state["t"] = min(1.0, 1.0 / grad.abs().sum().item()) * float(group["lr"])
            else:
                self.remember(grad)
                state["d"] = self.direction(grad)
                state["t"] = float(group["lr"])
            previous = state["prev_loss"] = loss
            state["prev_flat_grad"] = grad
            slope = _dot(grad, state["d"])
            if slope > -least_change:
                break
            used = 0
            if group["line_search_fn"] is not None:
                start = Point(0.0, loss, grad, slope)
                loss, grad, used = self.search(start, max_eval - evaluations)
            else:
                self.move(state["t"], state["d"])
                # After the last iteration the caller's next batch evaluates anyway.
                if iteration < max_iter:
                    _, loss, grad = self.evaluate()
                    used = 1
            evaluations += used
            state["func_evals"] += used
            if (
                evaluations >= max_eval
                or self.is_flat(grad)
                or abs(state["t"]) * _largest(state["d"]) <= least_change
                or abs(loss - previous) < least_change
            ):
                break
        return first

    def evaluate(self) -> tuple[Any, float, Tensor]:
        """Return what the closure returns, the loss to descend, and its gradient, a new flat tensor."""
        with enable_grad():
            returned = self.closure()
        if returned is None or isinstance(returned, (str, bytes)):
            raise TypeError(f"LBFGS.step: expected a closure that returns the loss; got {type(returned).__name__}")
        parts = [
            (_core.zeros(p.numel(), dtype=p.dtype) if p.grad is None else p.grad.detach().reshape(-1)).to(self.dtype)
            for p in self.params
        ]
        flat = _core.cat(parts)
        return returned, self.sign * float(returned), -flat if self.group["maximize"] else flat

    def search(self, start: Point, most_trials: int) -> tuple[float, Tensor, int]:
        """Move along the direction to where the strong Wolfe conditions hold; loss and gradient there, evaluations."""
        state, here = self.state, [param.clone() for param in self.params]

        def evaluate(t: float) -> Point:
            self.move(t, state["d"])
            _, loss, grad = self.evaluate()
            _assign(self.params, here)
            return Point(t, math.inf if math.isnan(loss) else loss, grad, _dot(grad, state["d"]))

        width = float(self.group["tolerance_change"]) / (_largest(state["d"]) or math.inf)
        found, used = strong_wolfe(evaluate, start, state["t"], most_trials=most_trials, least_width=width)
        state["t"] = found.t
        self.move(found.t, state["d"])
        return found.loss, found.grad, used

    def remember(self, grad: Tensor) -> None:
        """Add the last step and the gradient's change over it to the history."""
        state = self.state
        change, step = grad - state["prev_flat_grad"], state["d"] * state["t"]
        curvature = _dot(change, step)
        if not curvature > _LEAST_CURVATURE:
            return
        for name, value in (("old_dirs", change), ("old_stps", step), ("ro", 1.0 / curvature)):
            if len(state[name]) >= int(self.group["history_size"]):
                del state[name][0]
            state[name].append(value)
        state["H_diag"] = curvature / _dot(change, change)

    def direction(self, grad: Tensor) -> Tensor:
        """Return -H times the gradient: the two loops over the history."""
        steps, changes, inverses = self.state["old_stps"], self.state["old_dirs"], self.state["ro"]
        d, shares = -grad, []
        for step, change, inverse in zip(reversed(steps), reversed(changes), reversed(inverses), strict=True):
            share = _dot(step, d) * inverse
            d.sub_(change, alpha=share)
            shares.append(share)
        d.mul_(self.state["H_diag"])
        for step, change, inverse, share in zip(steps, changes, inverses, reversed(shares), strict=True):
            d.add_(step, alpha=share - _dot(change, d) * inverse)
        return d

    def move(self, t: float, d: Tensor) -> None:
        start = 0
        for param in self.params:
            part = d.narrow(0, start, param.numel()).reshape(param.shape)
            param.add_(part.to(param.dtype), alpha=t)
            start += param.numel()

    def is_flat(self, grad: Tensor) -> bool:
        return _largest(grad) <= float(self.group["tolerance_grad"])


def _assign(params: list[Tensor], values: list[Tensor]) -> None:
    for param, value in zip(params, values, strict=True):
        param.copy_(value)


def _dot(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum().item())


def _largest(x: Tensor) -> float:
    return float(x.abs().max().item())


def _wider(params: list[Tensor]) -> Any:
    return _core.float64 if any(p.dtype == _core.float64 for p in params) else _core.float32

"""Newton's method, damped: for nets of few parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor, Undo
from fastnn._grad_mode import enable_grad, no_grad
from fastnn._types import check_at_least, check_callable, check_number, shape_of
from fastnn.autograd import grad
from fastnn.optim.optimizer import read_state_dict

_Array = NDArray[np.float64]

# The gain ratios between which the damping stays, and what it is multiplied by beyond.
_POOR, _GOOD, _FACTOR = 0.25, 0.75, 4.0
# Less damping than this share of the curvature is none.
_NEGLIGIBLE = 1e-12
# Lower bound of a curvature that is not positive, as a share of the greatest.
_FLOOR = 1e-10
# Of a loss that does not curve at all.
_FLAT = 1e-8
_MOST_TRIALS = 60


class _Proposal(NamedTuple):
    """A step, and by how much the quadratic model says that the loss falls."""

    step: _Array
    gain: float
    curvature: float


class _Model:
    """The loss near the parameters: value, gradient, and products with the Hessian."""

    def __init__(self, loss: Tensor, params: list[Tensor]) -> None:
        self.params = params
        self.loss = float(loss.detach().item())
        self._gradients = grad(loss, params, create_graph=True, allow_unused=True)
        self.gradient = self._flat(self._gradients)

    def _flat(self, parts: Iterable[Tensor | None]) -> _Array:
        return np.concatenate(
            [
                np.zeros(p.numel()) if g is None else np.asarray(g.detach(), np.float64).ravel()
                for p, g in zip(self.params, parts, strict=True)
            ]
        )

    def product(self, v: _Array) -> _Array:
        """Return ``H @ v``."""
        pairs = []
        start = 0
        for p, g in zip(self.params, self._gradients, strict=True):
            part = v[start : start + p.numel()].reshape(shape_of(p))
            start += p.numel()
            if g is not None and g.requires_grad:
                pairs.append((g, _core.tensor(part, dtype=p.dtype)))
        if not pairs:
            return np.zeros_like(v)
        outputs, seeds = zip(*pairs, strict=True)
        return self._flat(grad(outputs, self.params, seeds, retain_graph=True, allow_unused=True))

    def hessian(self) -> _Array:
        """Return H, a product a column, made symmetric again after rounding."""
        full = np.stack([self.product(row) for row in np.eye(self.gradient.size)])
        return np.asarray((full + full.T) / 2)


class _Exact:
    """Steps by the eigenvalues of H: ``(H + shift * I) @ step = -gradient``."""

    def __init__(self, model: _Model) -> None:
        full = model.hessian()
        if not np.isfinite(full).all():
            raise ValueError("Newton: expected a finite Hessian; got one with NaN or infinity")
        self.values, self.vectors = np.linalg.eigh(full)
        self.gradient = self.vectors.T @ model.gradient
        self.scale = max(float(np.abs(self.values).max()), _FLAT)

    def propose(self, damping: float) -> _Proposal:
        lowest = float(self.values[0])
        # A Hessian that is not positive definite is shifted until it is.
        shift = damping + (_FLOOR * self.scale - lowest if lowest + damping < _FLOOR * self.scale else 0.0)
        step = -self.gradient / (self.values + shift)
        if lowest < -math.sqrt(_FLOOR) * self.scale and np.abs(self.gradient[0]) <= _FLOOR * (
            self.scale + np.linalg.norm(self.gradient)
        ):
            # On a ridge the gradient is blind to the way down: there the step is as long as the others, at least 1e-2.
            step[0] = max(float(np.linalg.norm(step[1:])), 1e-2) / (1.0 + damping / self.scale)
        gain = -float(self.gradient @ step + 0.5 * (self.values * step) @ step)
        return _Proposal(self.vectors @ step, gain, self.scale)


class _ConjugateGradient:
    """Steps by products with H alone, until the residual is small or the curvature negative."""

    def __init__(self, model: _Model, iterations: int, tol: float) -> None:
        self.model, self.iterations, self.tol = model, iterations, tol

    def propose(self, damping: float) -> _Proposal:
        gradient = self.model.gradient
        step, product = np.zeros_like(gradient), np.zeros_like(gradient)
        residual = -gradient
        direction = residual.copy()
        square = float(residual @ residual)
        target = (self.tol * math.sqrt(square)) ** 2
        curvature = 0.0
        for i in range(self.iterations):
            if square <= target:
                break
            plain = self.model.product(direction)
            length = float(direction @ direction)
            bend = float(direction @ plain) / length
            curvature = max(curvature, abs(bend))
            if bend + damping <= _FLOOR * curvature:
                if i == 0:
                    # Steepest descent, as long as if it curved up as much; damping shortens what is too long.
                    scale = 1.0 / (max(abs(bend), _FLAT) + damping)
                    step, product = scale * direction, scale * plain
                break
            alpha = square / ((bend + damping) * length)
            step += alpha * direction
            product += alpha * plain
            residual -= alpha * (plain + damping * direction)
            last, square = square, float(residual @ residual)
            direction = residual + (square / last) * direction
        gain = -float(gradient @ step + 0.5 * product @ step)
        return _Proposal(step, gain, max(curvature, _FLAT))


class Newton:
    """Damped Newton's method: each step solves a quadratic model of the loss.

    With gradient g and Hessian H of the loss f at the parameters x::

        p     = -(H + damping * I)^-1 @ g
        ratio = (f(x) - f(x + lr * p)) / (model's fall, -lr * g^T @ p - lr² / 2 * p^T @ H @ p)
        x     = x + lr * p         if ratio > 0; else damping is quadrupled, and the step tried again
        damping = damping / 4      if ratio > 3/4
                  4 * damping      if ratio < 1/4

    A damping of 0 that is to be raised becomes 1e-3 of the Hessian's greatest eigenvalue, and one below 1e-12 of that
    becomes 0.

    ``method="exact"`` forms the Hessian, one backward a parameter, and its eigenvalues. Where the least of them is not
    positive, the damping is raised to lie above it, and at a saddle whose gradient is blind to the way down the step
    follows the eigenvector of that eigenvalue. ``method="cg"`` solves by conjugate gradients with Hessian-vector
    products, one backward through the gradient each, without a matrix; at a direction of negative curvature it stops
    with what it has, or, if that is the first, with a step along the gradient. It cannot leave a point where the
    gradient is 0.

    The closure given to :meth:`step` returns the loss **without calling backward**, and is called again for the loss at
    every trial, without recording; it must be deterministic (no dropout, always the same batch).

    Args:
        params: The parameters, or one group of them; all trained together, leaves that require grad.
        lr: Share of the step that is taken, above 0.
        damping: Damping of the first step, at least 0, in units of the Hessian.
        method: ``"exact"`` or ``"cg"``.
        max_parameters: Parameters, all told, up to which ``"exact"`` is willing to form the Hessian.
        cg_iterations: Products at most in a solution by ``"cg"``; by default as many as there are parameters, at most
            250.
        cg_tol: Residual, as a share of the gradient, at which ``"cg"`` stops, in [0, 1); by default
            ``min(1/100, |g|^(1/2))``, which makes the steps converge superlinearly.

    Raises:
        ValueError: No parameters, too many for ``"exact"``, a setting out of range, or more than one group.
        TypeError: A parameter or a setting of another type.

    Source:
        Nocedal & Wright 2006, Numerical Optimization: Algorithm 4.1 (gain ratio), section 4.3 (shifted Hessian, the
        hard case), Algorithm 7.1 (conjugate gradients, negative curvature, forcing sequence with 1/2 for 1/100).
        Levenberg damping by the ratio: Martens 2010, "Deep learning via Hessian-free optimization", section 4.1, with
        factors 3/2 and 2/3 for 4 and 1/4. PyTorch has no such optimizer; its ``LBFGS`` takes a closure that does call
        backward.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1.0,
        damping: float = 1e-3,
        method: str = "exact",
        max_parameters: int = 2000,
        cg_iterations: int | None = None,
        cg_tol: float | None = None,
    ) -> None:
        self.defaults = {
            "lr": lr,
            "damping": damping,
            "method": method,
            "max_parameters": max_parameters,
            "cg_iterations": cg_iterations,
            "cg_tol": cg_tol,
        }
        if isinstance(params, Tensor):
            raise TypeError("Newton: expected an iterable of Tensors; got a Tensor")
        given: list[Any] = list(params)
        if given and isinstance(given[0], dict):
            if len(given) > 1:
                raise ValueError(f"Newton: expected one parameter group; got {len(given)}")
            group = {**self.defaults, **given[0], "params": list(given[0]["params"])}
        else:
            group = {**self.defaults, "params": given}
        _check(group)
        self.param_groups: list[dict[str, Any]] = [group]
        self._damping = float(group["damping"])
        self._steps = 0

    def __repr__(self) -> str:
        group = self.param_groups[0]
        return "\n".join(
            ["Newton (", "Parameter Group 0", *(f"    {k}: {group[k]}" for k in sorted(group) if k != "params"), ")"]
        )

    @property
    def damping(self) -> float:
        """The damping of the next step."""
        return self._damping

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients; with ``set_to_none=False`` make them 0. Steps neither read nor write them."""
        params = [param for param in self.param_groups[0]["params"] if param.grad is not None]
        zeros = [None if set_to_none else _core.zeros_like(param.grad) for param in params]
        for param, zero in zip(params, zeros, strict=True):
            param.grad = zero

    def step(self, closure: Callable[[], Tensor]) -> Tensor:
        """Take one step: as many trials as it needs, with the same Hessian, until the loss falls.

        Where no trial makes it fall, which at a minimum is so by rounding, the parameters stay.

        Args:
            closure: Returns the loss, a tensor of one element that depends on the parameters, without calling backward.

        Returns:
            The loss before the step, detached.

        Raises:
            ValueError: A setting out of range, a loss that is not finite or of more than one element, or a Hessian that
                is not finite. The parameters stay.
            TypeError: The closure returned something else.
            RuntimeError: The closure called backward, the loss does not depend on a parameter, or an op has no second
                derivative.
        """
        group = self.param_groups[0]
        _check(group)
        params: list[Tensor] = group["params"]
        names = [f"parameter {number}" for number in range(len(params))]
        check_callable("Newton.step", "closure", closure)
        _core.check_writable("Newton.step", names, params)
        with Undo() as undo:
            undo.grad_mode(True)
            undo.values(params)
            undo.set_attr(self, "_damping", self._damping)
            loss = closure()
            if not isinstance(loss, Tensor):
                raise TypeError(
                    f"Newton.step: expected a closure that returns the loss, a Tensor; got {type(loss).__name__}"
                )
            if loss.numel() != 1:
                raise ValueError(f"Newton.step: expected a loss of one element; got shape {shape_of(loss)}")
            if not math.isfinite(loss.item()):
                raise ValueError(f"Newton.step: expected a finite loss; got {loss.item()}")
            model = _Model(loss.reshape(()), params)
            if np.any(model.gradient) or group["method"] == "exact":
                self._search(model, closure, group)
            found, damping = [param.detach().clone() for param in params], self._damping
        # One call: parameters, damping and count belong together.
        own = self.__dict__
        _core.assign(
            "Newton.step", names, params, found, [(own, "_damping", damping), (own, "_steps", self._steps + 1)]
        )
        return loss.detach()

    def _search(self, model: _Model, closure: Callable[[], Tensor], group: dict[str, Any]) -> None:
        params, lr = group["params"], float(group["lr"])
        solver: _Exact | _ConjugateGradient
        if group["method"] == "exact":
            solver = _Exact(model)
        else:
            norm = float(np.linalg.norm(model.gradient))
            tol = min(0.01, math.sqrt(norm)) if group["cg_tol"] is None else float(group["cg_tol"])
            solver = _ConjugateGradient(model, group["cg_iterations"] or min(model.gradient.size, 250), tol)
        before = [param.detach().clone() for param in params]
        for _ in range(_MOST_TRIALS):
            proposal = solver.propose(self._damping)
            step = lr * proposal.step
            # The model's fall for the share of the step that is taken; g^T p is what remains of the gain.
            slope = float(model.gradient @ proposal.step)
            predicted = -lr * slope + lr * lr * (proposal.gain + slope)
            if not predicted > 0:
                return
            _move(params, before, step)
            with no_grad():
                fall = model.loss - float(closure().item())
            ratio = fall / predicted
            if ratio > 0 and math.isfinite(ratio):
                self._adapt(ratio, proposal.curvature)
                return
            _move(params, before, None)
            if isinstance(solver, _ConjugateGradient):
                # Products need a graph of parameters that have not been changed since.
                with enable_grad():
                    solver.model = _Model(closure().reshape(()), params)
            # A fall that rounding hides cannot be told from a rise: more damping does not help.
            if predicted <= 4 * np.finfo(np.float64).eps * abs(model.loss):
                return
            self._adapt(0.0, proposal.curvature)

    def _adapt(self, ratio: float, curvature: float) -> None:
        if ratio < _POOR:
            self._damping = self._damping * _FACTOR or 1e-3 * curvature
        elif ratio > _GOOD:
            self._damping /= _FACTOR
            if self._damping < _NEGLIGIBLE * curvature:
                self._damping = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return damping and number of steps under ``state``, and ``param_groups`` with the parameters' numbers."""
        group = self.param_groups[0]
        settings = {key: value for key, value in group.items() if key != "params"}
        return {
            "state": {0: {"damping": self._damping, "step": self._steps}},
            "param_groups": [{**settings, "params": list(range(len(group["params"])))}],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned.

        Args:
            state_dict: Of as many parameters as there are here.

        Raises:
            ValueError: A missing key, another number of groups or parameters, or a setting out of range. Nothing is
                loaded then.
        """
        (saved,), states = read_state_dict(state_dict, [len(self.param_groups[0]["params"])])
        group = {**self.param_groups[0], **{key: value for key, value in saved.items() if key != "params"}}
        _check(group)
        # All parameters have one state, under the number of the first.
        state = states[saved["params"][0]]
        damping = check_number("Newton.load_state_dict", "damping", state.get("damping", group["damping"]))
        steps = state.get("step", 0)
        check_at_least("Newton.load_state_dict", "step", steps, 0)
        self._damping, self._steps = damping, int(steps)
        self.param_groups[0].update(group)


def _move(params: list[Tensor], start: list[Tensor], step: NDArray[np.float64] | None) -> None:
    """Set the parameters to ``start + step``."""
    begin = 0
    with no_grad():
        for param, value in zip(params, start, strict=True):
            end = begin + param.numel()
            if step is None:
                param.copy_(value)
            else:
                moved = np.asarray(value, np.float64) + step[begin:end].reshape(shape_of(value))
                param.copy_(_core.tensor(moved, dtype=param.dtype))
            begin = end


def _check(group: Mapping[str, Any]) -> None:
    params = group["params"]
    if not params:
        raise ValueError("Newton: expected at least one parameter; got none")
    for param in params:
        if not isinstance(param, Tensor):
            raise TypeError(f"Newton: expected parameters that are Tensors; got {type(param).__name__}")
        if not param.is_leaf or not param.requires_grad:
            raise ValueError(
                f"Newton: expected leaves that require grad; got a tensor of shape {shape_of(param)} that is none"
            )
    if len({id(param) for param in params}) != len(params):
        raise ValueError("Newton: expected each parameter once; got one twice")
    if not check_number("Newton", "lr", group["lr"]) > 0:
        raise ValueError(f"Newton: expected lr above 0; got {group['lr']}")
    if not 0 <= check_number("Newton", "damping", group["damping"]) < math.inf:
        raise ValueError(f"Newton: expected damping of at least 0; got {group['damping']}")
    if group["method"] not in {"exact", "cg"}:
        raise ValueError(f"Newton: expected method to be 'exact' or 'cg'; got {group['method']!r}")
    check_at_least("Newton", "max_parameters", group["max_parameters"], 1)
    if group["cg_iterations"] is not None:
        check_at_least("Newton", "cg_iterations", group["cg_iterations"], 1)
    if group["cg_tol"] is not None and not 0 <= check_number("Newton", "cg_tol", group["cg_tol"]) < 1:
        raise ValueError(f"Newton: expected cg_tol in [0, 1); got {group['cg_tol']}")
    size = sum(param.numel() for param in params)
    if group["method"] == "exact" and size > group["max_parameters"]:
        raise ValueError(
            f"Newton: expected at most {group['max_parameters']} parameters for the full Hessian; got {size} (use "
            "method='cg', or LBFGS)"
        )

"""The optimizers that evaluate the loss themselves, once more, in float64 NumPy.

Every function takes the first parameters, flat, and a function that returns loss and gradient; and returns the
parameters after each step. L-BFGS builds the inverse Hessian as a matrix, so that it shares no formula with the library.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tests.reference import optim as reference

Array = NDArray[np.float64]
Objective = Callable[[Array], tuple[float, Array]]


def sam(
    param: ArrayLike,
    objective: Objective,
    steps: int,
    *,
    base: str = "SGD",
    rho: float = 0.05,
    adaptive: bool = False,
    **settings: Any,
) -> list[Array]:
    """SAM: Foret et al. 2021, Algorithm 1; adaptive: Kwon et al. 2021."""
    start = theta = np.array(param, np.float64)
    grads, path = [], []
    for _ in range(steps):
        g = objective(theta)[1]
        scale = np.abs(theta) if adaptive else np.ones_like(theta)
        worst = theta + rho * scale**2 * g / np.linalg.norm(scale * g)
        grads.append(objective(worst)[1])
        theta = reference.REFERENCE[base](start, grads, **settings)[-1]
        path.append(theta)
    return path


def inverse_hessian(pairs: list[tuple[Array, Array]], n: int) -> Array:
    """BFGS' inverse Hessian from pairs (s, y), the last of which also scales the first matrix."""
    if not pairs:
        return np.eye(n)
    s, y = pairs[-1]
    h = np.eye(n) * (y @ s) / (y @ y)
    for s, y in pairs:
        left = np.eye(n) - np.outer(s, y) / (y @ s)
        h = left @ h @ left.T + np.outer(s, s) / (y @ s)
    return h


def lbfgs(
    param: ArrayLike,
    objective: Objective,
    steps: int,
    *,
    lr: float = 1.0,
    max_iter: int = 20,
    max_eval: int | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
    history_size: int = 100,
    line_search_fn: str | None = None,
    maximize: bool = False,
) -> list[Array]:
    """L-BFGS: Liu & Nocedal 1989, with the stopping rules of PyTorch's ``step``."""
    sign = -1.0 if maximize else 1.0
    x = np.array(param, np.float64)
    max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
    pairs: list[tuple[Array, Array]] = []
    last: tuple[Array, Array] | None = None  # the last step, and the gradient before it
    path = []

    def evaluate(at: Array) -> tuple[float, Array]:
        loss, grad = objective(at)
        return sign * loss, sign * grad

    for _ in range(steps):
        loss, g = evaluate(x)
        evaluations = 1
        for iteration in range(1, max_iter + 1):
            if np.abs(g).max() <= tolerance_grad:
                break
            if last is None:
                d, t = -g, lr * min(1.0, 1.0 / np.abs(g).sum())
            else:
                s, y = last[0], g - last[1]
                if s @ y > 1e-10:
                    pairs = [*pairs, (s, y)][-history_size:]
                d, t = -inverse_hessian(pairs, len(x)) @ g, lr
            last = t * d, g
            if g @ d > -tolerance_change:
                break
            before = loss
            if line_search_fn:
                t, loss, g, used = wolfe(
                    lambda t, x=x, d=d: evaluate(x + t * d), d, loss, g, t, max_eval - evaluations, tolerance_change
                )
                evaluations += used
            last = t * d, last[1]
            x = x + t * d
            if not line_search_fn and iteration < max_iter:
                loss, g = evaluate(x)
                evaluations += 1
            if (
                evaluations >= max_eval
                or np.abs(t * d).max() <= tolerance_change
                or abs(loss - before) < tolerance_change
            ):
                break
        path.append(x)
    return path


def wolfe(
    at: Callable[[float], tuple[float, Array]],
    d: Array,
    loss0: float,
    grad0: Array,
    t: float,
    trials: int,
    tolerance: float,
) -> tuple[float, float, Array, int]:
    """Nocedal & Wright 2006, Algorithms 3.5 and 3.6: distance, loss, gradient, evaluations."""
    slope0 = grad0 @ d

    def probe(t: float) -> tuple[float, float, Array]:
        loss, grad = at(t)
        return t, loss, grad

    previous, now, used = (0.0, loss0, grad0), probe(t), 0
    ends = [previous, now]
    while used < trials:
        ends = [previous, now]
        t, loss, grad = now
        if loss > loss0 + 1e-4 * t * slope0 or (used > 1 and loss >= previous[1]):
            break
        if abs(grad @ d) <= 0.9 * abs(slope0):
            return *now, used + 1
        if grad @ d >= 0:
            break
        previous, now = now, probe(cubic(previous, now, d, t + 0.01 * (t - previous[0]), 10 * t))
        used += 1
        ends = [(0.0, loss0, grad0), now]
    best = min((0, 1), key=lambda i: ends[i][1])
    near_end = False
    while used < trials and abs(ends[0][0] - ends[1][0]) * np.abs(d).max() >= tolerance:
        low, high = min(ends[0][0], ends[1][0]), max(ends[0][0], ends[1][0])
        t = cubic(ends[0], ends[1], d, low, high)
        tenth = 0.1 * (high - low)
        if min(t - low, high - t) >= tenth:
            near_end = False
        elif near_end or not low < t < high:
            t = high - tenth if high - t < t - low else low + tenth
            near_end = False
        else:
            near_end = True
        now = probe(t)
        used += 1
        if now[1] > loss0 + 1e-4 * t * slope0 or now[1] >= ends[best][1]:
            ends[1 - best] = now
            best = min((0, 1), key=lambda i: ends[i][1])
            continue
        slope = now[2] @ d
        if abs(slope) <= 0.9 * abs(slope0):
            return *now, used + 1
        if slope * (ends[1 - best][0] - ends[best][0]) >= 0:
            ends[1 - best] = ends[best]
        ends[best] = now
    return *ends[best], used + 1


def cubic(a: tuple[float, float, Array], b: tuple[float, float, Array], d: Array, low: float, high: float) -> float:
    """The minimum of f + g u + q u² + c u³, u from the first point, through both losses with both slopes."""
    h, g = b[0] - a[0], a[2] @ d
    chord = (b[1] - a[1]) / h
    q, c = (3 * chord - 2 * g - b[2] @ d) / h, (g + b[2] @ d - 2 * chord) / h**2
    below = q * q - 3 * c * g
    if below < 0:
        return (low + high) / 2
    root = math.sqrt(below)
    u = -g / (q + root) if q > 0 else (root - q) / (3 * c)
    return min(max(a[0] + u, low), high)

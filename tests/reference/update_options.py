"""Changes of gradient and parameter around the rule, once more: float64 NumPy, written from the formulas."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def penalty(w: Array, l1: float = 0.0, l2: float = 0.0, strength: float = 0.0, p: float = 1.0) -> float:
    return float((l1 * np.abs(w) + l2 * w**2 + strength * np.abs(w) ** p).sum())


def penalty_grad(w: Array, l1: float = 0.0, l2: float = 0.0, strength: float = 0.0, p: float = 1.0) -> Array:
    size = np.where(w == 0, 1.0, np.abs(w))
    return np.sign(w) * (l1 + strength * p * size ** (p - 1)) + 2 * l2 * w


def clip_value(grads: list[Array], limit: float) -> list[Array]:
    return [np.clip(g, -limit, limit) for g in grads]


def clip_norm(grads: list[Array], limit: float) -> list[Array]:
    norm = np.linalg.norm(np.concatenate([g.ravel() for g in grads]))
    return [g * min(1.0, limit / (norm + 1e-6)) for g in grads]


def noise_std(eta: float, gamma: float, t: int) -> float:
    return float(np.sqrt(eta / (1 + t) ** gamma))


def max_norm(w: Array, limit: float) -> Array:
    norms = np.linalg.norm(w.reshape(len(w), -1), axis=1)
    scale = np.where(norms > limit, limit / (norms + 1e-7), 1.0)
    return w * scale.reshape(-1, *[1] * (w.ndim - 1))


def net_gradients(params: list[Array], x: Array, y: Array) -> tuple[float, list[Array]]:
    """Loss and gradients of ``mean((w2 tanh(w1 x + b1) + b2 - y)**2)``."""
    w1, b1, w2, b2 = params
    h = np.tanh(x @ w1.T + b1)
    error = h @ w2.T + b2 - y
    g = 2 * error / error.size
    gh = g @ w2 * (1 - h**2)
    return float((error**2).mean()), [gh.T @ x, gh.sum(0), g.T @ h, g.sum(0)]

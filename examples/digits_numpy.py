"""The network of digits.py by hand: NumPy, a forward pass, a backward pass, and Adam.

784 → 256 → batch norm → ReLU → dropout → 128 → ReLU → 10, softmax and cross entropy.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
EPS, MOMENTUM = 1e-5, 0.1
BETA1, BETA2, ADAM_EPS = 0.9, 0.999, 1e-8


class Network:
    """The parameters, and what is to be known about them."""

    def __init__(self, widths: tuple[int, int, int, int], p: float, rng: np.random.Generator) -> None:
        self.p, self.rng, self.steps = p, rng, 0
        self.params: dict[str, Array] = {"gamma": np.ones(widths[1], "f4"), "beta": np.zeros(widths[1], "f4")}
        for layer, (fan_in, fan_out) in enumerate(pairwise(widths), start=1):
            bound = fan_in**-0.5
            self.params[f"w{layer}"] = rng.uniform(-bound, bound, (fan_in, fan_out)).astype("f4")
            self.params[f"b{layer}"] = rng.uniform(-bound, bound, fan_out).astype("f4")
        self.m = {name: np.zeros_like(value) for name, value in self.params.items()}
        self.v = {name: np.zeros_like(value) for name, value in self.params.items()}
        self.mean, self.var = np.zeros(widths[1], "f4"), np.ones(widths[1], "f4")

    def predict(self, x: Array) -> Array:
        """Return the logits, with the running statistics and no dropout."""
        q = self.params
        z = (x @ q["w1"] + q["b1"] - self.mean) / np.sqrt(self.var + EPS) * q["gamma"] + q["beta"]
        hidden = np.maximum(np.maximum(z, 0) @ q["w2"] + q["b2"], 0)
        return np.asarray(hidden @ q["w3"] + q["b3"])

    def gradients(self, x: Array, y: NDArray[np.int64]) -> tuple[float, dict[str, Array]]:
        """Return the loss of a batch, and its derivative with respect to every parameter."""
        q, n = self.params, len(x)
        z1 = x @ q["w1"] + q["b1"]
        mean, var = z1.mean(axis=0), z1.var(axis=0)
        self.mean += MOMENTUM * (mean - self.mean)
        self.var += MOMENTUM * (var * n / (n - 1) - self.var)
        inv_std = 1 / np.sqrt(var + EPS)
        normal = (z1 - mean) * inv_std
        scaled = normal * q["gamma"] + q["beta"]
        # One mask for ReLU and dropout, which scales what it keeps.
        mask = (scaled > 0) * (self.rng.random(scaled.shape, "f4") >= self.p) * np.float32(1 / (1 - self.p))
        h1 = scaled * mask
        h2 = np.maximum(h1 @ q["w2"] + q["b2"], 0)
        logits = h2 @ q["w3"] + q["b3"]
        logits -= logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        rows = np.arange(n)
        loss = -float(log_p[rows, y].mean())

        d3 = np.exp(log_p)
        d3[rows, y] -= 1
        d3 /= n
        d2 = (d3 @ q["w3"].T) * (h2 > 0)
        d_scaled = (d2 @ q["w2"].T) * mask
        d_normal = d_scaled * q["gamma"]
        d1 = inv_std * (d_normal - d_normal.mean(axis=0) - normal * (d_normal * normal).mean(axis=0))
        return loss, {
            "gamma": (d_scaled * normal).sum(axis=0), "beta": d_scaled.sum(axis=0),
            "w1": x.T @ d1, "b1": d1.sum(axis=0),
            "w2": h1.T @ d2, "b2": d2.sum(axis=0),
            "w3": h2.T @ d3, "b3": d3.sum(axis=0),
        }  # fmt: skip

    def adam(self, gradients: dict[str, Array], lr: float) -> None:
        """Take one step of Adam."""
        self.steps += 1
        step_size = lr / (1 - BETA1**self.steps)
        correction = (1 - BETA2**self.steps) ** 0.5
        for name, gradient in gradients.items():
            self.m[name] += (1 - BETA1) * (gradient - self.m[name])
            self.v[name] += (1 - BETA2) * (gradient * gradient - self.v[name])
            self.params[name] -= step_size * self.m[name] / (np.sqrt(self.v[name]) / correction + ADAM_EPS)

    def fit(self, x: Array, y: NDArray[np.int64], epochs: int, batch_size: int, lr: Callable[[int], float]) -> None:
        """Train for a number of epochs, each in an order of its own; ``lr`` gives the learning rate of an epoch."""
        for epoch in range(epochs):
            order = self.rng.permutation(len(x))
            for start in range(0, len(x), batch_size):
                rows = order[start : start + batch_size]
                self.adam(self.gradients(x[rows], y[rows])[1], lr(epoch))

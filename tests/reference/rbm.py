"""Restricted Boltzmann machines once more, in float64 NumPy: formulas of the papers, loops over states where there are few.

Random numbers come from Philox4x32-10 as its paper states it, written out here, so that a draw is known by its position.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LOW = (1 << 32) - 1


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Salmon et al. 2011, section 3.3: ten rounds."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(second >> 32) ^ c[1] ^ k[0], second & LOW, (first >> 32) ^ c[3] ^ k[1], first & LOW]
        k = [(k[0] + 0x9E3779B9) & LOW, (k[1] + 0xBB67AE85) & LOW]
    return c


def words(seed: int, call: int, half_step: int, samples: int, units: int) -> NDArray[np.int64]:
    """The word of each sample and unit; a block serves four units of a sample. Streams 0 and 1 are others'."""
    blocks = -(-units // 4)
    key = [seed & LOW, seed >> 32]
    drawn = [philox([b, 2 + half_step, call & LOW, call >> 32], key) for b in range(samples * blocks)]
    return np.array(drawn, np.int64).reshape(samples, 4 * blocks)


def uniforms(*args: int) -> Array:
    return (words(*args)[:, : args[-1]] >> 8) / 2.0**24


def normals(*args: int) -> Array:
    """Box-Muller on pairs of words; the first is rounded to single precision, and the engine goes on in that."""
    drawn = words(*args)
    share = (drawn[:, ::2] >> 1).astype(np.float32) + np.float32(0.5)
    radius = np.sqrt(-2 * np.log(share.astype(np.float64) / 2.0**31))
    angle = 2 * np.pi * (drawn[:, 1::2] >> 8) / 2.0**24
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=2).reshape(len(drawn), -1)[:, : args[-1]]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


@dataclass
class Machine:
    """Parameters and settings; ``batch`` is one step of CD-k or PCD."""

    weight: Array
    visible_bias: Array
    hidden_bias: Array
    gaussian: bool = False
    k: int = 1
    chains: Array | None = None
    """(chains, hidden); None for CD."""
    sample_visible: bool = True
    lr: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    sparsity_target: float = 0.1
    sparsity_cost: float = 0.0
    sparsity_decay: float = 0.95
    steps: list[Array] = field(default_factory=list)
    activity: Array | None = None

    def hidden(self, v: Array) -> Array:
        return sigmoid(v @ self.weight.T + self.hidden_bias)

    def visible(self, h: Array) -> Array:
        inputs = h @ self.weight + self.visible_bias
        return inputs if self.gaussian else sigmoid(inputs)

    def draw_hidden(self, p: Array, *place: int) -> Array:
        return (uniforms(*place, *p.shape) < p).astype(float)

    def draw_visible(self, mean: Array, *place: int) -> Array:
        if self.gaussian:
            return mean + normals(*place, *mean.shape)
        return (uniforms(*place, *mean.shape) < mean).astype(float)

    def batch(self, x: Array, seed: int, call: int) -> float:
        """One update; returns the reconstruction error of CD."""
        parameters = [self.weight, self.visible_bias, self.hidden_bias]
        if not self.steps:
            self.steps = [np.zeros_like(p) for p in parameters]
        p = self.hidden(x)
        h = self.draw_hidden(p, seed, call, 0) if self.chains is None else self.chains
        if self.sparsity_cost:
            old = np.full(p.shape[1], self.sparsity_target) if self.activity is None else self.activity
            self.activity = self.sparsity_decay * old + (1 - self.sparsity_decay) * p.mean(0)
            p = p + self.sparsity_cost * (self.sparsity_target - self.activity)
        error = 0.0
        for step in range(self.k):
            mean = self.visible(h)
            if step == 0 and self.chains is None:
                error = float(np.mean((x - mean) ** 2))
            v = self.draw_visible(mean, seed, call, 1 + 2 * step) if self.sample_visible else mean
            q = self.hidden(v)
            h = self.draw_hidden(q, seed, call, 2 + 2 * step)
        if self.chains is not None:
            self.chains = h
        n, m = len(x), len(v)
        gradients = [
            p.T @ x / n - q.T @ v / m - self.weight_decay * self.weight,
            x.mean(0) - v.mean(0),
            p.mean(0) - q.mean(0),
        ]
        self.steps = [self.momentum * d + self.lr * g for d, g in zip(self.steps, gradients, strict=True)]
        self.weight, self.visible_bias, self.hidden_bias = (p + d for p, d in zip(parameters, self.steps, strict=True))
        return error


def states(n: int) -> Array:
    """All states of n units of 0 and 1."""
    return np.array(list(itertools.product([0.0, 1.0], repeat=n)))


def energy(machine: Machine, v: Array, h: Array) -> float:
    own = 0.5 * np.sum((v - machine.visible_bias) ** 2) if machine.gaussian else -v @ machine.visible_bias
    return float(own - h @ machine.hidden_bias - h @ machine.weight @ v)


def free_energy(machine: Machine, v: Array) -> float:
    """-log Σ_h exp(-E(v, h)), by enumeration."""
    return float(-np.log(sum(np.exp(-energy(machine, v, h)) for h in states(len(machine.hidden_bias)))))


def log_likelihood(machine: Machine, x: Array) -> float:
    """Mean log p(v) of Bernoulli rows, with the partition function by enumeration."""
    partition = sum(np.exp(-free_energy(machine, v)) for v in states(len(machine.visible_bias)))
    return float(np.mean([-free_energy(machine, v) for v in x]) - np.log(partition))


def pseudo_likelihood(machine: Machine, v: Array) -> float:
    """Σ_i log p(v_i | others), each as a ratio of joint probabilities."""
    total = 0.0
    for i in range(len(v)):
        other = v.copy()
        other[i] = 1 - other[i]
        p, q = np.exp(-free_energy(machine, v)), np.exp(-free_energy(machine, other))
        total += np.log(p / (p + q))
    return float(total)

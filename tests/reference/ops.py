"""The maths of every op once more: float64 NumPy, written from the formulas and never from our code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

erf = np.vectorize(math.erf, otypes=[float])


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def leaky_relu(x: Array, slope: float) -> Array:
    return np.where(x > 0, x, slope * x)


def prelu(x: Array, weight: Array) -> Array:
    w = weight if weight.size == 1 else weight.reshape(1, -1, *[1] * (x.ndim - 2))
    return np.where(x > 0, x, w * x)


def elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * (np.exp(np.minimum(x, 0)) - 1))


def selu(x: Array) -> Array:
    alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    return scale * elu(x, alpha)


def gelu_erf(x: Array) -> Array:
    return x * 0.5 * (1 + erf(x / math.sqrt(2)))


def gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def softplus(x: Array, beta: float, threshold: float) -> Array:
    return np.where(beta * x > threshold, x, np.log1p(np.exp(np.minimum(beta * x, threshold))) / beta)


def logsumexp(x: Array, axis: int, keepdims: bool = False) -> Array:
    m = x.max(axis=axis, keepdims=True)
    out = m + np.log(np.exp(x - m).sum(axis=axis, keepdims=True))
    return out if keepdims else out.squeeze(axis)


def log_softmax(x: Array, axis: int) -> Array:
    return x - logsumexp(x, axis, keepdims=True)


def softmax(x: Array, axis: int) -> Array:
    return np.exp(log_softmax(x, axis))


def glu(x: Array, axis: int) -> Array:
    a, b = np.split(x, 2, axis)
    return a / (1 + np.exp(-b))


def batch_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    axes = (0, *range(2, x.ndim))
    shape = (1, -1, *[1] * (x.ndim - 2))
    mean = x.mean(axis=axes, keepdims=True)
    var = ((x - mean) ** 2).mean(axis=axes, keepdims=True)
    return weight.reshape(shape) * (x - mean) / np.sqrt(var + eps) + bias.reshape(shape)


def _standardized(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    mean = x.mean(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=axes, keepdims=True) + eps)


def layer_norm(x: Array, dims: int, weight: Array, bias: Array, eps: float) -> Array:
    return weight * _standardized(x, tuple(range(-dims, 0)), eps) + bias


def rms_norm(x: Array, dims: int, weight: Array, eps: float) -> Array:
    axes = tuple(range(-dims, 0))
    return weight * x / np.sqrt((x**2).mean(axis=axes, keepdims=True) + eps)


def group_norm(x: Array, groups: int, weight: Array, bias: Array, eps: float) -> Array:
    n, c = x.shape[:2]
    y = _standardized(x.reshape(n, groups, -1), (2,), eps).reshape(x.shape)
    shape = (1, c, *[1] * (x.ndim - 2))
    return weight.reshape(shape) * y + bias.reshape(shape)


def instance_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    inner = 1 if x.ndim == 2 else x.ndim - 2
    shape = (-1, *[1] * inner)
    return weight.reshape(shape) * _standardized(x, tuple(range(-inner, 0)), eps) + bias.reshape(shape)


def local_response_norm(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        window = x[:, max(0, c - size // 2) : c + (size - 1) // 2 + 1]
        y[:, c] = x[:, c] / (k + alpha * (window**2).sum(axis=1) / size) ** beta
    return y


def normalize(x: Array, p: float, axis: int, eps: float) -> Array:
    norm = (
        np.abs(x).max(axis=axis, keepdims=True)
        if p == math.inf
        else (np.abs(x) ** p).sum(axis=axis, keepdims=True) ** (1 / p)
    )
    return x / np.maximum(norm, eps)


def _reduced(loss: Array, reduction: str) -> Array:
    return {"none": lambda v: v, "mean": np.mean, "sum": np.sum}[reduction](loss)


def cross_entropy(
    logits: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    axis = min(1, logits.ndim - 1)
    c = logits.shape[axis]
    w = np.ones(c) if weight is None else weight
    # The classes last.
    logp = np.moveaxis(log_softmax(logits, axis), axis, -1)
    if target.dtype.kind == "f":
        smooth = (1 - label_smoothing) * np.moveaxis(target, axis, -1) + label_smoothing / c
        return _reduced(-(smooth * w * logp).sum(axis=-1), reduction)
    counts = target != ignore_index
    label = np.where(counts, target, 0)
    nll = -w[label] * np.take_along_axis(logp, label[..., None], -1)[..., 0]
    smooth = -(w * logp).sum(axis=-1)
    loss = np.where(counts, (1 - label_smoothing) * nll + label_smoothing / c * smooth, 0.0)
    if reduction == "mean":
        return np.asarray(loss.sum() / (w[label] * counts).sum())
    return _reduced(loss, reduction)


def nll_loss(logp: Array, target: Array, weight: Array | None = None, reduction: str = "mean") -> Array:
    axis = min(1, logp.ndim - 1)
    w = np.ones(logp.shape[axis]) if weight is None else weight
    loss = -w[target] * np.take_along_axis(np.moveaxis(logp, axis, -1), target[..., None], -1)[..., 0]
    return np.asarray(loss.sum() / w[target].sum()) if reduction == "mean" else _reduced(loss, reduction)


def mse_loss(x: Array, t: Array, reduction: str = "mean") -> Array:
    return _reduced((x - t) ** 2, reduction)


def l1_loss(x: Array, t: Array, reduction: str = "mean") -> Array:
    return _reduced(np.abs(x - t), reduction)


def smooth_l1_loss(x: Array, t: Array, beta: float, reduction: str = "mean") -> Array:
    d = np.abs(x - t)
    return _reduced(np.where(d < beta, 0.5 * d**2 / beta, d - 0.5 * beta), reduction)


def huber_loss(x: Array, t: Array, delta: float, reduction: str = "mean") -> Array:
    d = np.abs(x - t)
    return _reduced(np.where(d <= delta, 0.5 * d**2, delta * (d - 0.5 * delta)), reduction)


def bce(x: Array, t: Array, weight: Array | None = None, reduction: str = "mean") -> Array:
    w = 1.0 if weight is None else weight
    loss = -w * (t * np.maximum(np.log(x), -100) + (1 - t) * np.maximum(np.log(1 - x), -100))
    return _reduced(loss, reduction)


def bce_with_logits(
    x: Array, t: Array, weight: Array | None = None, pos_weight: Array | None = None, reduction: str = "mean"
) -> Array:
    w = 1.0 if weight is None else weight
    p = 1.0 if pos_weight is None else pos_weight
    loss = -w * (p * t * -np.log1p(np.exp(-x)) + (1 - t) * (-x - np.log1p(np.exp(-x))))
    return _reduced(loss, reduction)


def kl_div(x: Array, t: Array, log_target: bool, reduction: str = "mean") -> Array:
    loss = np.exp(t) * (t - x) if log_target else t * (np.log(t) - x)
    return loss.sum() / len(x) if reduction == "batchmean" else _reduced(loss, reduction)

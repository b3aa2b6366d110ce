"""Baseline loss: the best constant prediction."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn.diagnostics.layers import Loss

# Losses of a distance to the target, and those of probabilities and of their logarithms; any other takes logits.
_DISTANCES = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
_PROBABILITIES = ("binary_cross_entropy",)
_LOG_PROBABILITIES = ("nll_loss", "kl_div")
_NAMES = {
    "MSELoss": "mse_loss",
    "L1Loss": "l1_loss",
    "SmoothL1Loss": "smooth_l1_loss",
    "HuberLoss": "huber_loss",
    "BCELoss": "binary_cross_entropy",
    "NLLLoss": "nll_loss",
    "KLDivLoss": "kl_div",
}


def _kind(loss: Loss) -> str:
    for base in type(loss).__mro__:
        if base.__name__ in _NAMES:
            return _NAMES[base.__name__]
    return str(getattr(loss, "__name__", ""))


def is_distance(loss: Loss) -> bool:
    """Return whether the loss compares outputs with targets of the same kind, as the squared error does."""
    return _kind(loss) in _DISTANCES


def baseline(loss: Loss, outputs: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the loss of outputs that are the same for every row: ln C for C classes, the variance of y for MSE.

    Args:
        loss: The loss.
        outputs: The model's, for these targets; only their shape and type matter.
        y: The targets.

    Returns:
        The loss of the targets' mean, of equal probabilities, or of zeros for a loss that takes logits.
    """
    kind, shape = _kind(loss), outputs.shape
    if kind in _DISTANCES:
        guess = np.broadcast_to(y.mean(axis=0), y.shape)
    elif kind in _PROBABILITIES:
        guess = np.full(shape, 0.5)
    elif kind in _LOG_PROBABILITIES:
        guess = np.full(shape, -math.log(shape[1] if len(shape) > 1 else shape[0]))
    else:
        guess = np.zeros(shape)
    return float(loss(_core.as_tensor(np.array(guess, outputs.dtype)), _core.as_tensor(y)).item())


def smallest(loss: Loss, outputs: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the loss of a model that knows every target: above 0 where labels are smoothed."""
    smoothing = float(getattr(loss, "label_smoothing", 0.0) or 0.0)
    if not smoothing or outputs.ndim < 2:
        return 0.0
    # Outputs that are the logarithms of the smoothed labels; their entropy is the least cross entropy.
    classes = outputs.shape[1]
    q = np.full(outputs.shape, smoothing / classes)
    if y.dtype.kind in "iu":
        # Labels that are ignored are no class.
        hot = np.expand_dims(y, 1) == np.arange(classes).reshape(-1, *[1] * (y.ndim - 1))
        q += (1 - smoothing) * hot
    else:
        q += (1 - smoothing) * y
    return float(loss(_core.as_tensor(np.log(np.maximum(q, 1e-30)).astype(outputs.dtype)), _core.as_tensor(y)).item())

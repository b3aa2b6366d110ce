"""Predicting with dropout switched on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._types import check_at_least
from fastnn.nn.module import Module
from fastnn.training import data, evaluation
from fastnn.training.data import Types

_DROPPING = "layers that drop at random, such as Dropout"


class MCPrediction(NamedTuple):
    """Result of :func:`mc_predict`.

    Args:
        mean: Mean of the outputs over the samples.
        std: Their standard deviation.
    """

    mean: NDArray[Any]
    std: NDArray[Any]


def mc_predict(
    model: Module,
    x: Any,
    samples: int = 100,
    *,
    batch_size: int = 1024,
    layers: type[Module] | tuple[type[Module], ...] | None = None,
) -> MCPrediction:
    """Predict many times with dropout on, and return the mean and the spread of the outputs::

        mean = Σₜ y_t / samples,    std = √(Σₜ (y_t - mean)² / samples)

    Everything else, such as batch norm, is in evaluation mode; modes are restored. To average probabilities, let the
    model end with a softmax: ``mc_predict(nn.Sequential(model, nn.Softmax(1)), x)``.

    Args:
        model: The model.
        x: Inputs, ``(n, *)``; converted to the model's type.
        samples: How many times, at least 1.
        batch_size: Rows at a time.
        layers: Which layers are in training mode: a class, or several. ``None`` for all that drop something at random:
            dropout of elements, channels and features, :class:`fastnn.nn.DropConnect`, stochastic depth. Noise, which
            is there to disturb the training, and pooling at random are not among them.

    Returns:
        ``mean`` and ``std``, each of the output's shape and type.

    Raises:
        ValueError: A setting is out of range, there are no rows, or the model has no such layers.
        TypeError: ``model`` is no module, or data are of another type.

    Source:
        Gal & Ghahramani 2016, https://arxiv.org/abs/1506.02142, equations 6 and 8, without the noise of the data
        (τ⁻¹) in the latter.
    """
    where = "mc_predict"
    if not isinstance(model, Module):
        raise TypeError(f"{where}: expected model to be an nn.Module; got {type(model).__name__}")
    check_at_least(where, "samples", samples, 1)
    batch_size = data.check_batch_size(where, batch_size)
    types = Types.of(model)
    inputs = data.features(where, x, types, whole=False)
    if not len(inputs):
        raise ValueError(f"{where}: expected at least one row in x; got shape {inputs.shape}")
    random, what = _random_layers(where, model, layers)
    if not random:
        raise ValueError(f"{where}: expected a model with {what}; got none")
    means, stds = [], []
    with evaluation.evaluating(model) as undo:
        for module in random:
            undo.set_item(module.__dict__, "training", True)
        _core.bump_config()
        for batch in evaluation.slices(inputs, batch_size, types.features):
            # Welford's recurrence: the spread of a large output does not vanish in its square.
            mean = squares = np.zeros(())
            for number in range(1, samples + 1):
                output = next(evaluation.outputs(model, [batch])).numpy()
                off = output.astype(np.float64) - mean
                mean = mean + off / number
                squares = squares + off * (output - mean)
            means.append(mean.astype(output.dtype))
            stds.append(np.sqrt(squares / samples).astype(output.dtype))
    return MCPrediction(np.concatenate(means), np.concatenate(stds))


def _random_layers(where: str, model: Module, layers: Any) -> tuple[list[Module], str]:
    """Return the layers that are to be in training mode, and what they are called."""
    if layers is None:
        return [module for module in model.modules() if module._drops_at_random], _DROPPING
    classes = layers if isinstance(layers, tuple) else (layers,)
    for one in classes:
        if not (isinstance(one, type) and issubclass(one, Module)):
            raise TypeError(f"{where}: expected layers to be classes of modules; got {one!r}")
    names = ", ".join(layer.__name__ for layer in classes)
    return [module for module in model.modules() if isinstance(module, classes)], names

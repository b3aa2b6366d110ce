"""Arrays behind the pictures of :mod:`fastnn.visualize`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn import _core, autograd
from fastnn._core import Tensor
from fastnn._types import check_at_least, check_number
from fastnn.nn._hooks import attach
from fastnn.nn.module import Module
from fastnn.training import data, evaluation
from fastnn.training.data import Types

_BATCH = 256


def filters(layer: Module, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Return the weights into every unit or channel of a layer, as images.

    Args:
        layer: A layer with a ``weight``: a convolution's ``(out, in, h, w)``, or a linear one's ``(out, features)``.
        shape: What the features of a linear layer were before they were flattened: ``(c, h, w)`` or ``(h, w)``.

    Returns:
        A copy, ``(out, c, h, w)``.

    Raises:
        ValueError: The weights have another shape.
        TypeError: The layer has no weights.
    """
    where = "filters"
    _check_model(where, layer, "layer")
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor):
        raise TypeError(f"{where}: expected a layer with a weight; got {type(layer).__name__}")
    values = np.array(weight.detach().numpy())
    if shape is not None:
        sides = tuple(shape) if len(shape) == 3 else (1, *shape)
        if len(sides) != 3 or values.size != len(values) * np.prod(sides):
            raise ValueError(f"{where}: expected shape of {values[0].size} features; got {tuple(shape)}")
        return values.reshape(-1, *sides)
    if values.ndim != 4:
        raise ValueError(f"{where}: expected a weight of shape (out, in, h, w), or shape=; got {values.shape}")
    return values


def feature_maps(model: Module, x: Any, layer: str | Module) -> NDArray[Any]:
    """Return the outputs of a layer, in evaluation mode; the mode is restored.

    Args:
        model: The model.
        x: Inputs, ``(n, *)``; converted to the model's type.
        layer: One of its modules, or that one's name in ``named_modules``.

    Returns:
        ``(n, *)``, ``(n, c, h, w)`` for images; of the layer's last call, if it is called more than once.

    Raises:
        ValueError: There is no such layer, no rows, or the model does not call it.
        TypeError: Data or the layer are of another type.
    """
    where = "feature_maps"
    inputs = _inputs(where, model, x)
    names = dict(model.named_modules(remove_duplicate=False))
    if isinstance(layer, str):
        if layer not in names:
            raise ValueError(f"{where}: expected the name of a layer of the model; got {layer!r}")
        layer = names[layer]
    if not any(module is layer for module in names.values()):
        raise ValueError(f"{where}: expected a layer of the model; got {type(layer).__name__}")
    seen: list[NDArray[Any]] = []

    def hook(module: Module, args: Any, output: Any) -> None:  # noqa: ARG001
        if isinstance(output, Tensor):
            seen[:] = [np.array(output.detach().numpy())]

    parts = []
    with evaluation.evaluating(model) as undo:
        attach(undo, layer, hook)
        for rows in evaluation.slices(inputs, _BATCH):
            seen.clear()
            model(_core.as_tensor(rows))
            parts += seen
    if not parts:
        raise ValueError(f"{where}: expected a layer that the model calls; got {type(layer).__name__}")
    return np.concatenate(parts)


def saliency(model: Module, x: Any, target: Any = None, samples: int = 0, noise: float = 0.15) -> NDArray[Any]:
    """Return how much the score of a class changes with every pixel::

        m[i, r, s] = max_c |w[i, c, r, s]|,    w[i] = ∂ score[i, target[i]] / ∂ x[i]

    and with ``samples`` k above 0, smoothed: w is the mean of the gradients at ``x + n₁, …, x + n_k``, with nⱼ from
    ``Normal(0, noise * (max x[i] - min x[i]))``. Scores are the model's outputs, which should come before any softmax.

    Args:
        model: Its outputs have the shape ``(n, classes)``, or ``(n,)``, or ``(n, 1)``. In evaluation mode; the mode is
            restored, and no gradient of a parameter is touched.
        x: Inputs, ``(n, c, h, w)``, ``(n, h, w)`` or ``(n, features)``; converted to the model's type.
        target: The class of every row, ``(n,)``, or one for all; ``None`` for the one with the highest score.
        samples: How many noisy copies; 0 for the image itself.
        noise: Their deviation, as a share of the image's range; at least 0.

    Returns:
        ``(n, h, w)``, or ``(n, features)``, each at least 0.

    Raises:
        ValueError: A setting is out of range, there are no rows, or a class does not exist.
        TypeError: Data or settings are of another type.

    Source:
        Simonyan, Vedaldi & Zisserman 2014, https://arxiv.org/abs/1312.6034, section 3. Smoothed: Smilkov et al. 2017,
        https://arxiv.org/abs/1706.03825, section 2, who recommend ``noise`` from 0.1 to 0.2.
    """
    where = "saliency"
    inputs = _inputs(where, model, x)
    check_at_least(where, "samples", samples, 0)
    if check_number(where, "noise", noise) < 0:
        raise ValueError(f"{where}: expected noise of at least 0; got {noise}")
    classes = None if target is None else _classes(where, target, len(inputs))
    parts = []
    with evaluation.evaluating(model), autograd.enable_grad():
        for start in range(0, len(inputs), _BATCH):
            rows = inputs[start : start + _BATCH]
            chosen = None if classes is None else classes[start : start + _BATCH]
            parts.append(_gradient(where, model, rows, chosen, samples, noise))
    gradient: NDArray[Any] = np.abs(np.concatenate(parts))
    if gradient.ndim == 4:
        gradient = gradient.max(axis=1)
    return gradient


def _classes(where: str, target: Any, n: int) -> NDArray[Any]:
    classes = np.asarray(target.detach() if isinstance(target, Tensor) else target)
    if classes.dtype.kind not in "iu":
        raise TypeError(f"{where}: expected target to be class numbers; got dtype {classes.dtype}")
    if classes.shape not in {(), (n,)}:
        raise ValueError(f"{where}: expected target of shape ({n},), or one number; got {classes.shape}")
    return np.broadcast_to(classes, (n,))


def _gradient(
    where: str, model: Module, x: NDArray[Any], target: NDArray[Any] | None, samples: int, noise: float
) -> NDArray[Any]:
    if target is None:
        target = np.asarray(_scores(model, x).detach().numpy()).argmax(axis=1)
    total = np.zeros(x.shape)
    ranges = np.ptp(x.reshape(len(x), -1), axis=1).reshape(-1, *[1] * (x.ndim - 1))
    for _ in range(max(1, samples)):
        seen = x
        if samples:
            normal = _core.randn(*x.shape, dtype=_core.float64).numpy()
            seen = (x + noise * ranges * normal).astype(x.dtype)
        point = _core.as_tensor(np.array(seen)).requires_grad_()
        scores = _scores(model, point)
        if target.min() < 0 or target.max() >= scores.shape[1]:
            raise ValueError(
                f"{where}: expected target in [0, {scores.shape[1]}); got {target.min()} to {target.max()}"
            )
        chosen = _core.gather(scores, 1, _core.as_tensor(target.astype(np.int64)[:, None]))
        # No row's score depends on another row in evaluation mode, so the sum's gradient has that of each.
        (gradient,) = autograd.grad(_core.sum(chosen), point)
        if gradient is not None:
            total += gradient.numpy()
    return total / max(1, samples)


def _scores(model: Module, x: Any) -> Tensor:
    output = model(_core.as_tensor(x))
    if not isinstance(output, Tensor):
        raise TypeError(f"saliency: expected the model to return a Tensor; got {type(output).__name__}")
    if output.ndim == 1:
        output = output.reshape(-1, 1)
    if output.ndim != 2:
        raise ValueError(f"saliency: expected outputs of shape (n, classes); got {tuple(output.shape)}")
    return output


class Misclassified(NamedTuple):
    """Return a model's errors, the most confident mistakes first.

    Args:
        rows: Which rows.
        predicted: The class with the highest output.
        expected: The right one.
        confidence: The probability that the model gives to ``predicted``: its softmax.
    """

    rows: NDArray[np.int64]
    predicted: NDArray[np.int64]
    expected: NDArray[np.int64]
    confidence: NDArray[np.float64]


def misclassified(model: Module, x: Any, y: Any) -> Misclassified:
    """Return the rows whose highest output is that of another class, in evaluation mode; the mode is restored.

    Args:
        model: Its outputs are logits, ``(n, classes)``.
        x: Inputs, ``(n, *)``; converted to the model's type.
        y: Classes, ``(n,)``. Rows of -100, which losses ignore, are left out.

    Returns:
        Rows, classes and confidences, sorted by confidence, falling; at the end rows with outputs that are NaN.

    Raises:
        ValueError: Lengths differ, outputs have another shape, or a label is no class.
        TypeError: Data are of another type.
    """
    where = "misclassified"
    inputs = _inputs(where, model, x)
    expected = data.to_array(where, "y", y)
    if expected.shape != (len(inputs),) or expected.dtype.kind not in "iu":
        raise ValueError(
            f"{where}: expected y of shape ({len(inputs)},), integers; got {expected.dtype} of {expected.shape}"
        )
    with evaluation.evaluating(model):
        parts = [output.numpy() for output in evaluation.outputs(model, evaluation.slices(inputs, _BATCH))]
    logits = np.concatenate(parts).astype(np.float64)
    if logits.ndim != 2:
        raise ValueError(f"{where}: expected outputs of shape (n, classes); got {logits.shape}")
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    counts = expected != -100
    outside = counts & ((expected < 0) | (expected >= logits.shape[1]))
    if outside.any():
        first = int(outside.argmax())
        raise ValueError(
            f"{where}: expected labels in [0, {logits.shape[1]}) or -100; got {expected[first]} at position {first}"
        )
    predicted = logits.argmax(axis=1)
    rows = np.flatnonzero(counts & ((predicted != expected) | np.isnan(logits).any(axis=1)))
    confidence = probabilities[rows, predicted[rows]]
    order = np.argsort(-confidence, kind="stable")
    rows = rows[order]
    return Misclassified(rows, predicted[rows], expected[rows].astype(np.int64), confidence[order])


def image_grid(
    images: Any, columns: int = 8, padding: int = 2, normalize: bool = False, pad_value: float = 0.0
) -> NDArray[np.float64]:
    """Return one picture of many images, row by row.

    Args:
        images: ``(n, c, h, w)`` with 1 or 3 channels, or ``(n, h, w)``: uint8, or numbers in [0, 1]; what lies outside
            is cut off.
        columns: Images in a row, at least 1.
        padding: Pixels around each image, at least 0.
        normalize: Whether every image is scaled, its lowest value to 0 and its highest to 1.
        pad_value: Brightness of the padding, in [0, 1].

    Returns:
        ``(H, W)``, or ``(H, W, 3)`` where images have 3 channels, in [0, 1].

    Raises:
        ValueError: Images have another shape, there is none, or a setting is out of range.
        TypeError: Data or settings are of another type.

    Source:
        ``torchvision.utils.make_grid``, whose ``nrow`` is ``columns`` and whose result is channels first.
    """
    where = "image_grid"
    check_at_least(where, "columns", columns, 1)
    check_at_least(where, "padding", padding, 0)
    if not 0 <= check_number(where, "pad_value", pad_value) <= 1:
        raise ValueError(f"{where}: expected pad_value in [0, 1]; got {pad_value}")
    pictures = to_pictures(where, images, normalize=normalize)
    n, h, w, c = pictures.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    canvas = np.full((rows * (h + padding) + padding, columns * (w + padding) + padding, c), float(pad_value))
    for i, picture in enumerate(pictures):
        top, left = (place * (side + padding) + padding for place, side in zip(divmod(i, columns), (h, w), strict=True))
        canvas[top : top + h, left : left + w] = picture
    return canvas[:, :, 0] if c == 1 else canvas


def to_pictures(where: str, images: Any, *, normalize: bool) -> NDArray[np.float64]:
    """Return images as ``(n, h, w, c)`` in [0, 1]."""
    array = data.to_array(where, "images", images)
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or array.shape[1] not in {1, 3} or not array.size:
        raise ValueError(
            f"{where}: expected images of shape (n, h, w), or (n, c, h, w) with c 1 or 3; got {array.shape}"
        )
    values = array.transpose(0, 2, 3, 1).astype(np.float64)
    if normalize:
        axes = (1, 2, 3)
        low, high = values.min(axis=axes, keepdims=True), values.max(axis=axes, keepdims=True)
        values = (values - low) / np.where(high > low, high - low, 1)
    elif array.dtype == np.uint8:
        values /= 255
    pictures: NDArray[np.float64] = np.clip(values, 0, 1)
    return pictures


def _inputs(where: str, model: Any, x: Any) -> NDArray[Any]:
    _check_model(where, model, "model")
    inputs = data.features(where, x, Types.of(model))
    if not len(inputs):
        raise ValueError(f"{where}: expected at least one row in x; got shape {inputs.shape}")
    return inputs


def _check_model(where: str, model: Any, name: str) -> None:
    if not isinstance(model, Module):
        raise TypeError(f"{where}: expected {name} to be an nn.Module; got {type(model).__name__}")

"""Pictures of image networks: filters, feature maps, saliency, grids of images, mistakes.

Each function returns a matplotlib figure, and saves it where ``path`` is given. What a figure shows comes as arrays
from the function of the same name in :mod:`fastnn.visualize.arrays`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._files import save_figure
from fastnn._types import check_at_least
from fastnn.nn.module import Module
from fastnn.training import data
from fastnn.visualize import arrays

__all__ = ["arrays", "feature_maps", "filters", "image_grid", "misclassified", "saliency"]

_INCHES = 1.1


def filters(
    layer: Module, shape: tuple[int, ...] | None = None, *, columns: int = 8, limit: int = 64, path: Any = None
) -> Any:
    """Draw the weights into every unit or channel of a layer.

    Where there are 3 channels they are colors, each filter scaled to [0, 1]; else the mean over the channels is drawn,
    red above 0 and blue below.

    Args:
        layer: A convolution, or a linear layer with ``shape``.
        shape: What the features of a linear layer were before they were flattened: ``(c, h, w)`` or ``(h, w)``.
        columns: Filters in a row, at least 1.
        limit: Filters at most, at least 1.
        path: Where to save the picture, if anywhere.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: The weights have another shape.
        TypeError: The layer has no weights.
    """
    check_at_least("filters", "limit", limit, 1)
    weights = arrays.filters(layer, shape)[:limit]
    if weights.shape[1] == 3:
        return image_grid(weights, columns=columns, normalize=True, path=path)
    return _maps("filters", weights.mean(axis=1), columns, path, signed=True)


def feature_maps(
    model: Module, x: Any, layer: str | Module, *, columns: int = 8, limit: int = 64, path: Any = None
) -> Any:
    """Draw the channels of a layer's output for one image.

    Args:
        model: The model.
        x: The image, as a batch of one, ``(1, c, h, w)``.
        layer: One of the model's modules whose output is ``(n, c, h, w)``, or its name.
        columns: Channels in a row, at least 1.
        limit: Channels at most, at least 1.
        path: Where to save the picture, if anywhere.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There is no such layer, or its output has another shape.
        TypeError: Data or the layer are of another type.
    """
    where = "feature_maps"
    check_at_least(where, "limit", limit, 1)
    maps = arrays.feature_maps(model, x, layer)
    if maps.ndim != 4 or len(maps) != 1:
        raise ValueError(f"{where}: expected an output of shape (1, c, h, w); got {maps.shape}")
    return _maps(where, maps[0, :limit], columns, path, signed=False)


def saliency(
    model: Module,
    x: Any,
    target: Any = None,
    samples: int = 0,
    noise: float = 0.15,
    *,
    limit: int = 8,
    path: Any = None,
) -> Any:
    """Draw images, and under each how much the score of its class changes with every pixel.

    Args:
        model: Its outputs are scores, ``(n, classes)``.
        x: Images, ``(n, c, h, w)`` with 1 or 3 channels, or ``(n, h, w)``.
        target: The class of every image, or one for all; ``None`` for the one with the highest score.
        samples: How many noisy copies are averaged; 0 for the image itself.
        noise: Their deviation, as a share of the image's range.
        limit: Images at most, at least 1.
        path: Where to save the picture, if anywhere.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: A setting is out of range, or images have another shape.
        TypeError: Data or settings are of another type.

    Source:
        Simonyan, Vedaldi & Zisserman 2014, https://arxiv.org/abs/1312.6034; smoothed: Smilkov et al. 2017,
        https://arxiv.org/abs/1706.03825. See :func:`fastnn.visualize.arrays.saliency`.
    """
    where = "saliency"
    check_at_least(where, "limit", limit, 1)
    images = data.to_array(where, "x", x)[:limit]
    classes = target if target is None or np.ndim(target) == 0 else np.asarray(target)[:limit]
    pictures = _shown(where, images)
    maps = arrays.saliency(model, images, classes, samples, noise)
    figure = _figure(where, len(maps), 2)
    for i, axes in enumerate(figure.subplots(2, len(maps), squeeze=False).T):
        _show(axes[0], pictures[i])
        axes[1].imshow(maps[i], cmap="inferno")
        axes[1].axis("off")
    return _saved(figure, path)


def image_grid(
    images: Any,
    *,
    columns: int = 8,
    padding: int = 2,
    normalize: bool = False,
    labels: Sequence[object] | None = None,
    path: Any = None,
) -> Any:
    """Draw many images, such as a batch that was augmented.

    Args:
        images: ``(n, c, h, w)`` with 1 or 3 channels, or ``(n, h, w)``: uint8, or numbers in [0, 1].
        columns: Images in a row, at least 1.
        padding: Pixels around each image, at least 0; without ``labels``.
        normalize: Whether every image is scaled to [0, 1].
        labels: What stands above each image, n of them.
        path: Where to save the picture, if anywhere.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: Images have another shape, a setting is out of range, or there are more or fewer labels.
        TypeError: Data or settings are of another type.
    """
    where = "image_grid"
    if labels is not None:
        check_at_least(where, "columns", columns, 1)
        pictures = arrays.to_pictures(where, images, normalize=normalize)
        if len(labels) != len(pictures):
            raise ValueError(f"{where}: expected {len(pictures)} labels; got {len(labels)}")
        return _labeled(where, pictures, labels, columns, path)
    canvas = arrays.image_grid(images, columns, padding, normalize, 1.0)
    shown = min(columns, len(images))
    figure = _figure(where, shown, -(-len(images) // shown))
    _show(figure.subplots(), canvas if canvas.ndim == 3 else canvas[:, :, None])
    return _saved(figure, path)


def misclassified(
    model: Module,
    x: Any,
    y: Any,
    *,
    classes: Sequence[str] | None = None,
    columns: int = 8,
    limit: int = 32,
    path: Any = None,
) -> Any:
    """Draw the images that a model takes for something else, the most confident mistakes first.

    Args:
        model: Its outputs are logits, ``(n, classes)``.
        x: Images, ``(n, c, h, w)`` with 1 or 3 channels, or ``(n, h, w)``.
        y: Classes, ``(n,)``.
        classes: Their names; numbers, if ``None``.
        columns: Images in a row, at least 1.
        limit: Images at most, at least 1.
        path: Where to save the picture, if anywhere.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: A setting is out of range, lengths differ, or all images are classified rightly.
        TypeError: Data or settings are of another type.
    """
    where = "misclassified"
    for name, value in (("columns", columns), ("limit", limit)):
        check_at_least(where, name, value, 1)
    images = data.to_array(where, "x", x)
    found = arrays.misclassified(model, images, y)
    if not len(found.rows):
        raise ValueError(f"{where}: expected a misclassified image; got none")
    if classes is not None:
        most = int(max(found.predicted.max(), found.expected.max()))
        if most >= len(classes):
            raise ValueError(f"{where}: expected names for classes up to {most}; got {len(classes)} classes")
    rows = found.rows[:limit]

    def name_of(label: int) -> object:
        return label if classes is None else classes[label]

    pairs = zip(found.predicted[:limit], found.expected[:limit], strict=True)
    labels = [f"{name_of(int(predicted))} ({name_of(int(expected))})" for predicted, expected in pairs]
    return _labeled(where, _shown(where, images[rows]), labels, columns, path)


def _shown(where: str, images: NDArray[Any]) -> NDArray[np.float64]:
    """Return images as pictures; those with values out of [0, 1] scaled."""
    scaled = images.dtype != np.uint8 and bool(images.min() < 0 or images.max() > 1)
    return arrays.to_pictures(where, images, normalize=scaled)


def _maps(where: str, maps: NDArray[Any], columns: int, path: Any, *, signed: bool) -> Any:
    """Draw planes ``(n, h, w)``, each with colors of its own range."""
    check_at_least(where, "columns", columns, 1)
    columns = min(columns, len(maps))
    rows = -(-len(maps) // columns)
    figure = _figure(where, columns, rows)
    for i, axes in enumerate(figure.subplots(rows, columns, squeeze=False).ravel()):
        axes.axis("off")
        if i < len(maps):
            most = float(np.abs(maps[i]).max()) or 1.0
            settings = {"cmap": "RdBu_r", "vmin": -most, "vmax": most} if signed else {"cmap": "viridis"}
            axes.imshow(maps[i], **settings)
    return _saved(figure, path)


def _labeled(where: str, pictures: NDArray[Any], labels: Sequence[object], columns: int, path: Any) -> Any:
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    figure = _figure(where, columns, 1.3 * rows)
    for i, axes in enumerate(figure.subplots(rows, columns, squeeze=False).ravel()):
        axes.axis("off")
        if i < len(pictures):
            _show(axes, pictures[i])
            axes.set_title(str(labels[i]), fontsize=7)
    return _saved(figure, path)


def _figure(where: str, columns: float, rows: float) -> Any:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(f"{where} needs matplotlib: pip install fastnn-cpu[plot]") from error
    # Figures in IPython and notebooks show themselves; pyplot would keep every one of them alive.
    return Figure(figsize=(max(2.0, _INCHES * columns), max(1.0, _INCHES * rows)), layout="constrained")


def _show(axes: Any, picture: NDArray[Any]) -> None:
    axes.axis("off")
    if picture.shape[2] == 1:
        axes.imshow(picture[:, :, 0], cmap="gray", vmin=0, vmax=1)
    else:
        axes.imshow(picture)


def _saved(figure: Any, path: Any) -> Any:
    if path is not None:
        save_figure(figure, path, 120)
    return figure

"""Values that programs call by name: arrays and tensors in every layout, and small models."""

import math
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import fastnn as fnn
import fastnn.nn.functional as F
from fastnn import _core, augment, autograd, callbacks, data, diagnostics, ensemble, models, nn, optim, training

from fastnn import unsupervised, visualize  # isort: skip
from fastnn.augment import Transform
from fastnn.nn import init, penalties
from fastnn.optim import lr_scheduler, swa_utils
from fastnn.training import metrics

inf, nan = math.inf, math.nan
FOLDER = Path(tempfile.gettempdir())


def arr(shape: Any, dtype: Any = "float32") -> np.ndarray[Any, Any]:
    """Return numbers around 0; whole ones from 0 on for integers, the same for the same shape."""
    values = np.random.default_rng(7).normal(size=shape)
    if np.dtype(dtype).kind in "iub":
        return np.asarray(np.abs(np.rint(values)).astype(dtype))
    return np.asarray(values.astype(dtype))


def labels(shape: Any, classes: int) -> np.ndarray[Any, Any]:
    """Return class indices."""
    return np.random.default_rng(8).integers(0, max(classes, 1), size=shape)


def shares(shape: Any, dtype: Any = "float32") -> np.ndarray[Any, Any]:
    """Return numbers in [0, 1)."""
    return np.asarray(np.random.default_rng(9).random(size=shape).astype(dtype))


def strided(a: Any) -> Any:
    """Return the same numbers with gaps between them."""
    wide = np.repeat(a, 2, axis=-1) if a.ndim else a
    return wide[..., ::2] if a.ndim else wide


def backwards(a: Any) -> Any:
    """Return a view with a negative stride."""
    return a[..., ::-1] if a.ndim else a


def turned(a: Any) -> Any:
    """Return the transpose of a transposed copy: Fortran's order."""
    return np.ascontiguousarray(a.T).T


def read_only(a: Any) -> Any:
    """Return an array that may not be written."""
    a = a.copy()
    a.flags.writeable = False
    return a


def mapped(a: Any, mode: str = "r") -> Any:
    """Return an array in a file mapped into memory."""
    if a.size == 0 or a.dtype.hasobject:
        return a
    with tempfile.NamedTemporaryFile(suffix=".raw") as file:
        file.write(a.tobytes())
        file.flush()
        return np.memmap(file.name, a.dtype, mode, shape=a.shape)


def overlapping(a: Any) -> Any:
    """Return an array whose elements all lie at one place."""
    return np.lib.stride_tricks.as_strided(a, a.shape, (0,) * a.ndim)


def unaligned(a: Any) -> Any:
    """Return an array that begins one byte into a word."""
    room = np.zeros(a.nbytes + 1, np.uint8)
    b = room[1:].view(a.dtype).reshape(a.shape) if a.size else a
    b[...] = a
    return b


def big_endian(a: Any) -> Any:
    """Return an array in the other byte order."""
    return a.astype(a.dtype.newbyteorder(">"))


def leaf(a: Any) -> fnn.Tensor:
    """Return a tensor that wants a gradient."""
    return fnn.tensor(a, requires_grad=True)


def taped(a: Any) -> fnn.Tensor:
    """Return a result on the tape."""
    return leaf(a) * 2.0


def viewed(a: Any) -> fnn.Tensor:
    """Return a view of a result on the tape."""
    x = taped(a)
    return x.transpose(0, -1) if x.ndim else x.view(())


def tensors(value: Any) -> Iterator[fnn.Tensor]:
    """Yield all tensors in nested results."""
    if isinstance(value, fnn.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value[:8]:
            yield from tensors(item)
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))


def use(value: Any) -> None:
    """Look at a result, and differentiate what can be."""
    for tensor in tensors(value):
        repr(tensor)
        if tensor.requires_grad and tensor.is_floating_point():
            tensor.sum().backward(retain_graph=True)


def model(n: int = 3, classes: int = 2) -> nn.Module:
    """Return a small network."""
    return nn.Sequential(nn.Linear(n, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, classes))


def image_model(c: int = 1, classes: int = 2) -> nn.Module:
    """Return a small network of images."""
    return nn.Sequential(
        nn.Conv2d(c, 2, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, classes)
    )


def differentiated(m: nn.Module) -> nn.Module:
    """Return the model after one backward."""
    inputs = next(m.parameters()).shape[-1]
    (m(fnn.tensor(arr((4, inputs)))) ** 2).sum().backward()
    return m


def parameters() -> list[fnn.Tensor]:
    """Return parameters with gradients, of some shapes."""
    found = [leaf(arr(shape)) for shape in ((3, 4), (4,), (2, 3, 2), ())]
    for p in found:
        (p * p).sum().backward()
    return found


def sgd() -> optim.Optimizer:
    """Return an optimizer with momentum."""
    return optim.SGD(parameters(), lr=0.1, momentum=0.9)


def rows(n: int = 6, width: int = 3) -> data.TensorDataset:
    """Return a data set of inputs and labels."""
    return data.TensorDataset(fnn.tensor(arr((n, width))), fnn.tensor(labels((n,), 2)))


__all__ = [
    "FOLDER", "Decimal", "F", "Fraction", "Path", "Transform", "_core", "arr", "augment", "autograd", "backwards",
    "big_endian", "callbacks", "data", "diagnostics", "differentiated", "ensemble", "fnn", "image_model", "inf", "init",
    "labels", "leaf", "lr_scheduler", "mapped", "math", "metrics", "model", "models", "nan", "nn", "np", "optim",
    "overlapping", "parameters", "penalties", "read_only", "rows", "sgd", "shares", "strided", "swa_utils", "taped",
    "training", "turned", "unaligned", "unsupervised", "use", "viewed", "visualize",
]  # fmt: skip

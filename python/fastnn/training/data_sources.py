"""From what a fit or an evaluation was given to the data it runs on."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import check_at_least, check_number
from fastnn.augment.transform import Transform
from fastnn.nn.module import Module
from fastnn.training import data
from fastnn.training.augmentation import Augmentation
from fastnn.training.batches import IterableData
from fastnn.training.data import ArrayData, Batch, Types
from fastnn.training.evaluation import evaluating
from fastnn.training.weighing import known_loss
from fastnn.training.weights import sample_weights

_FIT = "Trainer.fit"


def arrays_or_batches(
    where: str, x: Any, y: Any, types: Types, prefix: str = "", prefetch: int = 0
) -> Batch | IterableData:
    """Return a pair of arrays, or the batches of an iterable.

    Raises:
        ValueError: There is an array without targets, or lengths differ.
    """
    if y is None and data.is_pair(x):
        x, y = x
    if y is not None:
        return data.pair(where, x, y, types, prefix, whole=False)
    if hasattr(x, "__array__"):
        raise ValueError(f"{where}: expected {prefix}x and y; got x alone")
    return IterableData(where, x, types, None, prefetch)


def training_data(
    model: Module,
    loss: Callable[..., Any],
    types: Types,
    x: Any,
    y: Any,
    *,
    batch_size: int,
    validation_data: Any,
    validation_split: float,
    shuffle: bool,
    drop_last: bool,
    steps_per_epoch: int | None,
    sample_weight: Any,
    class_weight: Any,
    augment: Callable[..., Any] | None,
    prefetch: int,
) -> tuple[ArrayData | IterableData, Any]:
    """Return the data to train on, and the data to validate on; the arguments are those of ``Trainer.fit``.

    Raises:
        ValueError: A setting is out of range, or does not go with the others.
        TypeError: One is of another type.
    """
    if augment is not None and not callable(augment):
        raise TypeError(f"{_FIT}: expected augment to be a function; got {augment!r}")
    batch_size = data.check_batch_size(_FIT, batch_size)
    check_at_least(_FIT, "prefetch", prefetch, 0)
    split = check_number(_FIT, "validation_split", validation_split)
    if not 0 <= split < 1:
        raise ValueError(f"{_FIT}: expected validation_split in [0, 1); got {validation_split}")
    if split and validation_data is not None:
        raise ValueError(f"{_FIT}: expected validation_data or validation_split; got both")
    validation: Any = None
    if validation_data is not None:
        validation = arrays_or_batches(_FIT, validation_data, None, types, "validation ", prefetch)
    training: ArrayData | IterableData
    if y is None:
        _check_iterable(
            x,
            validation_split=split or None,
            sample_weight=sample_weight,
            class_weight=class_weight,
            drop_last=drop_last or None,
        )
        if steps_per_epoch is not None:
            check_at_least(_FIT, "steps_per_epoch", steps_per_epoch, 1)
        training = IterableData(_FIT, x, types, steps_per_epoch, prefetch)
    else:
        if steps_per_epoch is not None:
            raise ValueError(f"{_FIT}: expected steps_per_epoch with an iterable only; got it with arrays")
        inputs, outputs = data.pair(_FIT, x, y, types, whole=False)
        classes = partial(count_classes, model, loss, inputs, outputs, types)
        weights = sample_weights(_FIT, loss, outputs, sample_weight, class_weight, types.features, classes)
        kept = len(inputs) - math.ceil(len(inputs) * split)
        if not kept:
            raise ValueError(f"{_FIT}: expected validation_split to leave rows to train on; got {validation_split}")
        if split:
            validation = (inputs[kept:], outputs[kept:])
            inputs, outputs = inputs[:kept], outputs[:kept]
            weights = None if weights is None else weights[:kept]
        training = ArrayData(
            inputs,
            outputs,
            types,
            batch_size,
            shuffle=shuffle,
            drop_last=drop_last,
            sample_weight=weights,
            only=_counting(weights),
            prefetch=prefetch > 0,
        )
    if augment is None:
        return training, validation
    training.augment = Augmentation(augment, partial(_checked, types))
    if isinstance(training, ArrayData):
        if isinstance(augment, Transform):
            _check_transform(augment, training, types)
        training.augment.see(data.to_array(_FIT, "x", x).dtype if hasattr(x, "__array__") else types.features)
    return training, validation


def _check_iterable(x: Any, **arrays_only: Any) -> None:
    """Refuse what goes with arrays only."""
    if hasattr(x, "__array__"):
        raise ValueError(f"{_FIT}: expected targets y to go with the array x; got None")
    for name, given in arrays_only.items():
        if given is not None:
            raise ValueError(f"{_FIT}: expected arrays with {name}; got {type(x).__name__}")


def count_classes(model: Module, loss: object, x: NDArray[Any], y: NDArray[Any], types: Types) -> int | None:
    """Return for how many classes the model has an output, for a loss of class indices; ``None`` if it is not known."""
    known = known_loss(loss)
    if known is None or not known.takes_class_indices:
        return None
    state = _core.get_rng_state()
    try:
        with evaluating(model):
            output = model(_core.as_tensor(data.convert(x[:1], y[:1], types)[0]))
    except Exception:  # noqa: BLE001  (such as for images that are only cropped later; the step will say what is wrong)
        return None
    finally:
        _core.set_rng_state(state)
    return int(output.shape[1]) if isinstance(output, Tensor) and output.dim() > 1 else None


def _counting(weights: NDArray[Any] | None) -> NDArray[np.int64] | None:
    """Return the rows whose weight is not 0, if there are others: a batch in which nothing counts has no loss."""
    if weights is None or weights.all():
        return None
    if not weights.any():
        raise ValueError(f"{_FIT}: expected a sample that counts; got weights that are all 0")
    return np.flatnonzero(weights).astype(np.int64)


def _check_transform(augment: Transform, training: ArrayData, types: Types) -> None:
    """Refuse rows that a transform cannot change, in the types that they will have in a step."""
    # Rows may be converted piece by piece later: only type and shape count.
    x = np.broadcast_to(np.zeros((), types.features), training.x.shape)
    floating = training.y.dtype.kind == "f"
    augment._check(x, training.y.astype(types.features if floating else np.int64, copy=False))


def _checked(types: Types, batch: Any) -> Batch:
    """Return what a function of batches has returned, in the model's types."""
    if not isinstance(batch, tuple) or len(batch) != 2:
        got = f"{len(batch)} things" if isinstance(batch, tuple) else type(batch).__name__
        raise TypeError(f"{_FIT}: expected augment to return a pair (x, y); got {got}")
    return data.pair(_FIT, *batch, types, "augmented ")

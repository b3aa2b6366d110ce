"""From what a fit or an evaluation was given to the data it runs on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from fastnn._types import check_at_least, check_number
from fastnn.augment.transform import Transform
from fastnn.training import data
from fastnn.training.data import ArrayData, Augment, Batch, IterableData, Types
from fastnn.training.weights import sample_weights

_FIT = "Trainer.fit"


def arrays_or_batches(where: str, x: Any, y: Any, types: Types, prefix: str = "") -> Batch | IterableData:
    """Return a pair of arrays, or the batches of an iterable.

    Raises:
        ValueError: There is an array without targets, or lengths differ.
    """
    if y is None and data.is_pair(x):
        x, y = x
    if y is not None:
        return data.pair(where, x, y, types, prefix)
    if hasattr(x, "__array__"):
        raise ValueError(f"{where}: expected {prefix}x and y; got x alone")
    return IterableData(where, x, types, None)


def training_data(
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
    augment: Augment | None,
) -> tuple[ArrayData | IterableData, Any]:
    """Return the data to train on, and the data to validate on; the arguments are those of ``Trainer.fit``.

    Raises:
        ValueError: A setting is out of range, or does not go with the others.
        TypeError: One is of another type.
    """
    if augment is not None and not callable(augment):
        raise TypeError(f"{_FIT}: expected augment to be a function; got {augment!r}")
    batch_size = data.check_batch_size(_FIT, batch_size)
    split = check_number(_FIT, "validation_split", validation_split)
    if not 0 <= split < 1:
        raise ValueError(f"{_FIT}: expected validation_split in [0, 1); got {validation_split}")
    if split and validation_data is not None:
        raise ValueError(f"{_FIT}: expected validation_data or validation_split; got both")
    validation: Any = None
    if validation_data is not None:
        validation = arrays_or_batches(_FIT, validation_data, None, types, "validation ")
    training: ArrayData | IterableData
    if y is None:
        _check_iterable(x, split=split, sample_weight=sample_weight, class_weight=class_weight)
        if steps_per_epoch is not None:
            check_at_least(_FIT, "steps_per_epoch", steps_per_epoch, 1)
        training = IterableData(_FIT, x, types, steps_per_epoch)
    else:
        if steps_per_epoch is not None:
            raise ValueError(f"{_FIT}: expected steps_per_epoch with an iterable only; got it with arrays")
        inputs, outputs = data.pair(_FIT, x, y, types)
        weights = sample_weights(_FIT, loss, outputs, sample_weight, class_weight, types.features)
        kept = len(inputs) - math.ceil(len(inputs) * split)
        if not kept:
            raise ValueError(f"{_FIT}: expected validation_split to leave rows to train on; got {validation_split}")
        if split:
            validation = (inputs[kept:], outputs[kept:])
            inputs, outputs = inputs[:kept], outputs[:kept]
            weights = None if weights is None else weights[:kept]
        inputs, outputs, weights = _counting(inputs, outputs, weights)
        training = ArrayData(inputs, outputs, batch_size, shuffle=shuffle, drop_last=drop_last, sample_weight=weights)
    if isinstance(augment, Transform) and isinstance(training, ArrayData):
        augment._check(training.x, training.y)
        training.augment = augment
    elif augment is not None:
        training.augment = _converted(augment, types)
    return training, validation


def _check_iterable(x: Any, *, split: float, sample_weight: Any, class_weight: Any) -> None:
    """Refuse what goes with arrays only."""
    if hasattr(x, "__array__"):
        raise ValueError(f"{_FIT}: expected targets y to go with the array x; got None")
    for name, given in (
        ("validation_split", split or None),
        ("sample_weight", sample_weight),
        ("class_weight", class_weight),
    ):
        if given is not None:
            raise ValueError(f"{_FIT}: expected arrays with {name}; got {type(x).__name__}")


def _counting(
    inputs: NDArray[Any], outputs: NDArray[Any], weights: NDArray[Any] | None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """Leave out rows of weight 0: a batch in which nothing counts would have no loss."""
    if weights is None or weights.all():
        return inputs, outputs, weights
    counting = weights != 0
    if not counting.any():
        raise ValueError(f"{_FIT}: expected a sample that counts; got weights that are all 0")
    return inputs[counting], outputs[counting], weights[counting]


def _converted(augment: Augment, types: Types) -> Augment:
    """Let a function of batches return arrays of the model's types."""

    def converted(x: NDArray[Any], y: NDArray[Any]) -> Batch:
        batch = augment(x, y)
        if not isinstance(batch, tuple) or len(batch) != 2:
            got = f"{len(batch)} things" if isinstance(batch, tuple) else type(batch).__name__
            raise TypeError(f"{_FIT}: expected augment to return a pair (x, y); got {got}")
        return data.pair(_FIT, *batch, types, "augmented ")

    return converted

"""What a fit, an evaluation or a prediction can be given: arrays, or anything that yields batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import GeneratorType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import is_floating
from fastnn.nn.loss import Loss
from fastnn.nn.module import Module

Batch: TypeAlias = tuple[NDArray[Any], NDArray[Any]]
Augment: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], Batch]


class Types(NamedTuple):
    """The types that a model and a loss compute in.

    Args:
        features: Of ``x``: the model's.
        targets: Of ``y`` if it is an integer: the model's for a regression, int64 for classes.
    """

    features: np.dtype[Any]
    targets: np.dtype[Any]

    @classmethod
    def of(cls, model: Module, loss: object = None) -> Types:
        """Look at the first floating point parameter, and at the loss."""
        features: np.dtype[Any] = np.dtype(np.float32)
        for parameter in model.parameters():
            if is_floating(parameter):
                features = np.dtype(np.float64 if parameter.dtype == _core.float64 else np.float32)
                break
        classes = not isinstance(loss, Loss) or loss.takes_class_indices
        return cls(features, np.dtype(np.int64) if classes else features)


def to_array(where: str, name: str, value: Any) -> NDArray[Any]:
    """Return an array of numbers.

    Raises:
        ValueError: It is ragged, or a scalar.
        TypeError: It does not hold numbers.
    """
    if isinstance(value, Tensor):
        array = value.detach().numpy()
    else:
        try:
            array = np.asarray(value)
        except ValueError:
            raise ValueError(f"{where}: expected {name} to have rows of one length") from None
    if array.dtype.kind == "O":
        raise TypeError(f"{where}: expected {name} to be an array of real numbers; got {type(value).__name__}")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{where}: expected {name} to hold real numbers; got dtype {array.dtype}")
    if array.ndim == 0:
        raise ValueError(f"{where}: expected {name} to have rows; got a scalar")
    return array


def features(where: str, value: Any, types: Types, name: str = "x") -> NDArray[Any]:
    """Return ``x`` in the model's type, C-contiguous; itself, if it is so already."""
    return np.ascontiguousarray(to_array(where, name, value), dtype=types.features)


def targets(where: str, value: Any, types: Types, name: str = "y") -> NDArray[Any]:
    """Return ``y``: floating point in the model's type, integers in that of the loss."""
    array = to_array(where, name, value)
    return np.ascontiguousarray(array, dtype=types.features if array.dtype.kind == "f" else types.targets)


def pair(where: str, x: Any, y: Any, types: Types, prefix: str = "") -> Batch:
    """Return ``x`` and ``y`` as arrays of the same length, which is at least 1.

    Raises:
        ValueError: Their lengths differ, or are 0.
    """
    inputs = features(where, x, types, f"{prefix}x")
    outputs = targets(where, y, types, f"{prefix}y")
    if len(inputs) != len(outputs):
        raise ValueError(
            f"{where}: expected {prefix}x and {prefix}y of one length; got {len(inputs)} and {len(outputs)}"
        )
    if not len(inputs):
        raise ValueError(f"{where}: expected at least one row in {prefix}x; got shape {inputs.shape}")
    return inputs, outputs


def is_pair(value: Any) -> bool:
    """Whether this is ``(x, y)``, and not two batches: nested lists are taken for arrays if they are not pairs."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        return False
    first = value[0]
    if hasattr(first, "__array__"):
        return True
    return not isinstance(first, tuple) and (isinstance(value, tuple) or (isinstance(first, list) and len(first) != 2))


def check_batch_size(where: str, batch_size: Any) -> int:
    """Return it as an int.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is below 1.
    """
    if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__"):
        raise TypeError(f"{where}: expected batch_size to be an int; got {batch_size!r}")
    if batch_size < 1:
        raise ValueError(f"{where}: expected batch_size of at least 1; got {batch_size}")
    return int(batch_size)


class ArrayData:
    """Rows in memory, taken in batches.

    Args:
        x: Inputs.
        y: Targets, as many.
        batch_size: Rows a batch; the last has what is left.
        shuffle: Whether every epoch has an order of its own.
        drop_last: Whether a last, smaller batch is left out.
        sample_weight: What each row counts for; ``None`` for 1.
    """

    def __init__(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        batch_size: int,
        *,
        shuffle: bool,
        drop_last: bool,
        sample_weight: NDArray[Any] | None = None,
    ) -> None:
        self.x = x
        self.y = y
        self.sample_weight = sample_weight
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.augment: Augment | None = None
        rows = len(x)
        self.batches = rows // batch_size if drop_last else -(-rows // batch_size)
        if not self.batches:
            raise ValueError(f"Trainer.fit: expected at least {batch_size} rows with drop_last; got {rows}")

    def order(self) -> NDArray[np.int64]:
        """Return the rows of the next epoch, by number."""
        if self.shuffle:
            return _core.permutation(len(self.x))
        return np.arange(len(self.x), dtype=np.int64)

    def rows(self, batch: int) -> slice:
        """Return where in the order a batch lies."""
        return slice(batch * self.batch_size, min((batch + 1) * self.batch_size, len(self.x)))

    def batch(self, order: NDArray[np.int64], batch: int) -> Batch:
        """Return a copy of one batch."""
        rows = order[self.rows(batch)]
        return self.x[rows], self.y[rows]


class IterableData:
    """Batches from an iterable, or from a function that returns one.

    Args:
        where: Who asks, for errors.
        source: Yields ``(x, y)``.
        types: What they are converted to.
        batches: How many make an epoch. ``None`` for all; an iterator then serves one epoch only.

    Attributes:
        in_memory: Whether it is a list, so that to go through it once more costs nothing.
        serves_once: Whether it surely ends with the first epoch.
    """

    def __init__(
        self, where: str, source: Iterable[Any] | Callable[[], Iterable[Any]], types: Types, batches: int | None
    ) -> None:
        if not callable(source) and not hasattr(source, "__iter__"):
            raise TypeError(f"{where}: expected arrays x and y, or an iterable of (x, y); got {type(source).__name__}")
        self._where = where
        self._source = source
        self._types = types
        self._limit = batches
        self.augment: Augment | None = None
        self._running: Iterator[Any] | None = None
        self.batches: int | None = batches
        self.in_memory = isinstance(source, (list, tuple)) and batches is None
        # Another iterator may begin anew when it is asked for one.
        self.serves_once = isinstance(source, GeneratorType) and batches is None
        if batches is None and hasattr(source, "__len__"):
            self.batches = len(source)  # type: ignore[arg-type]

    def _start(self) -> Iterator[Any]:
        return iter(self._source() if callable(self._source) else self._source)

    def _next(self) -> Any:
        """Return the next item; with a limit, begin again when the source ends."""
        if self._running is None:
            self._running = self._start()
        try:
            return next(self._running)
        except StopIteration:
            self._running = None
            if self._limit is None:
                raise
        self._running = self._start()
        return next(self._running)

    def epoch(self) -> Iterator[Batch]:
        """Yield the batches of the next epoch.

        Raises:
            ValueError: There is none, or one is not a pair.
        """
        taken = 0
        if self._limit is None:
            self._running = None
        while self._limit is None or taken < self._limit:
            try:
                item = self._next()
            except StopIteration:
                break
            if not isinstance(item, (tuple, list)) or len(item) != 2:
                got = f"{len(item)} things" if isinstance(item, (tuple, list)) else type(item).__name__
                raise ValueError(f"{self._where}: expected batches to be pairs (x, y); got {got}")
            yield pair(self._where, item[0], item[1], self._types)
            taken += 1
        if taken < (self._limit or 1):
            hint = "; an iterator serves once: pass a list, or a function that returns an iterator" * (not taken)
            raise ValueError(
                f"{self._where}: expected {self._limit or 'at least 1'} batches an epoch; got {taken}{hint}"
            )


class Running(NamedTuple):
    """A fit that is on, for callbacks.

    Args:
        epochs: The epochs' numbers.
        training: The training data.
    """

    epochs: range
    training: ArrayData | IterableData

    @property
    def batches(self) -> int | None:
        """Batches an epoch; ``None`` if nobody knows."""
        return self.training.batches

    @property
    def serves_once(self) -> bool:
        """Whether the training data surely end with the first epoch."""
        return isinstance(self.training, IterableData) and self.training.serves_once

    def inputs(self) -> NDArray[Any] | Iterator[NDArray[Any]]:
        """Return the inputs of the training data: an array, or batches."""
        if isinstance(self.training, ArrayData):
            return self.training.x
        return (x for x, _ in self.training.epoch())

"""Arrays that a fit, an evaluation or a prediction accepts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import is_floating
from fastnn.data._ahead import in_order
from fastnn.nn.loss import Loss
from fastnn.nn.module import Module
from fastnn.training.augmentation import Augmentation

Batch: TypeAlias = tuple[NDArray[Any], NDArray[Any]]

# Arrays of so many bytes once converted are converted at once, which is quicker, and so many bytes of larger ones.
_SMALL = 1 << 25
_PIECE = 1 << 24
_INPUTS_BATCH = 1024


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

    def of_targets(self, y: NDArray[Any]) -> np.dtype[Any]:
        """Return the type that these targets are converted to."""
        return self.features if y.dtype.kind == "f" else self.targets


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


def features(where: str, value: Any, types: Types, name: str = "x", *, whole: bool = True) -> NDArray[Any]:
    """Return ``x`` in the model's type, C-contiguous; itself, if it is so already.

    Unless ``whole``, a large array that it would take more memory to convert is left for :func:`convert` to convert,
    batch by batch: one of narrower numbers, such as uint8, or one that is mapped from a file.
    """
    array = to_array(where, name, value)
    return array if not whole and _stays(array, types.features) else _as(array, types.features)


def targets(where: str, value: Any, types: Types, name: str = "y", *, whole: bool = True) -> NDArray[Any]:
    """Return ``y``: floating point in the model's type, integers in that of the loss."""
    array = to_array(where, name, value)
    return array if not whole and _stays(array, types.of_targets(array)) else _as(array, types.of_targets(array))


def convert(x: NDArray[Any], y: NDArray[Any], types: Types) -> Batch:
    """Return rows of what :func:`features` and :func:`targets` have left as it was, converted."""
    return _as(x, types.features), _as(y, types.of_targets(y))


def _as(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, dtype=dtype)


def _stays(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    if (array.dtype == dtype and array.flags.c_contiguous) or array.size * dtype.itemsize <= _SMALL:
        return False
    return array.dtype.itemsize < dtype.itemsize or _is_mapped(array)


def _is_mapped(array: Any) -> bool:
    while array is not None:
        if isinstance(array, np.memmap):
            return True
        array = getattr(array, "base", None)
    return False


def pair(where: str, x: Any, y: Any, types: Types, prefix: str = "", *, whole: bool = True) -> Batch:
    """Return ``x`` and ``y`` as arrays of the same length, which is at least 1.

    Raises:
        ValueError: Their lengths differ, or are 0.
    """
    inputs = features(where, x, types, f"{prefix}x", whole=whole)
    outputs = targets(where, y, types, f"{prefix}y", whole=whole)
    if len(inputs) != len(outputs):
        raise ValueError(
            f"{where}: expected {prefix}x and {prefix}y of one length; got {len(inputs)} and {len(outputs)}"
        )
    if not len(inputs):
        raise ValueError(f"{where}: expected at least one row in {prefix}x; got shape {inputs.shape}")
    return inputs, outputs


def slices(x: NDArray[Any], y: NDArray[Any], batch_size: int, types: Types) -> Generator[Batch, None, None]:
    """Yield ``batch_size`` rows at a time, converted; views, if they are so already."""
    for start in range(0, len(x), batch_size):
        rows = slice(start, start + batch_size)
        yield convert(x[rows], y[rows], types)


def is_pair(value: Any) -> bool:
    """Return whether this is ``(x, y)``, and not two batches: nested lists count as arrays if they are not pairs."""
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


class Piece(NamedTuple):
    """Some batches of an epoch, as ``TrainStep.run_batches`` takes them.

    Args:
        batches: How many.
        x: Inputs, and rows of others too.
        y: Targets.
        sample_weight: What each row counts for; ``None`` for 1.
        order: Rows of these, by number.
        first: The first batch of them in the order.
    """

    batches: int
    x: NDArray[Any]
    y: NDArray[Any]
    sample_weight: NDArray[Any] | None
    order: NDArray[np.int64]
    first: int


class ArrayData:
    """Rows of arrays, taken in batches.

    Args:
        x: Inputs.
        y: Targets, as many.
        types: What they are converted to, piece by piece if they are not so already.
        batch_size: Rows a batch; the last has what is left.
        shuffle: Whether every epoch has an order of its own.
        drop_last: Whether a last, smaller batch is left out.
        sample_weight: What each row counts for; ``None`` for 1.
        only: Which rows there are, by number; ``None`` for all.
        prefetch: Whether pieces that have to be converted are prepared while the one before is trained on.
    """

    def __init__(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        types: Types,
        batch_size: int,
        *,
        shuffle: bool,
        drop_last: bool,
        sample_weight: NDArray[Any] | None = None,
        only: NDArray[np.int64] | None = None,
        prefetch: bool = True,
    ) -> None:
        self.x = x
        self.y = y
        self.sample_weight = sample_weight
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.augment: Augmentation | None = None
        self._types = types
        self._only = only
        self._prefetch = prefetch
        self._look()
        self._rows = len(x) if only is None else len(only)
        self.batches = self._rows // batch_size if drop_last else -(-self._rows // batch_size)
        if not self.batches:
            raise ValueError(f"Trainer.fit: expected at least {batch_size} rows with drop_last; got {self._rows}")

    def _look(self) -> None:
        """See what does not have its type yet; it is gathered and converted piece by piece."""
        rows = convert(self.x[:1], self.y[:1], self._types)
        self._converted = all(
            new.dtype == old.dtype and old.flags.c_contiguous for new, old in zip(rows, (self.x, self.y), strict=True)
        )
        bytes_a_batch = sum(row.nbytes for row in rows) * self.batch_size
        self._most = max(1, _PIECE // max(1, bytes_a_batch))

    def with_inputs(self, x: NDArray[Any]) -> ArrayData:
        """Return the same targets, weights and batches with other inputs."""
        same = copy.copy(self)
        same.x = x
        same._look()
        return same

    def order(self) -> NDArray[np.int64]:
        """Return the rows of the next epoch, by number."""
        order = _core.permutation(self._rows) if self.shuffle else np.arange(self._rows, dtype=np.int64)
        return order if self._only is None else self._only[order]

    def rows(self, batch: int) -> slice:
        """Return where in the order a batch lies."""
        return slice(batch * self.batch_size, min((batch + 1) * self.batch_size, self._rows))

    def batch(self, order: NDArray[np.int64], batch: int) -> Batch:
        """Return a copy of one batch."""
        return self._taken(order[self.rows(batch)])

    def pieces(self, order: NDArray[np.int64], size: Callable[[], int]) -> Generator[Piece, None, None]:
        """Yield the batches of an epoch in pieces.

        Args:
            order: The rows, by number.
            size: Returns how many batches the next piece should have.
        """
        if self._converted:
            for first, count in self._counts(size):
                yield Piece(count, self.x, self.y, self.sample_weight, order, first)
            return
        tasks = (partial(self._piece, order, first, count) for first, count in self._counts(size))
        if self._prefetch:
            with closing(in_order(tasks, 1, 1)) as prepared:
                yield from prepared
        else:
            yield from (task() for task in tasks)

    def _counts(self, size: Callable[[], int]) -> Iterator[tuple[int, int]]:
        first = 0
        while first < self.batches:
            most = self.batches if self._converted else self._most
            count = max(1, min(size(), self.batches - first, most))
            yield first, count
            first += count

    def _piece(self, order: NDArray[np.int64], first: int, count: int) -> Piece:
        rows = order[self.rows(first).start : self.rows(first + count - 1).stop]
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return Piece(count, *self._taken(rows), weight, np.arange(len(rows), dtype=np.int64), 0)

    def _taken(self, rows: NDArray[np.int64]) -> Batch:
        return convert(self.x[rows], self.y[rows], self._types)

    def inputs(self) -> NDArray[Any] | Iterator[NDArray[Any]]:
        """Return the inputs, of the size that they are trained on: an array, or batches."""
        resized = self.augment is not None and self.augment.resizes(self.x.shape)
        whole = self._converted and self._only is None and not resized
        return self.x if whole else (x for x, _ in self.in_turn(_INPUTS_BATCH))

    def in_turn(self, batch_size: int) -> Generator[Batch, None, None]:
        """Yield all rows in the order of the arrays, of the size that they are trained on."""
        batches = self._in_turn(batch_size)
        return batches if self.augment is None else self.augment.sized(batches)

    def _in_turn(self, batch_size: int) -> Generator[Batch, None, None]:
        for start in range(0, self._rows, batch_size):
            rows = slice(start, start + batch_size)
            kept: Any = rows if self._only is None else self._only[rows]
            yield convert(self.x[kept], self.y[kept], self._types)

"""Data sets: sources of samples."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_integer, check_items, check_length, check_number, shown
from fastnn.data.generator import Generator, check_generator, drawing_from

T_co = TypeVar("T_co", covariant=True)

# Shares such as 0.7, 0.2 and 0.1 miss 1 by this much at most.
_ROUNDING = 1e-12


class Dataset(Generic[T_co]):
    """Samples by their index; to be subclassed.

    A subclass defines ``__getitem__`` and, for most samplers, ``__len__``. It may define ``__getitems__``, which takes
    a list of indices and returns the list of samples, where that is faster.
    """

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError(f"{type(self).__name__}: expected a subclass to define __getitem__")

    def __add__(self, other: Dataset[Any]) -> Any:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """Samples one after another, such as those of a stream; to be subclassed.

    A subclass defines ``__iter__``. One thread reads it, however many workers a :class:`DataLoader` has; PyTorch's
    workers each read all of it.
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__}: expected a subclass to define __iter__")

    def __add__(self, other: Dataset[Any]) -> Any:
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Any, ...]]):
    """Sample i is ``(tensors[0][i], tensors[1][i], …)``.

    Args:
        *tensors: Tensors or arrays, also memory-mapped ones, of one length.

    Raises:
        ValueError: There is none, one has no rows, or lengths differ.
    """

    def __init__(self, *tensors: TensorLike) -> None:
        if not tensors:
            raise ValueError("TensorDataset: expected at least one tensor; got none")
        self.tensors = tuple(t if isinstance(t, (Tensor, np.ndarray)) else np.asarray(t) for t in tensors)
        lengths = [len(t) if t.ndim else None for t in self.tensors]
        if lengths.count(lengths[0]) < len(lengths) or lengths[0] is None:
            raise ValueError(f"TensorDataset: expected tensors of one length; got lengths {lengths}")

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def _rows(self, indices: NDArray[np.int64]) -> list[Tensor]:
        """Return what the default collate function makes of these samples."""
        return [_rows(tensor, indices) for tensor in self.tensors]


def _rows(values: TensorLike, indices: NDArray[np.int64]) -> Tensor:
    if isinstance(values, Tensor):
        if values.requires_grad:
            return _core.index_select(values, 0, indices)
        values = values.numpy()
    return _core.as_tensor(values[indices])


class ConcatDataset(Dataset[T_co]):
    """One dataset after another.

    Args:
        datasets: At least one, with lengths.

    Attributes:
        cumulative_sizes: Where each ends.

    Raises:
        ValueError: There is none.
        TypeError: One is an :class:`IterableDataset`.
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = check_items("ConcatDataset", "datasets", datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: expected at least one dataset; got none")
        for dataset in self.datasets:
            if isinstance(dataset, IterableDataset):
                raise TypeError(
                    f"ConcatDataset: expected datasets with lengths; got {type(dataset).__name__}, an IterableDataset"
                )
        self.cumulative_sizes = list(
            itertools.accumulate(check_length("ConcatDataset", "datasets", dataset) for dataset in self.datasets)
        )

    def __getitem__(self, index: int) -> T_co:
        index = check_integer("ConcatDataset", "an index", index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"ConcatDataset: expected an index below {len(self)}; got {index}")
        index %= len(self)
        number = bisect.bisect_right(self.cumulative_sizes, index)
        begin = self.cumulative_sizes[number - 1] if number else 0
        sample: T_co = self.datasets[number][index - begin]
        return sample

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset[T_co]):
    """One :class:`IterableDataset` after another.

    Args:
        datasets: The datasets.

    Raises:
        TypeError: One is no :class:`IterableDataset`.
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = check_items("ChainDataset", "datasets", datasets)
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise TypeError(f"ChainDataset: expected IterableDatasets; got {type(dataset).__name__}")

    def __iter__(self) -> Iterator[T_co]:
        return itertools.chain.from_iterable(self.datasets)

    def __len__(self) -> int:
        return sum(check_length("ChainDataset", "datasets", dataset) for dataset in self.datasets)


class Subset(Dataset[T_co]):
    """Sample i is ``dataset[indices[i]]``.

    Args:
        dataset: The whole.
        indices: Which of its samples.
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        if not hasattr(dataset, "__getitem__"):
            raise TypeError(f"Subset: expected dataset to have __getitem__; got {shown(dataset)}")
        if not hasattr(indices, "__getitem__"):
            raise TypeError(f"Subset: expected indices to be a sequence; got {shown(indices)}")
        check_length("Subset", "indices", indices)
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> T_co:
        if isinstance(index, list):
            samples: T_co = self.dataset[[self._index(i) for i in index]]
            return samples
        sample: T_co = get_item("Subset", self.dataset, self._index(index))
        return sample

    def _index(self, index: int) -> Any:
        try:
            return self.indices[index]
        except (IndexError, TypeError, KeyError):
            check_integer("Subset", "an index", index)
            raise IndexError(f"Subset: expected an index below {len(self.indices)}; got {shown(index)}") from None

    def __getitems__(self, indices: list[int]) -> list[T_co]:
        # A subclass that says what a sample is says it for all of them.
        if type(self).__getitem__ is not Subset.__getitem__:
            return [self[i] for i in indices]
        return get_items("Subset", self.dataset, [self._index(i) for i in indices])

    def __len__(self) -> int:
        return len(self.indices)


def get_item(where: str, dataset: Any, index: Any) -> Any:
    """Return a sample; of one of Python's sequences or a dict with an error that names what asked for it.

    Raises:
        IndexError: A list or another of Python's sequences has no such index.
        TypeError: The index of such a sequence is not an integer.
        ValueError: A dict has no such key.
    """
    if isinstance(dataset, (list, tuple, str, bytes, range)):
        at = check_integer(where, "an index", index)
        if not -len(dataset) <= at < len(dataset):
            raise IndexError(f"{where}: expected an index below {len(dataset)}; got {shown(index)}")
        return dataset[at]
    if type(dataset) is dict:
        try:
            return dataset[index]
        except (KeyError, TypeError):
            raise ValueError(f"{where}: expected the dataset to have the key {shown(index)}; it has not") from None
    return dataset[index]


def get_items(where: str, dataset: Any, indices: list[Any]) -> list[Any]:
    """Return these samples: in one call, where the dataset has one for it."""
    at_once = getattr(dataset, "__getitems__", None)
    if callable(at_once):
        samples: list[Any] = at_once(indices)
        return samples
    return [get_item(where, dataset, index) for index in indices]


def rows_of(dataset: Any, indices: list[Any]) -> list[Tensor] | None:
    """Return the collated batch of a :class:`TensorDataset`, or a subset of one, in one go; ``None`` for any other."""
    while type(dataset) is Subset:
        indices = [dataset._index(i) for i in indices]
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset:
        return None
    rows = np.asarray(indices)
    if rows.dtype.kind not in "iu":
        numbers = [check_integer("DataLoader", "an index", i) for i in indices]
        beyond = next((i for i in numbers if not -(2**63) <= i < 2**63), None)
        if beyond is not None:
            raise IndexError(f"DataLoader: expected indices of a data set of {len(dataset)} samples; got {beyond}")
        rows = np.array(numbers, np.int64)
    return dataset._rows(rows.astype(np.int64, copy=False))


def random_split(dataset: Any, lengths: Sequence[float], generator: Generator | None = None) -> list[Subset[Any]]:
    """Deal samples out at random, each to one of several subsets.

    Args:
        dataset: The whole, of n samples.
        lengths: How many samples each subset has, n together; or its share of them, 1 together. Shares are rounded
            down, and the samples that are left go to the first subsets, one each.
        generator: What to draw from; ``None`` for that of the process.

    Returns:
        The subsets.

    Raises:
        ValueError: Lengths are negative, or do not add up.
        TypeError: ``generator`` is none.

    Example:
        >>> import fastnn as fnn
        >>> parts = fnn.data.random_split(range(10), [0.5, 0.3, 0.2])
        >>> [len(part) for part in parts]
        [5, 3, 2]
        >>> sorted(i for part in parts for i in part)
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    where = "random_split"
    check_generator(where, generator)
    n, lengths = check_length(where, "dataset", dataset), check_items(where, "lengths", lengths)
    for length in lengths:
        if not 0 <= check_number(where, "lengths", length) < math.inf:
            raise ValueError(f"{where}: expected lengths of at least 0; got {lengths}")
    total = sum(lengths)
    if abs(total - 1) < _ROUNDING:
        counts = [math.floor(n * share) for share in lengths]
        left = n - sum(counts)
        counts = [count + left // len(counts) + (i < left % len(counts)) for i, count in enumerate(counts)]
    else:
        counts = [int(length) for length in lengths]
        if total != n or any(count != length for count, length in zip(counts, lengths, strict=True)):
            raise ValueError(f"{where}: expected lengths that add up to {n}, or shares to 1; got {lengths}")
    with drawing_from(generator):
        order = _core.permutation(n).tolist()
    ends = itertools.accumulate(counts)
    return [Subset(dataset, order[end - count : end]) for count, end in zip(counts, ends, strict=True)]

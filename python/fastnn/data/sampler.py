"""The order in which samples are taken."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

import numpy as np

from fastnn import _core
from fastnn._types import check_array, check_at_least, check_length, shown
from fastnn.data.generator import Generator, check_generator, drawing_from

T_co = TypeVar("T_co", covariant=True)


class Sampler(Generic[T_co]):
    """Yields indices of samples, or lists of them; to be subclassed.

    A subclass defines ``__iter__``, and ``__len__`` if the length of a :class:`DataLoader` is asked for. Within a
    loader, what it draws comes from the loader's seed.
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__}: expected a subclass to define __iter__")


class SequentialSampler(Sampler[int]):
    """Yields ``0, 1, …, n - 1``.

    Args:
        data_source: Whose length is n.
    """

    def __init__(self, data_source: Sized) -> None:
        check_length("SequentialSampler", "data_source", data_source)
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Yields indices in random order: permutations of ``0, …, n - 1``, one after another; or each evenly from all n.

    Args:
        data_source: Whose length is n.
        replacement: Whether an index may come again before all others have.
        num_samples: How many, at least 1; ``None`` for n.
        generator: What to draw from; ``None`` for that of the process.

    Raises:
        ValueError: ``num_samples`` is below 1, or n is 0.
        TypeError: A setting is of another type.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = _check_bool("RandomSampler", "replacement", replacement)
        self._num_samples = num_samples
        self.generator = check_generator("RandomSampler", generator)
        if not check_length("RandomSampler", "data_source", data_source):
            raise ValueError("RandomSampler: expected a data_source with samples; got none")
        check_at_least("RandomSampler", "num_samples", self.num_samples, 1)

    @property
    def num_samples(self) -> int:
        """Number of indices."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n, wanted = len(self.data_source), self.num_samples
        with drawing_from(self.generator):
            if self.replacement:
                return iter(_core.randint(0, n, (wanted,)).tolist())
            # In memory that is asked for before the first is drawn.
            order = np.empty(wanted, np.int64)
            for start in range(0, wanted, n):
                order[start : start + n] = _core.permutation(n)[: wanted - start]
        return iter(order.tolist())

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """Yields given indices in random order.

    Args:
        indices: The indices.
        generator: What to draw from; ``None`` for that of the process.

    Raises:
        TypeError: ``generator`` is none. While iterating: ``indices`` is no sequence, such as a set or a dict.
    """

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        check_length("SubsetRandomSampler", "indices", indices)
        self.indices = indices
        self.generator = check_generator("SubsetRandomSampler", generator)

    def __iter__(self) -> Iterator[int]:
        with drawing_from(self.generator):
            order = _core.permutation(len(self.indices)).tolist()
        try:
            return iter([self.indices[i] for i in order])
        except (KeyError, TypeError) as error:
            raise TypeError(
                f"SubsetRandomSampler: expected indices to be a sequence; got {type(self.indices).__name__}: {error!r}"
            ) from None

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Yields index i with probability ``weights[i] / Σ weights``.

    Without replacement, those that are left divide the probability of those that are gone.

    Args:
        weights: What each index counts for, ``(n,)``, each at least 0.
        num_samples: How many, at least 1; without replacement at most as many as have a weight above 0.
        replacement: Whether an index may come again.
        generator: What to draw from; ``None`` for that of the process.

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        Without replacement: Efraimidis & Spirakis 2006, https://doi.org/10.1016/j.ipl.2005.11.003, Algorithm A: the
        indices with the smallest ``-log(u[i]) / weights[i]``, in that order.
    """

    def __init__(
        self, weights: Any, num_samples: int, replacement: bool = True, generator: Generator | None = None
    ) -> None:
        where = "WeightedRandomSampler"
        check_at_least(where, "num_samples", num_samples, 1)
        self.replacement = _check_bool(where, "replacement", replacement)
        self.generator = check_generator(where, generator)
        self.weights = check_array(where, "weights", weights)
        self.num_samples = num_samples
        if self.weights.ndim != 1:
            raise ValueError(f"{where}: expected weights of shape (n,); got {self.weights.shape}")
        wrong = ~(np.isfinite(self.weights) & (self.weights >= 0))
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise ValueError(f"{where}: expected weights of at least 0; got {self.weights[first]} at {first}")
        possible = int(np.count_nonzero(self.weights))
        if not possible:
            raise ValueError(f"{where}: expected a weight above 0; got none")
        if not self.replacement and num_samples > possible:
            raise ValueError(
                f"{where}: expected num_samples of at most {possible}, as many as have a weight, "
                f"without replacement; got {num_samples}"
            )

    def __iter__(self) -> Iterator[int]:
        n = self.num_samples if self.replacement else len(self.weights)
        with drawing_from(self.generator):
            # In (0, 1].
            uniform = 1 - _core.rand(n, dtype=_core.float64).numpy()
        if self.replacement:
            ends = np.cumsum(self.weights)
            # The first index whose end is not below: one of weight 0 has the end of the one before it.
            return iter(np.searchsorted(ends, uniform * ends[-1], side="left").tolist())
        with np.errstate(divide="ignore"):
            keys = np.where(self.weights > 0, -np.log(uniform) / self.weights, np.inf)
        return iter(np.argsort(keys, kind="stable")[: self.num_samples].tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Yields lists of ``batch_size`` indices from another sampler.

    Args:
        sampler: Yields indices.
        batch_size: How many make a list, at least 1; the last has what is left.
        drop_last: Whether a last, shorter list is left out.

    Raises:
        ValueError: ``batch_size`` is below 1.
        TypeError: A setting is of another type.
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        check_at_least("BatchSampler", "batch_size", batch_size, 1)
        if not isinstance(sampler, Iterable):
            raise TypeError(f"BatchSampler: expected sampler to be an iterable; got {shown(sampler)}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = _check_bool("BatchSampler", "drop_last", drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if len(batch) < self.batch_size and self.drop_last:
                return
            yield batch

    def __len__(self) -> int:
        n = check_length("BatchSampler", "sampler", self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


def _check_bool(where: str, name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{where}: expected {name} to be a bool; got {value!r}")
    return value

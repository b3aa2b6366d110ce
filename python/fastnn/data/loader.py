"""Batches of a dataset, prepared by threads."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from fastnn import _core
from fastnn._types import GREATEST, check_at_least, check_flag, check_items, check_length, check_number, shown
from fastnn.data._ahead import END, Reader, in_order
from fastnn.data.collate import default_collate, default_convert
from fastnn.data.dataset import IterableDataset, get_item, get_items, rows_of
from fastnn.data.generator import Drawn, Generator, check_generator, draw_seed, own_state
from fastnn.data.sampler import BatchSampler, RandomSampler, SequentialSampler, WeightedRandomSampler

T_co = TypeVar("T_co", covariant=True)

# Batch b draws from (seed, b * 2**32) on, and the samplers from (seed, 2**63) on.
_DRAWS_A_BATCH = 32
_OF_SAMPLERS = 1 << 63

# As many as set_num_threads takes; a system starts no more.
_MOST_WORKERS = 1024


class WorkerInfo(NamedTuple):
    """Identity of the worker that runs this thread.

    Args:
        id: Its number, from 0.
        num_workers: How many there are.
        seed: That which the batches of this pass over the data draw from.
        dataset: The dataset, which all workers share.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker = threading.local()


def get_worker_info() -> WorkerInfo | None:
    """Return which worker of a :class:`DataLoader` this thread is; ``None`` if it is none."""
    info: WorkerInfo | None = getattr(_worker, "info", None)
    return info


class DataLoader(Generic[T_co]):
    """Batches of a dataset: ``for x, y in DataLoader(dataset, batch_size=64, shuffle=True): …``.

    Workers are threads, which share the dataset; they are of use where a sample takes time without the GIL, as reading
    files, decoding images and NumPy's and fastnn's functions on large arrays do. Batches come in the order of the
    samplers. What datasets, samplers and ``collate_fn`` draw from fastnn's generator depends on the seed that a pass
    over the data begins with, and on the number of the batch: not on the number of workers, nor on what is drawn
    elsewhere meanwhile. Threads end with the pass, also when it is left early, and an exception in one is raised here.

    Args:
        dataset: Has ``__getitem__`` and ``__len__``; or an :class:`IterableDataset`.
        batch_size: Samples a batch, at least 1; ``None`` for samples as they are, unless there is a ``batch_sampler``.
        shuffle: Whether every pass has a new order.
        sampler: Yields indices, instead of ``shuffle``; a :class:`WeightedRandomSampler` has a weight for each sample.
        batch_sampler: Yields lists of indices, instead of ``batch_size``, ``shuffle``, ``sampler`` and ``drop_last``.
        num_workers: Number of threads, at most 1024; 0 for the caller's. Of an :class:`IterableDataset` one thread
            reads.
        collate_fn: Makes a batch of a list of samples; :func:`default_collate` if ``None``, and without batches
            :func:`default_convert`.
        pin_memory: Accepted, and does nothing: there are no other devices.
        drop_last: Whether a last, smaller batch is left out.
        timeout: Seconds to wait for a batch of the workers; 0 for any time.
        worker_init_fn: Called in each thread with its number, before anything else.
        multiprocessing_context: ``None``.
        generator: What the seed of a pass, and the order, are drawn from; ``None`` for that of the process.
        prefetch_factor: Batches that each worker prepares ahead, at least 1; ``None`` for 2, with workers.
        persistent_workers: Accepted with workers, and does nothing: threads are quick to start.
        pin_memory_device: Accepted, and does nothing.
        in_order: ``True``.

    Raises:
        ValueError: A setting is out of range, or does not go with the others.
        TypeError: A setting is of another type.

    Source:
        ``torch.utils.data.DataLoader``, whose workers are processes, each with a copy of the dataset.

    Example:
        >>> import fastnn as fnn
        >>> data = fnn.data.TensorDataset(fnn.arange(5.0), fnn.arange(5))
        >>> for x, label in fnn.data.DataLoader(data, batch_size=2):
        ...     print(x, label)
        tensor([0., 1.]) tensor([0, 1])
        tensor([2., 3.]) tensor([2, 3])
        tensor([4.]) tensor([4])
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,  # noqa: ARG002
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: None = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",  # noqa: ARG002
        in_order: bool = True,
    ) -> None:
        where = "DataLoader"
        check_at_least(where, "num_workers", num_workers, 0, _MOST_WORKERS)
        for name, flag in (("shuffle", shuffle or False), ("drop_last", drop_last)):
            check_flag(where, name, flag)
        if not check_number(where, "timeout", timeout) >= 0:
            raise ValueError(f"{where}: expected timeout of at least 0; got {timeout}")
        if prefetch_factor is not None:
            check_at_least(where, "prefetch_factor", prefetch_factor, 1, GREATEST)
        for name, given in (("prefetch_factor", prefetch_factor), ("persistent_workers", persistent_workers or None)):
            if given is not None and not num_workers:
                raise ValueError(f"{where}: expected num_workers of at least 1 with {name}; got 0")
        if multiprocessing_context is not None:
            raise ValueError(
                f"{where}: expected multiprocessing_context None, as workers are threads; "
                f"got {multiprocessing_context!r}"
            )
        if not in_order:
            raise ValueError(f"{where}: expected in_order True, the only order that can be repeated; got {in_order!r}")
        for name, function in (("collate_fn", collate_fn), ("worker_init_fn", worker_init_fn)):
            if function is not None and not callable(function):
                raise TypeError(f"{where}: expected {name} to be a function; got {type(function).__name__}")
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if prefetch_factor is None and num_workers else prefetch_factor
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.generator = check_generator(where, generator)
        self.persistent_workers = persistent_workers
        self.drop_last = drop_last
        self.sampler: Iterable[Any] | None = sampler
        self.batch_sampler: Iterable[list[Any]] | None = batch_sampler
        self.batch_size = batch_size if batch_sampler is None else None
        _check_combination(dataset, batch_size, shuffle, sampler, batch_sampler, drop_last=drop_last)
        for name, source in (("sampler", sampler), ("batch_sampler", batch_sampler)):
            iterable = hasattr(source, "__iter__") or hasattr(source, "__getitem__")
            if source is not None and (isinstance(source, type) or not iterable):
                raise TypeError(f"{where}: expected {name} to yield indices; got {shown(source)}")
        if batch_size is not None:
            check_at_least(where, "batch_size", batch_size, 1)
        if not isinstance(dataset, IterableDataset):
            if not hasattr(dataset, "__getitem__"):
                raise TypeError(f"{where}: expected dataset to have __getitem__; got {type(dataset).__name__}")
            if self.sampler is None and self.batch_sampler is None:
                # An empty dataset has an order, of nothing.
                random = shuffle and check_length(where, "dataset", dataset)
                self.sampler = RandomSampler(dataset, generator=generator) if random else SequentialSampler(dataset)
            if self.batch_size is not None and self.sampler is not None:
                self.batch_sampler = BatchSampler(self.sampler, self.batch_size, drop_last)
        self._batches = self.batch_size is not None or self.batch_sampler is not None
        default = default_collate if self._batches else default_convert
        self.collate_fn: Callable[[Any], Any] = default if collate_fn is None else collate_fn

    def __len__(self) -> int:
        if self._batches and self.batch_sampler is not None:
            return check_length("DataLoader", "batch_sampler", self.batch_sampler)
        n = check_length("DataLoader", "dataset", self.dataset if self.sampler is None else self.sampler)
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        if self.generator is None:
            # In a thread of one's own the order does not depend on what others draw.
            _core.begin_training_draws(0)
        seed = draw_seed(self.generator)
        if isinstance(self.dataset, IterableDataset):
            return self._read(seed)
        return self._fetch_all(seed)

    # Samples by index

    def _fetch_all(self, seed: int) -> Iterator[Any]:
        with own_state((seed, _OF_SAMPLERS)):
            order: Any = self.batch_sampler if self._batches else self.sampler
            indices: Iterator[Any] = iter(order)
        drawn = Drawn(indices, (seed, _OF_SAMPLERS + 1))
        tasks = (partial(self._fetch, seed, number, index) for number, index in enumerate(drawn))
        return self._run(tasks, self.num_workers, seed)

    def _fetch(self, seed: int, number: int, index: Any) -> Any:
        with own_state((seed, number << _DRAWS_A_BATCH)):
            if not self._batches:
                return self.collate_fn(get_item("DataLoader", self.dataset, index))
            index = check_items("DataLoader", "a batch of the batch_sampler", index, "indices")
            if self.collate_fn is default_collate:
                rows = rows_of(self.dataset, index)
                if rows is not None:
                    return rows
            return self.collate_fn(get_items("DataLoader", self.dataset, index))

    # Samples one after another

    def _read(self, seed: int) -> Iterator[Any]:
        # The thread that reads also begins to: `__iter__` may ask which worker it is.
        reader = Reader(Drawn(self._read_batches(), (seed, 0)))
        return self._run(itertools.repeat(reader), min(self.num_workers, 1), seed)

    def _read_batches(self) -> Iterator[Any]:
        samples = iter(self.dataset)
        if self.batch_size is None:
            yield from map(self.collate_fn, samples)
            return
        while batch := list(itertools.islice(samples, self.batch_size)):
            if len(batch) < self.batch_size and self.drop_last:
                return
            yield self.collate_fn(batch)

    def _run(self, tasks: Iterable[Callable[[], Any]], workers: int, seed: int) -> Iterator[Any]:
        if not workers:
            return _one_by_one(tasks)

        def begin(number: int) -> None:
            _worker.info = WorkerInfo(number, workers, seed, self.dataset)
            if self.worker_init_fn is not None:
                self.worker_init_fn(number)

        ahead = workers * (self.prefetch_factor or 1)
        return in_order(tasks, workers, ahead, begin=begin, timeout=self.timeout or None)


def _one_by_one(tasks: Iterable[Callable[[], Any]]) -> Iterator[Any]:
    for task in tasks:
        value = task()
        if value is END:
            return
        yield value


def _check_combination(
    dataset: Any, batch_size: Any, shuffle: Any, sampler: Any, batch_sampler: Any, *, drop_last: bool
) -> None:
    """Refuse settings that contradict each other."""
    where = "DataLoader"
    if isinstance(dataset, IterableDataset):
        for name, given in (("shuffle", shuffle or None), ("sampler", sampler), ("batch_sampler", batch_sampler)):
            if given is not None:
                raise ValueError(f"{where}: expected no {name} with an IterableDataset; got {given!r}")
    if sampler is not None and shuffle:
        raise ValueError(f"{where}: expected shuffle or sampler; got both")
    size = len(dataset) if hasattr(dataset, "__len__") else None
    if isinstance(sampler, WeightedRandomSampler) and size not in {None, len(sampler.weights)}:
        raise ValueError(
            f"{where}: expected a sampler with a weight for each of the {size} samples; "
            f"got {len(sampler.weights)} weights"
        )
    if batch_sampler is not None:
        for name, given in (
            ("batch_size", None if batch_size == 1 else batch_size),
            ("shuffle", shuffle or None),
            ("sampler", sampler),
            ("drop_last", drop_last or None),
        ):
            if given is not None:
                raise ValueError(f"{where}: expected no {name} with batch_sampler; got {given!r}")
    elif batch_size is None and drop_last:
        raise ValueError(f"{where}: expected batch_size with drop_last; got None")

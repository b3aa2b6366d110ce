"""Batches of a fit or an evaluation; and the description of the data for callbacks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from types import GeneratorType
from typing import Any, NamedTuple

from numpy.typing import NDArray

from fastnn.data._ahead import Reader, in_order
from fastnn.data.generator import Drawn, draw_seed
from fastnn.training.augmentation import Augmentation
from fastnn.training.data import ArrayData, Batch, Types, pair, to_array


class IterableData:
    """Batches from an iterable, or from a function that returns one.

    Args:
        where: Who asks, for errors.
        source: Yields ``(x, y)``.
        types: What they are converted to.
        batches: How many make an epoch. ``None`` for all; an iterator then serves one epoch only.
        prefetch: How many batches a thread prepares ahead; 0 to prepare each when it is asked for.

    Attributes:
        in_memory: Whether it is a list, so that to go through it once more costs nothing.
        serves_once: Whether it surely ends with the first epoch.
    """

    def __init__(
        self,
        where: str,
        source: Iterable[Any] | Callable[[], Iterable[Any]],
        types: Types,
        batches: int | None,
        prefetch: int = 0,
    ) -> None:
        if not callable(source) and not hasattr(source, "__iter__"):
            raise TypeError(f"{where}: expected arrays x and y, or an iterable of (x, y); got {type(source).__name__}")
        self._where = where
        self._source = source
        self._types = types
        self._limit = batches
        self._prefetch = prefetch
        self.augment: Augmentation | None = None
        self._seen = False
        self._running: Iterator[Any] | None = None
        self.batches: int | None = batches
        self.in_memory = isinstance(source, (list, tuple)) and batches is None
        # Another iterator may begin anew when it is asked for one.
        self.serves_once = isinstance(source, GeneratorType) and batches is None
        if batches is None and hasattr(source, "__len__"):
            # A loader of a stream has a length only if the stream has one.
            with suppress(TypeError):
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

    def epoch(self) -> Generator[Batch, None, None]:
        """Yield the batches of the next epoch.

        What the source draws comes from a generator of its own, whose seed is drawn now: whatever is drawn elsewhere
        while it reads ahead, the numbers are the same. A list draws nothing, and needs no thread.

        Raises:
            ValueError: There is none, or one is not a pair.
        """
        if self._limit is None:
            self._running = None
        taken = 0
        try:
            with closing(self._prepared()) as batches:
                for batch in batches:
                    yield batch
                    taken += 1
        finally:
            if self._limit is None:
                # A loader's threads go with its iterator, also where a traceback keeps this object.
                self._running = None
        if taken < (self._limit or 1):
            hint = "; an iterator serves once: pass a list, or a function that returns an iterator" * (not taken)
            raise ValueError(
                f"{self._where}: expected {self._limit or 'at least 1'} batches an epoch; got {taken}{hint}"
            )

    def in_turn(self) -> Generator[Batch, None, None]:
        """Yield the batches of the next epoch, of the size that they are trained on."""
        return self.epoch() if self.augment is None else self.augment.sized(self.epoch())

    def _prepared(self) -> Generator[Batch, None, None]:
        batches = self._batches()
        if isinstance(self._source, (list, tuple)):
            return batches
        drawn = Drawn(batches, (draw_seed(None), 0))
        if self._prefetch:
            return in_order(itertools.repeat(Reader(drawn)), 1, self._prefetch)
        return (batch for batch in drawn)

    def _batches(self) -> Generator[Batch, None, None]:
        for _ in itertools.count() if self._limit is None else range(self._limit):
            try:
                item = self._next()
            except StopIteration:
                return
            if not isinstance(item, (tuple, list)) or len(item) != 2:
                got = f"{len(item)} things" if isinstance(item, (tuple, list)) else type(item).__name__
                raise ValueError(f"{self._where}: expected batches to be pairs (x, y); got {got}")
            if self.augment is not None and not self._seen:
                self._seen = True
                self.augment.see(to_array(self._where, "x", item[0]).dtype)
            yield pair(self._where, item[0], item[1], self._types)


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
        """Return whether the training data surely end with the first epoch."""
        return isinstance(self.training, IterableData) and self.training.serves_once

    def inputs(self) -> NDArray[Any] | Iterator[NDArray[Any]]:
        """Return the inputs of the training data, of the size that they are trained on: an array, or batches."""
        if isinstance(self.training, ArrayData):
            return self.training.inputs()
        return (x for x, _ in self.training.in_turn())

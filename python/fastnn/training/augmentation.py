"""Changes of the batches of a fit before their steps."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn.augment.transform import Transform
from fastnn.data.generator import Generator as RandomNumbers, drawing_from

if TYPE_CHECKING:
    from fastnn.training.data import Batch


class Augmentation:
    """The argument ``augment`` of ``Trainer.fit``.

    Args:
        augment: A transform, or a function of (x, y).
        checked: Called with what ``augment`` returned; returns it in the model's types.

    Attributes:
        transform: The transform; ``None`` for a function.
    """

    def __init__(self, augment: Callable[..., Any], checked: Callable[[Any], Batch]) -> None:
        self.transform = augment if isinstance(augment, Transform) else None
        self._augment = augment
        self._checked = checked
        self._resizes = False

    def __call__(self, x: NDArray[Any], y: NDArray[Any]) -> Batch:
        """Return the batch to train on."""
        batch = self._checked((self.transform or self._augment)(x, y))
        # Nobody knows beforehand what a function does.
        self._resizes = batch[0].shape[1:] != x.shape[1:]
        return batch

    def see(self, dtype: np.dtype[Any]) -> None:
        """Take note of what the inputs were before they were converted to the model's type."""
        if self.transform is not None:
            self.transform = self.transform._for(dtype)

    def sized(self, batches: Generator[Batch, None, None]) -> Generator[Batch, None, None]:
        """Yield batches whose inputs have the size of those that are trained on; as they are, if they have it.

        What is drawn leaves the generator where it was, so that to measure does not change the training.
        """
        numbers = RandomNumbers().set_state(_core.get_rng_state())
        with closing(batches):
            for x, y in batches:
                with drawing_from(numbers):
                    batch = self._sized(x, y)
                yield batch

    def resizes(self, shape: tuple[int, ...]) -> bool:
        """Return whether rows of inputs of this shape get another size."""
        return self._resizes if self.transform is None else self.transform._resizes(shape)

    def _sized(self, x: NDArray[Any], y: NDArray[Any]) -> Batch:
        if not self.resizes(x.shape):
            return x, y
        # Labels that are mixed are none to measure with.
        return (self.transform._unmixed(x), y) if self.transform is not None else self._checked(self._augment(x, y))

"""One dimension of several, and several of one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike
from fastnn.nn.module import Module


class Flatten(Module):
    """Make one dimension of those from ``start_dim`` to ``end_dim``.

    Args:
        start_dim: The first of them; 1 leaves the batch alone.
        end_dim: The last of them, included.

    Shapes:
        x: ``(n, *)``.
        y: ``(n, product of the others)``, by default.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: TensorLike) -> Tensor:
        tensor = input if isinstance(input, Tensor) else _core.as_tensor(input)
        return tensor.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Make several dimensions of one.

    Args:
        dim: The dimension; negative to count from the last.
        unflattened_size: Its new sizes, whose product is its size; one may be -1, for what is left.

    Shapes:
        x: ``(*, product of unflattened_size, *)``.
        y: ``(*, *unflattened_size, *)``.

    Raises:
        ValueError: There is no such dimension, or its size is another.
        TypeError: ``unflattened_size`` is no tuple of integers.
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        if not isinstance(unflattened_size, (tuple, list)) or not all(isinstance(n, int) for n in unflattened_size):
            raise TypeError(f"Unflatten: expected unflattened_size to be a tuple of ints; got {unflattened_size!r}")
        if isinstance(dim, bool) or not isinstance(dim, int):
            raise TypeError(f"Unflatten: expected dim to be an int; got {dim!r}")
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: TensorLike) -> Tensor:
        tensor = input if isinstance(input, Tensor) else _core.as_tensor(input)
        shape, sizes = tuple(tensor.shape), tuple(self.unflattened_size)
        if not -len(shape) <= self.dim < len(shape):
            raise ValueError(f"Unflatten: expected dim to be one of {len(shape)} dimensions; got {self.dim}")
        dim = self.dim % len(shape)
        known = math.prod(n for n in sizes if n != -1)
        free = sizes.count(-1)
        rest = shape[dim] // known if known else 0
        fits = known * rest == shape[dim] if free else known == shape[dim]
        if not fits or free > 1 or (free and not known) or any(n < -1 for n in sizes):
            raise ValueError(f"Unflatten: expected {sizes} to make up dimension {self.dim} of the input; got {shape}")
        return tensor.reshape(*shape[:dim], *(rest if n == -1 else n for n in sizes), *shape[dim + 1 :])

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"

"""Flattening."""

from __future__ import annotations

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

"""Base of pooling layers."""

from __future__ import annotations

from fastnn._types import TensorLike, shape_of
from fastnn.nn._shape_error import layer_error
from fastnn.nn.functional._sizes import sizes
from fastnn.nn.module import Module


class PoolBase(Module):
    """A layer over the last ``_dims`` dimensions of ``(n, c, *)`` or ``(c, *)``, named by the first of its settings."""

    _dims: int

    def _check(self, name: str, value: object, least: int = 1) -> None:
        sizes(type(self).__name__, name, value, self._dims, least)

    def _error(self, error: Exception, setting: object, input: TensorLike) -> ValueError | TypeError:
        expected = "(n, c, h, w) or (c, h, w)" if self._dims == 2 else "(n, c, l) or (c, l)"
        fits = len(shape_of(input)) - self._dims in {1, 2}
        return layer_error(f"{type(self).__name__}({setting})", error, fits, expected, input)

"""Max pooling over windows at random places."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_at_least, check_number, shape_of
from fastnn.nn import functional as F
from fastnn.nn._pool_base import PoolBase
from fastnn.nn.functional._sizes import Size, sizes

# 1/g and 1/g², g³ = g + 1: the steps of a sequence that fills the unit square evenly.
_STEPS = np.array([0.7548776662466927, 0.5698402909980532])


class FractionalMaxPool2d(PoolBase):
    """Take the greatest of windows at random places, so that an image shrinks by any factor::

        window i of o begins at floor(a * (i + u)) - floor(a * u),  a = (size - kernel_size) / (o - 1)

    along each axis, the last one at ``size - kernel_size``. While training, u is drawn anew from [0, 1) for each axis
    of each plane, reproducibly after ``manual_seed``. While evaluating, the windows are fixed: channel k, from 0, has
    ``u = (1/2 + k * α) mod 1`` with α = 0.7549 for the columns and 0.5698 for the rows, which is spread evenly, since
    with one u for all channels the images would seem shifted, as they never were in training. With ``samples``,
    evaluation draws as training does, and takes the mean of that many results.

    Args:
        kernel_size: Elements of a window, at least 1: a number, or one for rows and one for columns. 2 in the paper.
        output_size: How many windows, o: a number, or one for rows and one for columns.
        output_ratio: The same as a share of the image's size, in (0, 1), rounded down. One of the two is given. The
            paper has 0.5 to 0.8, such as ``1 / sqrt(2)``.
        return_indices: Whether to return also where the greatest are: ``row * w + column``, int64.
        _random_samples: u for the columns and for the rows of each plane, ``(n, c, 2)``, in place of those that are
            drawn or fixed.
        samples: ``None``, or how many results to average while evaluating. PyTorch, which has no such argument, draws
            once: ``samples=1``.

    Shapes:
        x: ``(n, c, h, w)`` or ``(c, h, w)``; h and w at least ``kernel_size + output_size - 1``.
        y: ``(n, c, h', w')`` or ``(c, h', w')``.

    Raises:
        ValueError: A setting is out of range, or ``x`` is too small.
        TypeError: A setting, or ``x``, is of another type.

    Source:
        Graham 2015, https://arxiv.org/abs/1412.6071, sections 2 and 3: pseudorandom, overlapping windows. The formula
        is PyTorch's. Roberts 2018, https://extremelearning.com.au/unreasonable-effectiveness-of-quasirandom-sequences/,
        for the places while evaluating.
    """

    _dims = 2
    output_size: list[int] | None
    output_ratio: tuple[float, float] | None
    _random_samples: Tensor | None

    def __init__(
        self,
        kernel_size: Size,
        output_size: Size | None = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: TensorLike | None = None,
        samples: int | None = None,
    ) -> None:
        super().__init__()
        name = "FractionalMaxPool2d"
        self.kernel_size = sizes(name, "kernel_size", kernel_size, 2)
        if (output_size is None) == (output_ratio is None):
            raise ValueError(f"{name}: expected output_size or output_ratio; got {output_size} and {output_ratio}")
        self.output_size = None if output_size is None else sizes(name, "output_size", output_size, 2)
        self.output_ratio = None
        if output_ratio is not None:
            ratios = output_ratio if isinstance(output_ratio, (tuple, list)) else (output_ratio, output_ratio)
            if len(ratios) != 2 or not all(0 < check_number(name, "output_ratio", ratio) < 1 for ratio in ratios):
                raise ValueError(f"{name}: expected output_ratio in (0, 1); got {output_ratio}")
            self.output_ratio = (ratios[0], ratios[1])
        if samples is not None:
            check_at_least(name, "samples", samples, 1)
            if return_indices or _random_samples is not None:
                raise ValueError(f"{name}: expected samples without return_indices and _random_samples; got {samples}")
        self.return_indices = return_indices
        self.samples = samples
        self.register_buffer("_random_samples", None if _random_samples is None else _core.as_tensor(_random_samples))

    def forward(self, input: TensorLike) -> Any:
        try:
            if self.training or self.samples is None:
                return self._pool(input, self._places(input))
            draws = [self._pool(input, None) for _ in range(self.samples)]
            total = draws[0]
            for draw in draws[1:]:
                total = total + draw
            return total if self.samples == 1 else total / self.samples
        except (TypeError, ValueError) as error:
            raise self._error(error, self.kernel_size, input) from None

    def _places(self, input: TensorLike) -> Tensor | None:
        shape = shape_of(input)
        if self.training or self._random_samples is not None or len(shape) not in {3, 4}:
            return self._random_samples
        dtype = (input if isinstance(input, Tensor) else _core.as_tensor(input)).dtype
        of_channels = (0.5 + np.arange(shape[-3])[:, None] * _STEPS) % 1
        planes = np.broadcast_to(of_channels, (shape[0] if len(shape) == 4 else 1, *of_channels.shape))
        return _core.tensor(planes, dtype=dtype)

    def _pool(self, input: TensorLike, places: Tensor | None) -> Any:
        return F.fractional_max_pool2d(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, places
        )

    def extra_repr(self) -> str:
        return "" if self.samples is None else f"samples={self.samples}"

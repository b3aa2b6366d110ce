"""Dropout."""

from __future__ import annotations

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_number
from fastnn.nn.module import Module

_dropout = _core.dropout


class Dropout(Module):
    """Zero elements at random while training, and scale the others to keep the mean::

        y[i] = x[i] / (1 - p)  with probability 1 - p,  and otherwise 0

    While evaluating, do nothing.

    Args:
        p: Probability of a zero, in [0, 1]; rounded to a multiple of 1/65536.
        inplace: Accepted for PyTorch's sake. The input is not changed.

    Shapes:
        x, y: any, the same.

    Raises:
        ValueError: ``p`` is out of range.

    Source:
        Srivastava et al. 2014, JMLR 15:1929, whose formula scales while testing instead.
    """

    p: float
    inplace: bool

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= check_number("Dropout", "p", p) <= 1:
            raise ValueError(f"Dropout: expected p in [0, 1]; got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: TensorLike) -> Tensor:
        return _dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"

"""Dropping whole branches."""

from __future__ import annotations

from typing import Literal

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_choice, check_number


def stochastic_depth(
    input: TensorLike,
    p: float,
    mode: Literal["batch", "row"],
    training: bool = True,
    scaling: Literal["training", "evaluation"] = "training",
) -> Tensor:
    """Zero a branch with probability ``p`` while ``training``, as a whole or sample by sample.

    See :class:`fastnn.nn.StochasticDepth`.

    Args:
        input: ``(n, *)``.
        p: Probability of a zero, in [0, 1]; rounded to a multiple of 1/65536.
        mode: ``"batch"`` or ``"row"``.
        training: Whether anything is drawn.
        scaling: ``"training"`` or ``"evaluation"``: when there is a factor.

    Raises:
        ValueError: A setting is out of range.
    """
    where = "stochastic_depth"
    if not 0 <= check_number(where, "p", p) <= 1:
        raise ValueError(f"{where}: expected p in [0, 1]; got {p}")
    check_choice(where, "mode", mode, ("batch", "row"))
    check_choice(where, "scaling", scaling, ("training", "evaluation"))
    x = input if isinstance(input, Tensor) else _core.as_tensor(input)
    if p == 0:
        return x
    if not training:
        return x * (1 - p) if scaling == "evaluation" else x
    rows = x.shape[:1] if mode == "row" else (1,)
    ones = _core.ones(rows + (1,) * (x.ndim - len(rows)), dtype=x.dtype)
    return x * _core.dropout(ones, p, True, scaling == "training")

"""Residual blocks, and stochastic depth."""

from __future__ import annotations

from typing import Literal

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_at_least
from fastnn.nn.dropout import Scaling, check_probability, check_scaling
from fastnn.nn.module import Module


class Residual(Module):
    """Add a block's output to its input; drop the whole block at random while training::

        training:    y = shortcut(x) + b * block(x),    b = 1 with probability survival, else 0
        evaluating:  y = shortcut(x) + survival * block(x)

    With ``scaling="training"``, b is ``1 / survival`` instead of 1, and evaluation does not scale.

    Args:
        block: What is added.
        survival: Probability that the block is there, in [0, 1]; rounded to a multiple of 1/65536.
        shortcut: What the input goes through, where the block changes the width. ``None``: nothing.
        mode: ``"batch"``: one draw for the batch; ``"row"``: one for every sample.
        scaling: ``"evaluation"``, as in the paper, or ``"training"``.

    Shapes:
        x, y: the block's input and output; the same unless there is a shortcut.

    Raises:
        ValueError: A setting is out of range, or the two outputs differ in shape.
        TypeError: ``block`` or ``shortcut`` is no module.

    Source:
        He et al. 2016, https://arxiv.org/abs/1512.03385; Huang et al. 2016, https://arxiv.org/abs/1603.09382,
        equations 2 and 5. torchvision's ``StochasticDepth(p, mode)`` is ``survival=1 - p, scaling="training"``. A
        dropped block is computed all the same here, so that a step can be planned: its gradients are 0, and its batch
        norms see the batch.
    """

    block: Module
    shortcut: Module | None
    survival: float
    mode: Literal["batch", "row"]
    scaling: Scaling

    def __init__(
        self,
        block: Module,
        survival: float = 1.0,
        shortcut: Module | None = None,
        mode: Literal["batch", "row"] = "batch",
        scaling: Scaling = "evaluation",
    ) -> None:
        super().__init__()
        for name, module in (("block", block), ("shortcut", shortcut)):
            if not isinstance(module, Module) and not (name == "shortcut" and module is None):
                raise TypeError(f"Residual: expected {name} to be an nn.Module; got {type(module).__name__}")
        if mode not in {"batch", "row"}:
            raise ValueError(f"Residual: expected mode to be 'batch' or 'row'; got {mode!r}")
        self.survival = check_probability("Residual", "survival", survival)
        self.mode = mode
        self.scaling = check_scaling("Residual", scaling)
        self.block = block
        self.add_module("shortcut", shortcut)

    def forward(self, input: TensorLike) -> Tensor:
        x = input if isinstance(input, Tensor) else _core.as_tensor(input)
        added: Tensor = self.block(x)
        base: Tensor = x if self.shortcut is None else self.shortcut(x)
        if added.shape != base.shape:
            what = "its input" if self.shortcut is None else "the shortcut"
            raise ValueError(
                f"Residual: expected the block to return the shape of {what}, {base.shape}; got {added.shape}"
            )
        if self.survival == 1:
            return base + added
        if self.training:
            rows = added.shape[:1] if self.mode == "row" else (1,)
            ones = _core.ones(rows + (1,) * (added.ndim - len(rows)), dtype=added.dtype)
            return base + added * _core.dropout(ones, 1 - self.survival, True, self.scaling == "training")
        return base + added * self.survival if self.scaling == "evaluation" else base + added

    def extra_repr(self) -> str:
        return f"survival={self.survival}, mode={self.mode!r}, scaling={self.scaling!r}"


def linear_survival(blocks: int, last: float = 0.5) -> list[float]:
    """Return the probabilities with which residual blocks survive, from the first to the last::

        survival[l - 1] = 1 - l / L * (1 - last),    l = 1 … L

    Args:
        blocks: Their number L, at least 1.
        last: Probability of the last block, in [0, 1].

    Returns:
        As many probabilities, for :class:`Residual`.

    Raises:
        ValueError: A setting is out of range.

    Source:
        Huang et al. 2016, https://arxiv.org/abs/1603.09382, equation 4.
    """
    check_at_least("linear_survival", "blocks", blocks, 1)
    check_probability("linear_survival", "last", last)
    return [1 - block / blocks * (1 - last) for block in range(1, blocks + 1)]

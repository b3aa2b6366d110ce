"""Residual blocks, and stochastic depth."""

from __future__ import annotations

from typing import Literal

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_at_least, check_choice
from fastnn.nn import functional as F
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
        check_mode("Residual", mode)
        self.survival = check_probability("Residual", "survival", survival)
        self.mode = mode
        self.scaling = check_scaling("Residual", scaling)
        self.block = block
        self.add_module("shortcut", shortcut)

    @property
    def _drops_at_random(self) -> bool:  # type: ignore[override]
        return self.survival < 1

    def forward(self, input: TensorLike) -> Tensor:
        x = input if isinstance(input, Tensor) else _core.as_tensor(input)
        added: Tensor = self.block(x)
        base: Tensor = x if self.shortcut is None else self.shortcut(x)
        if added.shape != base.shape:
            what = "its input" if self.shortcut is None else "the shortcut"
            raise ValueError(
                f"Residual: expected the block to return the shape of {what}, {base.shape}; got {added.shape}"
            )
        return base + F.stochastic_depth(added, 1 - self.survival, self.mode, self.training, self.scaling)

    def extra_repr(self) -> str:
        return f"survival={self.survival}, mode={self.mode!r}, scaling={self.scaling!r}"


class StochasticDepth(Module):
    """Zero a branch at random while training, and scale it to keep the mean::

        y = x / (1 - p)  with probability 1 - p,  and otherwise 0

    While evaluating, do nothing. With ``scaling="evaluation"``, do not divide while training, and multiply by ``1 - p``
    while evaluating, as in the paper. It stands at the end of the branch, before the shortcut is added; where branch
    and shortcut are a block of their own, :class:`Residual` has it built in.

    Args:
        p: Probability of a zero, in [0, 1]; rounded to a multiple of 1/65536.
        mode: ``"batch"``: one draw for the batch; ``"row"``: one for every sample.
        scaling: ``"training"`` or ``"evaluation"``.

    Shapes:
        x, y: ``(n, *)``, the same.

    Raises:
        ValueError: A setting is out of range.
        TypeError: ``p`` is not a number.

    Source:
        Huang et al. 2016, https://arxiv.org/abs/1603.09382, equations 2 and 5; ``torchvision.ops.StochasticDepth``.
    """

    _drops_at_random = True

    p: float
    mode: Literal["batch", "row"]
    scaling: Scaling

    def __init__(self, p: float, mode: Literal["batch", "row"], scaling: Scaling = "training") -> None:
        super().__init__()
        self.p = check_probability("StochasticDepth", "p", p)
        self.mode = check_mode("StochasticDepth", mode)
        self.scaling = check_scaling("StochasticDepth", scaling)

    def forward(self, input: TensorLike) -> Tensor:
        return F.stochastic_depth(input, self.p, self.mode, self.training, self.scaling)

    def __repr__(self) -> str:
        scaling = "" if self.scaling == "training" else f", scaling={self.scaling}"
        return f"StochasticDepth(p={self.p}, mode={self.mode}{scaling})"


def check_mode(where: str, mode: Literal["batch", "row"]) -> Literal["batch", "row"]:
    """Return it as it is, if it is one.

    Raises:
        ValueError: It is not.
    """
    check_choice(where, "mode", mode, ("batch", "row"))
    return mode


def linear_survival(blocks: int, last: float = 0.5) -> list[float]:
    """Return the probabilities with which residual blocks survive, from the first to the last::

        survival[l - 1] = 1 - l / L * (1 - last),    l = 1 … L

    Args:
        blocks: Their number L, in [1, 1000000].
        last: Probability of the last block, in [0, 1].

    Returns:
        As many probabilities, for :class:`Residual`.

    Raises:
        ValueError: A setting is out of range.

    Source:
        Huang et al. 2016, https://arxiv.org/abs/1603.09382, equation 4.
    """
    check_at_least("linear_survival", "blocks", blocks, 1, 1_000_000)
    check_probability("linear_survival", "last", last)
    return [1 - block / blocks * (1 - last) for block in range(1, blocks + 1)]


def stochastic_depth_(model: Module, last: float = 0.5, mode: Literal["batch", "row"] | None = None) -> list[float]:
    """Set the probabilities with which a model's residual blocks survive, falling linearly with depth, in place.

    The blocks are the model's :class:`Residual` and :class:`StochasticDepth`, in the order of
    ``model.named_modules()``, l = 1 … L::

        survival of block l = 1 - l / L * (1 - last)

    Args:
        model: The model.
        last: Probability of the last block, in [0, 1]; 1 switches stochastic depth off.
        mode: ``"batch"`` or ``"row"`` for all of them; ``None`` leaves each as it is.

    Returns:
        The probabilities, first block first.

    Raises:
        ValueError: A setting is out of range, or there is no block.
        TypeError: ``model`` is no module, or ``last`` no number.

    Source:
        Huang et al. 2016, https://arxiv.org/abs/1603.09382, equation 4, with ``last=0.5``.
    """
    where = "stochastic_depth_"
    if not isinstance(model, Module):
        raise TypeError(f"{where}: expected model to be an nn.Module; got {type(model).__name__}")
    check_probability(where, "last", last)
    if mode is not None:
        check_mode(where, mode)
    blocks = [module for module in model.modules() if isinstance(module, (Residual, StochasticDepth))]
    if not blocks:
        raise ValueError(f"{where}: expected a model with residual blocks; got {type(model).__name__} without any")
    survivals = linear_survival(len(blocks), last)
    for block, survival in zip(blocks, survivals, strict=True):
        if isinstance(block, Residual):
            block.survival = survival
        else:
            block.p = 1 - survival
        if mode is not None:
            block.mode = mode
    return survivals

"""Momentum that goes against the rate: `momentum`, or the first of `betas`."""

from __future__ import annotations

from typing import Any

from fastnn.optim.optimizer import Optimizer


def uses_beta1(where: str, optimizer: Optimizer) -> bool:
    """Return whether an optimizer's momentum is the first of its betas.

    Raises:
        ValueError: It has neither.
    """
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ValueError(
            f"{where}: expected an optimizer with momentum or betas, or cycle_momentum=False; "
            f"got {type(optimizer).__name__}"
        )
    return "betas" in optimizer.defaults


def set_momentum(group: dict[str, Any], momentum: float, use_beta1: bool) -> None:
    """Set a group's momentum."""
    if use_beta1:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum

"""One training step: forward, backward, update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike
from fastnn.nn.module import Module


class TrainStep:
    """Train on a batch: ``step(x, y)`` returns the loss before the update.

    Args:
        model: The model, in whichever mode it is.
        loss: Called with the model's output and the targets; returns a scalar.
        optimizer: Of the model's parameters.

    Attributes:
        reason: Why the step runs eagerly; ``None`` if it is planned.
        stop_on_nonfinite: Whether a step whose loss is NaN or infinite makes no update, and ends :meth:`run_batches`.
    """

    def __init__(self, model: Module, loss: Callable[[Any, Any], Tensor], optimizer: Any) -> None:
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.reason: str | None = "planned steps are not built yet"
        self.stop_on_nonfinite = False

    def __call__(self, x: TensorLike, y: TensorLike) -> float:
        loss = self.loss(self.model(_tensor(x)), _tensor(y))
        value = float(loss.item())
        if self.stop_on_nonfinite and not np.isfinite(value):
            return value
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return value

    def run_batches(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        order: NDArray[np.int64],
        first_batch: int,
        n_batches: int,
        batch_size: int,
    ) -> NDArray[np.float64]:
        """Train on batches ``first_batch`` to ``first_batch + n_batches - 1``, and return their losses.

        Args:
            x: All inputs, C-contiguous.
            y: All targets, C-contiguous.
            order: Rows; batch b is ``order[b * batch_size : (b + 1) * batch_size]``, and the last may be smaller.
            first_batch: The batch to begin with.
            n_batches: How many.
            batch_size: Rows a batch.

        Returns:
            A loss for each batch; fewer if ``stop_on_nonfinite``, and then the last one is not finite.
        """
        losses: list[float] = []
        for batch in range(first_batch, first_batch + n_batches):
            rows = order[batch * batch_size : (batch + 1) * batch_size]
            losses.append(self(x[rows], y[rows]))
            if self.stop_on_nonfinite and not np.isfinite(losses[-1]):
                break
        return np.array(losses)


def _tensor(value: TensorLike) -> Tensor:
    return value if isinstance(value, Tensor) else _core.as_tensor(value)
